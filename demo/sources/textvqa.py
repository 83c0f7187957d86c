"""TextVQA: its images, and its three annotation files in full."""

from typing import Any, Final

from demo.annotations.questions import short_exchanges
from demo.drawing.album import DrawnImage, hexadecimal, number, scene, seeded
from demo.drawing.scenes import Scene

# Image numbers by split. The training images are those of TextCaps.
SPLITS: Final = {"train": range(22), "val": range(22, 28), "test": range(28, 34)}
_FIRST_QUESTION: Final = {"train": 0, "val": 34_602, "test": 39_602}


def image_id(index: int) -> str:
    """Return the Open Images id of the benchmark's n-th image."""
    return hexadecimal(16, "open images", index)


def photo(index: int) -> DrawnImage[Scene]:
    return scene("textvqa", index)


def archives() -> dict[str, dict[str, bytes]]:
    """Return {zip: {member: bytes}}; one zip has training and validation images, as upstream."""
    folders = {"train_val": ("train", range(28)), "test": ("test", SPLITS["test"])}
    return {
        f"{name}_images.zip": {f"{split}_images/{image_id(n)}.jpg": photo(n).data for n in numbers}
        for name, (split, numbers) in folders.items()
    }


def annotations(split: str) -> dict[str, Any]:
    """Return the content of TextVQA_0.5.1_<split>.json; the test split has no answers."""
    rows = [row for index in SPLITS[split] for row in _rows(split, index)]
    for ordinal, row in enumerate(rows):
        row["question_id"] = _FIRST_QUESTION[split] + ordinal
    head = {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    return {**head, "data": rows}


def _rows(split: str, index: int) -> list[dict[str, Any]]:
    image = photo(index)
    rng = seeded("textvqa questions", index)
    exchanges = [e for e in short_exchanges(image.facts, rng) if "sign" in e[0]]
    questions = [("what is written on the sign?", image.facts.word.lower()), *exchanges[:1]]
    address = f"https://farm{number(1, 9, index)}.staticflickr.com/demo/{image_id(index)}"
    rows = []
    for question, answer in questions[: 1 + (index % 3 > 0)]:
        row = {
            "question": question,
            "image_id": image_id(index),
            "image_classes": ["Billboard", *(t.kind.capitalize() for t in image.facts.things)],
            "flickr_original_url": f"{address}_o.jpg",
            "flickr_300k_url": f"{address}_z.jpg",
            "image_width": image.size[0],
            "image_height": image.size[1],
            "question_tokens": question.lower().strip("?").split(),
            "question_id": 0,
            "set_name": split,
        }
        rows.append(row if split == "test" else {**row, "answers": [answer] * 10})
    return rows
