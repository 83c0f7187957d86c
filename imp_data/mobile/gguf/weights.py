"""Read tensors of a model folder's safetensors files in blocks of rows, never a whole file."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from imp_data.errors import UserError
from imp_data.storage.json_files import parse_json, read_json_object

Floats = NDArray[np.float32]
# Bytes of a tensor in memory at a time, as float32.
BLOCK_BYTES = 64 << 20
_FETCH_AGAIN = "save the model again, or fetch its files again"
# numpy knows no bfloat16; its bits are the upper half of a float32's.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# The limit of the library safetensors.
_MOST_HEADER_BYTES = 100_000_000


class HeaderEntry(BaseModel):
    """A tensor's entry in a file's header."""

    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    data_offsets: tuple[Annotated[int, Field(ge=0)], int]


_HEADER = TypeAdapter(dict[str, HeaderEntry])


class StoredTensor(NamedTuple):
    """A tensor in a file: offset of its first byte, number format and shape."""

    file: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def blocks(self) -> Iterator[Floats]:
        """Yield the tensor as float32 (rows, row length), some rows at a time."""
        rows = self.shape[0] if len(self.shape) > 1 else 1
        length = int(np.prod(self.shape)) // max(rows, 1)
        step = max(1, BLOCK_BYTES // (4 * max(length, 1)))
        size = np.dtype(_DTYPES[self.dtype]).itemsize
        with self.file.open("rb") as file:
            for first in range(0, rows, step):
                count = min(step, rows - first)
                file.seek(self.offset + first * length * size)
                yield self._floats(file.read(count * length * size)).reshape(count, length)

    def _floats(self, data: bytes) -> Floats:
        numbers = np.frombuffer(data, _DTYPES[self.dtype])
        if self.dtype == "BF16":
            return (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(np.float32)

    def whole(self) -> Floats:
        """Return the whole tensor in its own shape; for small tensors."""
        return np.concatenate(list(self.blocks())).reshape(self.shape)


def read_stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the folder's safetensors files by its stored name."""
    found: dict[str, StoredTensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update(_tensors_in_file(path))
    _check_index(folder, set(found))
    return found


def _tensors_in_file(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, _MOST_HEADER_BYTES):
            raise UserError(path, "is not a safetensors file", _FETCH_AGAIN)
        header = file.read(length)
    for name, entry in _entries(path, header).items():
        if entry.dtype not in _DTYPES:
            problem = f"tensor {name} has dtype {entry.dtype}, not a floating-point one"
            raise UserError(path, problem, "save the model in bf16, fp16 or fp32, unquantized")
        begin, end = entry.data_offsets
        if 8 + length + end > size:
            raise UserError(path, f"ends before tensor {name}", _FETCH_AGAIN)
        if end - begin != prod(entry.shape) * np.dtype(_DTYPES[entry.dtype]).itemsize:
            problem = f"tensor {name} has {end - begin:,} bytes, which does not match its shape"
            raise UserError(path, problem, _FETCH_AGAIN)
        yield name, StoredTensor(path, 8 + length + begin, entry.dtype, entry.shape)


def _entries(path: Path, header: bytes) -> dict[str, HeaderEntry]:
    found = parse_json(path, header, _FETCH_AGAIN)
    if isinstance(found, dict):
        found.pop("__metadata__", None)
    try:
        return _HEADER.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(path, f"is not a safetensors file ({problem})", _FETCH_AGAIN) from None


def _check_index(folder: Path, found: set[str]) -> None:
    """Raise UserError that names the shards in the index that are missing or incomplete."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    weight_map = read_json_object(index, _FETCH_AGAIN).get("weight_map")
    if not isinstance(weight_map, dict):
        raise UserError(index, "has no weight_map", _FETCH_AGAIN)
    if missing := sorted({str(file) for name, file in weight_map.items() if name not in found}):
        problem = f"lists {', '.join(missing)}, missing or incomplete here"
        raise UserError(index, problem, _FETCH_AGAIN)
