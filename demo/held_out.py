"""Held-out questions on cards that are in no mixture, in the format of `imp-data evaluate`."""

import json
from pathlib import Path
from typing import Any, Final

from demo.sources.cards import HELD_OUT, card_file, held_out_card
from imp_data.sample import SHORT_ANSWER_SUFFIX
from imp_data.storage.atomic_write import write_text, written_aside

KINDS: Final = ("colour", "count", "word")


def write_held_out(folder: Path) -> list[Path]:
    """Write questions.jsonl and images/ to `folder`; return the paths of the images."""
    images = folder / "images"
    names = [f"{number}.png" for number in range(HELD_OUT)]
    rows: list[dict[str, Any]] = []
    with written_aside(images, names[-1], ours=_is_card_name) as aside:
        aside.mkdir()
        for number, name in enumerate(names):
            drawn = held_out_card(number)
            (aside / name).write_bytes(card_file(drawn))
            rows += [
                {
                    "question_id": f"{number}/{position}",
                    "image": f"images/{name}",
                    "text": question + SHORT_ANSWER_SUFFIX,
                    "category": kind,
                    "answer": answer,
                }
                for position, (kind, (question, answer)) in enumerate(drawn.questions)
            ]
    write_text(folder / "questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return sorted(images / name for name in names)


def _is_card_name(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.isdecimal()
