cimport cython

from ._deadlines cimport Deadline
from ._linkedlist cimport LinkedList, Node
from ._table cimport State

cdef double inf
cdef bint COMPILED
cdef object _set_grant


@cython.final
cdef class Entry(Deadline):
    cdef public object key
    cdef public State state
    cdef public object value
    cdef public long long version
    cdef public long long attempts
    cdef public double since
    cdef public long long newest
    cdef public Grant chain
    cdef public Takers takers

    @cython.locals(newer=Grant, older=Grant)
    cpdef admit(self, Grant grant)


@cython.final
cdef class Line(LinkedList):
    pass


cdef class Calls(LinkedList):
    pass


@cython.final
cdef class Takers(Calls):
    cdef public Py_ssize_t count


@cython.final
cdef class Grant(Deadline):
    cdef public long long number
    cdef public object issuer
    cdef public str prefix
    cdef public Entry entry
    cdef public object value
    cdef public long long version
    cdef public long long attempts
    cdef public long long attempt
    cdef public long long seen
    cdef public double duration
    cdef public double since
    cdef public Waiter waiter
    cdef public object standing
    cdef public Grant older


cdef class Handle:
    cdef object __weakref__
    cdef public Grant _grant


cpdef lead_to(Handle handle, Grant grant)


@cython.final
cdef class Limit(Deadline):
    cdef public Waiter waiter


@cython.final
cdef class Waiter(Node):
    cdef public object ticket
    cdef public str kind
    cdef public object key
    cdef public Entry entry
    cdef public object put
    cdef public double duration
    cdef public double timeout
    cdef public Limit limit
    cdef public object caller
    cdef public object outcome
    cdef public Grant grant


@cython.final
cdef class Outbox:
    cdef public bint changed
    cdef public object woken
    cdef public object left
    cdef public double alarm
    cdef public list dropped
    cdef public list events
