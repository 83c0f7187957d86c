"""The folder for a phone: one precision, one resolution, what it needs, and how to use it.

`imp-data bundle DIR --precision Q4_K_M --resolution 196`
"""

import os
import shutil
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.errors import UserError
from imp_data.mobile.gguf.bundle import MANIFEST_NAME, ExportedNetwork, ExportManifest, read_bundle
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.runtime.in_process import CONTEXT_TOKENS
from imp_data.mobile.runtime.memory import minimum_memory
from imp_data.storage.atomic_write import json_text, write_text, written_aside
from imp_data.storage.digests import file_sha256


def write_phone_folder(
    export: Path,
    precision: Precision,
    resolution: int,
    max_bytes: int | None = None,
    vision: Precision | None = None,
) -> ExportManifest:
    """Write `export`/mobile, whole or not at all: files, manifest.json, LICENSE, README.md."""
    bundle = read_bundle(export)
    chosen = [bundle.text(precision), bundle.vision(precision, resolution, vision)]
    for one in chosen:
        _check(export, one, max_bytes)
    needed = minimum_memory(export, bundle, *chosen)
    phone = bundle.model_copy(update={"files": chosen, "minimum_memory_bytes": needed})
    with written_aside(export / "mobile", MANIFEST_NAME, ours=_is_ours) as aside:
        aside.mkdir()
        for file in (file for one in chosen for file in one.files):
            _laid(export / file.name, aside / file.name)
        write_text(aside / "LICENSE", _license(export, phone))
        write_text(aside / "README.md", _readme(phone))
        write_text(aside / MANIFEST_NAME, json_text(phone.model_dump(mode="json")))
    return phone


def _is_ours(path: Path) -> bool:
    return path.suffix == ".gguf" or path.name in {"LICENSE", "README.md", MANIFEST_NAME}


def _check(export: Path, one: ExportedNetwork, max_bytes: int | None) -> None:
    for file in one.files:
        path = export / file.name
        if not path.exists() or file_sha256(path) != file.sha256:
            problem = "is not the file that manifest.json lists"
            raise UserError(path, problem, "export the model again (imp-data export)")
        if max_bytes and file.bytes > max_bytes:
            problem = f"has {file.bytes / 1e9:,.2f} GB, more than --max-file allows"
            remedy = "export with a smaller --max-file: its parts are then small enough"
            raise UserError(path, problem, remedy)


def _laid(source: Path, target: Path) -> None:
    """A hard link, or a copy where the disk has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _license(export: Path, phone: ExportManifest) -> str:
    given = export / "LICENSE"
    if given.exists():
        return given.read_text(encoding="utf-8")
    stated = phone.license or "not stated by whoever trained it"
    return (
        f"The weights of {phone.name}: {stated}.\n\n"
        "They derive from a pretrained language model and a pretrained vision tower, whose licences"
        " hold for them too, and from the data of their mixture, whose card lists a licence for"
        f" each source.\n\nMixture: {phone.mixture_digest or 'not stated'}\n"
    )


def _readme(phone: ExportManifest) -> str:
    template = Environment(
        loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
    ).get_template("mobile.md.j2")
    text, vision = phone.files
    return template.render(m=phone, text=text, vision=vision, context=CONTEXT_TOKENS)
