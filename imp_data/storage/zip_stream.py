"""Read the members of a zip in pieces, never beyond their stated size."""

import bz2
import errno
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from pathlib import Path

from imp_data.storage.range_reader import open_unbuffered

# Exceptions that zipfile and its decompressors raise on damaged bytes.
DAMAGE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error),
    *(RuntimeError, OverflowError),  # encrypted, unknown compression; 64-bit sizes that are wrong
)
# Each member takes about 700 bytes of memory; the largest known zip of images has 560,000.
MOST_MEMBERS = 5_000_000
_MOST_AT_ONCE, _COUNTED_FROM = 1 << 30, 64 << 20
_ENTRY_MARK = b"PK\1\2"
_PIECE_BYTES = 64 << 10
# No encoder enlarges its input more than this; the slack is for small members.
_LARGEST_GROWTH, _SLACK_BYTES = 2, 64 << 10
_MOST_LZMA_BYTES = 256 << 20
_END_MARK_FLAG = 0x2  # APPNOTE 4.4.4, bit 1: LZMA data end with a mark
_HEADER_BYTES = 30


def is_disk_error(error: Exception) -> bool:
    """Return whether the disk failed: no fact about the bytes. EINVAL is a bad offset."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


class _Bounded(io.BufferedReader):
    """A file that limits the size of one read, and with it the size of a zip's directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            place = self.tell()
            size = self.seek(0, io.SEEK_END) - self.seek(place)
        if size > _MOST_AT_ONCE:
            raise zipfile.BadZipFile("its directory is larger than the limit")
        data = super().read(size)
        if size > _COUNTED_FROM and data.count(_ENTRY_MARK) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MOST_MEMBERS:,} members")
        return data


class ZipReader(zipfile.ZipFile):
    """A zip whose members are found by name, the last one of equal names; see `pieces`.

    Raise zipfile.BadZipFile, or another of DAMAGED, if the file is no zip.
    """

    def __init__(self, file: Path | io.RawIOBase) -> None:
        raw = open_unbuffered(file) if isinstance(file, Path) else file
        self._own = _Bounded(raw)
        try:
            super().__init__(self._own)
        except BaseException:
            self._own.close()
            raise
        self.links: dict[str, str] | None = None  # set by the reader of members

    def close(self) -> None:
        super().close()
        if getattr(self, "_own", None) is not None:
            self._own.close()

    def check(self, info: zipfile.ZipInfo) -> None:
        """Raise BadZipFile if a member's entry in the directory is implausible."""
        if info.compress_size > _LARGEST_GROWTH * info.file_size + _SLACK_BYTES:
            raise zipfile.BadZipFile(f"{info.filename!r} has an implausible compressed size")

    def prefetch(self, info: zipfile.ZipInfo) -> AbstractContextManager[None]:
        """Hold a member's bytes for what this thread reads in the block, where that pays off."""
        return nullcontext()

    def overlapping(self) -> str | None:
        """Return a member that overlaps the next one, as in a zip bomb."""
        members = {info.header_offset: info for info in self.filelist}
        offsets = sorted(members)
        for offset, following in zip(offsets, [*offsets[1:], self.start_dir], strict=True):
            if offset + _HEADER_BYTES + members[offset].compress_size > following:
                return members[offset].filename
        return None

    def pieces(self, info: zipfile.ZipInfo, at_once: int = _PIECE_BYTES) -> Iterator[bytes]:
        """Yield a member's bytes; raise one of DAMAGED if its checksum differs."""
        self.check(info)
        if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            yield from self._expanded(info)
            return
        # A stated size may be wrong: deflate returns no more than is requested, and zipfile
        # compares no checksum unless at least one byte is requested.
        left = info.file_size
        with self.open(info) as file:
            while piece := file.read(max(at_once, 1)):
                left -= len(piece)
                yield piece
        if left:
            raise zipfile.BadZipFile(f"{info.filename!r} has fewer bytes than it states")

    def _expanded(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Decompress bzip2 or LZMA in pieces; zipfile would expand 40 bytes to 45 MB at once."""
        packed = copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
        packed.CRC = None  # type: ignore[assignment]  # of the decompressed bytes, compared below
        left, crc = info.file_size, 0
        with self.open(packed) as file:
            bzip2 = info.compress_type == zipfile.ZIP_BZIP2
            stream, data = (bz2.BZ2Decompressor(), b"") if bzip2 else _lzma(info, file.read(9))
            while left > 0 and not stream.eof:
                if stream.needs_input:
                    more = file.read(_PIECE_BYTES)
                    if not (data or more):
                        raise EOFError(f"the data of {info.filename!r} are truncated")
                    data += more
                piece = stream.decompress(data, min(left, _PIECE_BYTES))
                left, crc, data = left - len(piece), zlib.crc32(piece, crc), b""
                if piece:
                    yield piece
        if left or crc != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")


def _lzma(info: zipfile.ZipInfo, head: bytes) -> tuple[lzma.LZMADecompressor, bytes]:
    """Return a decompressor for a member with this head, and its first input (APPNOTE 5.8.8)."""
    if len(head) != 9 or head[2:4] != b"\5\0":
        raise zipfile.BadZipFile(f"{info.filename!r} has no LZMA properties")
    size = 2**64 - 1 if info.flag_bits & _END_MARK_FLAG else info.file_size
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_LZMA_BYTES)
    return stream, head[4:] + size.to_bytes(8, "little")
