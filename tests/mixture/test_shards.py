"""A shard's bytes depend on its rows alone."""

from pathlib import Path

import pyarrow as pa
import pytest

from imp_data.mixture import shards as shards_module
from imp_data.mixture.arrow_dataset import write_shard, write_shard_in_parts
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.storage.scratch_batches import write_block


@pytest.mark.parametrize("bucket_rows", [1000, 2000])
def test_a_shard_assembled_from_buckets_has_the_bytes_of_one_written_at_once(
    bucket_rows: int, tmp_path: Path
) -> None:
    texts = {f.name: [f"{f.name} {n}" for n in range(3500)] for f in SAMPLE_SCHEMA}
    turns = [[{"from": "human", "value": f"{n}?"}] for n in range(3500)]
    sizes = {"image_width": range(3500), "image_height": range(3500)}
    rows = pa.table({**texts, "conversations": turns, **sizes}, schema=SAMPLE_SCHEMA)
    placed = rows.append_column("place", pa.array(range(3500), pa.int32()))
    buckets = []
    for begin in range(0, 3500, bucket_rows):
        some = placed.slice(begin, bucket_rows)
        shuffled = some.take(pa.array(range(len(some))[::-1])).combine_chunks()
        (batch,) = shuffled.to_batches()
        with (tmp_path / f"{begin}").open("wb") as out:
            buckets.append([write_block(tmp_path / f"{begin}", out, batch)])
    write_shard_in_parts(tmp_path / "parts", shards_module._ordered_tables(buckets))
    write_shard(tmp_path / "whole", rows.take(pa.array(range(3500))))
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
