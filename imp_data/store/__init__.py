"""Files of the stages: written aside and renamed when whole, digested, skipped when unchanged."""

from imp_data.store.code import code_version
from imp_data.store.digests import (
    file_sha256,
    file_sizes,
    library_versions,
    listing_digest,
    package_digest,
    text_digest,
    tree_digest,
    xxh3_keys,
)
from imp_data.store.files import (
    json_text,
    move,
    remove,
    share,
    write_text,
    writing_to,
    written_aside,
)
from imp_data.store.globs import is_named, matching
from imp_data.store.locks import held
from imp_data.store.stages import Other, Run, StageResult, read_stamp, run_stage, write_stamp
from imp_data.store.tables import (
    arrow_batch_count,
    arrow_batches,
    arrow_source,
    arrow_writer,
    parquet_file,
    parquet_rows,
    parquet_writer,
    value_counts,
)

__all__ = [
    "Other",
    "Run",
    "StageResult",
    "arrow_batch_count",
    "arrow_batches",
    "arrow_source",
    "arrow_writer",
    "code_version",
    "file_sha256",
    "file_sizes",
    "held",
    "is_named",
    "json_text",
    "library_versions",
    "listing_digest",
    "matching",
    "move",
    "package_digest",
    "parquet_file",
    "parquet_rows",
    "parquet_writer",
    "read_stamp",
    "remove",
    "run_stage",
    "share",
    "text_digest",
    "tree_digest",
    "value_counts",
    "write_stamp",
    "write_text",
    "writing_to",
    "written_aside",
    "xxh3_keys",
]
