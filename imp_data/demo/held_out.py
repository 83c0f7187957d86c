"""Questions on cards that are in no mixture, in the form that `imp-data evaluate` reads."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from imp_data.demo.cards import EXAMINED, card_file, examined
from imp_data.sample import SHORT_ANSWER_SUFFIX

KINDS: Final = ("colour", "count", "word")


def held_out(folder: Path) -> list[Path]:
    """Write questions.jsonl and pictures/ to `folder`; returns the pictures' paths."""
    pictures = folder / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number in range(EXAMINED):
        drawn, name = examined(number), f"{number}.png"
        (pictures / name).write_bytes(card_file(drawn))
        rows += [
            {
                "question_id": f"{number}/{place}",
                "image": f"pictures/{name}",
                "text": question + SHORT_ANSWER_SUFFIX,
                "category": kind,
                "answer": answer,
            }
            for place, (kind, (question, answer)) in enumerate(drawn.asked)
        ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")
    return sorted(pictures.iterdir())
