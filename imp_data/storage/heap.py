"""What a process has freed goes back to the system, so that one stage's peak is not kept for all.

By default glibc's heaps keep much of it, for each thread by itself. Arrow, whose own pool keeps
more, is told in this package's `__init__` to ask glibc.
"""

import ctypes
from functools import cache

_LARGE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 22
_HEAPS = 2
# glibc's; other systems have other ways.
_LIBC = ctypes.CDLL(None)
_TRIM = getattr(_LIBC, "malloc_trim", None)
# From its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def trim_heap() -> None:
    """Give back what this process holds free; from now on, most of what it frees by itself.

    Takes milliseconds: for between stages, or after a large piece of work.
    """
    _set()
    if _TRIM is not None:  # what lies between blocks in use
        _TRIM(0)


@cache
def _set() -> None:
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _HEAPS)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
