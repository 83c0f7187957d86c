"""Move weights to huge pages: each token reads all weights, and 4 KiB pages cost TLB misses.

On two cores of a virtual machine, Imp-3B's shape answers a third faster (docs/mobile.md).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MAPS = Path("/proc/self/maps")
_LARGE_BYTES = 32 << 20
# Linux 6.1, asm-generic/mman-common.h. An older kernel rejects it, and the pages stay small.
_MADV_COLLAPSE = 25
# The equivalent for a process to start, from glibc 2.35: malloc requests huge pages.
HUGE_PAGES_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class MemoryMapping(NamedTuple):
    """The address range of a memory mapping of this process."""

    start: int
    end: int


@contextmanager
def huge_pages() -> Iterator[None]:
    """Move large mappings that the block allocates, and adjacent ones, to huge pages at its end.

    Systems without huge pages are left unchanged.
    """
    before = set(_large_mappings())
    yield
    for mapping in _large_mappings():
        if mapping not in before:
            start, size = ctypes.c_void_p(mapping.start), mapping.end - mapping.start
            ctypes.CDLL(None).madvise(start, ctypes.c_size_t(size), _MADV_COLLAPSE)


def _large_mappings() -> Iterator[MemoryMapping]:
    """Yield this process's large anonymous mappings; none on systems other than Linux."""
    if not _MAPS.exists():
        return
    for line in _MAPS.read_text().splitlines():
        addresses, access, *_, inode = line.split(maxsplit=5)[:5]
        mapping = MemoryMapping(*(int(address, 16) for address in addresses.split("-")))
        if access == "rw-p" and inode == "0" and mapping.end - mapping.start >= _LARGE_BYTES:
            yield mapping
