"""Each form on 1,000 generated records with planted damage: the rest stays as it was."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import EmbeddedImage

COUNT = 1_000
Record = dict[str, Any]


class Damage(NamedTuple):
    """A change to a record, and the reason and field of the verdict that it leads to."""

    change: Callable[[Record], Any]
    reason: Reason
    field: str


def put(*path: Any) -> Callable[[Record], Any]:
    """Return a function that replaces the value at a path; the last of `path` is the new value."""
    *steps, last, value = path

    def change(record: Record) -> None:
        inner: Any = record
        for step in steps:
            inner = inner[step]
        inner[last] = value

    return change


def image(number: int) -> EmbeddedImage:
    return EmbeddedImage(f"train-0.parquet/image/{number}")


def conversation(number: int) -> Record:
    turns = [
        {"from": "human", "value": f"<image>\nHow many owls are in {number}?"},
        {"from": "gpt", "value": f"{number} owls."},
    ]
    return {"id": str(number), "image": image(number), "conversations": turns}


def message(number: int) -> Record:
    question = [
        {"type": "image", "image": image(number)},
        {"type": "text", "text": f"How many owls are in {number}?"},
    ]
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": f"{number} owls."},
    ]
    return {"id": str(number), "messages": turns}


def text(number: int) -> Record:
    exchange = {"user": f"How many owls are in {number}?", "assistant": f"{number} owls."}
    return {"id": str(number), "images": [image(number)], "texts": [exchange], "source": "owls"}


def question(number: int) -> Record:
    asked = f"How many owls are in {number}?"
    return {
        "id": str(number),
        "image": image(number),
        "question": asked,
        "answers": [f"{number} owls."],
    }


def caption(number: int) -> Record:
    return {"id": str(number), "image": image(number), "caption": f"{number} owls."}


WRONG = Reason.WRONG_TYPE
WRONG_IMAGE = Damage(put("image", 17), WRONG, "image")
FIRST: tuple[str, int] = ("conversations", 0)
CONTENT: tuple[str, int, str] = ("messages", 0, "content")
FORMS_AND_DAMAGE: dict[str, tuple[Callable[[int], Record], list[Damage]]] = {
    "conversations": (
        conversation,
        [
            WRONG_IMAGE,
            Damage(lambda record: record.pop("conversations"), WRONG, "conversations"),
            Damage(put("conversations", []), Reason.NO_TURNS, "conversations"),
            Damage(put("conversations", "Hello"), WRONG, "conversations"),
            Damage(put(*FIRST, None), WRONG, "conversations.0"),
            Damage(put(*FIRST, "value", None), WRONG, "conversations.0.value"),
            Damage(put(*FIRST, "from", "owl"), Reason.WRONG_ROLES, "conversations.0.from"),
            Damage(put("images", ["other.jpg"]), Reason.UNREAD_FIELD, "image"),
        ],
    ),
    "messages": (
        message,
        [
            WRONG_IMAGE,
            Damage(lambda record: record.pop("messages"), WRONG, "messages"),
            Damage(put("messages", {}), WRONG, "messages"),
            Damage(put(*CONTENT, 7), WRONG, "messages.0.content"),
            Damage(put(*CONTENT, 1, "text", 7), WRONG, "messages.0.content.1.text"),
            Damage(put(*CONTENT, 0, "image", 7), WRONG, "messages.0.content.0.image"),
            Damage(
                put(*CONTENT, 0, {"type": "video", "video": "a.mp4"}),
                Reason.UNREAD_FIELD,
                "messages.0.content.0",
            ),
            Damage(put("messages", 1, "role", ""), Reason.WRONG_ROLES, "messages.1.role"),
        ],
    ),
    "texts": (
        text,
        [
            Damage(put("images", [None]), WRONG, "images.0"),
            Damage(lambda record: record.pop("texts"), WRONG, "texts"),
            Damage(put("texts", []), Reason.NO_TURNS, "texts"),
            Damage(put("texts", 0, "user", None), WRONG, "texts.0.user"),
            Damage(put("texts", 0, "assistant", ["x"]), WRONG, "texts.0.assistant"),
        ],
    ),
    "questions": (
        question,
        [
            WRONG_IMAGE,
            Damage(lambda record: record.pop("question"), WRONG, "question"),
            Damage(lambda record: record.pop("answers"), WRONG, "answer"),
            Damage(put("question", ""), Reason.EMPTY_VALUE, "question"),
            Damage(put("answers", []), Reason.EMPTY_VALUE, "answers"),
            Damage(put("options", ["an owl"]), Reason.BAD_OPTIONS, "options"),
            Damage(put("data_split", "test"), Reason.HELD_OUT_SPLIT, "data_split"),
        ],
    ),
    "captions": (
        caption,
        [
            WRONG_IMAGE,
            Damage(put("image", None), Reason.IMAGE_MISSING, "image"),
            Damage(lambda record: record.pop("caption"), WRONG, "caption"),
            Damage(put("caption", 7), WRONG, "caption"),
            Damage(put("text", "A crow."), Reason.UNREAD_FIELD, "text"),
        ],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_planted_damage_costs_its_record_alone(form: str) -> None:
    make, kinds = FORMS_AND_DAMAGE[form]
    generator = random.Random(form)
    planted = {n: generator.choice(kinds) for n in range(COUNT) if generator.random() < 0.2}
    records = [make(number) for number in range(COUNT)]
    assert find_form(records[:64]) == form
    for number, damage in planted.items():
        damage.change(records[number])
    found = [FORMS[form].read(record, FormSettings(), n) for n, record in enumerate(records)]
    verdicts = {n: one for n, one in enumerate(found) if isinstance(one, Verdict)}
    assert {n: (v.reason, v.evidence["field"]) for n, v in verdicts.items()} == {
        n: (damage.reason, damage.field) for n, damage in planted.items()
    }
    assert len(planted) > 150
    asked = "Describe the image." if form == "captions" else "How many owls are in {}?"
    assert [one for one in found if isinstance(one, Conversation)] == [
        Conversation(
            str(n),
            [image(n)],
            [("human", f"<image>\n{asked.format(n)}"), ("gpt", f"{n} owls.")],
        )
        for n in range(COUNT)
        if n not in planted
    ]
