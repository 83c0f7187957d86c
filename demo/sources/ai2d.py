"""AI2D: school-book diagrams, plain and lettered, with multiple-choice questions."""

from typing import Any, Final

from demo.drawing.album import DrawnImage, diagram, lettered_diagram, seeded
from demo.drawing.diagrams import Diagram, Part

Row = dict[str, Any]
# Numbers of the diagrams in the training split, and in the test split.
TRAIN: Final = (0, 12, 103, 258, 1021, 2304)
TEST: Final = (7, 3110)


def image(index: int) -> DrawnImage[Diagram]:
    return diagram("ai2d", index)


def lettered_image(index: int) -> DrawnImage[Diagram]:
    return lettered_diagram("ai2d", index)


def questions(index: int) -> dict[str, Row]:
    """Return {question: its options and answer}, in the form of questions/<n>.png.json."""
    facts = image(index).facts
    rng = seeded("ai2d", index)
    rows: dict[str, Row] = {}
    for part in rng.sample(facts.parts, min(2, len(facts.parts))):
        if index % 2 == 0 or index in TEST:
            rows[f"What is {part.letter} in the diagram?"] = _row(facts, part, True, rng.random())
    for before, after in facts.arrows[:2]:
        right = next(part for part in facts.parts if part.name == after)
        question = f"What does the arrow from {before} lead to?"
        rows[question] = _row(facts, right, False, rng.random())
    return {
        text: {**row, "questionId": f"{index}.png-{n}"}
        for n, (text, row) in enumerate(rows.items())
    }


def _row(facts: Diagram, right: Part, lettered: bool, chance: float) -> Row:
    """Return four options; if a diagram has too few parts, the last ones are `{}`."""
    others = [part.name for part in facts.parts if part is not right][:3]
    options = [*others, *["{}"] * (3 - len(others))]
    correct = int(chance * (len(others) + 1))
    options.insert(correct, right.name)
    return option_row(options, correct, lettered)


def option_row(options: list[str], correct: int, lettered: bool) -> Row:
    return {"abcLabel": lettered, "answerTexts": options, "correctAnswer": correct}


def annotation(index: int) -> Row:
    """Return the text boxes of annotations/<n>.png.json."""
    parts = image(index).facts.parts
    return {
        "text": {
            f"T{n}": {
                "id": f"T{n}",
                "rectangle": [list(part.box[:2]), list(part.box[2:])],
                "replacementText": part.letter,
                "value": part.name,
            }
            for n, part in enumerate(parts)
        }
    }
