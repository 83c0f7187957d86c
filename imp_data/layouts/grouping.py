"""Pieces of work in which all records on one picture stand together, wherever upstream has them."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from imp_data.engine import map_ordered
from imp_data.layouts.damage import Offsets
from imp_data.layouts.elements import json_spans
from imp_data.layouts.parsing import parse
from imp_data.layouts.reading import CHUNK_ROWS, Chunk, slices, text_field
from imp_data.ledger import Verdict
from imp_data.ranges import opened


class _Index(NamedTuple):
    """Where each record is, 16 bytes, and in which runs those on one picture follow one another.

    Records are in upstream order; those of file n begin with record `files[n]`. Run n begins with
    record `begins[n]` and is on the picture with the 64-bit name `names[n]`.
    """

    files: Offsets
    starts: Offsets
    ends: Offsets
    begins: Offsets
    names: npt.NDArray[np.uint64]


class _Piece(NamedTuple):
    file: Path
    starts: Offsets
    ends: Offsets


def grouped_chunks(
    files: Sequence[Path],
    picture: str,
    fields: frozenset[str],
    key: str | None = None,
    size: int = CHUNK_ROWS,
) -> Iterator[Chunk]:
    """Chunks in which all records on one picture stand together, pictures in upstream order.

    `picture` is the field that names it, `fields` are those that each record has. Records without
    a readable picture stay alone. Memory: 16 bytes a record, and 40 for each time that the picture
    changes from one record to the next.
    """
    index = _index(files, picture, fields, key)
    begins, lengths, groups = _by_picture(index)
    ends = np.cumsum(lengths)
    last_of_group = np.flatnonzero(np.diff(groups, append=-1))
    done = 0
    while done < len(groups):
        # At least so many records, or the rest, and never part of a group.
        enough = np.searchsorted(ends[last_of_group], ends[done] - lengths[done] + size)
        until = int(last_of_group[min(int(enough), len(last_of_group) - 1)]) + 1
        span = slice(done, until)
        here = _ranges(begins[span], lengths[span])
        yield Chunk(
            tuple(files),
            np.searchsorted(index.files, here, side="right") - 1,
            index.starts[here],
            index.ends[here],
            np.repeat(groups[span], lengths[span]),
            here,
        )
        done = until


def _by_picture(index: _Index) -> tuple[Offsets, Offsets, Offsets]:
    """Runs of records on one picture: first record, number of records, first record on the picture.

    Those on one picture follow one another, pictures in upstream order.
    """
    _, first, inverse = np.unique(index.names, return_index=True, return_inverse=True)
    groups = index.begins[first[inverse]]
    order = np.argsort(groups, kind="stable")
    lengths = np.diff(index.begins, append=len(index.starts))
    return index.begins[order], lengths[order], groups[order]


def _ranges(begins: Offsets, lengths: Offsets) -> Offsets:
    """begins[0], begins[0] + 1, … for each of the lengths, one after the other."""
    before = np.cumsum(lengths) - lengths
    ranges: Offsets = np.arange(lengths.sum()) + np.repeat(begins - before, lengths)
    return ranges


def _index(files: Sequence[Path], picture: str, fields: frozenset[str], key: str | None) -> _Index:
    first, starts, ends = [0], bytearray(), bytearray()

    def pieces() -> Iterator[_Piece]:
        nonlocal starts, ends
        for file in files:
            for spans in json_spans(file, key, fields=fields):
                starts += spans.starts.astype(np.int64).tobytes()
                ends += spans.ends.astype(np.int64).tobytes()
                yield _Piece(file, *spans)
            first.append(len(starts) // 8)

    begins, names, done = bytearray(), bytearray(), 0
    for some in map_ordered(partial(_names, picture=picture), pieces()):
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


def _names(piece: _Piece, picture: str) -> npt.NDArray[np.uint64]:
    """xxh3 of each element's picture; of the element itself where it names none."""
    hashes = []
    get = text_field(picture)
    with opened(piece.file) as bytes_of:
        for element in slices(bytes_of, piece.starts, piece.ends):
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
