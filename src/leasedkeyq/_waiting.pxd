cimport cython

from ._deadlines cimport Deadlines
from ._linkedlist cimport LinkedList
from ._records cimport Calls, Entry, Limit, Outbox, Waiter

cdef double inf
cdef object LEFT


cdef class Waiting:
    cdef public Outbox outbox
    cdef public Deadlines deadlines
    cdef public Deadlines _waits
    cdef public object _ticket
    cdef public dict _waiters
    cdef public dict _others
    cdef public Calls _getters
    cdef public Calls _putters
    cdef public Calls _joiners

    @cython.locals(waiter=Waiter)
    cdef Waiter _begin_to_wait(
        self, str kind, Calls calls, key, double wait, double now, detail=*
    )
    @cython.locals(waiter=Waiter)
    cdef Waiter _longest_waiting(self, Calls calls, double now)
    @cython.locals(getter=Waiter, taker=Waiter)
    cdef Waiter _claimant(self, Entry entry, double now)
    cdef _wake(self, Waiter waiter, outcome)
    @cython.locals(calls=LinkedList, limit=Limit)
    cdef _dismiss(self, Waiter waiter)
    @cython.locals(soonest=double)
    cdef _reckon(self)
    cdef _drop(self, value)
