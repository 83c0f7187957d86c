"""Files of the stages: written aside and renamed when whole, digested, skipped when unchanged."""

from imp_data.storage.atomic_write import (
    json_text,
    move,
    remove,
    share,
    write_text,
    writing_to,
    written_aside,
)
from imp_data.storage.checked_file import SealedFile, check_sealed, is_sealed, outdate
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import (
    file_sha256,
    file_sizes,
    library_versions,
    listing_digest,
    package_digest,
    text_digest,
    tree_digest,
    xxh3_keys,
)
from imp_data.storage.globs import is_named, matching
from imp_data.storage.locks import held
from imp_data.storage.replace_folder import Ours, check_not_moved, half_emptied, replace_folder
from imp_data.storage.scratch_batches import Block, read_block, write_block
from imp_data.storage.stage_cache import (
    Other,
    Run,
    StageResult,
    digest_of_files,
    read_stamp,
    run_stage,
    write_stamp,
)
from imp_data.storage.tables import (
    arrow_batch_count,
    arrow_batches,
    arrow_source,
    arrow_writer,
    parquet_file,
    parquet_frame,
    parquet_rows,
    parquet_writer,
    published_parquet_file,
    value_counts,
)

__all__ = [
    "Block",
    "Other",
    "Ours",
    "Run",
    "SealedFile",
    "StageResult",
    "arrow_batch_count",
    "arrow_batches",
    "arrow_source",
    "arrow_writer",
    "check_not_moved",
    "check_sealed",
    "code_version",
    "digest_of_files",
    "file_sha256",
    "file_sizes",
    "half_emptied",
    "held",
    "is_named",
    "is_sealed",
    "json_text",
    "library_versions",
    "listing_digest",
    "matching",
    "move",
    "outdate",
    "package_digest",
    "parquet_file",
    "parquet_frame",
    "parquet_rows",
    "parquet_writer",
    "published_parquet_file",
    "read_block",
    "read_stamp",
    "remove",
    "replace_folder",
    "run_stage",
    "share",
    "text_digest",
    "tree_digest",
    "value_counts",
    "write_block",
    "write_stamp",
    "write_text",
    "writing_to",
    "written_aside",
    "xxh3_keys",
]
