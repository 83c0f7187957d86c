"""Records with a fault put into them, as bytes."""

from typing import Any

from demo.annotations.questions import Exchange, long_exchanges
from demo.drawing.album import hexadecimal, seeded
from demo.faults.planted import indented
from demo.sources.archives import json_bytes
from demo.sources.chats import chat
from demo.sources.llava import Record, coco, coco_number, coco_path, conversation, imaged


def coco_id(place: int) -> str:
    return f"{coco_number(place):012d}"


def photo_file(place: int) -> dict[str, bytes]:
    """{path: bytes} of a COCO image."""
    return {coco_path(place): coco(place).data}


def photo_exchanges(place: int, opening: str) -> list[Exchange]:
    """Two exchanges on a COCO image."""
    (question, answer), *others = long_exchanges(coco(place).facts, seeded("planted", place))
    return [(opening + question, answer), *others[:1]]


def photo_record(place: int, opening: str) -> Record:
    return imaged(coco_id(place), coco_path(place), photo_exchanges(place, opening))


def photo(place: int, opening: str, **fields: Any) -> bytes:
    """A record on a COCO image, with these fields in place of its own."""
    return indented({**photo_record(place, opening), **fields})


def reworded(place: int, form: str, opening: str) -> bytes:
    """The first question in another form, `{0}` being its text."""
    record = photo_record(place, opening)
    question = photo_exchanges(place, opening)[0][0]
    record["conversations"][0]["value"] = form.format(question)
    return indented(record)


def with_turn(place: int, number: int, **fields: Any) -> bytes:
    """One turn with other fields."""
    record = photo_record(place, "")
    record["conversations"][number].update(fields)
    return indented(record)


def without_turn(place: int, number: int) -> bytes:
    record = photo_record(place, "")
    del record["conversations"][number]
    return indented(record)


def token_in_answer(place: int) -> bytes:
    record = photo_record(place, "")
    question, answer = photo_exchanges(place, "")[0]
    record["conversations"][0]["value"] = question
    record["conversations"][1]["value"] = f"{answer} <image>"
    return indented(record)


def replaced(place: int, opening: str, old: bytes, new: bytes) -> bytes:
    """A record's bytes with some of them replaced."""
    whole = photo(place, opening)
    assert old in whole, old
    return whole.replace(old, new, 1)


def with_raw_newline(element: bytes, answer: str) -> bytes:
    """The bytes of a record in whose answer the first blank is a line break, not escaped."""
    written = json_bytes(answer)[1:-1]
    assert written in element, answer
    return element.replace(written, written.replace(b" ", b"\n", 1), 1)


def talk_id(name: str) -> str:
    return f"{hexadecimal(7, name)}_0"


def talk(name: str, exchanges: list[Exchange]) -> Record:
    """A record without an image."""
    return {"id": talk_id(name), "model": "", "conversations": conversation(exchanges)}


def talk_exchanges(name: str, opening: str, count: int) -> list[Exchange]:
    """As many exchanges, the first of them beginning with `opening`."""
    found = [exchange for n in range(count) for exchange in chat(name, n)][:count]
    return [(opening + found[0][0], found[0][1]), *found[1:]]
