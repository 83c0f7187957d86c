"""GGUF files written tensor by tensor, in parts where a store limits their size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGUFValueType, GGUFWriter

from imp_data.mobile.quantize import Kind, encoded, row_bytes
from imp_data.mobile.weights import Floats
from imp_data.progress import Progress
from imp_data.store import written_aside

# Metadata: key to value and its type; arrays also state the type of their elements.
Metadata = Mapping[str, tuple[Any, GGUFValueType] | tuple[Any, GGUFValueType, GGUFValueType]]


class Tensor(NamedTuple):
    """A tensor to write: the checkpoint's name, GGUF's, its shape and type, its rows in blocks."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: Kind
    blocks: Callable[[], Iterator[Floats]]

    @property
    def nbytes(self) -> int:
        """Bytes it takes in the file."""
        row = self.shape[-1]
        return int(np.prod(self.shape)) // row * row_bytes(self.kind, row)


def part_paths(path: Path, tensors: Sequence[Tensor], max_bytes: int | None) -> list[Path]:
    """The files it will be written to: one, or parts named as llama.cpp's gguf-split names them."""
    count = len(_parts(tensors, max_bytes))
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
    """Write the file, or its parts each of at most `max_bytes` of tensors; the paths written."""
    paths = part_paths(path, tensors, max_bytes)
    for number, (file, part) in enumerate(zip(paths, _parts(tensors, max_bytes), strict=True)):
        entries: dict[str, Any] = dict(metadata) if number == 0 else {}
        if len(paths) > 1:
            entries["split.no"] = (number, GGUFValueType.UINT16)
            entries["split.count"] = (len(paths), GGUFValueType.UINT16)
            entries["split.tensors.count"] = (len(tensors), GGUFValueType.INT32)
        with written_aside(file) as aside:
            _write_part(aside, architecture, entries, part, told)
    return paths


def _parts(tensors: Sequence[Tensor], max_bytes: int | None) -> list[list[Tensor]]:
    parts: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if max_bytes and parts[-1] and filled + tensor.nbytes > max_bytes:
            parts.append([])
            filled = 0
        parts[-1].append(tensor)
        filled += tensor.nbytes
    return parts


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
                data = encoded(block, tensor.kind)
                data.tofile(file)
                told.add(data.nbytes)
            writer.write_padding(file, tensor.nbytes)
    finally:
        writer.close()
