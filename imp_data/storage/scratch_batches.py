"""Record batches in a temporary file of one run, located by offset and verified by xxh3."""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import xxhash

from imp_data.errors import UserError


class Block(NamedTuple):
    """The place of a batch in a file, and the xxh3 of its bytes."""

    file: Path
    start: int
    size: int
    xxh3: int


def write_block(file: Path, out: BinaryIO, batch: pa.RecordBatch) -> Block:
    """Append a batch to `file`, which is open for writing as `out`."""
    data = batch.serialize()
    block = Block(file, out.tell(), data.size, xxhash.xxh3_64_intdigest(data))
    out.write(data)
    return block


def read_block(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """Read a batch. Raise UserError if its bytes differ from what was written."""
    with block.file.open("rb") as file:
        file.seek(block.start)
        data = file.read(block.size)
    if xxhash.xxh3_64_intdigest(data) != block.xxh3:
        problem = f"is damaged: its bytes from byte {block.start:,} on differ from what was written"
        raise UserError(block.file, problem, "run the same command again, which rewrites it")
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)
