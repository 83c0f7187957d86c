"""Memory that llama.cpp takes for a conversation, from what the files say of their networks."""

from pathlib import Path
from typing import Any

from gguf import GGUFReader

from imp_data.mobile.gguf.bundle import ExportedNetwork, ExportManifest
from imp_data.mobile.runtime.in_process import CONTEXT_TOKENS

# Tokens that llama.cpp reads at a time, and bytes of a number while it reckons.
_BATCH, _NUMBER = 512, 4
# What the process holds beside: llama.cpp itself, vocabulary, and who calls it (seen: 80 to 110).
_PROCESS_BYTES = 96 << 20


def minimum_memory(
    folder: Path, bundle: ExportManifest, text: ExportedNetwork, vision: ExportedNetwork
) -> int:
    """Bytes for a conversation of a whole context about an image, the files not mapped.

    Mapped, llama.cpp holds every matrix twice that it lays out anew for the processor. The
    buffers' sizes are fitted to those that llama.cpp logs (flash attention off); at most 8 % above.
    """
    weights = text.bytes + vision.bytes
    remembered = CONTEXT_TOKENS * bundle.kv_bytes_per_token
    buffers = _text_buffer(folder / text.files[0].name) + _vision_buffer(
        folder / vision.files[0].name
    )
    return weights + remembered + buffers + _PROCESS_BYTES


def _text_buffer(path: Path) -> int:
    """A batch on its way through a layer: the attention's scores, or the feed-forward part."""
    file = GGUFReader(path)
    kind = _value(file, "general.architecture")
    width = _value(file, f"{kind}.embedding_length")
    scores = _value(file, f"{kind}.attention.head_count") * CONTEXT_TOKENS + 8 * width
    forward = 3 * _value(file, f"{kind}.feed_forward_length") + 7 * width
    # And which place may look at which.
    return _BATCH * _NUMBER * (max(scores, forward) + CONTEXT_TOKENS)


def _vision_buffer(path: Path) -> int:
    """An image on its way through the tower: every place looks at every other."""
    file = GGUFReader(path)
    patch = _value(file, "clip.vision.patch_size")
    places = (_value(file, "clip.vision.image_size") // patch) ** 2
    scores = _value(file, "clip.vision.attention.head_count") * places
    width = _value(file, "clip.vision.embedding_length")
    return places * _NUMBER * (scores + 5 * width + 3 * patch**2)


def _value(file: GGUFReader, key: str) -> Any:
    field = file.get_field(key)
    assert field is not None, key
    return field.contents()
