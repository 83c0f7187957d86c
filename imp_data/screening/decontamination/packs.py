"""Files of benchmarks that anyone can match with: ids and hashes, and no image."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.images.decoding import decoder_version
from imp_data.images.fingerprint import FINGERPRINT_SCHEMA
from imp_data.images.fingerprint_cache import check_decoder
from imp_data.manifests import Benchmark, ImageIdKind
from imp_data.storage.checked_file import is_sealed
from imp_data.storage.tables import open_parquet, parquet_writer

# Raise it when the meaning of a column or of the facts changes: an older program refuses the file.
PACK_VERSION = 1
# A fingerprint file with the benchmark's own id before each row, and the identities of its image
# (see images.identity) after it.
PACK_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        *FINGERPRINT_SCHEMA,
        pa.field("identities", pa.list_(pa.string())),
    ]
)
_FACTS = b"benchmark"
_REMEDY = "make it with `imp-data pack`, or name another file"


def id_kinds(benchmark: Benchmark) -> tuple[ImageIdKind, ...]:
    """Return the collections in which the benchmark's images are known."""
    own = [] if benchmark.image_ids is None else [benchmark.image_ids]
    others = [kind for same in benchmark.same_images for kind in same.ids]
    return tuple(dict.fromkeys([*own, *others]))


@contextmanager
def pack_writer(path: Path, benchmark: Benchmark) -> Iterator[pq.ParquetWriter]:
    """Write the pack of a benchmark; equal rows give equal bytes."""
    facts = {
        "version": PACK_VERSION,
        **benchmark.model_dump(
            mode="json", include={"name", "title", "homepage", "license", "hub", "revision"}
        ),
        "id_pattern": benchmark.id_pattern,
        "kinds": list(id_kinds(benchmark)),
    }
    metadata = {b"decoder": decoder_version().encode(), _FACTS: json.dumps(facts).encode()}
    with parquet_writer(path, PACK_SCHEMA.with_metadata(metadata)) as writer:
        yield writer


def open_pack(path: Path) -> tuple[dict[str, Any], pq.ParquetFile]:
    """Return what a pack states about its benchmark, and the open file.

    Raise UserError if the file is no pack, is damaged, has another version, or if its hashes come
    from other decoders.
    """
    if not path.is_file():
        raise UserError(path, "is a folder" if path.is_dir() else "is not there", _REMEDY)
    if not is_sealed(path):
        raise UserError(path, "is no benchmark pack (it has no checksums)", _REMEDY)
    try:
        file = open_parquet(path)
        facts = json.loads((file.schema_arrow.metadata or {}).get(_FACTS, b"null"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(path, f"is no benchmark pack ({error})", _REMEDY) from error
    if not isinstance(facts, dict) or not set(PACK_SCHEMA.names) <= set(file.schema_arrow.names):
        raise UserError(path, "is no benchmark pack (it names no benchmark)", _REMEDY)
    if facts.get("version") != PACK_VERSION:
        problem = f"is a pack of version {facts.get('version')}; this program reads {PACK_VERSION}"
        raise UserError(path, problem, "install the release of imp-data that made it")
    check_decoder(path, file.schema_arrow)
    return facts, file
