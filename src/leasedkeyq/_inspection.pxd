cimport cython

from ._phases cimport Phases
from ._records cimport Entry, Grant, Handle


cdef object ACKED, CLOSED, EXPIRED, LIVE, leased
cdef type Lease


cdef class Inspection(Phases):
    cpdef reap(self, double now)
    @cython.locals(grant=Grant, given=Handle)
    cdef Grant _live(self, lease)
    @cython.locals(grant=Grant)
    cdef Grant _rebuilt(self, lease)
