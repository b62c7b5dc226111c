cimport cython

from ._inspection cimport Inspection
from ._records cimport Entry, Grant, Line, Waiter
from ._table cimport Move, State

cdef double COME, inf
cdef int ON_ACK, ON_ACK_LAST, ON_DISCARD
cdef State ABSENT
cdef tuple POLICIES
cdef object ACKED, AT_ONCE, BACK, CLOSED, DISCARD, DONE, DROP, FRONT, LEFT, OPEN, RELEASED, RESERVED
cdef object RESUMED, SHUT, TIMED_OUT, WAITING, delay_seconds, lease_seconds, put_event, seconds


cdef class Machine(Inspection):
    @cython.locals(event=int, pause=double, wait=double, waiter=Waiter)
    cpdef put(self, key, value, policy, delay, timeout, double now)
    @cython.locals(entry=Entry, move=Move, state=State)
    cpdef bint discard(self, key, double now) except -1
    @cython.locals(wait=double, duration=double, line=Line, entry=Entry, waiter=Waiter)
    cpdef get(self, timeout, lease_timeout, double now)
    @cython.locals(wait=double, duration=double, entry=Entry, waiter=Waiter)
    cpdef take(self, key, timeout, lease_timeout, double now)
    @cython.locals(grant=Grant)
    cpdef resume(self, Waiter waiter, double now)
    @cython.locals(grant=Grant)
    cpdef cancel(self, Waiter waiter, double now)
    @cython.locals(grant=Grant, entry=Entry, move=Move, state=State)
    cpdef ack(self, lease, double now)
