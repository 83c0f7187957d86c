"""Export a merged model to GGUF files in several precisions and resolutions.

`imp-data export MODEL --bits 16,8,4 --resolution 384,196 -o DIR`
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imp_data import __version__
from imp_data.errors import UserError
from imp_data.mobile.gguf.export_manifest import (
    MANIFEST_NAME,
    ExportedNetwork,
    ExportManifest,
    FileEntry,
    QuestionStyle,
)
from imp_data.mobile.gguf.gguf_file import Metadata, Tensor, write_gguf
from imp_data.mobile.gguf.merged_model import Checkpoint, load_checkpoint
from imp_data.mobile.gguf.quantize import TEXT_BITS, VISION_BITS
from imp_data.mobile.gguf.text_model import text_metadata, text_tensors
from imp_data.mobile.gguf.vision_model import vision_metadata, vision_tensors
from imp_data.parallel.progress import Progress, progress
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.storage.digests import file_sha256, library_versions

# Size of headers, vocabulary and padding beside the tensors.
_MARGIN_BYTES = 64 << 20
_OURS = re.compile(r"(text|vision)-.*\.gguf|manifest\.json|(parity|latency|quality)\..*")


class PlannedFile(NamedTuple):
    """A file to write: its entry in the manifest and its content."""

    network: ExportedNetwork
    architecture: str
    metadata: Metadata
    tensors: list[Tensor]


def export(
    folder: Path,
    out: Path,
    bits: Sequence[int] = (16, 8, 4),
    resolutions: Sequence[int] | None = None,
    max_bytes: int | None = None,
    style: QuestionStyle | None = None,
) -> ExportManifest:
    """Write the model's files to `out` and atomically replace those of an earlier export.

    Reports about the earlier files are removed with them.
    """
    model = load_checkpoint(folder)
    plan = _plan(model, _check_bits(bits), _check_sizes(model, resolutions))
    nbytes = sum(tensor.nbytes for planned in plan for tensor in planned.tensors)
    out.mkdir(parents=True, exist_ok=True)
    _check_disk_space(out, nbytes)
    name = model.provenance.name
    with (
        write_atomically(out, MANIFEST_NAME, ours=_is_ours) as aside,
        progress(f"export/{name}", "bytes", nbytes) as bar,
    ):
        aside.mkdir()
        networks = [_write(aside, planned, max_bytes, bar) for planned in plan]
        manifest = ExportManifest(
            name=name,
            architecture=model.architecture,
            template=model.provenance.template,
            preprocessing=model.provenance.preprocessing,
            trained_resolution=model.image_size,
            mixture_digest=model.provenance.mixture_digest,
            license=model.provenance.license,
            kv_bytes_per_token=_kv_bytes_per_token(model),
            versions={"imp-data": __version__, **library_versions("gguf", "libgguf")},
            files=networks,
            asking=style or QuestionStyle(),
        )
        write_text(aside / MANIFEST_NAME, json_text(manifest.model_dump(mode="json")))
    return manifest


def _plan(model: Checkpoint, bits: Sequence[int], sizes: Sequence[int]) -> list[PlannedFile]:
    """Return every file with tensors and metadata. Raise UserError if the model lacks some."""
    plan = []
    for precision in (precision for bit in bits for precision in TEXT_BITS[bit]):
        network = ExportedNetwork(role="text", precision=precision, files=[])
        metadata = text_metadata(model, precision)
        tensors = text_tensors(model, precision)
        plan.append(PlannedFile(network, model.architecture, metadata, tensors))
    for vision in (VISION_BITS[bit] for bit in bits):
        for size in sizes:
            network = ExportedNetwork(role="vision", precision=vision, resolution=size, files=[])
            metadata = vision_metadata(model, vision, size)
            tensors = vision_tensors(model, vision, size)
            plan.append(PlannedFile(network, "clip", metadata, tensors))
    return plan


def _write(
    out: Path, planned: PlannedFile, max_bytes: int | None, bar: Progress
) -> ExportedNetwork:
    path = out / f"{planned.network.stem}.gguf"
    # llama.cpp loads a vision tower from a single file only.
    limit = max_bytes if planned.network.role == "text" else None
    paths = write_gguf(path, planned.architecture, planned.metadata, planned.tensors, limit, bar)
    files = [FileEntry(name=p.name, bytes=p.stat().st_size, sha256=file_sha256(p)) for p in paths]
    return planned.network.model_copy(update={"files": files})


def _check_bits(bits: Sequence[int]) -> list[int]:
    if unknown := [bit for bit in bits if bit not in TEXT_BITS]:
        problem = f"{unknown[0]} is not one of 16, 8, 4"
        raise UserError("--bits", problem, "write, for example, --bits 8,4")
    return sorted(set(bits), reverse=True)


def _check_sizes(model: Checkpoint, resolutions: Sequence[int] | None) -> list[int]:
    """Return the image sides in pixels, the training resolution by default."""
    patch = int(model.config["vision_config"]["patch_size"])
    sizes = sorted(set(resolutions or [model.image_size]), reverse=True)
    if small := [size for size in sizes if not patch <= size <= 4 * model.image_size]:
        problem = f"{small[0]} is not between {patch} and {4 * model.image_size} pixels"
        raise UserError("--resolution", problem, "write, for example, --resolution 384,196")
    return sizes


def _check_disk_space(out: Path, nbytes: int) -> None:
    free, needed = shutil.disk_usage(out).free, nbytes + _MARGIN_BYTES
    if free < needed:
        problem = f"has {free / 1e9:,.1f} GB free; the files need {needed / 1e9:,.1f} GB"
        raise UserError(out, problem, "free disk space, or choose fewer --bits or --resolution")


def _is_ours(path: Path) -> bool:
    """Return whether a file belongs to an export or to a report about one."""
    return _OURS.fullmatch(path.name) is not None


def _kv_bytes_per_token(model: Checkpoint) -> int:
    """Return the bytes of keys and values that one token adds to the cache, as F16."""
    text = model.config["text_config"]
    heads = int(text["num_attention_heads"])
    kv_heads = int(text.get("num_key_value_heads") or heads)
    width = int(text["hidden_size"]) // heads * kv_heads
    return 2 * 2 * width * int(text["num_hidden_layers"])
