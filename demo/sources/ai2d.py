"""AI2D: school-book diagrams, each in two forms, with multiple-choice questions."""

from typing import Any, Final

from demo.drawing.album import DrawnImage, diagram, seeded
from demo.drawing.diagrams import Diagram, Part

Row = dict[str, Any]
# Numbers of the diagrams in the training split, and in the test split.
TRAIN: Final = (0, 12, 103, 258, 1021, 2304)
TEST: Final = (7, 3110)
_PLANT_QUESTIONS: Final = {
    "petal": "Which part attracts insects by its color?",
    "leaf": "Which part catches most of the sunlight?",
    "stem": "Which part holds the plant upright?",
    "root": "Which part takes up water?",
    "bud": "Which part is a flower that has not opened yet?",
    "soil": "What is the plant growing in?",
}


def image(place: int) -> tuple[DrawnImage[Diagram], bytes]:
    return diagram("ai2d", place)


def questions(place: int) -> dict[str, Row]:
    """{question: what is known of it}, in the form of questions/<n>.png.json."""
    facts = image(place)[0].facts
    rng = seeded("ai2d", place)
    found: dict[str, Row] = {}
    for part in rng.sample(facts.parts, min(2, len(facts.parts))):
        if place % 2 == 0 or place in TEST:
            found[f"What is {part.letter} in the diagram?"] = _row(facts, part, True, rng.random())
    for before, after in facts.arrows[:2]:
        right = next(part for part in facts.parts if part.name == after)
        found[f"What does the arrow from {before} lead to?"] = _row(
            facts, right, False, rng.random()
        )
    for part in facts.parts if not facts.arrows else ():
        found[_PLANT_QUESTIONS[part.name]] = _row(facts, part, False, rng.random())
    return {
        text: {**row, "questionId": f"{place}.png-{n}"}
        for n, (text, row) in enumerate(found.items())
    }


def _row(facts: Diagram, right: Part, lettered: bool, chance: float) -> Row:
    """Four options; where a diagram has too few parts, `{}` fills the last place."""
    others = [part.name for part in facts.parts if part is not right][:3]
    options = [*others, *["{}"] * (3 - len(others))]
    correct = int(chance * (len(others) + 1))
    options.insert(correct, right.name)
    return option_row(options, correct, lettered)


def option_row(options: list[str], correct: int, lettered: bool) -> Row:
    return {"abcLabel": lettered, "answerTexts": options, "correctAnswer": correct}


def question_file(place: int, asked: dict[str, Row]) -> Row:
    """The content of questions/<n>.png.json."""
    return {"imageName": f"{place}.png", "questions": asked}


def annotation(place: int) -> Row:
    """The content of annotations/<n>.png.json, as far as it tells where names stand."""
    parts = image(place)[0].facts.parts
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
