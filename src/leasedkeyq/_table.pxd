cimport cython


@cython.final
cdef class Move:
    cdef public object effect
    cdef public object next
    cdef public object later
