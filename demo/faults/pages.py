"""Faulty records of the source whose images stand in Parquet files; each has two pages."""

from collections.abc import Callable
from typing import Final, NamedTuple

from demo.drawing import album
from demo.faults.planted import Planted, Result
from demo.sources import pages, textvqa
from demo.sources.captions import reencoded
from demo.sources.pages import IMAGE, Part, Record, cell, dialogue, identity, text
from imp_data.ledger import Reason, Repair

_Change = Callable[[Record], Record]


class _Fault(NamedTuple):
    """What is planted, its result, and the change to a record of two pages."""

    what: str
    result: Result
    change: _Change


def records() -> list[Record]:
    return [fault.change(_pair(fault.what)) for fault in _FAULTS]


def _pair(what: str) -> Record:
    first, second = pages.page(f"{what}, first"), pages.page(f"{what}, second")
    exchanges = pages.pair_exchanges(first.facts, second.facts, what)
    cells = [cell(first.data), cell(second.data)]
    return Record(identity(what), [*cells], dialogue([IMAGE, IMAGE], exchanges))


def _second_page(data: Callable[[], bytes | None]) -> _Change:
    return lambda record: record._replace(images=[record.images[0], cell(data(), "scan.jpg")])


def _message(number: int, *content: Part) -> _Change:
    """Return a change of the parts of one message."""

    def change(record: Record) -> Record:
        record.messages[number]["content"] = [*content]
        return record

    return change


_QUESTION: Final = text("Is the second page older?")
_SYSTEM: Final = {"role": "system", "content": [text("You read pages aloud.")]}
_FAULTS: Final = (
    # The quota of DocVQA reaches this page.
    _Fault("a page of DocVQA", None, _second_page(lambda: album.page("docvqa", 3).data)),
    _Fault("one page twice", None, lambda pair: pair._replace(images=pair.images[:1] * 2)),
    # As in ms-swift, the images then precede the first question.
    _Fault("two pages without a place in the text", Repair.TOKEN_ADDED, _message(0, _QUESTION)),
    _Fault("one place for two pages", Reason.TOKEN_COUNT, _message(0, IMAGE, _QUESTION)),
    _Fault(
        "three pages",
        *(Reason.TOO_MANY_IMAGES, lambda pair: pair._replace(images=(pair.images * 2)[:3])),
    ),
    _Fault(
        "a page that is null",
        *(Reason.WRONG_TYPE, lambda pair: pair._replace(images=[pair.images[0], None])),
    ),
    _Fault(
        "a part of audio in a question",
        *(Reason.UNREAD_FIELD, _message(2, {"type": "audio", "text": None}, _QUESTION)),
    ),
    _Fault(
        "a turn by the system before two pages",
        *(Reason.SYSTEM_TURN, lambda pair: pair._replace(messages=[_SYSTEM, *pair.messages])),
    ),
    _Fault("an empty answer on two pages", Reason.EMPTY_VALUE, _message(3, text(" "))),
    # One image that does not pass costs the record, and the ledger names it.
    _Fault(
        "an image of TextVQA, saved again beside a page",
        Reason.BENCHMARK_HASH,
        _second_page(lambda: reencoded(textvqa.photo(15).data, quality=50)),
    ),
    _Fault(
        "a second page without its end",
        *(Reason.IMAGE_TRUNCATED, _second_page(lambda: pages.page("torn").data[:9000])),
    ),
    _Fault("a second page without its bytes", Reason.IMAGE_MISSING, _second_page(lambda: None)),
)

PAGES: Final = tuple(
    Planted(
        *(fault.what, "pages", None, identity(fault.what)),
        reason=fault.result if isinstance(fault.result, Reason) else None,
        repair=fault.result if isinstance(fault.result, Repair) else None,
    )
    for fault in _FAULTS
)
