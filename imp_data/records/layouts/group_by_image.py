"""Divide records into chunks in which all records of an image are together."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.parallel import Crash, map_ordered
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import read_spans, text_getter
from imp_data.records.record_chunk import CHUNK_ROWS, Chunk, find_too_large, readable_sizes
from imp_data.storage.range_reader import open_file

NameHashes = npt.NDArray[np.uint64]
_Work = Callable[["_Piece"], NameHashes]


class GroupIndex(NamedTuple):
    """The location of each record, in 16 bytes, and the runs of records on the same image.

    Records are in upstream order; those of file n begin with record `files[n]`. Run n begins with
    record `begins[n]`, and its image has the 64-bit name hash `names[n]`.
    """

    files: Offsets
    starts: Offsets
    ends: Offsets
    begins: Offsets
    names: npt.NDArray[np.uint64]


class _Runs(NamedTuple):
    """Runs of records on one image: first record, length, and first record of the image."""

    begins: Offsets
    lengths: Offsets
    groups: Offsets


class _Piece(NamedTuple):
    file: Path
    starts: Offsets
    ends: Offsets

    def split(self) -> Iterator["_Piece"]:
        """Split into single records."""
        for position in range(len(self.starts)):
            yield _Piece(self.file, *(s[position : position + 1] for s in (self.starts, self.ends)))


def chunk_by_image(
    files: Sequence[Path],
    image: str,
    fields: frozenset[str],
    limits: Limits,
    key: str | None = None,
    size: int = CHUNK_ROWS,
) -> Iterator[Chunk]:
    """Yield chunks in which all records of an image are together, images in upstream order.

    `image` is the field that names it; `fields` are those of every record. Records without a
    readable image form their own group, as do the records of an image that together exceed the
    size limit of one record: none of those is read. Memory: 16 bytes per record, and 64 for each
    change of image from one record to the next.
    """
    index = _build_index(files, image, fields, key, limits)
    for here, groups, rejections in group_rows(index, limits.max_record_bytes, size):
        yield Chunk(
            tuple(files),
            np.searchsorted(index.files, here, side="right") - 1,
            index.starts[here],
            index.ends[here],
            groups,
            here,
            rejections,
        )


# Above 40 lines: each chunk continues from the counters of the one before.
def group_rows(
    index: GroupIndex, max_bytes: int, size: int = CHUNK_ROWS, pieces: int = 1
) -> Iterator[tuple[Offsets, Offsets, dict[int, Verdict]]]:
    """Yield for each chunk its records, the group of each, and the records not to be read.

    A chunk has at least `size` records, or `pieces` times the bytes of one record, or the rest; a
    group is never split unless it exceeds the size limit of one record, `max_bytes`.
    """
    runs = _sort_runs(index)
    totals = _total_bytes(index, runs, max_bytes)
    runs, totals = _split_large_groups(runs, totals, max_bytes, size)
    last_of_group = np.flatnonzero(np.diff(runs.groups, append=-1))
    rows = np.cumsum(runs.lengths)[last_of_group]
    held = np.cumsum(readable_sizes(totals[last_of_group], max_bytes))
    done = first = 0
    while first < len(last_of_group):
        rows_before, held_before = (rows[first - 1], held[first - 1]) if first else (0, 0)
        by_rows = np.searchsorted(rows, rows_before + size)
        allowed = held_before + pieces * max_bytes
        by_bytes = max(np.searchsorted(held, allowed, side="right") - 1, first)
        enough = min(by_rows, by_bytes, len(last_of_group) - 1)
        until = int(last_of_group[enough]) + 1
        span = slice(done, until)
        here = _concatenate_ranges(runs.begins[span], runs.lengths[span])
        groups = np.repeat(runs.groups[span], runs.lengths[span])
        bytes_on_image = np.repeat(totals[span], runs.lengths[span])
        yield here, groups, _find_rejections(index, here, bytes_on_image, max_bytes)
        done, first = until, int(enough) + 1


def _total_bytes(index: GroupIndex, runs: _Runs, max_bytes: int) -> Offsets:
    """Return for each run the bytes that are read for all records of its image."""
    if not len(runs.groups):
        return runs.groups
    sizes = np.append(0, np.cumsum(readable_sizes(index.ends - index.starts, max_bytes)))
    of_run = sizes[runs.begins + runs.lengths] - sizes[runs.begins]
    firsts = np.flatnonzero(np.diff(runs.groups, prepend=-1))
    of_group = np.add.reduceat(of_run, firsts)
    totals: Offsets = np.repeat(of_group, np.diff(firsts, append=len(of_run)))
    return totals


def _split_large_groups(
    runs: _Runs, totals: Offsets, max_bytes: int, size: int
) -> tuple[_Runs, Offsets]:
    """Split runs of images that exceed the limit into pieces, each a group of its own.

    A piece has at most `size` records: they are not read, so they need not stay together.
    """
    over = totals > max_bytes
    if not over.any():
        return runs, totals
    pieces = np.where(over, -(-runs.lengths // size), 1)
    within = _concatenate_ranges(np.zeros_like(pieces), pieces) * size
    lengths = np.repeat(runs.lengths, pieces) - within
    begins = np.repeat(runs.begins, pieces) + within
    over = np.repeat(over, pieces)
    groups = np.where(over, begins, np.repeat(runs.groups, pieces))
    lengths = np.where(over, np.minimum(lengths, size), lengths)
    return _Runs(begins, lengths, groups), np.repeat(totals, pieces)


def _find_rejections(
    index: GroupIndex, here: Offsets, totals: Offsets, max_bytes: int
) -> dict[int, Verdict]:
    """Return the verdicts on records that are too large, alone or with others on the image."""
    rejections = {
        ordinal: Verdict(Reason.RECORD_TOO_LARGE, {"bytes_on_image": total, "most": max_bytes})
        for ordinal, total in zip(
            here[totals > max_bytes].tolist(), totals[totals > max_bytes].tolist(), strict=True
        )
    }
    return rejections | find_too_large(here, index.ends[here] - index.starts[here], max_bytes)


def _sort_runs(index: GroupIndex) -> _Runs:
    """Order runs so that those of an image are adjacent, images in upstream order."""
    _, first, inverse = np.unique(index.names, return_index=True, return_inverse=True)
    groups = index.begins[first[inverse]]
    order = np.argsort(groups, kind="stable")
    lengths = np.diff(index.begins, append=len(index.starts))
    return _Runs(index.begins[order], lengths[order], groups[order])


def _concatenate_ranges(begins: Offsets, lengths: Offsets) -> Offsets:
    """Return begins[n], begins[n] + 1, … for each length, concatenated."""
    before = np.cumsum(lengths) - lengths
    ranges: Offsets = np.arange(lengths.sum()) + np.repeat(begins - before, lengths)
    return ranges


def _build_index(
    files: Sequence[Path], image: str, fields: frozenset[str], key: str | None, limits: Limits
) -> GroupIndex:
    first, starts, ends = [0], bytearray(), bytearray()

    def pieces() -> Iterator[_Piece]:
        nonlocal starts, ends
        for file in files:
            for spans in json_spans(file, key, fields=fields, max_bytes=limits.max_record_bytes):
                starts += spans.starts.astype(np.int64).tobytes()
                ends += spans.ends.astype(np.int64).tobytes()
                yield _Piece(file, *spans)
            first.append(len(starts) // 8)

    begins, names, done = bytearray(), bytearray(), 0
    work = partial(_hash_names, image=image, max_bytes=limits.max_record_bytes)
    seconds = limits.max_read_seconds
    isolate = partial(_hash_names_one_by_one, work, seconds)
    for some in map_ordered(work, pieces(), on_crash=isolate, seconds=seconds):
        before = np.frombuffer(names[-8:] or ~some[:1], np.uint64)
        changes = np.flatnonzero(some != np.append(before, some[:-1]))
        begins += (changes + done).tobytes()
        names += some[changes].tobytes()
        done += len(some)
    return GroupIndex(
        np.array(first[:-1]),
        np.frombuffer(starts, np.int64),
        np.frombuffer(ends, np.int64),
        np.frombuffer(begins, np.int64),
        np.frombuffer(names, np.uint64),
    )


def _hash_names_one_by_one(work: _Work, seconds: int, piece: _Piece, _: Crash) -> NameHashes:
    """Hash image names record by record after the worker died, to isolate the cause."""

    def hash_position(one: _Piece, _: Crash) -> NameHashes:
        return np.array([_hash_position(one.file, int(one.starts[0]))], np.uint64)

    names = map_ordered(work, piece.split(), on_crash=hash_position, seconds=seconds)
    return np.concatenate(list(names))


def _hash_position(file: Path, start: int) -> int:
    """Return the hash that replaces the image name of a record that is not read."""
    return xxhash.xxh3_64_intdigest(f"{start} {file}".encode(), seed=2)


def _hash_names(piece: _Piece, image: str, max_bytes: int) -> NameHashes:
    """Return the xxh3 of each record's image name, or of the record itself without one."""
    hashes = []
    get = text_getter(image)
    ends = piece.starts + readable_sizes(piece.ends - piece.starts, max_bytes)
    with open_file(piece.file) as stream:
        for element, start in zip(
            read_spans(stream, piece.starts, ends), piece.starts.tolist(), strict=True
        ):
            if not element:
                hashes.append(_hash_position(piece.file, start))
                continue
            try:
                name = get(orjson.loads(element))
            except orjson.JSONDecodeError:
                parsed = parse(element)
                name = None if isinstance(parsed, Verdict) else get(parsed[0])
            if name is None:
                text = element + str(piece.file).encode()
                hashes.append(xxhash.xxh3_64_intdigest(text, seed=1))
            else:
                hashes.append(xxhash.xxh3_64_intdigest(name.encode()))
    return np.array(hashes, np.uint64)
