"""TextVQA: its images, and its three annotation files in full."""

from typing import Any, Final

from demo.annotations.questions import short_exchanges
from demo.drawing.album import DrawnImage, hexadecimal, number, scene, seeded
from demo.drawing.scenes import Scene

# Questions in a split, images in a split. Training images are the ones of TextCaps.
SPLITS: Final = {"train": range(22), "val": range(22, 28), "test": range(28, 34)}
_FIRST_QUESTION: Final = {"train": 0, "val": 34_602, "test": 39_602}


def image_id(place: int) -> str:
    """The name in Open Images of the benchmark's n-th image."""
    return hexadecimal(16, "open images", place)


def photo(place: int) -> DrawnImage[Scene]:
    return scene("textvqa", place)


def archives() -> dict[str, dict[str, bytes]]:
    """{zip: {member: bytes}}; validation images lie among those of training, as upstream's."""
    known = [*SPLITS["train"], *SPLITS["val"]]
    return {
        "train_val_images.zip": {
            f"train_images/{image_id(place)}.jpg": photo(place).data for place in known
        },
        "test_images.zip": {
            f"test_images/{image_id(place)}.jpg": photo(place).data for place in SPLITS["test"]
        },
    }


def annotations(split: str) -> dict[str, Any]:
    """The content of TextVQA_0.5.1_<split>.json; the test split has no answers."""
    rows = [row for place in SPLITS[split] for row in _rows(split, place)]
    for ordinal, row in enumerate(rows):
        row["question_id"] = _FIRST_QUESTION[split] + ordinal
    return {
        "dataset_type": split,
        "dataset_name": "textvqa",
        "dataset_version": "0.5.1",
        "data": rows,
    }


def _rows(split: str, place: int) -> list[dict[str, Any]]:
    image = photo(place)
    rng = seeded("textvqa questions", place)
    exchanges = [e for e in short_exchanges(image.facts, rng) if "sign" in e[0]]
    asked = [("what is written on the sign?", image.facts.word.lower()), *exchanges[:1]]
    address = f"https://farm{number(1, 9, place)}.staticflickr.com/demo/{image_id(place)}"
    rows = []
    for question, answer in asked[: 1 + (place % 3 > 0)]:
        row = {
            "question": question,
            "image_id": image_id(place),
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
