"""The card stage: README.md of a finished mixture."""

import sys
from pathlib import Path
from typing import Any

from imp_data.mixture.card import duplicates_section, is_card, render_card
from imp_data.mixture.mixture_json import MANIFEST
from imp_data.pipeline.stages import CARD, StageContext, stage_code_version
from imp_data.redaction import redact
from imp_data.storage.atomic_write import json_text, link_or_copy, write_text
from imp_data.storage.digests import text_digest, tree_digest
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import StageResult


def write_card(build: StageContext) -> StageResult:
    """Write README.md beside the shards, again when the mixture, its report or the code changed."""
    folder = build.data.mixture(build.name)
    readme = folder / CARD
    duplicates = build.figures("duplicates") if build.reports_duplicates else None

    def write() -> dict[str, Any]:
        text = render_card(folder)
        if duplicates is not None:
            text += duplicates_section(folder, duplicates)
        if is_file(readme) and not build.is_unchanged("card", readme):
            _keep_edited_card(readme, folder)
        write_text(readme, text)
        return {"characters": len(text)}

    inputs = {
        "code": stage_code_version("card"),
        "mixture": tree_digest(folder / MANIFEST),
        "duplicates": text_digest(json_text(duplicates)),
    }
    return build.stage("card", inputs, [readme], write)


def _keep_edited_card(readme: Path, folder: Path) -> None:
    """Keep a card that a person wrote or edited, under another name."""
    text = readme.read_bytes()
    if not is_card(text.decode(errors="replace"), folder):
        kept = folder / f"README.mine-{text_digest(text)[:8]}.md"
        link_or_copy(readme, kept)
        notice = f"{readme}: was not written by the build; it is kept as {kept.name}"
        print(redact(notice), file=sys.stderr)
