from ._machine cimport Machine
from ._records cimport Outbox

cdef double inf, nan


cdef class Telling:
    cdef public Machine _machine
    cdef public Outbox _outbox
    cdef public object _loop
    cdef public object _observer
    cdef public bint _telling
    cdef public bint _exact
    cdef public double _untimed

    cdef _tell_observer(self)
