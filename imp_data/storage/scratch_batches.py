"""Batches of rows in a file of this run alone: found by their places, checked by their xxh3."""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import xxhash

from imp_data.errors import UserError


class Block(NamedTuple):
    """A batch's bytes in a file, and their xxh3."""

    file: Path
    start: int
    size: int
    xxh3: int


def write_block(file: Path, out: BinaryIO, batch: pa.RecordBatch) -> Block:
    """Add a batch to a file that is open for writing as `out`."""
    data = batch.serialize()
    block = Block(file, out.tell(), data.size, xxhash.xxh3_64_intdigest(data))
    out.write(data)
    return block


def read_block(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """The batch. Raises UserError if its bytes are not as they were written."""
    with block.file.open("rb") as file:
        file.seek(block.start)
        data = file.read(block.size)
    if xxhash.xxh3_64_intdigest(data) != block.xxh3:
        problem = f"is damaged: its bytes are not as they were written from byte {block.start:,} on"
        raise UserError(block.file, problem, "run the same command again, which writes it anew")
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)
