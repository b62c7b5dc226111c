cimport cython

from ._records cimport Entry
from ._table cimport State

cdef State ABSENT


@cython.final
cdef class KeyMap(dict):
    cpdef Entry find(self, key)
    cpdef Entry add(self, key)
    cpdef remove(self, Entry entry)
