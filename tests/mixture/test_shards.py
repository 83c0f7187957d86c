"""A shard's bytes depend on its rows alone."""

from pathlib import Path

import pyarrow as pa
import pytest

from imp_data.mixture import shards as shards_module
from imp_data.mixture.arrow_dataset import write_shard, write_shard_in_parts
from imp_data.sample import MULTI_IMAGE_SAMPLE_SCHEMA, SAMPLE_SCHEMA
from imp_data.storage.scratch_batches import write_block


def rows_of(schema: pa.Schema) -> pa.Table:
    """Return 3,500 Samples with one image each, or with none to two."""
    texts = {f.name: [f"{f.name} {n}" for n in range(3500)] for f in schema}
    turns = [[{"from": "human", "value": f"{n}?"}] for n in range(3500)]
    sizes = {"image_width": range(3500), "image_height": range(3500)}
    columns = {**texts, "conversations": turns, **sizes}
    for field in schema:
        if pa.types.is_list(field.type) and field.name != "conversations":
            columns[field.name] = [[value] * (n % 3) for n, value in enumerate(columns[field.name])]
    return pa.table(columns, schema=schema)


@pytest.mark.parametrize("bucket_rows", [1000, 2000])
@pytest.mark.parametrize("schema", [SAMPLE_SCHEMA, MULTI_IMAGE_SAMPLE_SCHEMA])
def test_a_shard_assembled_from_buckets_has_the_bytes_of_one_written_at_once(
    bucket_rows: int, schema: pa.Schema, tmp_path: Path
) -> None:
    rows = rows_of(schema)
    placed = rows.append_column("place", pa.array(range(3500), pa.int32()))
    buckets = []
    for begin in range(0, 3500, bucket_rows):
        some = placed.slice(begin, bucket_rows)
        shuffled = some.take(pa.array(range(len(some))[::-1])).combine_chunks()
        (batch,) = shuffled.to_batches()
        with (tmp_path / f"{begin}").open("wb") as out:
            buckets.append([write_block(tmp_path / f"{begin}", out, batch)])
    write_shard_in_parts(tmp_path / "parts", shards_module._ordered_tables(buckets, schema), schema)
    write_shard(tmp_path / "whole", rows.take(pa.array(range(3500))))
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
