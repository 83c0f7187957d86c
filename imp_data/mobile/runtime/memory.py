"""Estimate the memory that llama.cpp needs for a conversation from the metadata of its files."""

from pathlib import Path
from typing import Any

from gguf import GGUFReader

from imp_data.mobile.gguf.export_manifest import ExportedNetwork, ExportManifest
from imp_data.mobile.runtime.in_process import CONTEXT_TOKENS

# Tokens in a batch of llama.cpp, and bytes of a number in its compute buffers.
_BATCH, _NUMBER = 512, 4
# Other memory of the process: llama.cpp, vocabulary and the caller (measured: 80 to 110 MB).
_PROCESS_BYTES = 96 << 20


def minimum_memory(
    folder: Path, manifest: ExportManifest, text: ExportedNetwork, vision: ExportedNetwork
) -> int:
    """Return the bytes for a conversation of a full context about an image, without mmap.

    With mmap, llama.cpp holds every matrix that it repacks for the processor twice. The buffer
    sizes are fitted to those in llama.cpp's log (flash attention off) and at most 8 % above them.
    """
    weights = text.bytes + vision.bytes
    kv_cache = CONTEXT_TOKENS * manifest.kv_bytes_per_token
    buffers = _text_buffer(folder / text.files[0].name) + _vision_buffer(
        folder / vision.files[0].name
    )
    return weights + kv_cache + buffers + _PROCESS_BYTES


def _text_buffer(path: Path) -> int:
    """Return the bytes for a batch in a layer: the larger of attention and feed-forward."""
    file = GGUFReader(path)
    kind = _value(file, "general.architecture")
    width = _value(file, f"{kind}.embedding_length")
    scores = _value(file, f"{kind}.attention.head_count") * CONTEXT_TOKENS + 8 * width
    feed_forward = 3 * _value(file, f"{kind}.feed_forward_length") + 7 * width
    # The last term is the attention mask.
    return _BATCH * _NUMBER * (max(scores, feed_forward) + CONTEXT_TOKENS)


def _vision_buffer(path: Path) -> int:
    """Return the bytes for an image in the tower, mostly scores of attention between patches."""
    file = GGUFReader(path)
    patch = _value(file, "clip.vision.patch_size")
    patches = (_value(file, "clip.vision.image_size") // patch) ** 2
    scores = _value(file, "clip.vision.attention.head_count") * patches
    width = _value(file, "clip.vision.embedding_length")
    return patches * _NUMBER * (scores + 5 * width + 3 * patch**2)


def _value(file: GGUFReader, key: str) -> Any:
    field = file.get_field(key)
    assert field is not None, key
    return field.contents()
