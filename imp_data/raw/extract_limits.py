"""Limits of extraction: safe member names, number of members, total size, free disk space."""

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

UNTRUSTED = "do not trust this archive; get it elsewhere"
NARROW_GLOBS = "exclude it with narrower globs in `unpack` of this file in the manifest"
_INSIDE = re.compile(r"(?![/\\])(?!(.*[/\\])?\.\.([/\\]|$))", re.DOTALL)
# Files of the build itself beside an archive, and temporary files before their rename.
_RESERVED = re.compile(
    r"\..*\.(part|part\.version|partial|replaced|before|unpacked|unpacking|begun|lock|journal)"
    r"|\.decompressed"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 3_000
# Free space is checked each time this many bytes are written.
_CHECK_INTERVAL_BYTES = 64 << 20
# One file that decompresses to more than both is made to fill a disk: JSON text of records shrinks
# to a third up to a twentieth. `parquet_rows.py` has the same limits.
_MAX_RATIO, _MAX_RATIO_BYTES = 256, 1 << 30


def printable(name: str) -> str:
    """Return a member's name with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


# Not tarfile.data_filter: it covers tars only, and neither control characters, name lengths,
# reserved names nor duplicates that differ in case; zips need the same checks.
def find_unsafe_reason(name: str, regular: bool, archive: str) -> tuple[str, str] | None:
    """Return why a member must not be extracted beside its archive, and what to do; else None."""
    if not (regular and _INSIDE.match(name)) or posixpath.normpath(name) == ".":
        return "is a link or a device, or leads out of the folder", UNTRUSTED
    if _CONTROLS.search(name):
        return "has control characters in its name", NARROW_GLOBS
    steps = posixpath.normpath(name).split("/")
    sizes = [len(step.encode("utf-8", "surrogateescape")) for step in steps]
    if max(sizes) > _MAX_NAME_BYTES or sum(sizes) + len(sizes) > _MAX_PATH_BYTES:
        return "has a name that is longer than file systems allow", NARROW_GLOBS
    # A disk may treat two spellings as one name.
    if _fold(steps[0]) == _fold(archive) or any(map(_RESERVED.fullmatch, map(_fold, steps))):
        return "has the name of the archive or of a file of the build", UNTRUSTED
    return None


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class ExtractionBudget:
    """Counts extracted members and bytes against the limits and the free disk space."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._disk = local_folder(folder)
        self._members = self._bytes = self._unchecked = 0
        self._compressed: int | None = None

    def limit_ratio(self, compressed_bytes: int) -> None:
        """Refuse more than 1 GiB that is more than 256 times these bytes."""
        self._compressed = compressed_bytes

    def count_member(self) -> None:
        """Count a member. Raise UserError if there are too many."""
        self._members += 1
        if self._members > self._limits.max_members:
            self._refuse(f"has more than {self._limits.max_members:,} members", "max_members")

    def check_position(self, position: int) -> None:
        """Raise UserError if the decompressed position exceeds the size limit."""
        if position > self._limits.max_unpacked_bytes:
            self._refuse_size()

    def count_bytes(self, size: int) -> None:
        """Count bytes to extract. Raise UserError if they exceed the limit or the free space."""
        self._bytes += size
        if self._bytes > self._limits.max_unpacked_bytes:
            self._refuse_size()
        if self._compressed is not None and self._bytes > _MAX_RATIO_BYTES:
            self._check_ratio(self._compressed)
        self._unchecked += size
        if self._unchecked > _CHECK_INTERVAL_BYTES:
            self.check_free_space(size)
            self._unchecked = 0

    def check_free_space(self, size: int) -> None:
        """Raise UserError if the disk has less free space."""
        self._disk.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._disk).free
        if size > free:
            need = f"{self._archive.name} unpacks to {size:,} bytes, {free:,} are free"
            problem = f"cannot be written ({os.strerror(errno.ENOSPC)}): {need}"
            remedy = (
                "free space or grant access, then run the same command again; extracted files are "
                "kept"
            )
            raise UserError(self._disk, problem, remedy)

    def _check_ratio(self, compressed_bytes: int) -> None:
        if self._bytes > _MAX_RATIO * compressed_bytes:
            problem = f"decompresses to more than {_MAX_RATIO} times its {compressed_bytes:,} bytes"
            remedy = "if it is genuine, decompress it yourself and name that file in `records`"
            raise UserError(self._archive, problem, remedy)

    def _refuse_size(self) -> None:
        limit = self._limits.max_unpacked_bytes
        self._refuse(f"unpacks to more than {limit:,} bytes", "max_unpacked_bytes")

    def _refuse(self, problem: str, limit: str) -> None:
        remedy = (
            f"if this is the publisher's archive, raise `{limit}` in `limits` of the mixture's "
            f"manifest; else {UNTRUSTED}"
        )
        raise UserError(self._archive, problem, remedy)
