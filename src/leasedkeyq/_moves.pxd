cimport cython

from ._deadlines cimport Deadline
from ._keys cimport KeyMap
from ._records cimport Entry, Grant, Line, Takers, Waiter, lead_to
from ._table cimport Move, State
from ._waiting cimport Waiting

cdef double COME, inf
cdef tuple POLICIES
cdef int ON_GRANT, ON_RETURN, ON_RETURN_LAST, ON_RIPEN
cdef State ABSENT, LEASED
cdef object ADD, MERGE, REFUSE, RETURN, REVISE
cdef object BACK, END, LIVE, OPEN, RESERVED

cdef type Lease


cdef class Moves(Waiting):
    cdef public double _default
    cdef public double _maxsize
    cdef public int _event
    cdef public object _phase
    cdef public bint _busy
    cdef public bint _end_matters
    cdef public KeyMap _keys
    cdef public Line _returned
    cdef public Line _arrived
    cdef public dict _grants
    cdef public Py_ssize_t _items
    cdef public Py_ssize_t _delayed
    cdef public Py_ssize_t _deferred
    cdef public dict _slots
    cdef public object _issuer
    cdef public long long _packed
    cdef public long long _version
    cdef public long long _number
    cdef public long long _undelivered
    cdef public long long _releases
    cdef public long long _expiries
    cdef public long long _recalls
    cdef public long long _discards
    cdef public long long _timeouts

    @cython.locals(entry=Entry, move=Move, newest=Grant, version=cython.longlong)
    cdef bint _store(self, key, value, int event, double delay, double now) except -1
    @cython.locals(was=State, waiter=Waiter)
    cdef _move(self, Entry entry, State state, place, double now)
    cdef _leave_line(self, Entry entry)
    @cython.locals(second=Entry)
    cdef _put_in_front(self, Entry entry)
    @cython.locals(grant=Grant, move=Move)
    cdef Grant _grant(self, Entry entry, double duration)
    cdef _deliver(self, Grant grant, double now, str action, ticket=*)
    @cython.locals(entry=Entry)
    cdef _leave_flight(self, Grant grant, standing)
    @cython.locals(entry=Entry, move=Move)
    cdef _return(self, Grant grant, standing, place, double delay, double now)
    @cython.locals(due=double)
    cdef _set_time(self, Entry entry, double delay, double now)
    cdef _unset_time(self, Entry entry)
    cdef _set_clock(self, Grant grant, double duration, double now)
    cdef _set(self, Deadline deadline, double duration, double now)
    cdef _unset(self, Deadline deadline)
    @cython.locals(move=Move)
    cdef _ripen(self, Entry entry, double now)
    @cython.locals(grant=Grant)
    cdef _hand_over(self, Entry entry, Waiter waiter, double now)
    cdef _free_slot(self, double now)
    @cython.locals(waiter=Waiter)
    cdef _offer_slots(self, double now)
    @cython.locals(entry=Entry, takers=Takers)
    cdef _tidy(self, Waiter waiter)
