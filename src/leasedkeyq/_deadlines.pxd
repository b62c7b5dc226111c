cimport cython

from ._linkedlist cimport LinkedList, Node

cdef double inf


cdef class Deadline(Node):
    cdef public double time


@cython.final
cdef class Lane(LinkedList):
    cdef public bint queued


@cython.final
cdef class Deadlines:
    cdef public dict _lanes
    cdef public list _heap
    cdef public object _serial
    cdef public Py_ssize_t _sweep_at
    cdef public double _latest
    cdef public double soonest

    @cython.locals(lane=Lane)
    cpdef add(self, Deadline deadline, double duration, double now)
    @cython.locals(lane=LinkedList)
    cpdef remove(self, Deadline deadline)
    @cython.locals(lane=Lane, first=Deadline)
    cpdef list due(self, double now)
    @cython.locals(lane=Lane, first=Deadline)
    cpdef double next(self) except? -1
    @cython.locals(lane=Lane, first=Deadline)
    cdef _correct_top(self)
    cdef Lane _open(self, double duration)
