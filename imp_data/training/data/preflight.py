"""Encode every row of a mixture before the first step: count tokens, truncations, refusals."""

import pickle
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.parallel import map_ordered
from imp_data.parallel.progress import progress
from imp_data.sample import images_of
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import file_sha256, library_versions, text_digest
from imp_data.storage.stage_cache import StageResult, run_stage
from imp_data.storage.tables import parquet_writer, read_parquet
from imp_data.training.data.chat_templates import Template
from imp_data.training.data.encoding import IGNORED, RefusedSample, encode
from imp_data.training.data.sampling import Lengths
from imp_data.training.data.shards import Shards

PREFLIGHT_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("image", pa.bool_()),
        pa.field("images", pa.int32()),
        pa.field("tokens", pa.int32()),
        pa.field("learned", pa.int32()),
        pa.field("words", pa.int32()),  # of its conversation, separated by blanks
        pa.field("outcome", pa.string()),  # whole, truncated or refused
        pa.field("reason", pa.string()),
        pa.field("lost", pa.int32()),  # tokens beyond max_length
        pa.field("lost_learned", pa.int32()),
        pa.field("spelled", pa.list_(pa.string())),  # special tokens in its texts, encoded as text
    ]
)
_CHUNK_ROWS = 1000
_IMAGE_WORDS = 700
_MAX_EXAMPLES = 10


class _EncodingTask(NamedTuple):
    """Arguments of a worker that encodes rows; the tokenizer is in a file, since it is large."""

    folder: Path
    tokenizer: Path
    template: Template
    image_tokens: int
    max_length: int


def preflight(
    folder: Path, tokenizer: Any, template: Template, image_tokens: int, max_length: int, out: Path
) -> StageResult:
    """Write preflight.parquet and preflight.json to `out`, unless they are up to date."""
    manifest = folder / "mixture.json"
    if not manifest.is_file():
        raise UserError(folder, "holds no mixture.json", "name the folder of a mixture")
    table, report = out / "preflight.parquet", out / "preflight.json"

    def build() -> dict[str, Any]:
        kept = out / "preflight.tokenizer"
        out.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(tokenizer))
        try:
            _write_table(table, _EncodingTask(folder, kept, template, image_tokens, max_length))
        finally:
            kept.unlink()
        figures = _summarize(read_parquet(table), max_length)
        write_text(report, json_text(figures))
        return figures

    inputs = {
        "mixture": file_sha256(manifest),
        "tokenizer": text_digest(tokenizer.backend_tokenizer.to_str()),
        "figures": f"{template!r}, {image_tokens} tokens an image, {max_length} at most",
        "code": code_version("imp_data.training.data.preflight"),
        "libraries": str(library_versions("tokenizers", "transformers")),
    }
    return run_stage(out / ".preflight.stamp.json", inputs, [table, report], build)


class AcceptedRows(NamedTuple):
    """The rows to train on, in order; lengths of rows without an image are negative."""

    rows: npt.NDArray[np.int64]
    lengths: Lengths
    learned: npt.NDArray[np.int64]
    sources: list[str]
    estimates: Lengths
    """Lengths as the original estimates them (train.py:877): words, plus 700 for each image."""


def read_accepted_rows(out: Path) -> AcceptedRows:
    """Read the rows of preflight.parquet that are not refused."""
    table = read_parquet(out / "preflight.parquet").filter(pl.col("outcome") != "refused")
    has_image = table["image"].to_numpy()
    signs = np.where(has_image, 1, -1)
    return AcceptedRows(
        table["row"].to_numpy().astype(np.int64),
        table["tokens"].to_numpy() * signs,
        table["learned"].to_numpy().astype(np.int64),
        table["source"].to_list(),
        np.maximum(table["words"].to_numpy() + _IMAGE_WORDS * table["images"].to_numpy(), 1)
        * signs,
    )


def format_report(figures: dict[str, Any]) -> str:
    """Format the figures as a table."""
    head = f"{'source':<24}{'samples':>12}{'tokens':>16}{'learned':>16}{'mean':>8}{'longest':>9}"
    lines = [f"{head}{'truncated':>11}{'refused':>9}{'lost':>12}{'lost learned':>14}"]
    for row in [*figures["sources"], {"source": "total", **figures["together"]}]:
        lines.append(
            f"{row['source']:<24}{row['samples']:>12,}{row['tokens']:>16,}{row['learned']:>16,}"
            f"{row['mean']:>8,.0f}{row['longest']:>9,}{row['truncated']:>11,}{row['refused']:>9,}"
            f"{row['lost']:>12,}{row['lost_learned']:>14,}"
        )
    if figures["spelled"]:
        lines.append("special tokens that texts spell out, encoded as text:")
        lines += [
            f"  {row['token']}: {row['times']:,} in {row['samples']:,} samples"
            for row in figures["spelled"]
        ]
    lines += [f"refused: {sample['id']}: {sample['reason']}" for sample in figures["refused"]]
    return "\n".join(lines)


def _write_table(table: Path, task: _EncodingTask) -> None:
    total = len(Shards(task.folder))
    chunks = [range(n, min(n + _CHUNK_ROWS, total)) for n in range(0, total, _CHUNK_ROWS)]
    with (
        parquet_writer(table, PREFLIGHT_SCHEMA) as writer,
        progress("preflight", "samples", total) as counter,
    ):
        for batch in map_ordered(partial(_encode_rows, task=task), chunks):
            writer.write_batch(batch)
            counter.add(len(batch))


def _encode_rows(rows: range, task: _EncodingTask) -> pa.RecordBatch:
    """Encode some rows and return their rows of the table; runs in any process."""
    shards = _open_shards(task.folder, (task.folder / "mixture.json").stat().st_mtime_ns)
    tokenizer = _load_tokenizer(task.tokenizer, task.tokenizer.stat().st_mtime_ns)
    return pa.RecordBatch.from_pylist(
        [_encode_row(number, shards, tokenizer, task) for number in rows], schema=PREFLIGHT_SCHEMA
    )


def _encode_row(number: int, shards: Shards, tokenizer: Any, task: _EncodingTask) -> dict[str, Any]:
    row = shards.row(number, ("id", "source", shards.image_column, "conversations"))
    images = len(images_of(row))
    tokens = task.image_tokens if images else 0
    found = encode(tokenizer, task.template, row["conversations"], tokens, task.max_length, images)
    known = {"row": number, **{n: row[n] for n in ("id", "source")}}
    known |= {"image": images > 0, "images": images}
    known |= {"lost": found.lost.tokens, "lost_learned": found.lost.learned}
    known["words"] = sum(len(turn["value"].split()) for turn in row["conversations"])
    if isinstance(found, RefusedSample):
        refused = {"tokens": 0, "learned": 0, "outcome": "refused", "reason": found.reason}
        return {**known, **refused, "spelled": []}
    return {
        **known,
        "tokens": len(found.input_ids),
        "learned": int((found.labels != IGNORED).sum()),
        "outcome": "truncated" if found.truncated else "whole",
        "reason": None,
        "spelled": found.spelled,
    }


@lru_cache(maxsize=1)
def _open_shards(folder: Path, changed_ns: int) -> Shards:
    """Map the shards, once per process."""
    return Shards(folder)


@lru_cache(maxsize=1)
def _load_tokenizer(path: Path, changed_ns: int) -> Any:
    """Load the tokenizer, once per process; this run wrote the file, so unpickling is safe."""
    return pickle.loads(path.read_bytes())


def _summarize(table: pl.DataFrame, max_length: int) -> dict[str, Any]:
    counts = [
        pl.len().alias("samples"),
        pl.col("tokens").cast(pl.Int64).sum(),
        pl.col("learned").cast(pl.Int64).sum(),
        pl.col("tokens").filter(pl.col("outcome") != "refused").mean().fill_null(0).alias("mean"),
        pl.col("tokens").max().fill_null(0).alias("longest"),
        *(
            (pl.col("outcome") == outcome).sum().alias(outcome)
            for outcome in ("truncated", "refused")
        ),
        *(pl.col(column).cast(pl.Int64).sum() for column in ("lost", "lost_learned")),
    ]
    refused = table.filter(pl.col("outcome") == "refused").head(_MAX_EXAMPLES)
    return {
        "max_length": max_length,
        "together": table.select(counts).to_dicts()[0],
        "sources": table.group_by("source").agg(counts).sort("source").to_dicts(),
        "spelled": _count_spelled(table),
        "refused": refused.select("id", "reason").to_dicts(),
    }


def _count_spelled(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Count occurrences and samples of each special token that texts spell out."""
    each = table.select("row", token="spelled").explode("token", empty_as_null=False)
    counts = pl.len().alias("times"), pl.col("row").n_unique().alias("samples")
    return each.drop_nulls("token").group_by("token").agg(counts).sort("token").to_dicts()
