"""Write GGUF files tensor by tensor, split into parts if their size is limited."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGUFValueType, GGUFWriter

from imp_data.mobile.gguf.quantize import GgmlType, encode_rows, row_bytes
from imp_data.mobile.gguf.weights import Floats
from imp_data.parallel.progress import Progress
from imp_data.storage.atomic_write import write_atomically

# Metadata key to value and type; for an array also the type of its elements.
Metadata = Mapping[str, tuple[Any, GGUFValueType] | tuple[Any, GGUFValueType, GGUFValueType]]


class Tensor(NamedTuple):
    """A tensor to write: its name in the checkpoint and in GGUF, shape, type, blocks of rows."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: GgmlType
    blocks: Callable[[], Iterator[Floats]]

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        row = self.shape[-1]
        return int(np.prod(self.shape)) // row * row_bytes(self.kind, row)


def _part_paths(path: Path, count: int) -> list[Path]:
    """Return the paths of the parts, named as llama.cpp's gguf-split names them."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count)]


def write_gguf(
    path: Path,
    architecture: str,
    metadata: Metadata,
    tensors: Sequence[Tensor],
    max_bytes: int | None,
    bar: Progress,
) -> list[Path]:
    """Write the file, or parts of at most `max_bytes` each; return the paths.

    A tensor is never split: one larger than `max_bytes` makes its part exceed the limit.
    """
    parts = _parts(metadata, tensors, max_bytes)
    paths = _part_paths(path, len(parts))
    for number, (file, part) in enumerate(zip(paths, parts, strict=True)):
        entries: dict[str, Any] = dict(metadata) if number == 0 else {}
        if len(paths) > 1:
            entries["split.no"] = (number, GGUFValueType.UINT16)
            entries["split.count"] = (len(paths), GGUFValueType.UINT16)
            entries["split.tensors.count"] = (len(tensors), GGUFValueType.INT32)
        with write_atomically(file) as aside:
            _write_part(aside, architecture, entries, part, bar)
    return paths


def _parts(
    metadata: Metadata, tensors: Sequence[Tensor], max_bytes: int | None
) -> list[list[Tensor]]:
    """Distribute the tensors over parts; the first part also holds all metadata."""
    parts: list[list[Tensor]] = [[]]
    filled = _HEADER_BYTES + sum(len(key) + _stored_bytes(of[0]) for key, of in metadata.items())
    for tensor in tensors:
        needed = tensor.nbytes + len(tensor.name) + _INFO_BYTES
        if max_bytes and parts[-1] and filled + needed > max_bytes:
            parts.append([])
            filled = _HEADER_BYTES
        parts[-1].append(tensor)
        filled += needed
    return parts


# Counts and split metadata of a file; shape, type, offset and padding of a tensor.
_HEADER_BYTES, _INFO_BYTES = 512, 128


def _stored_bytes(value: Any) -> int:
    """Return an upper bound of a metadata value's size, with its length and type prefixes."""
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
    bar: Progress,
) -> None:
    writer = GGUFWriter(path, architecture)
    for key, value in metadata.items():
        writer.add_key_value(key, *value)
    for tensor in tensors:
        # The writer uses the array's dtype only if no GGML type is given.
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
            # GGUFWriter takes whole tensors; writing blocks keeps a large one out of memory.
            for block in tensor.blocks():
                data = encode_rows(block, tensor.kind)
                data.tofile(file)
                bar.add(data.nbytes)
            writer.write_padding(file, tensor.nbytes)
    finally:
        writer.close()
