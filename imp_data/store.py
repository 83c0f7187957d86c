"""Files of the stages: written aside and renamed when whole, digested, skipped when unchanged."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from imp_data.errors import UserError
from imp_data.memory import give_back
from imp_data.objects import (
    at_once,
    check_writable,
    first_bytes,
    objects_below,
    opened,
    put,
    put_folder,
    removed,
    state_of,
)
from imp_data.places import in_store, reached, scratch

if TYPE_CHECKING:
    import polars as pl

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def file_sha256(path: Path) -> str:
    """The hex digest of a file's bytes, read in blocks."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def text_digest(*parts: str | bytes) -> str:
    """sha256 over parts, each preceded by its length, so that no two lists of parts agree."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def code_digest(*modules: str) -> str:
    """Digest of the sources of imp_data modules: a stage's code version changes when they do."""
    package = Path(__file__).parent
    files = sorted(f for m in modules for f in _module_files(package / m))
    return text_digest(*(f.read_bytes() for f in files))[:16]


def _module_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(f for f in path.rglob("*") if f.suffix in {".py", ".j2"})
    return [path.with_suffix(".py")]


@contextmanager
def written_aside(path: Path, last: str = "") -> Iterator[Path]:
    """A path on this machine to write a file or a folder to; it takes `path`'s place when whole.

    After an error or a kill `path` is as it was; leftovers go at the next attempt. Of a folder in
    an object store, which takes one file after another, `last` names the file that comes last.
    """
    aside = scratch(path) if in_store(path) else path.with_name(f".{path.name}.partial")
    with writing_to(path):
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            remove(aside)
            yield aside
            move(aside, path, last)
        finally:
            remove(aside)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """A full disk, or one that may not be written to, is a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise UserError(
            error.filename or path,
            f"cannot be written ({os.strerror(error.errno)})",
            "make room or grant access, then run the same command again; finished stages are kept",
        ) from error


def move(aside: Path, path: Path, last: str = "") -> None:
    """Give a finished file or folder of this machine its place; see `written_aside`."""
    if in_store(path):
        put_folder(aside, path, last) if aside.is_dir() else put(aside, path)
        remove(aside)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir() and path.exists():
        remove(path)
    os.replace(aside, path)


def remove(path: Path) -> None:
    """Remove a file, a folder of this machine, or an object, if it is there."""
    if in_store(path):
        removed(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def json_text(value: Any) -> str:
    """JSON for people and programs alike: indented, keys sorted."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def arrow_writer(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """An Arrow IPC file, uncompressed, whole or absent; the same batches give the same bytes."""
    with (
        written_aside(path) as aside,
        pa.OSFile(str(aside), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        yield writer


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet file with pinned settings; the same tables give the same bytes."""
    with (
        written_aside(path) as aside,
        pq.ParquetWriter(str(aside), schema, compression="zstd", version="2.6") as writer,
    ):
        yield writer


def arrow_batches(
    path: Path, columns: Sequence[str] | None = None, span: tuple[int, int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file, one at a time, with some columns or all of them.

    `span` asks for those from a first to before a last number alone.
    """
    with _opened(path, columns) as file:
        for number in range(*(span or (0, file.num_record_batches))):
            yield file.get_batch(number)


def arrow_batch_count(path: Path) -> int:
    """How many batches an Arrow IPC file has."""
    with _opened(path) as file:
        return int(file.num_record_batches)


def arrow_source(path: Path) -> pa.NativeFile:
    """A file as Arrow reads it."""
    return pa.PythonFile(opened(path)) if in_store(path) else pa.OSFile(str(path), "rb")


def parquet_file(path: Path) -> pq.ParquetFile:
    """A Parquet file; of one in an object store only what is asked for is fetched."""
    return pq.ParquetFile(opened(path) if in_store(path) else path)


def parquet_rows(path: Path) -> "pl.LazyFrame":
    """A Parquet file's rows; one in an object store is fetched as a whole."""
    import polars as pl

    if in_store(path) is None:
        return pl.scan_parquet(path)
    with opened(path) as file:
        return pl.scan_parquet(file.read())


@contextmanager
def _opened(
    path: Path, columns: Sequence[str] | None = None
) -> Iterator[pa.ipc.RecordBatchFileReader]:
    try:
        with arrow_source(path) as source:
            options = pa.ipc.IpcReadOptions()
            if columns is not None:
                names = pa.ipc.open_file(source).schema.names
                options.included_fields = [names.index(c) for c in columns]
            yield pa.ipc.open_file(source, options=options)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            path, f"is not a whole Arrow file ({error})", "delete it and run the build again"
        ) from error


class StageResult(NamedTuple):
    """What a stage left: the digest of its outputs, its figures, and whether it had to work."""

    digest: str
    figures: dict[str, Any]
    built: bool


def run_stage(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    build: Callable[[], dict[str, Any]],
    digest_of: Callable[[dict[str, Any]], str] | None = None,
) -> StageResult:
    """Build `outputs` unless they are whole and were built from these inputs by this code.

    `inputs` names everything the outputs depend on, each by a digest. The stamp is written last:
    where it agrees with inputs and files the work was finished; after a kill it cannot agree.
    `digest_of` takes the outputs' digest from the figures, where the build knows it already.
    """
    give_back()
    inputs = dict(sorted(inputs.items()))
    known = read_stamp(stamp)
    with reached(stamp):
        if known and known["inputs"] == inputs and known["files"] == _states(outputs):
            return StageResult(known["digest"], known["figures"], built=False)
        if in_store(stamp):
            check_writable(stamp)
        figures = build()
        if digest_of is None:
            digest = text_digest(*(part for o in outputs for part in (o.name, tree_digest(o))))
        else:
            digest = digest_of(figures)
        write_stamp(stamp, inputs, digest, figures, outputs)
    return StageResult(digest, figures, built=True)


def write_stamp(
    stamp: Path,
    inputs: Mapping[str, str],
    digest: str,
    figures: dict[str, Any],
    outputs: Sequence[Path] = (),
) -> None:
    """Say that a stage is finished: its inputs, its figures, its files as they are now."""
    record = {"inputs": inputs, "digest": digest, "figures": figures, "files": _states(outputs)}
    write_text(stamp, orjson.dumps(record, option=orjson.OPT_INDENT_2).decode())


def read_stamp(stamp: Path) -> dict[str, Any] | None:
    """What the last finished run of a stage left; None if there was none."""
    try:
        data = first_bytes(stamp) if in_store(stamp) else stamp.read_bytes()
        record: dict[str, Any] = orjson.loads(data)
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return record if record.keys() >= {"inputs", "digest", "figures", "files"} else None


def tree_digest(path: Path) -> str:
    """The digest of a file, or of a folder's file names and contents."""
    below = _below(path)
    if list(below) == [""]:
        return file_sha256(path)
    if not below and (in_store(path) or not path.is_dir()):
        raise UserError(path, "is not there", "look whether its manifest names the right file")
    files = [path / name for name in below]
    digests = at_once(file_sha256, files) if in_store(path) else map(file_sha256, files)
    return text_digest(*(part for pair in zip(below, digests, strict=True) for part in pair))


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below a folder, by name."""
    return {name: size for name, (size, _) in _below(folder).items()}


def listing_digest(folder: Path) -> str:
    """Digest of the names, sizes and changes below a folder, none of which is opened."""
    lines = (f"{n} {size} {change}" for n, (size, change) in _below(folder).items() if n)
    return text_digest(*lines)


def _below(path: Path) -> dict[str, tuple[int, int | str]]:
    """Size, and time or checksum of change, of a file ("") or all files below a folder, by name."""
    if in_store(path):
        state = state_of(path)
        if state is None or state.change:
            return {"": state} if state else {}
        return dict(objects_below(path))
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = {f.relative_to(path).as_posix(): f.stat() for f in files if f.is_file()}
    return {"" if n == "." else n: (stat.st_size, stat.st_mtime_ns) for n, stat in stats.items()}


def _states(outputs: Sequence[Path]) -> list[list[Any]]:
    """Name, size and change of each file: enough to notice that one was touched."""
    states: list[list[Any]] = []
    for output in outputs:
        below = _below(output)
        states += [[(output / name).name, *state] for name, state in below.items()]
        states += [] if below else [[output.name, None, None]]
    return states


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of libraries that a stage's bytes depend on."""
    return {name: version(name) for name in names}


def value_counts(values: pa.Array) -> dict[Any, int]:
    """How often each value stands in a column."""
    counted = pc.value_counts(values)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, numbers, strict=True))


def xxh3_keys(seed: int, ids: Sequence[str]) -> list[int]:
    """xxh3(seed, id) of each id, the key by which a draw and an order are made."""
    digest = xxhash.xxh3_64_intdigest
    return [digest(text.encode(), seed) for text in ids]
