"""The members of a zip, piece by piece and never beyond their stated size."""

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

# Whatever zipfile and its decompressors raise of damaged bytes.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error),
    *(RuntimeError, OverflowError),  # encrypted, or compressed as nobody knows; lies of 64 bits
)
# Each takes some 700 bytes of memory; the largest zip of images that is known here has 560,000.
MOST_MEMBERS = 5_000_000
_MOST_AT_ONCE, _COUNTED_FROM = 1 << 30, 64 << 20
_ENTRY_MARK = b"PK\1\2"
_PIECE_BYTES = 64 << 10
# No encoder makes more of its input than this; the rest is room for small ones.
_LARGEST_GROWTH, _SLACK_BYTES = 2, 64 << 10
_MOST_LZMA_BYTES = 256 << 20
_END_MARK_FLAG = 0x2  # APPNOTE 4.4.4, bit 1: LZMA data end by a mark
_HEADER_BYTES = 30


def of_the_disk(error: Exception) -> bool:
    """Whether the bytes could not be had: no fact about them. EINVAL is an offset below zero."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


class _Bounded(io.BufferedReader):
    """A file of which nobody reads more at once than a zip's directory may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            place = self.tell()
            size = self.seek(0, io.SEEK_END) - self.seek(place)
        if size > _MOST_AT_ONCE:
            raise zipfile.BadZipFile("its directory is larger than any that is read here")
        data = super().read(size)
        if size > _COUNTED_FROM and data.count(_ENTRY_MARK) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MOST_MEMBERS:,} members")
        return data


class Zip(zipfile.ZipFile):
    """A zip whose members are known by name, the last of a name; see `pieces`.

    Raises zipfile.BadZipFile, or another of DAMAGED, where it is none.
    """

    def __init__(self, file: Path | io.RawIOBase) -> None:
        raw = open_unbuffered(file) if isinstance(file, Path) else file
        self._own = _Bounded(raw)
        try:
            super().__init__(self._own)
        except BaseException:
            self._own.close()
            raise
        self.links: dict[str, str] | None = None  # what is known of them, by who asks for members

    def close(self) -> None:
        super().close()
        if getattr(self, "_own", None) is not None:
            self._own.close()

    def check(self, info: zipfile.ZipInfo) -> None:
        """Raise BadZipFile where the directory cannot be right of a member."""
        if info.compress_size > _LARGEST_GROWTH * info.file_size + _SLACK_BYTES:
            raise zipfile.BadZipFile(f"{info.filename!r} is larger packed than it can be")

    def prefetch(self, info: zipfile.ZipInfo) -> AbstractContextManager[None]:
        """Hold a member's bytes for what this thread reads in the block, where that pays off."""
        return nullcontext()

    def overlapping(self) -> str | None:
        """A member that reaches into the next one: so is a zip made that unpacks without end."""
        members = {info.header_offset: info for info in self.filelist}
        offsets = sorted(members)
        for offset, following in zip(offsets, [*offsets[1:], self.start_dir], strict=True):
            if offset + _HEADER_BYTES + members[offset].compress_size > following:
                return members[offset].filename
        return None

    def pieces(self, info: zipfile.ZipInfo, at_once: int = _PIECE_BYTES) -> Iterator[bytes]:
        """A member's bytes; an error where they are not those that its checksum is of."""
        self.check(info)
        if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            yield from self._expanded(info)
            return
        # A stated size may lie: deflate gives no more than is asked for. Where nothing is asked for
        # no checksum is compared.
        left = info.file_size
        with self.open(info) as file:
            while piece := file.read(max(at_once, 1)):
                left -= len(piece)
                yield piece
        if left:
            raise zipfile.BadZipFile(f"{info.filename!r} has fewer bytes than it states")

    def _expanded(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """By bzip2 or LZMA, of which zipfile makes all it can of its input: 45 MB of 40 bytes."""
        packed = copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
        packed.CRC = None  # type: ignore[assignment]  # that of the unpacked bytes, compared below
        left, crc = info.file_size, 0
        with self.open(packed) as file:
            bzip2 = info.compress_type == zipfile.ZIP_BZIP2
            stream, data = (bz2.BZ2Decompressor(), b"") if bzip2 else _lzma(info, file.read(9))
            while left > 0 and not stream.eof:
                if stream.needs_input:
                    more = file.read(_PIECE_BYTES)
                    if not (data or more):
                        raise EOFError(f"the data of {info.filename!r} end too early")
                    data += more
                piece = stream.decompress(data, min(left, _PIECE_BYTES))
                left, crc, data = left - len(piece), zlib.crc32(piece, crc), b""
                if piece:
                    yield piece
        if left or crc != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")


def _lzma(info: zipfile.ZipInfo, head: bytes) -> tuple[lzma.LZMADecompressor, bytes]:
    """What decompresses a member that begins so, and what to give it first (APPNOTE 5.8.8)."""
    if len(head) != 9 or head[2:4] != b"\5\0":
        raise zipfile.BadZipFile(f"{info.filename!r} has no properties of LZMA")
    size = 2**64 - 1 if info.flag_bits & _END_MARK_FLAG else info.file_size
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_LZMA_BYTES)
    return stream, head[4:] + size.to_bytes(8, "little")
