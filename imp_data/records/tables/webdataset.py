"""Read records from tars in the layout of WebDataset, as img2dataset writes them.

The members of a record share the path up to the first dot of their name. Beside a tar,
img2dataset writes a Parquet file with a row for each image, in the order in which downloads ended;
images that failed stand there alone.
"""

import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.records.json_array.parse import parse
from imp_data.records.record_chunk import CHUNK_ROWS, Chunk, find_too_large
from imp_data.records.tables.json_images import name_member_images
from imp_data.sample import EmbeddedImage, UpstreamRecord
from imp_data.storage.archives import ARCHIVE_REMEDY, open_at_offsets
from imp_data.storage.digests import file_version
from imp_data.storage.image_paths import normalize_path
from imp_data.storage.object_store import is_file
from imp_data.storage.range_reader import open_file
from imp_data.storage.tables import open_published_parquet
from imp_data.storage.tar_stream import MOST_MEMBERS, StoredMember, iterate_members, stored_member

_IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"})
_TEXTS = frozenset({"txt", "text", "caption"})
_DONE = "success"
# Facts about a download that img2dataset writes beside the columns of its input.
_FACTS = frozenset({"key", "status", "error_message", "exif", "sha256"})
_FACTS |= {"width", "height", "original_width", "original_height"}

Members = dict[str, StoredMember]


def tar_chunks(files: Sequence[Path], limits: Limits, ordinal: int = 0) -> Iterator[Chunk]:
    """Yield chunks of records, sorted by key; `starts` are numbers in that order.

    Records whose download failed are among them. Raise UserError if a tar is damaged.
    """
    for file in files:
        samples, failures = _samples(file, file_version(file)), _failures(file)
        keys = sorted({*samples, *failures})
        for begin in range(0, len(keys), CHUNK_ROWS):
            some = keys[begin : begin + CHUNK_ROWS]
            numbers = np.arange(begin, begin + len(some))
            ordinals = ordinal + np.arange(len(some))
            sizes = [_text_bytes(samples.get(key, {})) for key in some]
            rejections = find_too_large(ordinals, np.array(sizes), limits.max_record_bytes)
            none = np.zeros(len(some), np.int64)
            yield Chunk(
                (file,), none, numbers, numbers + 1, ordinals, ordinals, rejections, kind="tar"
            )
            ordinal += len(some)


def read_tar_chunk(chunk: Chunk) -> Iterator[UpstreamRecord]:
    """Yield the records of a chunk, with the names of their images."""
    file = chunk.files[0]
    samples, failures = _samples(file, file_version(file)), _failures(file)
    keys = sorted({*samples, *failures})
    with open_at_offsets(file) as read_at:
        for number, ordinal in zip(chunk.starts.tolist(), chunk.ordinals.tolist(), strict=True):
            key = keys[number]
            record = UpstreamRecord(ordinal, None, upstream_id=key)
            record.rejection = chunk.rejections.get(ordinal) or failures.get(key)
            if record.rejection is None:
                texts = {
                    ending: b"".join(member.pieces(read_at))
                    for ending, member in samples[key].items()
                    if _is_text(ending)
                }
                value = _read_sample(key, texts, samples[key], chunk.name)
                if isinstance(value, Verdict):
                    record.rejection = value
                else:
                    record.value = value
            yield record


def _is_text(ending: str) -> bool:
    return ending == "json" or ending in _TEXTS


def _text_bytes(members: Members) -> int:
    return sum(member.size for ending, member in members.items() if _is_text(ending))


def _read_sample(
    key: str, texts: dict[str, bytes], members: Members, file: str
) -> dict[str, Any] | Verdict:
    """Return the fields of a record: those of its JSON, its texts by ending, and its images."""
    value: dict[str, Any] = {}
    if "json" in texts:
        parsed = parse(texts["json"])
        if isinstance(parsed, Verdict):
            return parsed
        if not isinstance(parsed[0], dict):
            evidence = {"field": "json", "problem": "should be an object", "found": key}
            return Verdict(Reason.WRONG_TYPE, evidence)
        whole = name_member_images(parsed[0], file, f"{key}.json")
        value = {name: found for name, found in whole.items() if name not in _FACTS}
    for ending, data in texts.items():
        if ending != "json":
            try:
                value[ending] = data.decode()
            except UnicodeDecodeError as error:
                return Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})
    value.setdefault("id", key)
    images = [
        EmbeddedImage(f"{file}/@/{key}.{ending}")
        for ending in sorted(members)
        if ending.rpartition(".")[2].lower() in _IMAGES
    ]
    # A form refuses images of two columns that differ, so that neither are lost.
    own = value.get("images")
    has_own = isinstance(own, list) and any(isinstance(one, EmbeddedImage) for one in own)
    if images or not own:
        value["image" if has_own else "images"] = images
    return value


@lru_cache(maxsize=16)
def _samples(file: Path, version: object) -> dict[str, Members]:
    """Index a tar: for each key the members of its record by their endings."""
    found: dict[str, Members] = {}
    try:
        with open_file(file) as opened:
            for count, (member, end) in enumerate(iterate_members(opened)):
                if count == MOST_MEMBERS:
                    raise tarfile.ReadError(f"it has more than {MOST_MEMBERS:,} members")
                if member.isfile():
                    folder, _, name = normalize_path(member.name).rpartition("/")
                    base, _, ending = name.partition(".")
                    key = f"{folder}/{base}" if folder else base
                    found.setdefault(key, {})[ending] = stored_member(member, end)
    except tarfile.TarError as error:
        raise UserError(file, f"is not a whole plain tar ({error})", ARCHIVE_REMEDY) from error
    return found


def _failures(file: Path) -> dict[str, Verdict]:
    """Return the verdict on each download that failed, by key; none without img2dataset's table."""
    table = file.with_suffix(".parquet")
    if not is_file(table):
        return {}
    return _read_failures(table, file_version(table))


@lru_cache(maxsize=16)
def _read_failures(table: Path, version: object) -> dict[str, Verdict]:
    columns = ["key", "status", "error_message"]
    try:
        parquet = open_published_parquet(table)
        if not {*columns} <= {*parquet.schema_arrow.names}:
            return {}
        rows = parquet.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(table, f"is not a whole Parquet file ({error})", ARCHIVE_REMEDY) from error
    return {
        row["key"]: Verdict(
            Reason.DOWNLOAD_FAILED, {"status": row["status"], "problem": row["error_message"]}
        )
        for row in rows
        if row["status"] != _DONE
    }
