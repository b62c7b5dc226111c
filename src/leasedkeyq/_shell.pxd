cimport cython

from ._deadlines cimport Deadlines
from ._machine cimport Machine
from ._records cimport Outbox, Waiter
from ._telling cimport Telling

cdef double inf
cdef object AT_ONCE, NOWAIT, WAITING, QueueEmpty, QueueFull, WouldWait, InvalidStateError, get_running_loop


cdef class Shell(Telling):
    cdef object __weakref__
    cdef public Deadlines _deadlines
    cdef public object _timer
    cdef public double _armed
    cdef public double _noted

    @cython.locals(now=double)
    cpdef ack_nowait(self, lease)
    @cython.locals(now=double, waiter=Waiter)
    cpdef _put(self, key, value, policy, delay, timeout)
    @cython.locals(now=double)
    cpdef _get(self, timeout, lease_timeout)
    @cython.locals(now=double)
    cpdef _take(self, key, timeout, lease_timeout)
    @cython.locals(now=double)
    cpdef _resume(self, Waiter waiter)
    cpdef _leave(self, Waiter waiter)
    cdef _accompany(self, Waiter waiter)
    cdef double _now(self, bint untimed=*) except? -1
    cdef double _read_clock(self) except? -1
    cdef _adopt(self, running)
    @cython.locals(outbox=Outbox, waiter=Waiter)
    cdef _empty_outbox(self, double not_before=*)
    cdef _arm(self, double alarm)
