"""Write the phone folder: one precision at one resolution, its memory needs and instructions.

`imp-data bundle DIR --precision Q4_K_M --resolution 196`
"""

import os
import shutil
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.errors import UserError
from imp_data.mobile.gguf.export_manifest import (
    MANIFEST_NAME,
    ExportedNetwork,
    ExportManifest,
    read_export_manifest,
)
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.runtime.in_process import CONTEXT_TOKENS
from imp_data.mobile.runtime.memory import minimum_memory
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.storage.digests import file_sha256


def write_phone_folder(
    export: Path,
    precision: Precision,
    resolution: int,
    max_bytes: int | None = None,
    vision: Precision | None = None,
) -> ExportManifest:
    """Write `export`/mobile atomically: model files, manifest.json, LICENSE, README.md.

    Raise UserError if a file differs from the export's manifest or exceeds `max_bytes`.
    """
    manifest = read_export_manifest(export)
    chosen = [manifest.text(precision), manifest.vision(precision, resolution, vision)]
    for network in chosen:
        _check_files(export, network, max_bytes)
    memory = minimum_memory(export, manifest, *chosen)
    phone = manifest.model_copy(update={"files": chosen, "minimum_memory_bytes": memory})
    with write_atomically(export / "mobile", MANIFEST_NAME, ours=_is_ours) as aside:
        aside.mkdir()
        for file in (file for network in chosen for file in network.files):
            _link_or_copy(export / file.name, aside / file.name)
        write_text(aside / "LICENSE", _license(export, phone))
        write_text(aside / "README.md", _readme(phone))
        write_text(aside / MANIFEST_NAME, json_text(phone.model_dump(mode="json")))
    return phone


def _is_ours(path: Path) -> bool:
    return path.suffix == ".gguf" or path.name in {"LICENSE", "README.md", MANIFEST_NAME}


def _check_files(export: Path, network: ExportedNetwork, max_bytes: int | None) -> None:
    for file in network.files:
        path = export / file.name
        if not path.exists() or file_sha256(path) != file.sha256:
            problem = "is missing or differs from the file that manifest.json lists"
            raise UserError(path, problem, "export the model again (imp-data export)")
        if max_bytes and file.bytes > max_bytes:
            problem = f"has {file.bytes / 1e9:,.2f} GB, more than --max-file allows"
            remedy = "export with a smaller --max-file, which splits the file into smaller parts"
            raise UserError(path, problem, remedy)


def _link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link, or a copy if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _license(export: Path, phone: ExportManifest) -> str:
    existing = export / "LICENSE"
    if existing.exists():
        return existing.read_text(encoding="utf-8")
    stated = phone.license or "not stated by the model's author"
    return (
        f"The weights of {phone.name}: {stated}.\n\n"
        "They derive from a pretrained language model and a pretrained vision tower, whose licences"
        " apply as well, and from the data of their mixture, whose card lists the licence of each"
        f" source.\n\nMixture: {phone.mixture_digest or 'not stated'}\n"
    )


def _readme(phone: ExportManifest) -> str:
    template = Environment(
        loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
    ).get_template("mobile.md.j2")
    text, vision = phone.files
    return template.render(m=phone, text=text, vision=vision, context=CONTEXT_TOKENS)
