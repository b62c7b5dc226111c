cimport cython

from ._deadlines cimport Deadline
from ._moves cimport Moves
from ._records cimport Entry, Grant, Waiter
from ._table cimport State

cdef double COME
cdef object in_order
cdef State ABSENT
cdef object CLOSED, DONE, END, ENDED, EXPIRED, FRONT, LEFT, OPEN, RELEASED, SHUT


cdef class Phases(Moves):
    cdef _enter(self, double now, allowed=*)
    cdef _check_phase(self, allowed)
    @cython.locals(deadline=Deadline, due=double, entry=Entry)
    cdef _reap(self, double now)
    @cython.locals(waiter=Waiter)
    cdef _conclude(self, double now, Entry entry=*)
