"""List the images of a benchmark: by files of ids, in the rows of tables, or in folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.images.identity import identity_of
from imp_data.images.listing import list_images
from imp_data.ledger import Verdict
from imp_data.manifests import Benchmark, ImageFolder
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.tables.image_columns import find_image_columns
from imp_data.storage.embedded_names import cell_name
from imp_data.storage.globs import matching_files
from imp_data.storage.range_reader import open_file
from imp_data.storage.tables import open_published_parquet

_REPLACE = "replace the file by a complete one, or download it again by its raw asset"


class Reference(NamedTuple):
    """An image of a benchmark: its id, and the paths at which it may be."""

    id: str
    paths: tuple[str, ...]


def list_references(
    benchmark: Benchmark, raw: Path, folders: tuple[tuple[str, ImageFolder], ...], images: Path
) -> list[Reference]:
    """Return the images of a benchmark in upstream's order, each id once.

    `raw` is the benchmark's own folder; `images` contains the folder of each collection that
    `folders` names. Raise UserError if a file cannot be read or states no id.
    """
    if benchmark.records:
        found = _in_tables(benchmark, raw)
    elif benchmark.id_files:
        found = _in_id_files(benchmark, raw)
    else:
        found = _in_folders(folders, images)
    first: dict[str, Reference] = {}
    for reference in found:
        first.setdefault(reference.id, reference)
    return [*first.values()]


def _in_id_files(benchmark: Benchmark, raw: Path) -> Iterator[Reference]:
    for name in benchmark.id_files:
        read = _text_ids if name.endswith(".txt") else _json_ids
        for identity in read(raw / name, benchmark):
            named = _id_in_names(identity, benchmark)
            paths = (path.replace("{id}", named) for path in benchmark.image_paths)
            yield Reference(identity, tuple(paths))


def _id_in_names(identity: str, benchmark: Benchmark) -> str:
    """Return an id as the names of its collection's images have it: COCO's in twelve digits."""
    kind = benchmark.image_ids
    found = None if kind is None else identity_of(identity, kind)
    return identity if found is None else found.partition(":")[2]


def _text_ids(path: Path, benchmark: Benchmark) -> Iterator[str]:
    with open_file(path) as file:
        for line in file.read().decode("utf-8", "replace").split("\n"):
            if line.strip():
                yield line.strip()


def _json_ids(path: Path, benchmark: Benchmark) -> Iterator[str]:
    key = None if path.suffix in (".jsonl", ".ndjson") else benchmark.id_key
    for start, element, value in _read_records(path, key):
        identity = value.get(benchmark.id_field) if isinstance(value, dict) else None
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)
        if not isinstance(identity, str) or not identity:
            problem = f"a record without a readable {benchmark.id_field}: {element[:60]!r}"
            raise UserError(f"{path}, byte {start}", problem, _REPLACE)
        yield identity


def _read_records(path: Path, key: str | None = None) -> Iterator[tuple[int, bytes, Any]]:
    """Yield first byte, bytes and value of each record of a JSON file; a damaged one is None."""
    with open_file(path) as file:
        for spans in json_spans(path, key=key):
            for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
                file.seek(start)
                element = file.read(end - start)
                parsed = parse(element)
                yield start, element, None if isinstance(parsed, Verdict) else parsed[0]


def _in_tables(benchmark: Benchmark, raw: Path) -> Iterator[Reference]:
    for pattern in benchmark.records:
        for file in matching_files(raw, pattern):
            name = f"{benchmark.name}/{file.relative_to(raw).as_posix()}"
            yield from _in_table(benchmark, file, name)


def _in_table(benchmark: Benchmark, file: Path, name: str) -> Iterator[Reference]:
    try:
        parquet = open_published_parquet(file)
        columns = _image_columns(benchmark, file, parquet.schema_arrow)
        id_column = benchmark.columns.get("id")
        rows = range(parquet.metadata.num_rows)
        ids: Iterator[Any] = (f"{name}, row {row}" for row in rows)
        if id_column is not None:
            batches = parquet.iter_batches(columns=[id_column], use_threads=False)
            ids = (value for batch in batches for value in batch.column(0).to_pylist())
        for row, value in enumerate(ids):
            if value is None or value == "":
                raise UserError(f"{file}, row {row}", f"has no {id_column}", _REPLACE)
            for column in columns:
                identity = str(value) if len(columns) == 1 else f"{value}, {column}"
                yield Reference(identity, (f"{name}/{cell_name(column, row)}",))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(file, f"is not a complete Parquet file ({error})", _REPLACE) from error


def _image_columns(benchmark: Benchmark, file: Path, schema: pa.Schema) -> list[str]:
    """Return the column of images that the manifest names, or else all such columns."""
    missing = [column for column in benchmark.columns.values() if column not in schema.names]
    named = [benchmark.columns["image"]] if "image" in benchmark.columns else []
    found = find_image_columns(schema, named)
    single = [name for name, column in found.items() if not column.several]
    chosen = named or single
    if missing or not chosen or not set(chosen) <= set(single):
        problem = f"lacks the column {missing[0]}" if missing else "has no such column of images"
        columns = f"columns: {', '.join(schema.names)}; of images: {', '.join(single) or 'none'}"
        remedy = "correct `columns` in the benchmark's manifest"
        raise UserError(file, f"{problem} ({columns})", remedy)
    return chosen


def _in_folders(folders: tuple[tuple[str, ImageFolder], ...], images: Path) -> Iterator[Reference]:
    for collection, folder in folders:
        home = images / collection
        place = home / folder.file if folder.file else home / folder.inside
        prefix = f"{place.name}/" if folder.file else ""
        inside = f"{folder.inside}/" if folder.file and folder.inside else ""
        for group in list_images(place, "").groups:
            for name in group.names:
                member = name.removeprefix(prefix)
                if member.startswith(inside):
                    path = f"{folder.path}/{member.removeprefix(inside)}"
                    yield Reference(path, (path,))


def collect_identities(
    benchmark: Benchmark, raw: Path, references: list[Reference]
) -> list[list[str]]:
    """Return the identities of each image in its collection and in those of `same_images`."""
    if (kind := benchmark.image_ids) is None:
        return [[] for _ in references]
    own = [identity_of(reference.id, kind) for reference in references]
    found = [[] if identity is None else [identity] for identity in own]
    places = {identity: place for place, identity in enumerate(own) if identity is not None}
    for same in benchmark.same_images:
        for _, _, value in _read_records(raw / same.file):
            pair = _pair(value, same.ids)
            for one, other in (pair, pair[::-1]) if len(pair) == 2 else ():
                if one in places and other not in found[places[one]]:
                    found[places[one]].append(other)
    return found


def _pair(value: Any, ids: dict[Any, str]) -> tuple[str, ...]:
    """Return the identities that a record equates; not every image is in both collections."""
    if not isinstance(value, dict):
        return ()
    stated = {kind: value.get(field) for kind, field in ids.items()}
    found = (identity_of(str(i), kind) for kind, i in stated.items() if i is not None)
    return tuple(identity for identity in found if identity is not None)
