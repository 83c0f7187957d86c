"""Weights on huge pages: a token reads them all, and 4 KiB at a time most of that is looking up.

On two cores of a virtual machine Imp-3B's shape answers a third faster so (docs/mobile.md).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MAPS = Path("/proc/self/maps")
_LARGE_BYTES = 32 << 20
# Linux, asm-generic/mman-common.h; since 6.1. An older kernel refuses it, and the pages stay small.
_MADV_COLLAPSE = 25
# The same for a program that is still to start, from glibc 2.35: malloc asks for huge pages.
HUGE_PAGES_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class MemoryMapping(NamedTuple):
    """Addresses of a piece of this process's memory."""

    start: int
    end: int


@contextmanager
def huge_pages() -> Iterator[None]:
    """At its end what the block allocates in large pieces is moved to huge pages, and what adjoins.

    Where the system has none nothing changes.
    """
    before = set(_large())
    yield
    for mapping in _large():
        if mapping not in before:
            start, size = ctypes.c_void_p(mapping.start), mapping.end - mapping.start
            ctypes.CDLL(None).madvise(start, ctypes.c_size_t(size), _MADV_COLLAPSE)


def _large() -> Iterator[MemoryMapping]:
    """This process's large pieces of memory that no file is behind; none on other systems."""
    if not _MAPS.exists():
        return
    for line in _MAPS.read_text().splitlines():
        addresses, access, *_, inode = line.split(maxsplit=5)[:5]
        mapping = MemoryMapping(*(int(address, 16) for address in addresses.split("-")))
        if access == "rw-p" and inode == "0" and mapping.end - mapping.start >= _LARGE_BYTES:
            yield mapping
