cimport cython

from ._records cimport Entry
from ._table cimport State

cdef State ABSENT
cdef double COME


@cython.final
cdef class KeyMap:
    cdef dict _entries
    cdef public Py_ssize_t leftovers

    cpdef Entry find(self, key)
    cpdef Entry add(self, key)
    cpdef remove(self, Entry entry)
    cpdef forget(self, Entry entry)
