"""What may be laid down of an archive: names that harm nothing, and no more than has room."""

import errno
import os
import posixpath
import re
import shutil
import unicodedata
from pathlib import Path

from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.storage.paths import local_folder

NO_TRUST = "do not trust this archive; get it elsewhere"
NARROWER = "leave it out by narrower globs in `unpack` of this file in the manifest"
_INSIDE = re.compile(r"(?![/\\])(?!(.*[/\\])?\.\.([/\\]|$))", re.DOTALL)
# What the build itself puts beside an archive, or where it writes a file to be renamed.
_OURS = re.compile(
    r"\..*\.(part|part\.version|partial|replaced|before|unpacked|unpacking|begun|lock|journal)"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MOST_NAME_BYTES, _MOST_PATH_BYTES = 255, 3_000
# Files are counted in blocks by a disk; this many at most are laid without asking for its room.
_UNASKED_BYTES = 64 << 20


def printable(name: str) -> str:
    """A member's name as a terminal may show it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def refusal(name: str, regular: bool, archive: str) -> tuple[str, str] | None:
    """Why a member must not be laid down beside its archive, and what to do; None where it may."""
    if not (regular and _INSIDE.match(name)) or posixpath.normpath(name) == ".":
        return "is a link or a device, or leads out of the folder", NO_TRUST
    if _CONTROLS.search(name):
        return "has control characters in its name", NARROWER
    steps = posixpath.normpath(name).split("/")
    sizes = [len(step.encode("utf-8", "surrogateescape")) for step in steps]
    if max(sizes) > _MOST_NAME_BYTES or sum(sizes) + len(sizes) > _MOST_PATH_BYTES:
        return "has a name that is longer than any file's", NARROWER
    # A disk may hold two spellings for one.
    if _folded(steps[0]) == _folded(archive) or any(map(_OURS.fullmatch, map(_folded, steps))):
        return "has the name of a file that is not its own", NO_TRUST
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Room:
    """Counts what an archive makes, and asks the disk before there is too much of it."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._disk = local_folder(folder)
        self._members = self._bytes = self._unasked = 0

    def member(self) -> None:
        """Count a member. Raises UserError where there are more than may be."""
        self._members += 1
        if self._members > self._limits.max_members:
            self._refuse(f"has more than {self._limits.max_members:,} members", "max_members")

    def reach(self, position: int) -> None:
        """Raise UserError where what is compressed comes to more bytes than may be."""
        if position > self._limits.max_unpacked_bytes:
            self._too_large()

    def lay(self, size: int) -> None:
        """Count bytes that are to be laid; UserError where these are more than may be or fit."""
        self._bytes += size
        if self._bytes > self._limits.max_unpacked_bytes:
            self._too_large()
        self._unasked += size
        if self._unasked > _UNASKED_BYTES:
            self.ask(size)
            self._unasked = 0

    def ask(self, size: int) -> None:
        """Raise UserError where the disk has not as much room."""
        self._disk.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._disk).free
        if size > free:
            asked = f"{self._archive.name} unpacks to {size:,} bytes, {free:,} are free"
            problem = f"cannot be written ({os.strerror(errno.ENOSPC)}): {asked}"
            remedy = (
                "make room or grant access, then run the same command again; what is laid is kept"
            )
            raise UserError(self._disk, problem, remedy)

    def _too_large(self) -> None:
        most = self._limits.max_unpacked_bytes
        self._refuse(f"unpacks to more than {most:,} bytes", "max_unpacked_bytes")

    def _refuse(self, problem: str, limit: str) -> None:
        remedy = (
            f"if it is what its publisher says, raise `{limit}` in `limits` of the mixture's "
            f"manifest; else {NO_TRUST}"
        )
        raise UserError(self._archive, problem, remedy)
