"""What a process has freed goes back to the system, so that one stage's peak is not kept for all.

By default glibc's heaps keep much of it, for each thread by itself. Arrow, whose own pool keeps
more, is told in this package's `__init__` to ask glibc.
"""

import ctypes
from functools import cache

_LARGE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 22
_HEAPS = 2
# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


@cache
def give_back() -> None:
    """Set this process's allocator so; what it holds already is left as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other systems have other ways
        mallopt(_ARENA_MAX, _HEAPS)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
