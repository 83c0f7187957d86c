"""Records of the LLaVA mix with faults in their JSON, fields or turns."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from demo.annotations.questions import Exchange, long_exchanges
from demo.annotations.regions import BOX_PROMPT, REGION_PROMPT
from demo.drawing.album import hexadecimal, seeded
from demo.faults.planted import Case, Result, indented, with_raw_newline
from demo.sources.chats import chat
from demo.sources.llava import Record, coco, coco_id, coco_number, coco_path, conversation, imaged
from imp_data.ledger import Reason, Repair

_Edit = Callable[[Record], Record]
# A clean record of VQAv2 on this image says that it is night.
_NIGHT = 50
_HUGE_ID = "98765432109876543210"
_TOO_LONG_ANSWER = "one, two, " * 26_000
_TOO_DEEP_LISTS = b"[" * 60_000 + b"]" * 60_000
# The longest record of the real file has as many.
_MOST_EXCHANGES = 275


def photo_file(index: int) -> dict[str, bytes]:
    """Return {path: bytes} of a COCO image."""
    return {coco_path(index): coco(index).data}


def photo_record(index: int) -> Record:
    """Return a record with two exchanges on a COCO image."""
    exchanges = long_exchanges(coco(index).facts, seeded("planted", index))[:2]
    return imaged(coco_id(index), coco_path(index), exchanges)


def _photo(
    what: str,
    index: int,
    result: Result,
    change: Callable[[Record], Record | bytes],
    *,
    upstream_id: str | None = "",
    copies: int = 1,
) -> Case:
    """Return a changed record on a COCO image; its id is that of the image unless given."""
    identity = coco_id(index) if upstream_id == "" else upstream_id

    def make() -> bytes:
        changed = change(photo_record(index))
        return changed if isinstance(changed, bytes) else indented(changed)

    if isinstance(result, Reason):
        return Case(what, identity, result, make)
    images = partial(photo_file, index)
    return Case(what, identity, result, make, "llava_instruct", images, copies)


def _fields(**fields: Any) -> _Edit:
    return lambda record: {**record, **fields}


def _asked(question: str, answer: str) -> _Edit:
    return _fields(conversations=conversation([(f"<image>\n{question}", answer)]))


def _turn(number: int, **fields: Any) -> _Edit:
    def change(record: Record) -> Record:
        record["conversations"][number].update(fields)
        return record

    return change


def _without_turn(number: int) -> _Edit:
    def change(record: Record) -> Record:
        del record["conversations"][number]
        return record

    return change


def _question(form: str) -> _Edit:
    """Write the first question in another form, `{0}` being its text."""

    def change(record: Record) -> Record:
        text = record["conversations"][0]["value"].removeprefix("<image>\n")
        return _turn(0, value=form.format(text))(record)

    return change


def _replaced(old: bytes, new: bytes, form: str = "<image>\n{0}") -> Callable[[Record], bytes]:
    """Replace some bytes of the encoded record."""

    def change(record: Record) -> bytes:
        whole = indented(_question(form)(record))
        assert old in whole, old
        return whole.replace(old, new, 1)

    return change


def _cut(record: Record) -> bytes:
    whole = indented(record)
    return whole[: whole.rindex(b'"value"') + 16]


def _raw_newline(record: Record) -> bytes:
    return with_raw_newline(indented(record), record["conversations"][1]["value"])


def _contradiction(record: Record) -> Record:
    answer = conversation([("Is it night or day?", "Day")])
    return {**record, "conversations": [*record["conversations"][:2], *answer]}


def _talk_id(name: str) -> str:
    return f"{hexadecimal(7, name)}_0"


def _talk(name: str, exchanges: list[Exchange]) -> Record:
    """Return a record without an image."""
    return {"id": _talk_id(name), "model": "", "conversations": conversation(exchanges)}


def _chats(name: str, number: int) -> list[Exchange]:
    return [exchange for n in range(number) for exchange in chat(name, n)][:number]


def _leading_gpt() -> bytes:
    record = _talk("leading", _chats("leading", 2))
    record["conversations"].insert(0, {"from": "gpt", "value": "Sure, ask me anything."})
    return indented(record)


_KEPT: Final = (
    # The real file has integers and strings as ids; an integer becomes its decimal text.
    _photo(
        "an id that is an integer",
        *(300, None, _fields(id=coco_number(300))),
        upstream_id=str(coco_number(300)),
    ),
    # It is larger than any machine integer.
    _photo("an id of 20 digits", 327, None, _fields(id=int(_HUGE_ID)), upstream_id=_HUGE_ID),
    # Ids name images upstream, so they repeat; the content distinguishes the records.
    _photo("an id that other records have as well", 25, None, _fields()),
    # Exact repeats are kept, as in the paper's mixture, each with an id of its own.
    *(
        _photo(what, 301, None, _fields(), copies=2)
        for what in ("a record that occurs twice", "the same record again")
    ),
    # LLaVA's loader puts the image first, wherever its token is in a turn.
    _photo("the image token at the end", 302, Repair.TOKEN_MOVED, _question("{0}\n<image>")),
    _photo(
        "the image token in the middle",
        *(303, Repair.TOKEN_MOVED, _question("Look at <image> first. {0}")),
    ),
    _photo(
        "the image token twice in a turn",
        *(304, Repair.TOKEN_MOVED, _question("<image>\n{0}\n<image>")),
    ),
    # LLaVA's loader skips a first turn that is not human.
    Case(
        "a first turn by gpt",
        *(_talk_id("leading"), Repair.LEADING_GPT_REMOVED, _leading_gpt, "sharegpt"),
    ),
    Case(
        "a conversation of 275 exchanges",
        *(_talk_id("long"), None),
        lambda: indented(_talk("long", _chats("long", _MOST_EXCHANGES))),
        "sharegpt",
    ),
    # JSON forbids it, but its meaning is clear; ALLaVA's own sample has one.
    _photo("a raw line break inside a string", 326, Repair.RAW_CONTROL, _raw_newline),
    _photo(
        "control characters in a question",
        *(328, Repair.CONTROL_REMOVED, _question("<image>\nTell\x07 me\x1b: {0}")),
    ),
    # The texts do not reveal which answer is right: both stay, and the report lists them.
    _photo("a question with another answer in another record", _NIGHT, None, _contradiction),
)

_TURNS: Final = (
    _photo(
        "the image token in two turns",
        *(305, Reason.TOKEN_REPEATED, _turn(2, value="<image>\nAnd what do you see now?")),
    ),
    _photo("no token for the image", 306, Reason.TOKEN_MISSING, _question("{0}")),
    _photo(
        "the image token in an answer",
        *(307, Reason.TOKEN_IN_ANSWER),
        lambda record: _turn(1, value="It is <image>.")(_question("{0}")(record)),
    ),
    Case(
        "an image token in text without an image",
        *(_talk_id("token"), Reason.TOKEN_WITHOUT_IMAGE),
        lambda: indented(_talk("token", [("Why does LLaVA write <image>?", "As a mark.")])),
    ),
    _photo("a last question without an answer", 308, Reason.UNANSWERED, _without_turn(3)),
    _photo("two human turns in a row", 309, Reason.WRONG_ROLES, _without_turn(1)),
    _photo("a turn by the system", 310, Reason.SYSTEM_TURN, _turn(0, **{"from": "system"})),
    _photo("an empty answer", 311, Reason.EMPTY_VALUE, _turn(3, value=" ")),
    _photo("no turns", 312, Reason.NO_TURNS, _fields(conversations=[])),
    Case(
        "an answer above the length limit",
        *(_talk_id("endless"), Reason.TOO_LONG),
        lambda: indented(_talk("endless", [("Count on.", _TOO_LONG_ANSWER)])),
    ),
    # Boxes are shares of the padded image, so no coordinate is above 1.
    _photo(
        "a box beyond the image",
        *(329, Reason.BOX_OUT_OF_RANGE),
        _asked(f"{REGION_PROMPT}[0.41, 0.52, 1.27, 0.88].", "The red ball."),
    ),
    # The first corner is the upper left one.
    _photo(
        "a box with its corners in the wrong order",
        *(313, Reason.BOX_OUT_OF_RANGE),
        _asked(f"{BOX_PROMPT}the ball.", "[0.72, 0.30, 0.41, 0.66]"),
    ),
)

_JSON: Final = (
    Case("a record that is a string", None, Reason.WRONG_TYPE, lambda: b'  "end of part one"'),
    Case("a record that is a list", None, Reason.WRONG_TYPE, lambda: b'  ["33471", "33471.jpg"]'),
    _photo("an answer that is null", 314, Reason.WRONG_TYPE, _turn(1, value=None)),
    _photo(
        "a record without conversations",
        *(315, Reason.WRONG_TYPE, lambda record: {"id": record["id"], "image": record["image"]}),
    ),
    _photo(
        "bytes that are not UTF-8",
        *(316, Reason.NOT_UTF8, _replaced(b"\\u0000", b"\xe9", "<image>\nIs it a caf\0? {0}")),
        upstream_id=None,
    ),
    _photo(
        "half of a surrogate pair",
        *(317, Reason.LONE_SURROGATE, _replaced(b"\\u0000", b"\\ud83d", "<image>\n\0 {0}")),
        upstream_id=None,
    ),
    # Python writes it, but JSON has no such number.
    _photo(
        "NaN",
        *(318, Reason.NOT_JSON, _replaced(b'"image"', b'"score": NaN, "image"')),
        upstream_id=None,
    ),
    _photo("a record without its end", 319, Reason.TRUNCATED, _cut, upstream_id=None),
    # A recursive parser would exhaust its stack.
    _photo(
        "deeply nested lists",
        *(330, Reason.TOO_DEEP),
        _replaced(b'"image"', b'"notes": ' + _TOO_DEEP_LISTS + b', "image"'),
        upstream_id=None,
    ),
    *(
        _photo(f"an image path that {what}", index, Reason.BAD_IMAGE_PATH, _fields(image=path))
        for what, index, path in (
            ("is absolute", 320, "/etc/hostname"),
            ("leads outside", 321, "coco/../../../etc/hostname"),
            ("is empty", 322, ""),
            ("names a drive", 323, "C:\\coco\\train2017\\000000033471.jpg"),
        )
    ),
    _photo(
        "a list of two images",
        *(324, Reason.TOO_MANY_IMAGES, _fields(image=[coco_path(324), coco_path(325)])),
    ),
)

RECORDS: Final = (*_KEPT, *_TURNS, *_JSON)
