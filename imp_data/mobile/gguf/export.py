"""A merged model as files for llama.cpp, every precision and resolution asked for.

`imp-data export MODEL --bits 16,8,4 --resolution 384,196 -o DIR`
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imp_data import __version__
from imp_data.errors import UserError
from imp_data.mobile.gguf.bundle import (
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
from imp_data.storage.atomic_write import json_text, write_text, written_aside
from imp_data.storage.digests import file_sha256, library_versions

# Headers, vocabulary and padding, beside the tensors.
_MARGIN_BYTES = 64 << 20


_OURS = re.compile(r"(text|vision)-.*\.gguf|manifest\.json|(parity|latency|quality)\..*")


class PlannedFile(NamedTuple):
    """A file that will be written: what it is, and all that goes into it."""

    exported: ExportedNetwork
    architecture: str
    metadata: Metadata
    tensors: list[Tensor]


def export(
    folder: Path,
    out: Path,
    bits: Sequence[int] = (16, 8, 4),
    resolutions: Sequence[int] | None = None,
    max_bytes: int | None = None,
    asks: QuestionStyle | None = None,
) -> ExportManifest:
    """Write the model's files to `out`, in the place of those of an earlier export, all at once.

    What was measured on those goes with them.
    """
    model = load_checkpoint(folder)
    plan = _plan(model, _checked_bits(bits), _checked_sizes(model, resolutions))
    nbytes = sum(tensor.nbytes for planned in plan for tensor in planned.tensors)
    out.mkdir(parents=True, exist_ok=True)
    _check_room(out, nbytes)
    told = progress(f"export/{model.provenance.name}", "bytes", nbytes)
    with written_aside(out, MANIFEST_NAME, ours=_is_ours) as aside, told as counted:
        aside.mkdir()
        exported = [_written(aside, planned, max_bytes, counted) for planned in plan]
        bundle = ExportManifest(
            name=model.provenance.name,
            architecture=model.architecture,
            template=model.provenance.template,
            preprocessing=model.provenance.preprocessing,
            trained_resolution=model.image_size,
            mixture_digest=model.provenance.mixture_digest,
            license=model.provenance.license,
            kv_bytes_per_token=_kv_bytes(model),
            versions={"imp-data": __version__, **library_versions("gguf", "libgguf")},
            files=exported,
            asking=asks or QuestionStyle(),
        )
        write_text(aside / MANIFEST_NAME, json_text(bundle.model_dump(mode="json")))
    return bundle


def _plan(model: Checkpoint, bits: Sequence[int], sizes: Sequence[int]) -> list[PlannedFile]:
    """Every file, tensors and metadata; whatever the model lacks is found out here."""
    plan = []
    for precision in (one for bit in bits for one in TEXT_BITS[bit]):
        exported = ExportedNetwork(role="text", precision=precision, files=[])
        metadata = text_metadata(model, precision)
        tensors = text_tensors(model, precision)
        plan.append(PlannedFile(exported, model.architecture, metadata, tensors))
    for vision in (VISION_BITS[bit] for bit in bits):
        for size in sizes:
            exported = ExportedNetwork(role="vision", precision=vision, resolution=size, files=[])
            metadata = vision_metadata(model, vision, size)
            plan.append(
                PlannedFile(exported, "clip", metadata, vision_tensors(model, vision, size))
            )
    return plan


def _written(
    out: Path, planned: PlannedFile, max_bytes: int | None, told: Progress
) -> ExportedNetwork:
    path = out / planned.exported.stem
    path = path.with_name(f"{path.name}.gguf")
    # llama.cpp loads a vision tower from one file alone.
    limit = max_bytes if planned.exported.role == "text" else None
    paths = write_gguf(path, planned.architecture, planned.metadata, planned.tensors, limit, told)
    files = [FileEntry(name=p.name, bytes=p.stat().st_size, sha256=file_sha256(p)) for p in paths]
    return planned.exported.model_copy(update={"files": files})


def _checked_bits(bits: Sequence[int]) -> list[int]:
    if unknown := [bit for bit in bits if bit not in TEXT_BITS]:
        raise UserError("--bits", f"{unknown[0]} is none of 16, 8, 4", "say, for one, --bits 8,4")
    return sorted(set(bits), reverse=True)


def _checked_sizes(model: Checkpoint, resolutions: Sequence[int] | None) -> list[int]:
    """Sizes in pixels; that of the training if none is asked for."""
    patch = int(model.config["vision_config"]["patch_size"])
    sizes = sorted(set(resolutions or [model.image_size]), reverse=True)
    if small := [size for size in sizes if not patch <= size <= 4 * model.image_size]:
        problem = f"{small[0]} is not between {patch} and {4 * model.image_size} pixels"
        raise UserError("--resolution", problem, "say, for one, --resolution 384,196")
    return sizes


def _check_room(out: Path, nbytes: int) -> None:
    free, needed = shutil.disk_usage(out).free, nbytes + _MARGIN_BYTES
    if free < needed:
        problem = f"has {free / 1e9:,.1f} GB free; the files take {needed / 1e9:,.1f} GB"
        raise UserError(out, problem, "make room, or ask for fewer --bits or --resolution")


def _is_ours(path: Path) -> bool:
    """Whether a file is of an export, or of what was measured on one."""
    return _OURS.fullmatch(path.name) is not None


def _kv_bytes(model: Checkpoint) -> int:
    """Bytes of keys and values that one token leaves in memory, as F16."""
    text = model.config["text_config"]
    heads = int(text["num_attention_heads"])
    of_keys = int(text.get("num_key_value_heads") or heads)
    width = int(text["hidden_size"]) // heads * of_keys
    return 2 * 2 * width * int(text["num_hidden_layers"])
