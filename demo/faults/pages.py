"""Faulty records of the source whose images stand in Parquet files, most of them with two."""

from collections.abc import Callable
from typing import Final, NamedTuple

from demo.drawing import album
from demo.faults.planted import Planted, Result
from demo.sources import pages, textvqa
from demo.sources.captions import reencoded
from demo.sources.pages import IMAGE, Message, Record, cell, dialogue, identity, text
from imp_data.ledger import Reason, Repair

# A page that the quota of DocVQA reaches.
_PAGE_OF_DOCVQA: Final = 3


class _Fault(NamedTuple):
    """What is planted, its result, and the change to a record of two pages."""

    what: str
    result: Result
    change: Callable[[Record], Record]


def records() -> list[Record]:
    return [fault.change(_pair(fault.what)) for fault in _FAULTS]


def _pair(what: str) -> Record:
    """Return a record of two pages without a fault."""
    names = f"{what}, first", f"{what}, second"
    first, second = (pages.page(name) for name in names)
    exchanges = pages.pair_exchanges(first.facts, second.facts, what)
    cells = [cell(first.data), cell(second.data)]
    return Record(identity(what), [*cells], dialogue([IMAGE, IMAGE], exchanges))


def _with_second(change: Callable[[bytes], bytes | None]) -> Callable[[Record], Record]:
    """Return a change of the second image's bytes."""

    def changed(record: Record) -> Record:
        first, second = record.images
        data = second["bytes"] if second else None
        assert isinstance(data, bytes)
        return record._replace(images=[first, cell(change(data), "scan.jpg")])

    return changed


def _with_turn(number: int, *content: pages.Part) -> Callable[[Record], Record]:
    """Return a change of the parts of one message."""

    def changed(record: Record) -> Record:
        messages = [*record.messages]
        messages[number] = {**messages[number], "content": [*content]}
        return record._replace(messages=messages)

    return changed


def _three_pages(record: Record) -> Record:
    exchanges = [("Which of these pages is a form?", "none")]
    cells = [*record.images, cell(pages.page("third").data)]
    return record._replace(images=cells, messages=dialogue([IMAGE] * 3, exchanges))


def _instructed(record: Record) -> Record:
    system: Message = {"role": "system", "content": [text("You read pages aloud.")]}
    return record._replace(messages=[system, *record.messages])


_QUESTION: Final = text("Is the second page older?")
_FAULTS: Final = (
    _Fault(
        "a page that DocVQA has too",
        *(None, _with_second(lambda _: album.page("docvqa", _PAGE_OF_DOCVQA).data)),
    ),
    _Fault(
        "the same page twice",
        *(None, lambda record: record._replace(images=[record.images[0]] * 2)),
    ),
    # TRL and ms-swift put the images of such a record before its first text.
    _Fault("two pages without a place in the text", Repair.TOKEN_ADDED, _with_turn(0, _QUESTION)),
    _Fault("one place for two pages", Reason.TOKEN_COUNT, _with_turn(0, IMAGE, _QUESTION)),
    _Fault("three pages", Reason.TOO_MANY_IMAGES, _three_pages),
    _Fault(
        "a page that is null",
        *(Reason.WRONG_TYPE, lambda record: record._replace(images=[record.images[0], None])),
    ),
    _Fault(
        "a part of audio in a question",
        *(Reason.UNREAD_FIELD, _with_turn(2, {"type": "audio", "text": None}, _QUESTION)),
    ),
    _Fault("a turn by the system before two pages", Reason.SYSTEM_TURN, _instructed),
    _Fault("an empty answer on two pages", Reason.EMPTY_VALUE, _with_turn(3, text(" "))),
    # One image that does not pass costs the record, and the ledger names it.
    _Fault(
        "an image of TextVQA, saved again beside a page",
        *(Reason.BENCHMARK_HASH, _with_second(lambda _: _resaved_photo())),
    ),
    _Fault(
        "a second page without its end",
        *(Reason.IMAGE_TRUNCATED, _with_second(lambda data: data[: len(data) // 2])),
    ),
    # The publisher's script found no file under that name.
    _Fault("a second page without its bytes", Reason.IMAGE_MISSING, _with_second(lambda _: None)),
)


def _resaved_photo() -> bytes:
    return reencoded(textvqa.photo(15).data, quality=50)


PAGES: Final = tuple(
    Planted(
        *(fault.what, "pages", None, identity(fault.what)),
        reason=fault.result if isinstance(fault.result, Reason) else None,
        repair=fault.result if isinstance(fault.result, Repair) else None,
    )
    for fault in _FAULTS
)
