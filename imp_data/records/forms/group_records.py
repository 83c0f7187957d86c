"""Divide the records of a form into chunks in which all records of an image are together."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imp_data.errors import UserError
from imp_data.manifests import Limits, Source
from imp_data.parallel import Crash, map_ordered
from imp_data.records.forms.group_keys import KeyHashes, hash_keys, unreadable_keys
from imp_data.records.forms.images import image_columns
from imp_data.records.forms.record_files import read_records, record_chunks
from imp_data.records.forms.settings import form_settings
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.group_by_image import GroupIndex, group_rows
from imp_data.records.record_chunk import CHUNK_ROWS, Chunk
from imp_data.sample import UpstreamRecord

# A chunk whose records are scattered over many others decodes all of these: then it has more
# records, of more bytes in all.
_MOST_ROWS, _MOST_PIECES, _MOST_VISITS = 32 * CHUNK_ROWS, 8, 4
_NONE = np.zeros(0, np.int64)
_MAX_COLUMNS_SHOWN = 12


class _Stored(NamedTuple):
    """A chunk as it is kept until all are known: consecutive rows need no columns.

    `spans` are the first and last bytes of records in JSON text. All start positions count from
    `start`, all ordinals from `ordinal`, all groups from `group`.
    """

    chunk: Chunk
    start: int
    ordinal: int
    group: int
    spans: tuple[Offsets, Offsets] | None

    @classmethod
    def of(cls, chunk: Chunk) -> "_Stored":
        """Return a chunk without its columns."""
        spans = (chunk.starts, chunk.ends) if chunk.kind == "json" else None
        empty = chunk.select(slice(0, 0))
        start, ordinal, group = (
            int(column[0]) for column in (chunk.starts, chunk.ordinals, chunk.groups)
        )
        return cls(empty, start, ordinal, group, spans)

    def load(self, rows: Offsets) -> Chunk:
        """Return the chunk with some of its rows, by their positions in it."""
        starts = self.start + rows if self.spans is None else self.spans[0][rows]
        ordinals = self.ordinal + rows
        wanted = set(ordinals.tolist())
        return self.chunk._replace(
            file_numbers=np.zeros_like(rows),
            starts=starts,
            ends=starts + 1 if self.spans is None else self.spans[1][rows],
            groups=self.group + rows,
            ordinals=ordinals,
            rejections={o: v for o, v in self.chunk.rejections.items() if o in wanted},
        )


def grouped_chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Yield chunks in which the records of an image are together, in upstream order.

    Records of an image may lie anywhere in several files. Memory: 16 bytes per record, 32 in JSON
    text, and 64 for each change of image from one record to the next. Raise UserError if no record
    has a column that `group_by` names, or if it names the images of tars.
    """
    stored = list[_Stored]()
    index = _build_index(_storing(record_chunks(folder, source, limits), stored), source, limits)
    if not stored:
        return
    firsts = np.array([one.ordinal for one in stored])
    size = _chunk_size(index, firsts, limits)
    pieces = min(size // CHUNK_ROWS, _MOST_PIECES)
    for here, groups, rejections in group_rows(index, limits.max_record_bytes, size, pieces):
        none = np.zeros(len(here), np.int64)
        parts = tuple(_parts(np.sort(here), firsts, stored))
        files = tuple(dict.fromkeys(file for part in parts for file in part.files))
        found = {o: v for part in parts for o, v in part.rejections.items()}
        yield Chunk(files, none, none, none, groups, here, {**rejections, **found}, parts=parts)


def _storing(chunks: Iterable[Chunk], stored: list[_Stored]) -> Iterator[Chunk]:
    for chunk in chunks:
        stored.append(_Stored.of(chunk))
        yield chunk


def _parts(here: Offsets, firsts: Offsets, stored: list[_Stored]) -> Iterator[Chunk]:
    """Yield the chunks that have these records, with these alone."""
    numbers = np.searchsorted(firsts, here, side="right") - 1
    for number in np.unique(numbers).tolist():
        yield stored[number].load(here[numbers == number] - stored[number].ordinal)


def _chunk_size(index: GroupIndex, firsts: Offsets, limits: Limits) -> int:
    """Return how many records a chunk has, so that few chunks read the same row group."""
    size = CHUNK_ROWS
    while size < min(_MOST_ROWS, len(index.starts)):
        pieces = min(size // CHUNK_ROWS, _MOST_PIECES)
        planned = group_rows(index, limits.max_record_bytes, size, pieces)
        visits = (len(np.unique(np.searchsorted(firsts, here, "right"))) for here, _, _ in planned)
        if sum(visits) <= _MOST_VISITS * len(firsts):
            break
        size *= 2
    return size


def _build_index(chunks: Iterable[Chunk], source: Source, limits: Limits) -> GroupIndex:
    begins, names, sizes, done = bytearray(), bytearray(), bytearray(), 0
    present, columns = set[str](), dict[str, None]()
    seconds = limits.max_read_seconds
    work = partial(hash_keys, source=source)
    for found in map_ordered(work, _row_groups(chunks, source), None, _unreadable, seconds):
        before = np.frombuffer(names[-8:] or ~found.hashes[:1], np.uint64)
        changes = np.flatnonzero(found.hashes != np.append(before, found.hashes[:-1]))
        begins += (changes + done).tobytes()
        names += found.hashes[changes].tobytes()
        sizes += found.sizes.tobytes()
        done += len(found.hashes)
        present |= found.present
        columns |= dict.fromkeys(found.columns)
    if columns and (missing := [name for name in source.group_by if name not in present]):
        raise _missing_column(source, missing[0], list(columns))
    ends = np.frombuffer(sizes, np.int64)
    starts = np.zeros(1, np.int64).repeat(len(ends))
    changes, hashes = np.frombuffer(begins, np.int64), np.frombuffer(names, np.uint64)
    return GroupIndex(_NONE, starts, ends, changes, hashes)


def _row_groups(chunks: Iterable[Chunk], source: Source) -> Iterator[list[Chunk]]:
    """Yield the chunks of each row group together, and every other chunk by itself."""
    images = image_columns(form_settings(source))
    kinds = groupby(chunks, lambda one: (one.files, one.kind, one.row_group))
    for (files, kind, _), some in kinds:
        if kind == "parquet":
            yield list(some)
            continue
        for chunk in some:
            if kind == "tar" and {*source.group_by}.intersection(images):
                raise _images_of_tar(source, files[0])
            yield [chunk]


def _unreadable(chunks: list[Chunk], _: Crash) -> KeyHashes:
    return unreadable_keys(chunks)


def _missing_column(source: Source, name: str, columns: list[str]) -> UserError:
    more = ", …" if len(columns) > _MAX_COLUMNS_SHOWN else ""
    return UserError(
        f"sources/{source.name}.yaml, group_by",
        f"no record has a value in the column {name}; "
        f"there are: {', '.join(columns[:_MAX_COLUMNS_SHOWN])}{more}",
        "name columns that together identify an image, or the column of the image itself",
    )


def _images_of_tar(source: Source, file: Path) -> UserError:
    return UserError(
        f"sources/{source.name}.yaml, group_by",
        f"names images, and those of {file.name}, a tar, are not compared by their bytes",
        "name other columns that identify an image, or convert the tar to Parquet",
    )


def read_grouped(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    """Yield the records of a chunk by image, each image's in upstream order."""
    records = dict[int, UpstreamRecord]()
    for part in chunk.parts:
        wanted = np.isin(part.ordinals, chunk.ordinals)
        some = part.select(wanted)
        if len(some.ordinals):
            ordinals = set(some.ordinals.tolist())
            rejections = {o: v for o, v in chunk.rejections.items() if o in ordinals}
            some = some._replace(rejections=rejections)
            records |= {record.ordinal: record for [record] in read_records(some, source)}
    pairs = zip(chunk.groups.tolist(), chunk.ordinals.tolist(), strict=True)
    for _, same in groupby(pairs, key=lambda pair: pair[0]):
        yield [records[ordinal] for _, ordinal in same]
