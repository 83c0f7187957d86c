"""Decompress a source's gzip and zstd files of records, one at a time, within limits."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event

import pyarrow as pa

from imp_data.errors import REFETCH, UserError
from imp_data.manifests import Limits, Publication, Source
from imp_data.raw.extract_limits import ExtractionBudget
from imp_data.raw.extract_marker import Marker
from imp_data.storage.atomic_write import write_atomically
from imp_data.storage.decompressed import decompressed_path, is_compressed
from imp_data.storage.digests import file_sha256
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind, kind_phrase
from imp_data.storage.globs import matching_files
from imp_data.storage.object_store import exists, file_size
from imp_data.storage.range_reader import open_file
from imp_data.storage.zip_stream import is_disk_error

_PIECE_BYTES = 1 << 20
_ERRORS = (gzip.BadGzipFile, zlib.error, EOFError, OSError)
_RESUME = "run the same command again; files that are decompressed are kept"


def compressed_records(manifests: Sequence[Publication], folder: Path) -> list[Path]:
    """Return the files of records of these manifests in `folder` that are to be decompressed."""
    patterns = [pattern for m in manifests if isinstance(m, Source) for pattern in m.records]
    found = {file for pattern in patterns for file in matching_files(folder, pattern)}
    return sorted(file for file in found if is_compressed(file.name))


def decompress_records(
    manifests: Sequence[Publication], folder: Path, limits: Limits, stop: Event | None = None
) -> dict[str, str]:
    """Decompress the files of records that need it; return {path of the copy: its sha256}.

    A copy that is whole and was made of the same bytes is kept, so that a run that was killed goes
    on with the next file. Raise UserError if a file is damaged or exceeds `limits`, or once `stop`
    is set.
    """
    found: dict[str, str] = {}
    for file in compressed_records(manifests, folder):
        copy = decompressed_path(folder, file.relative_to(folder).as_posix())
        found[copy.relative_to(folder).as_posix()] = decompress(file, copy, limits, stop)
    return found


def decompress(file: Path, copy: Path, limits: Limits, stop: Event | None = None) -> str:
    """Decompress a file to `copy` unless that is done already; return the sha256 of the copy.

    The marker beside the copy, written last, holds the sha256 of both.
    """
    marker = Marker(copy, file_sha256(file))
    known = marker.read_current()
    if known and exists(copy) and file_sha256(copy) == known[0]:
        return known[0]
    budget = ExtractionBudget(file, copy.parent, limits)
    budget.limit_ratio(file_size(file))
    with write_atomically(copy, alone=True) as aside, aside.open("wb") as out:
        for piece in _pieces(file):
            if stop is not None and stop.is_set():
                raise UserError(file, "is not decompressed: the run ended", _RESUME)
            budget.count_bytes(len(piece))
            out.write(piece)
    digest = file_sha256(copy)
    marker.write_finished([digest])
    return digest


def _pieces(file: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes. Raise UserError where the data end early or are damaged."""
    kind = _kind(file)
    done = 0
    with open_file(file) as opened:
        stream = (
            gzip.GzipFile(fileobj=opened)
            if kind == "gzip"
            else pa.CompressedInputStream(pa.PythonFile(opened, mode="r"), "zstd")
        )
        with closing(stream):
            while True:
                try:
                    piece = stream.read(_PIECE_BYTES)
                except _ERRORS as error:
                    if is_disk_error(error):
                        raise
                    raise _damage(file, kind, done, " ".join(str(error).split())) from error
                if not piece:
                    return
                done += len(piece)
                yield piece


def _kind(file: Path) -> str:
    """Return gzip or zstd, by the first bytes. Raise UserError for another kind."""
    with open_file(file) as opened:
        head = opened.read(HEAD_BYTES)
    kind = "zstd" if _is_skippable(head) else detect_kind(head)
    if kind in ("gzip", "zstd"):
        return kind
    problem = "is empty" if not head else f"is {kind_phrase(kind)}"
    problem = f"{problem}, although its name ends in {file.suffix}"
    remedy = f"if it is what it should be, give it its own ending; else {REFETCH}"
    raise UserError(file, problem, remedy)


def _is_skippable(head: bytes) -> bool:
    """Return whether a zstd frame without content begins here (RFC 8878, 3.1.2), as of pzstd."""
    return len(head) >= 4 and 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F


def _damage(file: Path, kind: str, done: int, problem: str) -> UserError:
    """Return the error of a compressed file that cannot be read on after `done` bytes."""
    after = f"after at least {done:,} decompressed bytes"
    if "too much memory" in problem:
        remedy = f"write it again with a smaller window (zstd -d --long=31 {file.name}, then zstd)"
        return UserError(file, f"needs a window of more than 128 MiB: {problem}", remedy)
    if "end-of-stream" in problem or "Truncated" in problem:
        return UserError(file, f"ends in the middle of its {kind} data, {after}", REFETCH)
    # Its first bytes are of that kind.
    if "Not a gzipped file" in problem or "frame descriptor" in problem:
        return UserError(file, f"has bytes after its {kind} data that are not {kind}", REFETCH)
    return UserError(file, f"is damaged in its {kind} data, {after}: {problem}", REFETCH)
