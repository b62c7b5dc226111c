cimport cython


@cython.final
cdef class State:
    cdef public bint delayed
    cdef public bint held
    cdef public bint lined
    cdef public list moves
    cdef public str name


@cython.final
cdef class Move:
    cdef public object effect
    cdef public State next
    cdef public State later
