cimport cython


cdef class Node:
    cdef public LinkedList list
    cdef public Node prev
    cdef public Node next


cdef class LinkedList:
    cdef public Node first
    cdef public Node last

    @cython.locals(last=Node)
    cpdef link_last(self, Node node)
    @cython.locals(first=Node)
    cpdef link_first(self, Node node)
    @cython.locals(before=Node, after=Node)
    cpdef unlink(self, Node node)
    @cython.locals(node=Node, after=Node)
    cpdef clear(self)
