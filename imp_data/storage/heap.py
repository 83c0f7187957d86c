"""Return freed memory to the system, so that the peak of one stage is not held for all.

By default glibc keeps much of it in heaps of each thread. `imp_data.__init__` makes Arrow allocate
from glibc, since Arrow's own pool keeps more.
"""

import ctypes
from functools import cache

_LARGE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 22
_HEAPS = 2
# Of glibc; other C libraries lack malloc_trim.
_LIBC = ctypes.CDLL(None)
_TRIM = getattr(_LIBC, "malloc_trim", None)
# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def trim_heap() -> None:
    """Return free memory to the system, now and, for large blocks, whenever they are freed.

    Takes milliseconds; call it between stages or after a large piece of work.
    """
    _set()
    if _TRIM is not None:  # free memory between blocks in use
        _TRIM(0)


@cache
def _set() -> None:
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _HEAPS)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
