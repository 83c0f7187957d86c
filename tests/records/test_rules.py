"""Records are repaired or rejected by the rules, with evidence."""

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.ledger import AppliedRepair, Reason, Repair
from imp_data.manifests import Limits
from imp_data.records.rules import repair_and_check
from imp_data.sample import Draft, UpstreamRecord, has_visible_text

LIMITS = Limits()


def draft(
    *turns: tuple[str, str], image: str | None = "coco/1.jpg", subset: str = "llava_instruct"
) -> Draft:
    return Draft(
        [UpstreamRecord(0, None)], "1", subset, () if image is None else (image,), list(turns)
    )


def alternating(*values: str, **fields: Any) -> Draft:
    """Return a Draft whose turns alternate between human and gpt."""
    speakers = ("human", "gpt")
    return draft(*((speakers[n % 2], value) for n, value in enumerate(values)), **fields)


@pytest.mark.parametrize(
    "record",
    [
        alternating("<image>\nWhat is it?", "A bus."),
        alternating("<image>\nWhat is it?", "A bus.", "Where?", "There."),
        alternating("Hello", "Hi", image=None),
        alternating("Hello", "Hi", "And then?", "<img>", image=None),
        alternating("What?", "A bus.", "<image>\nAnd here?", "A tram."),
        alternating("<image>\nTabs\tand\nlines\r\nstay", "☃ \u2028 é", subset="gqa"),
        alternating("<image>\nDescribe [0, 0.25, 1, 1.0].", "[0.5, 0.1, 0.75, 0.9]", subset="vg"),
        alternating("<image>\nNo box: [0.5, 0.1, 0.2]", "[3, 4, 1, 2, 5]", subset="refcoco"),
        alternating("<image>\nA list of numbers?", "[9, 8, 7, 6]", subset="llava_instruct"),
    ],
)
def test_a_valid_record_passes_unchanged(record: Draft) -> None:
    before = list(record.turns)
    assert repair_and_check(record, LIMITS) is None
    assert record.turns == before
    assert record.repairs == []


@pytest.mark.parametrize(
    ("record", "turns", "repairs"),
    [
        (
            draft(("gpt", "Welcome"), ("human", "<image>\nWhat?"), ("gpt", "A bus.")),
            [("human", "<image>\nWhat?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.LEADING_GPT_REMOVED, "Welcome")],
        ),
        (
            alternating("<image>\nWhat\x07 is\x00 it?", "A\x9f bus\x7f."),
            [("human", "<image>\nWhat is it?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.CONTROL_REMOVED, "<image>\nWhat\x07 is\x00 it?")],
        ),
        (
            alternating("<image>\nWhat?", "A\x0b bus.", "Where?\x1f", "Up."),
            [("human", "<image>\nWhat?"), ("gpt", "A bus."), ("human", "Where?"), ("gpt", "Up.")],
            [AppliedRepair(Repair.CONTROL_REMOVED, "A\x0b bus.")],
        ),
        (
            alternating("What?\n<image>", "A bus."),
            [("human", "<image>\nWhat?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.TOKEN_MOVED, "What?\n<image>")],
        ),
        (
            alternating("What is <image> here?", "A bus."),
            [("human", "<image>\nWhat is  here?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.TOKEN_MOVED, "What is <image> here?")],
        ),
        (
            alternating("<image>What?", "A bus."),
            [("human", "<image>\nWhat?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.TOKEN_MOVED, "<image>What?")],
        ),
        (
            alternating("<image>\nWhat is <image>?", "A bus."),
            [("human", "<image>\nWhat is ?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.TOKEN_MOVED, "<image>\nWhat is <image>?")],
        ),
        (
            alternating("Hello", "Hi", "What?\n<image>", "A bus."),
            [("human", "Hello"), ("gpt", "Hi"), ("human", "<image>\nWhat?"), ("gpt", "A bus.")],
            [AppliedRepair(Repair.TOKEN_MOVED, "What?\n<image>")],
        ),
        (
            draft(("gpt", "\x01"), ("human", "What?<im\x00age>"), ("gpt", "A bus.")),
            [("human", "<image>\nWhat?"), ("gpt", "A bus.")],
            [
                AppliedRepair(Repair.LEADING_GPT_REMOVED, "\x01"),
                AppliedRepair(Repair.CONTROL_REMOVED, "What?<im\x00age>"),
                AppliedRepair(Repair.TOKEN_MOVED, "What?<image>"),
            ],
        ),
    ],
)  # fmt: skip
def test_a_repair_records_the_text_before_it(
    record: Draft, turns: list[tuple[str, str]], repairs: list[AppliedRepair]
) -> None:
    assert repair_and_check(record, LIMITS) is None
    assert record.turns == turns
    assert record.repairs == repairs


def conversation(*turns: str, **fields: Any) -> Draft:
    """Return a Draft on an image, from turns written as `human: What?`."""
    return draft(*((turn.split(": ")[0], turn.split(": ")[1]) for turn in turns), **fields)


@pytest.mark.parametrize(
    ("record", "reason", "evidence"),
    [
        (conversation(), "no_turns", {}),
        (conversation("gpt: <image>\nAlone"), "wrong_roles", {"turn": 0, "from": "gpt"}),
        (conversation("human: <image>", "human: b"), "wrong_roles", {"turn": 1, "from": "human"}),
        (
            conversation("human: <image>", "gpt: b", "gpt: c"),
            "wrong_roles",
            {"turn": 2, "from": "gpt"},
        ),
        (conversation("gpt: a", "gpt: b", "human: c"), "wrong_roles", {"turn": 0, "from": "gpt"}),
        (conversation("system: a", "human: b"), "system_turn", {"turn": 0}),
        (conversation("human: a", "gpt: b", "tool: c", "gpt: d"), "tool_turn", {"turn": 2}),
        (conversation("Human: a", "gpt: b"), "wrong_roles", {"turn": 0, "from": "Human"}),
        (conversation(f"{'s' * 50}: a", "gpt: b"), "wrong_roles", {"turn": 0, "from": "s" * 40}),
        (conversation("human: <image>\nWhat?"), "unanswered", {"turn": 0}),
        (conversation("human: <image>", "gpt: b", "human: c"), "unanswered", {"turn": 2}),
        (conversation("human: <image>\nWhat?", "gpt: "), "empty_value", {"turn": 1}),
        (conversation("human: <image>\nWhat?", "gpt:  \n\t"), "empty_value", {"turn": 1}),
        (conversation("human: <image>\nWhat?", "gpt: \0\1"), "empty_value", {"turn": 1}),
        (conversation("human: <image>\n", "gpt: A bus."), "empty_value", {"turn": 0}),
        (conversation("human: What?", "gpt: A bus."), "token_missing", {}),
        (conversation("human: What?", "gpt: A tag <image>"), "token_in_answer", {"turn": 1}),
        (conversation("human: <image>\na", "gpt: <image>!"), "token_repeated", {"turns": [0, 1]}),
        (
            conversation("human: <image>\na", "gpt: b", "human: <image>\nc", "gpt: d"),
            "token_repeated",
            {"turns": [0, 2]},
        ),
    ],
)
def test_a_rejected_record_has_its_reason_and_evidence(
    record: Draft, reason: str, evidence: dict[str, Any]
) -> None:
    assert repair_and_check(record, LIMITS) == (reason, evidence)


@pytest.mark.parametrize(("values", "turn"), [(("a <image>", "b"), 0), (("a", "b <image>"), 1)])
def test_a_record_without_an_image_must_not_contain_the_token(
    values: tuple[str, str], turn: int
) -> None:
    record = alternating(*values, image=None)
    assert repair_and_check(record, LIMITS) == ("token_without_image", {"turn": turn})


@pytest.mark.parametrize("subset", ["vg", "refcoco"])
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.5, 0.1, 0.5, 0.9]", "[0.5, 0.1, 0.5, 0.9]"),
        ("at [0.1, 0.9, 0.2, 0.3]?", "[0.1, 0.9, 0.2, 0.3]"),
        ("[-0.01,0,1,1]", "[-0.01,0,1,1]"),
        ("[0, 0, 1, 1] and [0, 0, 1, 1.001]", "[0, 0, 1, 1.001]"),
        ("[12, 30, 200, 180]", "[12, 30, 200, 180]"),
    ],
)
def test_a_box_must_lie_inside_the_image_with_ordered_corners(
    text: str, box: str, turn: int, subset: str
) -> None:
    values = ["<image>\nWhere?", "There."]
    values[turn] = f"<image>\n{text}" if turn == 0 else text
    verdict = repair_and_check(alternating(*values, subset=subset), LIMITS)
    assert verdict == ("box_out_of_range", {"turn": turn, "box": box})


@pytest.mark.parametrize(
    ("answers", "evidence"),
    [
        (["x" * 200_001], {"turns": 2, "characters": 200_014}),
        (["x"] * 1001, {"turns": 1002, "characters": 1014}),
    ],
)
def test_a_conversation_above_the_length_limits_is_dropped(
    answers: list[str], evidence: dict[str, int]
) -> None:
    assert repair_and_check(alternating("<image>\nWhat?", *answers), LIMITS) == (
        "too_long",
        evidence,
    )


@pytest.mark.parametrize("turns", [2, 20, 274])
def test_the_longest_conversations_upstream_pass(turns: int) -> None:
    assert repair_and_check(alternating("<image>\nWhat?", *["x"] * (turns - 1)), LIMITS) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../../etc/passwd",
        "coco/../../secret.jpg",
        "coco/..",
        "..",
        "\\\\server\\share.jpg",
        "coco\\..\\..\\secret.jpg",
        "C:/secret.jpg",
        "C:\\secret.jpg",
        "coco/1.jpg\x00.png",
        "dvqa/images/",
    ],
)
def test_an_image_path_that_is_empty_absolute_or_climbs_is_rejected(path: str) -> None:
    verdict = repair_and_check(alternating("<image>\nWhat?", "A bus.", image=path), LIMITS)
    assert verdict == ("bad_image_path", {"image": path})


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("./coco/1.jpg", "coco/1.jpg"),
        ("coco/./1.jpg", "coco/1.jpg"),
        ("coco//1.jpg", "coco/1.jpg"),
        ("coco/1.jpg/.", "coco/1.jpg"),
        ("coco\\train\\1.jpg", "coco/train/1.jpg"),
        ("coco/1.jpg\n", "coco/1.jpg"),
        ("coco/1.jpg\r\n", "coco/1.jpg"),
        ("\tcoco/1.jpg ", "coco/1.jpg"),
        (".\\./coco\\/1.jpg ", "coco/1.jpg"),
        ("dvqa/images//etc/passwd", "dvqa/images/etc/passwd"),
    ],
)
def test_an_image_path_is_normalised_and_the_original_recorded(path: str, normal: str) -> None:
    draft = alternating("<image>\nWhat?", "A bus.", image=path)
    assert repair_and_check(draft, LIMITS) is None
    assert (*draft.images, draft.repairs) == (normal, [("image_path_normalised", path)])


@pytest.mark.parametrize(
    "path", ["coco/a b.jpg", "coco/.a/1.jpg", "coco/a./1.jpg", "coco/\xa0.jpg"]
)
def test_a_normal_path_is_unchanged(path: str) -> None:
    draft = alternating("<image>\nWhat?", "A bus.", image=path)
    assert repair_and_check(draft, LIMITS) is None
    assert (*draft.images, draft.repairs) == (path, [])


@pytest.mark.parametrize("path", ["a..b/c.jpg", "a/...jpg", "web-celebrity/é ü.png", "vg/1:2.jpg"])
def test_an_unusual_but_valid_image_path_passes(path: str) -> None:
    assert repair_and_check(alternating("<image>\nWhat?", "A bus.", image=path), LIMITS) is None


def test_a_long_path_is_shortened_in_the_evidence() -> None:
    verdict = repair_and_check(
        alternating("<image>\nWhat?", "A bus.", image="/" + "a" * 999), LIMITS
    )
    assert verdict == ("bad_image_path", {"image": "/" + "a" * 199})


@pytest.mark.parametrize(
    ("turns", "characters", "reason"),
    [(4, 19, None), (4, 18, "too_long"), (3, 19, "too_long")],
)
def test_the_mixture_sets_the_limits(turns: int, characters: int, reason: str | None) -> None:
    record = alternating("<image>\nWhat?", "A", "Why?", "B")
    verdict = repair_and_check(record, Limits(max_turns=turns, max_characters=characters))
    assert (verdict and verdict.reason) == reason


def of_llava(value: str) -> str:
    """Repeat preprocess_multimodal on one value (haotian-liu/LLaVA, llava/train/train.py)."""
    if "<image>" in value:
        value = value.replace("<image>", "").strip()
        value = "<image>" + "\n" + value
        value = value.strip()
    return value


pieces = st.lists(st.sampled_from(["<image>", "\n", " ", "What", "is", "this?"]), max_size=6)


@given(pieces.map("".join), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3))
def test_llavas_loader_reads_a_record_the_same_before_and_after_repair(
    question: str, answers: list[str]
) -> None:
    record = alternating(*[text for answer in answers for text in (question, answer)])
    before = [of_llava(value) for _, value in record.turns]
    verdict = repair_and_check(record, LIMITS)
    assert [of_llava(value) for _, value in record.turns] == before
    holds = "<image>" in question
    says = bool(question.replace("<image>", "").strip())
    assert (verdict is None) == (holds and says and len(answers) == 1)


@given(pieces.map("".join))
def test_a_moved_token_is_first_and_is_not_moved_again(question: str) -> None:
    record = alternating(question, "a")
    if repair_and_check(record, LIMITS) is None:
        assert record.turns[0][1].startswith("<image>\n")
        assert record.turns[0][1].count("<image>") == 1
        repairs = list(record.repairs)
        assert repair_and_check(record, LIMITS) is None
        assert record.repairs == repairs


# Format characters of Unicode that are visible nevertheless: signs that enclose numbers.
SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
INVISIBLE = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zs", "Zl", "Zp") and code not in SEEN
]


def test_space_control_and_format_characters_are_not_visible() -> None:
    assert len(INVISIBLE) > 200
    assert not [ascii(character) for character in INVISIBLE if has_visible_text(character)]


@pytest.mark.parametrize(
    "answer",
    [
        *("\u200b", "\ufeff", "\u00a0\u3000 ", "\u00ad\u2060", "\u2800", "\u3164\u115f\uffa0"),
        *("\u200e\u200f\u202a\u202c", "\ufe0f\u034f", "\ufffd\ufffd", "\U000e0041"),
    ],
)
def test_an_invisible_answer_is_empty(answer: str) -> None:
    verdict = repair_and_check(alternating("<image>\nWhat?", answer), LIMITS)
    assert verdict == (Reason.EMPTY_VALUE, {"turn": 1})


@pytest.mark.parametrize(
    "answer", ["\u200b7", "☃", "日", "❤\ufe0f", "é\u200d", "\u0604", ".", "한"]
)
def test_an_answer_with_a_visible_character_is_not_empty(answer: str) -> None:
    assert repair_and_check(alternating("<image>\nWhat?", answer), LIMITS) is None


def several(*values: str, images: int = 2) -> Draft:
    """Return a Draft of `images` images whose turns alternate between human and gpt."""
    made = alternating(*values)
    made.images = tuple(f"coco/{n}.jpg" for n in range(images))
    return made


@pytest.mark.parametrize(
    "record",
    [
        several("<image>\n<image>\nWhat differs?", "The sign."),
        several("Left: <image> right: <image>. What differs?", "The sign."),
        several("<image> What?", "A bus.", "And here? <image>", "A tram."),
        several("What?", "A bus.", "<image><image><image> Which of them?", "No. 2", images=3),
    ],
)
def test_tokens_of_several_images_stay_where_they_are(record: Draft) -> None:
    before = list(record.turns)
    assert repair_and_check(record, LIMITS, 3) is None
    assert (record.turns, record.repairs) == (before, [])


@pytest.mark.parametrize(
    ("record", "evidence"),
    [
        (several("<image> What?", "A bus."), {"tokens": 1, "images": 2}),
        (several("What?", "A bus."), {"tokens": 0, "images": 2}),
        (several("<image><image><image> What?", "A bus."), {"tokens": 3, "images": 2}),
        (
            several("<image> What?", "This: <image>"),
            {"tokens": 1, "images": 2, "tokens_elsewhere": 1},
        ),
        (
            several("<image><image> What?", "This: <image>"),
            {"tokens": 2, "images": 2, "tokens_elsewhere": 1},
        ),
    ],
)
def test_several_images_need_as_many_tokens_in_questions(record: Draft, evidence: Any) -> None:
    assert repair_and_check(record, LIMITS, 2) == (Reason.TOKEN_COUNT, evidence)


def test_a_turn_of_tokens_alone_is_blank() -> None:
    record = several("<image> <image>", "A bus and a tram.")
    assert repair_and_check(record, LIMITS, 2) == (Reason.EMPTY_VALUE, {"turn": 0})


def test_more_images_than_the_source_allows_are_counted() -> None:
    record = several("<image><image><image> What?", "A bus.", images=3)
    assert repair_and_check(record, LIMITS, 2) == ("too_many_images", {"images": 3, "most": 2})


def test_each_of_several_paths_is_normalised_and_stays_inside() -> None:
    record = several("<image><image> What?", "A bus.")
    record.images = ("./a.jpg", "b.jpg")
    assert repair_and_check(record, LIMITS, 2) is None
    assert record.images == ("a.jpg", "b.jpg")
    assert record.repairs == [("image_path_normalised", '["./a.jpg", "b.jpg"]')]
    record.images = ("a.jpg", "../b.jpg")
    verdict = repair_and_check(record, LIMITS, 2)
    assert verdict == ("bad_image_path", {"image": "../b.jpg", "position": 1})


KEEP = ("system", "tool")


@pytest.mark.parametrize(
    "turns",
    [
        ("system: Be brief.", "human: a", "gpt: b"),
        ("human: a", "gpt: call", "tool: result", "gpt: b", "human: c", "gpt: d"),
        ("system: s", "human: a", "gpt: calls", "tool: one", "tool: two", "gpt: b"),
    ],
)
def test_turns_that_the_mixture_keeps_pass_in_their_places(turns: tuple[str, ...]) -> None:
    record = conversation(*turns, image=None)
    assert repair_and_check(record, LIMITS, 1, KEEP) is None
    assert [f"{speaker}: {value}" for speaker, value in record.turns] == list(turns)


HUMAN = {"turn": 3, "from": "human"}


@pytest.mark.parametrize(
    ("turns", "reason", "evidence"),
    [
        (("human: a", "system: s", "gpt: b"), "wrong_roles", {"turn": 1, "from": "system"}),
        (("system: s", "system: t", "human: a"), "wrong_roles", {"turn": 1, "from": "system"}),
        (("human: a", "tool: t", "gpt: b"), "wrong_roles", {"turn": 1, "from": "tool"}),
        (
            ("human: a", "gpt: b", "tool: t", "human: c"),
            "wrong_roles",
            {"turn": 3, "from": "human"},
        ),
        (("human: a", "gpt: b", "tool: t"), "unanswered", {"turn": 2}),
        (("system: s",), "no_turns", {}),
        (("system:  ", "human: a", "gpt: b"), "empty_value", {"turn": 0}),
    ],
)
def test_kept_turns_elsewhere_are_rejected(
    turns: tuple[str, ...], reason: str, evidence: Any
) -> None:
    assert repair_and_check(conversation(*turns, image=None), LIMITS, 1, KEEP) == (reason, evidence)


def test_a_mixture_may_keep_one_kind_of_turn_alone() -> None:
    record = conversation("system: s", "human: a", "gpt: b", "tool: c", "gpt: d", image=None)
    assert repair_and_check(record, LIMITS, 1, ["system"]) == ("tool_turn", {"turn": 3})
