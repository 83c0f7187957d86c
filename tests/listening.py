"""Ports and sockets on which a process and its descendants listen, from Linux's /proc."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LISTENS = "0A"


class Listening(NamedTuple):
    """TCP ports, and paths of Unix sockets (@ for abstract ones)."""

    ports: set[int]
    sockets: set[str]


def listening(pid: int) -> Listening:
    """Return those of a process and all its descendants, for ports bound to any address."""
    held = {inode for one in _tree(pid) for inode in _inodes(one)}
    ports = set[int]()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS and rest[5] in held:
                ports.add(int(local.rpartition(":")[2], 16))
    sockets = set[str]()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split(maxsplit=7)
        if int(flags, 16) & 0x10000 and inode in held:
            sockets.add(path[0] if path else "@")
    return Listening(ports, sockets)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _inodes(pid: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue  # closed since
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")
