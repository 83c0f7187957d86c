"""Printed pages, alone and in pairs, as messages beside their images: the form of the Hub."""

from typing import Any, Final, NamedTuple

from demo.annotations.questions import Exchange
from demo.drawing import album
from demo.drawing.ink import counted
from demo.drawing.pages import Page

Part = dict[str, str | None]
Message = dict[str, Any]
# The Image feature of `datasets`: the bytes of a file, and a name that may be null.
Cell = dict[str, bytes | str | None]
COUNT: Final = 48
FILES: Final = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet")
# Upstream's row groups have at most a hundred rows with images; these make three in each file.
GROUP_ROWS: Final = 12
_TEXT: Final = {"dtype": "string", "_type": "Value"}
_PART: Final = {"type": _TEXT, "text": _TEXT}
FEATURES: Final = {
    "id": _TEXT,
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "messages": {
        "feature": {"role": _TEXT, "content": {"feature": _PART, "_type": "List"}},
        "_type": "List",
    },
}
IMAGE: Final[Part] = {"type": "image", "text": None}
_ORDINALS: Final = ("first", "second")


class Record(NamedTuple):
    """A row: its id, the cells of its images, and OpenAI's messages with their parts."""

    id: str
    images: list[Cell | None]
    messages: list[Message]


def records() -> list[Record]:
    """Return the records without a fault; every fourth has one page, the others have two."""
    return [_record(n) for n in range(COUNT)]


def _record(n: int) -> Record:
    """Return record n: its second page may stand between texts, or come with a later question."""
    first, second = page(2 * n), page(2 * n + 1)
    asked = pair_exchanges(first.facts, second.facts, n)
    match n % 4:
        case 0:
            messages = dialogue([IMAGE], page_exchanges(first.facts, n))
            return Record(identity(n), [cell(first.data)], messages)
        case 1:
            messages = dialogue([IMAGE, IMAGE], asked)
        case 2:
            before = [text("The first page:"), IMAGE, text("The second page:"), IMAGE]
            messages = dialogue(before, asked)
        case _:
            messages = dialogue([IMAGE], page_exchanges(first.facts, n)[:1])
            messages += dialogue([text("Here is a second page."), IMAGE], asked)
    return Record(identity(n), [cell(first.data), cell(second.data, f"{n}.jpg")], messages)


def identity(name: int | str) -> str:
    return f"pages-{album.hexadecimal(8, 'pages', name)}"


def page(name: int | str) -> album.DrawnImage[Page]:
    return album.page("pages", name, form="JPEG")


def cell(data: bytes | None, path: str | None = None) -> Cell:
    return {"bytes": data, "path": path}


def text(value: str) -> Part:
    return {"type": "text", "text": value}


def dialogue(before: list[Part], exchanges: list[Exchange]) -> list[Message]:
    """Return questions and answers as messages; `before` are parts ahead of the first question."""
    messages = []
    for question, answer in exchanges:
        messages.append({"role": "user", "content": [*before, text(question)]})
        messages.append({"role": "assistant", "content": [text(answer)]})
        before = []
    return messages


def page_exchanges(facts: Page, name: int | str) -> list[Exchange]:
    """Return two questions on one page."""
    fields = album.seeded("page", name).sample(facts.fields[1:], 2)
    return [(f"What is written beside '{field}'?", value) for field, value in fields]


def pair_exchanges(first: Page, second: Page, name: int | str) -> list[Exchange]:
    """Return one question on each of two pages, and one that compares them, shuffled."""
    rng = album.seeded("pages", name)
    exchanges = [_comparison(first, second, rng.random() < 0.5)]
    for ordinal, facts in zip(_ORDINALS, (first, second), strict=True):
        # The first field is the company, whose name stands beside nothing.
        field, value = rng.choice(facts.fields[1:])
        exchanges.append((f"What is written beside '{field}' on the {ordinal} page?", value))
    rng.shuffle(exchanges)
    return exchanges


def _comparison(first: Page, second: Page, by_kind: bool) -> Exchange:
    if by_kind:
        same = first.kind == second.kind
        question = f"Is the second page {counted(1, first.kind)} like the first?"
        return question, "yes" if same else "no"
    years = [int(dict(facts.fields)["Date"][-4:]) for facts in (first, second)]
    question = "Is the first page of an earlier year than the second?"
    return question, "yes" if years[0] < years[1] else "no"
