"""Questions on cards that are in no mixture, in the form that `imp-data evaluate` reads."""

import json
from pathlib import Path
from typing import Any, Final

from demo.sources.cards import EXAMINED, card_file, examined
from imp_data.sample import SHORT_ANSWER_SUFFIX
from imp_data.storage.atomic_write import write_text, written_aside

KINDS: Final = ("colour", "count", "word")


def held_out(folder: Path) -> list[Path]:
    """Write questions.jsonl and images/ to `folder`; returns the images' paths."""
    images = folder / "images"
    names = [f"{number}.png" for number in range(EXAMINED)]
    rows: list[dict[str, Any]] = []
    with written_aside(images, names[-1], ours=_is_ours) as aside:
        aside.mkdir()
        for number, name in enumerate(names):
            drawn = examined(number)
            (aside / name).write_bytes(card_file(drawn))
            rows += [
                {
                    "question_id": f"{number}/{place}",
                    "image": f"images/{name}",
                    "text": question + SHORT_ANSWER_SUFFIX,
                    "category": kind,
                    "answer": answer,
                }
                for place, (kind, (question, answer)) in enumerate(drawn.asked)
            ]
    write_text(folder / "questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return sorted(images / name for name in names)


def _is_ours(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.isdecimal()
