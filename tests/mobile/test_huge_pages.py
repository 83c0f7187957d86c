"""Large allocations are moved to huge pages, checked in /proc/self/smaps."""

import ctypes
import mmap
from pathlib import Path

import pytest

from imp_data.mobile.runtime.huge_pages import huge_pages

MIB = 1 << 20
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
if not SWITCH.exists() or "[never]" in SWITCH.read_text():
    pytest.skip("this system has no transparent huge pages", allow_module_level=True)


def filled(mib: int) -> mmap.mmap:
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
    return memory


def huge_mib(memory: mmap.mmap) -> int:
    """Return the MiB in huge pages of the mapping that contains it, by /proc/self/smaps."""
    address, inside = ctypes.addressof(ctypes.c_char.from_buffer(memory)), False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head, *rest = line.split()
        if not head.endswith(":"):
            start, end = (int(bound, 16) for bound in head.split("-"))
            inside = start <= address < end
        elif inside and head == "AnonHugePages:":
            return int(rest[0]) // 1024
    raise AssertionError("no mapping has it")


def test_large_allocations_in_the_block_are_moved_to_huge_pages() -> None:
    with huge_pages():
        large = filled(96)
    # Everything but the ends, if the kernel finds enough contiguous memory.
    assert huge_mib(large) >= 48


def test_earlier_allocations_are_unchanged() -> None:
    with huge_pages():
        memory = filled(40)
        memory[5 * MIB : 5 * MIB + 5] = b"hello"
    assert memory[5 * MIB : 5 * MIB + 5] == b"hello"
    assert sum(memory[at] for at in range(0, len(memory), mmap.PAGESIZE)) > len(memory) >> 12
