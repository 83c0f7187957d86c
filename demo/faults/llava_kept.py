"""Records of the LLaVA mix that look troubled and are kept, some of them mended."""

from functools import partial
from typing import Final

from demo.drawing.album import cover, seeded
from demo.faults.damaged_records import (
    coco_id,
    photo,
    photo_exchanges,
    photo_file,
    reworded,
    talk,
    talk_exchanges,
    talk_id,
    with_raw_newline,
)
from demo.faults.planted import Case, indented
from demo.sources.llava import coco_number, coco_path, cover_exchanges, imaged, isbn
from imp_data.ledger import Repair
from imp_data.sample import SHORT_ANSWER_SUFFIX

_BOOK = next(n for n in range(200, 300) if isbn(n).endswith("X"))
_BOOK_PATH = f"ocr_vqa/images/{isbn(_BOOK)}.jpg"
_NIGHT = 50
_HUGE_ID = "98765432109876543210"
# As many as the longest record of the real file has.
_MOST_EXCHANGES = 275


def _book(opening: str) -> bytes:
    book = cover("ocr_vqa", _BOOK).facts
    (question, answer), *others = cover_exchanges(book, seeded("ocr_vqa", _BOOK))
    exchanges = [(opening + question, answer), *others]
    return indented(imaged(isbn(_BOOK), _BOOK_PATH, exchanges, suffix=SHORT_ANSWER_SUFFIX))


def _leading_gpt(opening: str) -> bytes:
    record = talk("leading", talk_exchanges("leading", opening, 2))
    record["conversations"].insert(0, {"from": "gpt", "value": "Sure, ask me anything."})
    return indented(record)


def _otherwise(opening: str) -> bytes:
    """A clean record of VQAv2's says that it is night."""
    exchanges = [*photo_exchanges(_NIGHT, opening)[:1], ("Is it night or day?", "Day")]
    return indented(imaged(coco_id(_NIGHT), coco_path(_NIGHT), exchanges))


def _raw_newline(opening: str) -> bytes:
    return with_raw_newline(photo(326, opening), photo_exchanges(326, opening)[0][1])


_IDS: Final = (
    Case(
        "an id that is a whole number",
        str(coco_number(300)),
        None,
        "The real file has numbers and texts as ids; a number is kept as its decimal text.",
        partial(photo, 300, id=coco_number(300)),
        "llava_instruct",
        partial(photo_file, 300),
    ),
    Case(
        "an ISBN that ends in X",
        isbn(_BOOK),
        None,
        "An id is text: an ISBN's check digit may be an X.",
        _book,
        "ocr_vqa",
        lambda: {_BOOK_PATH: cover("ocr_vqa", _BOOK).data},
    ),
    Case(
        "an id of 20 digits",
        _HUGE_ID,
        None,
        "It is larger than any machine integer, so it is kept as its decimal text.",
        partial(photo, 327, id=int(_HUGE_ID)),
        "llava_instruct",
        partial(photo_file, 327),
    ),
    Case(
        "an id that other records have as well",
        coco_id(25),
        None,
        "Ids name pictures upstream, so they repeat; the content tells the records apart.",
        partial(photo, 25),
        "llava_instruct",
        partial(photo_file, 25),
    ),
    *(
        Case(
            what,
            coco_id(301),
            None,
            "Exact repeats are kept, as in the paper's mixture, each with an id of its own.",
            partial(photo, 301),
            "llava_instruct",
            partial(photo_file, 301),
            copies=2,
        )
        for what in ("a record that stands twice", "the same record again")
    ),
)

_TOKENS: Final = tuple(
    Case(
        what,
        coco_id(place),
        Repair.TOKEN_MOVED,
        "LLaVA's loader puts the picture first, wherever its token stands in a turn.",
        partial(reworded, place, form),
        "llava_instruct",
        partial(photo_file, place),
    )
    for what, place, form in (
        ("the picture's token at the end", 302, "{0}\n<image>"),
        ("the picture's token in the middle", 303, "Look at <image> first. {0}"),
        ("the picture's token twice in a turn", 304, "<image>\n{0}\n<image>"),
    )
)

_TEXTS: Final = (
    Case(
        "a first turn by gpt",
        talk_id("leading"),
        Repair.LEADING_GPT_REMOVED,
        "LLaVA's loader skips a first turn that is not human.",
        _leading_gpt,
        "sharegpt",
    ),
    Case(
        "a conversation of 275 exchanges",
        talk_id("long"),
        None,
        "The longest real record has as many; only accidents are longer than the limits.",
        lambda opening: indented(talk("long", talk_exchanges("long", opening, _MOST_EXCHANGES))),
        "sharegpt",
    ),
    Case(
        "a raw line break inside a string",
        coco_id(326),
        Repair.RAW_CONTROL,
        "JSON forbids it, but its meaning is plain; ALLaVA's own sample has one.",
        _raw_newline,
        "llava_instruct",
        partial(photo_file, 326),
    ),
    Case(
        "control characters in a question",
        coco_id(328),
        Repair.CONTROL_REMOVED,
        "They carry no meaning in text.",
        lambda opening: photo(328, f"{opening}Tell\x07 me\x1b: "),
        "llava_instruct",
        partial(photo_file, 328),
    ),
    Case(
        "a question that another record answers otherwise",
        coco_id(_NIGHT),
        None,
        "The texts alone do not tell who is right: both stay, and the report on neighbours has it.",
        _otherwise,
        "llava_instruct",
        partial(photo_file, _NIGHT),
    ),
)

KEPT: Final = (*_IDS, *_TOKENS, *_TEXTS)
