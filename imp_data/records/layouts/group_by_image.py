"""Pieces of work in which all records on one image stand together, wherever upstream has them."""

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
from imp_data.parallel import Died, map_ordered
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import (
    CHUNK_ROWS,
    Chunk,
    read_bytes,
    slices,
    text_field,
    too_large,
)
from imp_data.storage.range_reader import open_file

Names = npt.NDArray[np.uint64]
_Work = Callable[["_Piece"], Names]


class _Index(NamedTuple):
    """Where each record is, 16 bytes, and in which runs those on one image follow one another.

    Records are in upstream order; those of file n begin with record `files[n]`. Run n begins with
    record `begins[n]` and is on the image with the 64-bit name `names[n]`.
    """

    files: Offsets
    starts: Offsets
    ends: Offsets
    begins: Offsets
    names: npt.NDArray[np.uint64]


class _Runs(NamedTuple):
    """Runs of records on one image: the first record, how many, the first on that image."""

    begins: Offsets
    lengths: Offsets
    groups: Offsets


class _Piece(NamedTuple):
    file: Path
    starts: Offsets
    ends: Offsets

    def alone(self) -> Iterator["_Piece"]:
        """Each record by itself."""
        for place in range(len(self.starts)):
            yield _Piece(self.file, *(s[place : place + 1] for s in (self.starts, self.ends)))


def grouped_chunks(
    files: Sequence[Path],
    image: str,
    fields: frozenset[str],
    limits: Limits,
    key: str | None = None,
    size: int = CHUNK_ROWS,
) -> Iterator[Chunk]:
    """Chunks in which all records on one image stand together, images in upstream order.

    `image` is the field that names it, `fields` are those that each record has. Records without
    a readable image stay alone, and so do those that are together larger than one record may be:
    none of them is read. Memory: 16 bytes a record, and 64 for each time that the image changes
    from one record to the next.
    """
    most = limits.max_record_bytes
    index = _index(files, image, fields, key, limits)
    runs = _by_image(index)
    totals = _totals(index, runs, most)
    runs, totals = _apart(runs, totals, most, size)
    last_of_group = np.flatnonzero(np.diff(runs.groups, append=-1))
    rows = np.cumsum(runs.lengths)[last_of_group]
    held = np.cumsum(read_bytes(totals[last_of_group], most))
    done = first = 0
    while first < len(last_of_group):
        # At least so many records or the bytes of one, or the rest, and never part of a group.
        rows_before, held_before = (rows[first - 1], held[first - 1]) if first else (0, 0)
        by_rows = np.searchsorted(rows, rows_before + size)
        by_bytes = max(np.searchsorted(held, held_before + most, side="right") - 1, first)
        enough = min(by_rows, by_bytes, len(last_of_group) - 1)
        until = int(last_of_group[enough]) + 1
        span = slice(done, until)
        here = _ranges(runs.begins[span], runs.lengths[span])
        yield Chunk(
            tuple(files),
            np.searchsorted(index.files, here, side="right") - 1,
            index.starts[here],
            index.ends[here],
            np.repeat(runs.groups[span], runs.lengths[span]),
            here,
            _refused(index, here, np.repeat(totals[span], runs.lengths[span]), most),
        )
        done, first = until, int(enough) + 1


def _totals(index: _Index, runs: _Runs, most: int) -> Offsets:
    """Of each run, the bytes that are read of all records on its image."""
    if not len(runs.groups):
        return runs.groups
    sizes = np.append(0, np.cumsum(read_bytes(index.ends - index.starts, most)))
    of_run = sizes[runs.begins + runs.lengths] - sizes[runs.begins]
    firsts = np.flatnonzero(np.diff(runs.groups, prepend=-1))
    of_group = np.add.reduceat(of_run, firsts)
    totals: Offsets = np.repeat(of_group, np.diff(firsts, append=len(of_run)))
    return totals


def _apart(runs: _Runs, totals: Offsets, most: int, size: int) -> tuple[_Runs, Offsets]:
    """The runs, those of images with too much on them in pieces that are images of their own.

    No piece is longer than `size`: nothing of them is read, so nothing keeps them together.
    """
    over = totals > most
    if not over.any():
        return runs, totals
    pieces = np.where(over, -(-runs.lengths // size), 1)
    within = _ranges(np.zeros_like(pieces), pieces) * size
    lengths = np.repeat(runs.lengths, pieces) - within
    begins = np.repeat(runs.begins, pieces) + within
    over = np.repeat(over, pieces)
    groups = np.where(over, begins, np.repeat(runs.groups, pieces))
    lengths = np.where(over, np.minimum(lengths, size), lengths)
    return _Runs(begins, lengths, groups), np.repeat(totals, pieces)


def _refused(index: _Index, here: Offsets, totals: Offsets, most: int) -> dict[int, Verdict]:
    """The verdicts on records that are too large, alone or with all others on their image."""
    refused = {
        ordinal: Verdict(Reason.RECORD_TOO_LARGE, {"bytes_on_image": total, "most": most})
        for ordinal, total in zip(
            here[totals > most].tolist(), totals[totals > most].tolist(), strict=True
        )
    }
    return refused | too_large(here, index.ends[here] - index.starts[here], most)


def _by_image(index: _Index) -> _Runs:
    """Runs on one image follow one another, images in upstream order."""
    _, first, inverse = np.unique(index.names, return_index=True, return_inverse=True)
    groups = index.begins[first[inverse]]
    order = np.argsort(groups, kind="stable")
    lengths = np.diff(index.begins, append=len(index.starts))
    return _Runs(index.begins[order], lengths[order], groups[order])


def _ranges(begins: Offsets, lengths: Offsets) -> Offsets:
    """begins[0], begins[0] + 1, … for each of the lengths, one after the other."""
    before = np.cumsum(lengths) - lengths
    ranges: Offsets = np.arange(lengths.sum()) + np.repeat(begins - before, lengths)
    return ranges


def _index(
    files: Sequence[Path], image: str, fields: frozenset[str], key: str | None, limits: Limits
) -> _Index:
    first, starts, ends = [0], bytearray(), bytearray()

    def pieces() -> Iterator[_Piece]:
        nonlocal starts, ends
        for file in files:
            for spans in json_spans(file, key, fields=fields, most=limits.max_record_bytes):
                starts += spans.starts.astype(np.int64).tobytes()
                ends += spans.ends.astype(np.int64).tobytes()
                yield _Piece(file, *spans)
            first.append(len(starts) // 8)

    begins, names, done = bytearray(), bytearray(), 0
    work = partial(_names, image=image, most=limits.max_record_bytes)
    seconds = limits.max_read_seconds
    alone = partial(_names_alone, work, seconds)
    for some in map_ordered(work, pieces(), on_crash=alone, seconds=seconds):
        before = np.frombuffer(names[-8:] or ~some[:1], np.uint64)
        changes = np.flatnonzero(some != np.append(before, some[:-1]))
        begins += (changes + done).tobytes()
        names += some[changes].tobytes()
        done += len(some)
    return _Index(
        np.array(first[:-1]),
        np.frombuffer(starts, np.int64),
        np.frombuffer(ends, np.int64),
        np.frombuffer(begins, np.int64),
        np.frombuffer(names, np.uint64),
    )


def _names_alone(work: _Work, seconds: int, piece: _Piece, _: Died) -> Names:
    """Record by record, of a piece that its process does not survive: one of them is the cause."""

    def nameless(one: _Piece, _: Died) -> Names:
        return np.array([_place_name(one.file, int(one.starts[0]))], np.uint64)

    names = map_ordered(work, piece.alone(), on_crash=nameless, seconds=seconds)
    return np.concatenate(list(names))


def _place_name(file: Path, start: int) -> int:
    """What stands for the image of a record that is not read."""
    return xxhash.xxh3_64_intdigest(f"{start} {file}".encode(), seed=2)


def _names(piece: _Piece, image: str, most: int) -> Names:
    """xxh3 of each element's image; of the element itself where it names none."""
    hashes = []
    get = text_field(image)
    ends = piece.starts + read_bytes(piece.ends - piece.starts, most)
    with open_file(piece.file) as bytes_of:
        for element, start in zip(
            slices(bytes_of, piece.starts, ends), piece.starts.tolist(), strict=True
        ):
            if not element:
                hashes.append(_place_name(piece.file, start))
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
