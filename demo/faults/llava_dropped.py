"""Records of the LLaVA mix that are dropped for their JSON, their fields or their turns."""

from collections.abc import Callable
from functools import partial
from typing import Final

from demo.annotations.regions import BOX_PROMPT, REGION_PROMPT
from demo.faults.damaged_records import (
    coco_id,
    photo,
    replaced,
    reworded,
    talk,
    talk_exchanges,
    talk_id,
    token_in_answer,
    with_turn,
    without_turn,
)
from demo.faults.planted import Case, indented
from demo.sources.llava import coco_path, imaged, vg_number
from imp_data.ledger import Reason

_PAST_THE_LIMIT_CHARACTERS = 260_000
_PAST_THE_LIMIT_LISTS = 60_000
_VG = f"VG_100K/{vg_number(300)}"


def _boxed(identity: str, image: str, question: str, answer: str) -> bytes:
    return indented(imaged(identity, image, [(question, answer)]))


def _broken_off() -> bytes:
    whole = photo(319, "")
    return whole[: whole.rindex(b'"value"') + 16]


def _nested() -> bytes:
    lists = b"[" * _PAST_THE_LIMIT_LISTS + b"]" * _PAST_THE_LIMIT_LISTS
    return replaced(330, "", b'"image"', b'"notes": ' + lists + b', "image"')


def _token_in_text() -> bytes:
    asked = talk_exchanges("token", "Why does LLaVA write <image> into its prompts? ", 1)
    return indented(talk("token", asked))


def _endless() -> bytes:
    answer = "one, two, " * (_PAST_THE_LIMIT_CHARACTERS // 10)
    return indented(talk("endless", [("Count on.", answer)]))


_Row = tuple[str, str | None, Reason, str, Callable[[], bytes]]
_TURNS: Final[tuple[_Row, ...]] = (
    (
        "the picture's token in two turns",
        coco_id(305),
        Reason.TOKEN_REPEATED,
        "A record has one picture; two tokens would need two.",
        partial(with_turn, 305, 2, value="<image>\nAnd what do you see now?"),
    ),
    (
        "no token for the picture",
        coco_id(306),
        Reason.TOKEN_MISSING,
        "A model would never be shown the picture it is asked about.",
        partial(reworded, 306, "{0}", ""),
    ),
    (
        "the picture's token in an answer",
        coco_id(307),
        Reason.TOKEN_IN_ANSWER,
        "A model must not learn to write the token.",
        partial(token_in_answer, 307),
    ),
    (
        "a picture's token in text without a picture",
        talk_id("token"),
        Reason.TOKEN_WITHOUT_IMAGE,
        "A loader would look for a picture that is not there.",
        _token_in_text,
    ),
    (
        "a last question without an answer",
        coco_id(308),
        Reason.UNANSWERED,
        "Nothing could be learned from it.",
        partial(without_turn, 308, 3),
    ),
    (
        "two human turns in a row",
        coco_id(309),
        Reason.WRONG_ROLES,
        "Human and gpt must alternate.",
        partial(without_turn, 309, 1),
    ),
    (
        "a turn by the system",
        coco_id(310),
        Reason.WRONG_ROLES,
        "LLaVA's form knows human and gpt alone.",
        partial(with_turn, 310, 0, **{"from": "system"}),
    ),
    (
        "an empty answer",
        coco_id(311),
        Reason.EMPTY_VALUE,
        "A model would learn to say nothing.",
        partial(with_turn, 311, 3, value=" "),
    ),
    (
        "no turns",
        coco_id(312),
        Reason.NO_TURNS,
        "There is nothing to learn.",
        partial(photo, 312, "", conversations=[]),
    ),
    (
        "an absurdly long answer",
        talk_id("endless"),
        Reason.TOO_LONG,
        "Beyond the limit a record is an accident, not a conversation.",
        _endless,
    ),
    (
        "a box beyond the picture",
        _VG,
        Reason.BOX_OUT_OF_RANGE,
        "Boxes are shares of the padded picture, so none is larger than 1.",
        lambda: _boxed(
            _VG, f"vg/{_VG}.jpg", f"{REGION_PROMPT}[0.41, 0.52, 1.27, 0.88].", "The red ball."
        ),
    ),
    (
        "a box with its corners in the wrong order",
        coco_id(313),
        Reason.BOX_OUT_OF_RANGE,
        "The first corner is the upper left one.",
        lambda: _boxed(
            coco_id(313), coco_path(313), f"{BOX_PROMPT}the ball.", "[0.72, 0.30, 0.41, 0.66]"
        ),
    ),
)

_JSON: Final[tuple[_Row, ...]] = (
    (
        "a record that is a text",
        None,
        Reason.WRONG_TYPE,
        "A record is an object.",
        lambda: b'  "end of part one"',
    ),
    (
        "a record that is a list",
        None,
        Reason.WRONG_TYPE,
        "A record is an object.",
        lambda: b'  ["000000033471", "coco/train2017/000000033471.jpg"]',
    ),
    (
        "an answer that is null",
        coco_id(314),
        Reason.WRONG_TYPE,
        "What a turn says is text.",
        partial(with_turn, 314, 1, value=None),
    ),
    (
        "a record without conversations",
        coco_id(315),
        Reason.WRONG_TYPE,
        "LLaVA's layout needs them.",
        lambda: indented({"id": coco_id(315), "image": coco_path(315)}),
    ),
    (
        "bytes that are not UTF-8",
        None,
        Reason.NOT_UTF8,
        "What the text said cannot be known; the records beside it are read all the same.",
        partial(replaced, 316, "Is it a caf\0? ", b"\\u0000", b"\xe9"),
    ),
    (
        "half of a surrogate pair",
        None,
        Reason.LONE_SURROGATE,
        "The other half of the character is lost.",
        partial(replaced, 317, "\0 ", b"\\u0000", b"\\ud83d"),
    ),
    (
        "NaN",
        None,
        Reason.NOT_JSON,
        "Python writes it, but JSON has no such number.",
        partial(replaced, 318, "", b'"image"', b'"score": NaN, "image"'),
    ),
    (
        "a record that breaks off in the middle",
        None,
        Reason.TRUNCATED,
        "Its end is lost; reading goes on with the next record.",
        _broken_off,
    ),
    (
        "lists within lists without end",
        None,
        Reason.TOO_DEEP,
        "To follow them would exhaust the reader's stack.",
        _nested,
    ),
)

_PATHS: Final[tuple[_Row, ...]] = (
    *(
        (
            f"a picture's path that {what}",
            coco_id(place),
            Reason.BAD_IMAGE_PATH,
            "Such a path could name any file of the machine, or none.",
            partial(photo, place, "", image=path),
        )
        for what, place, path in (
            ("is absolute", 320, "/etc/hostname"),
            ("climbs out", 321, "coco/../../../etc/hostname"),
            ("is empty", 322, ""),
            ("names a drive", 323, "C:\\coco\\train2017\\000000033471.jpg"),
        )
    ),
    (
        "a list of two pictures",
        coco_id(324),
        Reason.WRONG_TYPE,
        "A record of LLaVA's layout has one picture.",
        partial(photo, 324, "", image=[coco_path(324), coco_path(325)]),
    ),
)


def _case(row: _Row) -> Case:
    """No words before the question: what becomes of it does not depend on the draw."""
    what, identity, reason, because, make = row
    return Case(what, identity, reason, because, lambda _: make())


DROPPED: Final = tuple(map(_case, (*_TURNS, *_JSON, *_PATHS)))
