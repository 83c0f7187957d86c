"""The card stage: README.md of a finished mixture."""

import sys
from pathlib import Path
from typing import Any

from imp_data.mixture.card import card_text, is_card, said_twice
from imp_data.pipeline.stages import CARD, Stamps, code_of
from imp_data.redaction import redacted
from imp_data.storage.atomic_write import json_text, share, write_text
from imp_data.storage.digests import text_digest, tree_digest
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import StageResult


def write_card(build: Stamps) -> StageResult:
    """README.md beside the shards; built anew when what it tells of or the template has changed."""
    folder = build.data.mixture(build.name)
    readme = folder / CARD
    twice = build.figures("neighbours") if build.reports_neighbours else None

    def write() -> dict[str, Any]:
        text = card_text(folder)
        if twice is not None:
            text += said_twice(folder, twice)
        if is_file(readme) and not build.left("card", readme):
            _keep_edited(readme, folder)
        write_text(readme, text)
        return {"characters": len(text)}

    inputs = {
        "code": code_of("card"),
        "mixture": tree_digest(folder / "mixture.json"),
        "neighbours": text_digest(json_text(twice)),
    }
    return build.stage("card", inputs, [readme], write)


def _keep_edited(readme: Path, folder: Path) -> None:
    """Give a card that someone else wrote, or added to, another name."""
    text = readme.read_bytes()
    if not is_card(text.decode(errors="replace"), folder):
        kept = folder / f"README.mine-{text_digest(text)[:8]}.md"
        share(readme, kept)
        told = f"{readme}: was not written by the build; it is kept as {kept.name}"
        print(redacted(told), file=sys.stderr)
