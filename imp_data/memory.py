"""What a process has freed goes back to the system, so that one stage's peak is not kept for all.

By default Arrow's pool and glibc's heaps keep most of it, for each thread by itself.
"""

import ctypes
from functools import cache

import pyarrow as pa

_LARGE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 22
_HEAPS = 2
# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


@cache
def give_back() -> None:
    """Set this process's allocators so; what holds memory already is left as it is."""
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc's; other systems have other ways
        mallopt(_ARENA_MAX, _HEAPS)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
