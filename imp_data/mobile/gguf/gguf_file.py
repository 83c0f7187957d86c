"""GGUF files written tensor by tensor, in parts where a store limits their size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGUFValueType, GGUFWriter

from imp_data.mobile.gguf.quantize import GgmlType, encode_rows, row_bytes
from imp_data.mobile.gguf.weights import Floats
from imp_data.parallel.progress import Progress
from imp_data.storage.atomic_write import written_aside

# Metadata: key to value and its type; arrays also state the type of their elements.
Metadata = Mapping[str, tuple[Any, GGUFValueType] | tuple[Any, GGUFValueType, GGUFValueType]]


class Tensor(NamedTuple):
    """A tensor to write: the checkpoint's name, GGUF's, its shape and type, its rows in blocks."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: GgmlType
    blocks: Callable[[], Iterator[Floats]]

    @property
    def nbytes(self) -> int:
        """Bytes it takes in the file."""
        row = self.shape[-1]
        return int(np.prod(self.shape)) // row * row_bytes(self.kind, row)


def _part_paths(path: Path, count: int) -> list[Path]:
    """The files it is written to: one, or parts named as llama.cpp's gguf-split names them."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count)]


def write_gguf(
    path: Path,
    architecture: str,
    metadata: Metadata,
    tensors: Sequence[Tensor],
    max_bytes: int | None,
    told: Progress,
) -> list[Path]:
    """Write the file, or its parts each of at most `max_bytes`; the paths written.

    A tensor is in one part: one larger than `max_bytes` makes a part as large as itself.
    """
    parts = _parts(metadata, tensors, max_bytes)
    paths = _part_paths(path, len(parts))
    for number, (file, part) in enumerate(zip(paths, parts, strict=True)):
        entries: dict[str, Any] = dict(metadata) if number == 0 else {}
        if len(paths) > 1:
            entries["split.no"] = (number, GGUFValueType.UINT16)
            entries["split.count"] = (len(paths), GGUFValueType.UINT16)
            entries["split.tensors.count"] = (len(tensors), GGUFValueType.INT32)
        with written_aside(file) as aside:
            _write_part(aside, architecture, entries, part, told)
    return paths


def _parts(
    metadata: Metadata, tensors: Sequence[Tensor], max_bytes: int | None
) -> list[list[Tensor]]:
    """The first part also holds the metadata, vocabulary and all."""
    parts: list[list[Tensor]] = [[]]
    filled = _HEADER_BYTES + sum(len(key) + _stored_bytes(of[0]) for key, of in metadata.items())
    for tensor in tensors:
        taken = tensor.nbytes + len(tensor.name) + _INFO_BYTES
        if max_bytes and parts[-1] and filled + taken > max_bytes:
            parts.append([])
            filled = _HEADER_BYTES
        parts[-1].append(tensor)
        filled += taken
    return parts


# Counts and what tells of the parts; a tensor's shape, type and place, and its padding.
_HEADER_BYTES, _INFO_BYTES = 512, 128


def _stored_bytes(value: Any) -> int:
    """Of a value among the metadata, at most: lengths and types stand before what they are of."""
    if isinstance(value, str):
        return 16 + len(value.encode())
    if isinstance(value, list):
        return 24 + sum(map(_stored_bytes, value))
    return 16


def _write_part(
    path: Path,
    architecture: str,
    metadata: Mapping[str, Any],
    tensors: Sequence[Tensor],
    told: Progress,
) -> None:
    writer = GGUFWriter(path, architecture)
    for key, value in metadata.items():
        writer.add_key_value(key, *value)
    for tensor in tensors:
        # The type of the array matters to the writer only where no GGML type is given.
        kind: Any = np.float32
        writer.add_tensor_info(tensor.name, tensor.shape, kind, tensor.nbytes, tensor.kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        for tensor in tensors:
            # The writer takes a tensor whole; a large one must not be in memory whole.
            for block in tensor.blocks():
                data = encode_rows(block, tensor.kind)
                data.tofile(file)
                told.add(data.nbytes)
            writer.write_padding(file, tensor.nbytes)
    finally:
        writer.close()
