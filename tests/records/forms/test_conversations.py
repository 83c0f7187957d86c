"""The form `conversations` on literal records of LLaVA, its successors and ShareGPT."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms import FORMS
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import EmbeddedImage

PIXELS = EmbeddedImage("train-0.parquet/image/17")


def read(record: dict[str, Any], **settings: Any) -> Conversation | Verdict:
    return FORMS["conversations"].read(record, FormSettings(**settings), 0)


def said(*turns: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]


def test_a_row_of_llava_next_data_keeps_its_turns_and_its_image() -> None:
    row = {
        "id": "000000033471",
        "conversations": said("<image>\nWhat are the colors of the bus?", "White and red."),
        "data_source": "llava_v1_5_mix665k",
        "image": PIXELS,
    }
    assert read(row) == Conversation(
        "000000033471",
        [PIXELS],
        [("human", "<image>\nWhat are the colors of the bus?"), ("gpt", "White and red.")],
    )
    assert read(row, columns={"subset": "data_source"}) == Conversation(
        "000000033471",
        [PIXELS],
        [("human", "<image>\nWhat are the colors of the bus?"), ("gpt", "White and red.")],
        subset="llava_v1_5_mix665k",
    )


def test_a_row_of_llava_next_data_without_an_image_is_text_alone() -> None:
    row = {"id": "a", "conversations": said("Hello", "Hi"), "data_source": "x", "image": None}
    assert read(row) == Conversation("a", [], [("human", "Hello"), ("gpt", "Hi")])


def test_a_row_of_llava_onevision_data_may_have_its_token_at_the_end() -> None:
    row = {
        "id": "7",
        "image": PIXELS,
        "conversations": said("How many bars are there?\n<image>", "3"),
        "data_source": "dvqa(cauldron,llava_format)",
    }
    turns = [("human", "How many bars are there?\n<image>"), ("gpt", "3")]
    assert read(row) == Conversation("7", [PIXELS], turns)


def test_sharegpt_has_a_system_prompt_as_a_column_or_as_a_turn() -> None:
    turns = [("system", "Be kind."), ("human", "Hello"), ("gpt", "Hi")]
    column = {"id": "1", "system": "Be kind.", "conversations": said("Hello", "Hi")}
    first = {"from": "system", "value": "Be kind."}
    turn = {"id": "1", "conversations": [first, *said("Hello", "Hi")]}
    assert read(column) == read(turn) == Conversation("1", [], turns)
    assert read({**turn, "system": "Be kind."}) == Conversation("1", [], turns)


def test_ms_swift_writes_a_question_and_its_answer_as_one_turn() -> None:
    record = {"system": "00000", "conversation": [{"human": "11111", "assistant": "22222"}]}
    turns = [("system", "00000"), ("human", "11111"), ("gpt", "22222")]
    assert read(record) == Conversation(None, [], turns)


@pytest.mark.parametrize(
    ("names", "speaker"),
    [
        (("human", "user", "User", "prompter"), "human"),
        (("gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"), "gpt"),
        (("system", "developer"), "system"),
        (("tool", "function", "observation"), "tool"),
    ],
)
def test_a_speaker_has_many_names(names: tuple[str, ...], speaker: str) -> None:
    turns = [{"from": name, "value": "x"} for name in names]
    assert read({"conversations": turns}) == Conversation(None, [], [(speaker, "x")] * len(names))


@pytest.mark.parametrize(
    ("image", "images"),
    [
        ("a.jpg", ["a.jpg"]),
        ("https://example.org/a.jpg", ["https://example.org/a.jpg"]),
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        ({"path": "a.jpg", "bytes": None}, ["a.jpg"]),
        ({"path": "a.jpg", "bytes": PIXELS}, [PIXELS]),
        ({"url": "https://example.org/a.jpg", "width": 3}, ["https://example.org/a.jpg"]),
        ([PIXELS, {"path": "b.jpg"}], [PIXELS, "b.jpg"]),
        ({"path": None, "bytes": None}, []),
        ([], []),
    ],
)
@pytest.mark.parametrize("column", ["image", "images"])
def test_an_image_is_a_path_a_url_an_object_or_a_list(
    column: str, image: Any, images: list[Any]
) -> None:
    question = "<image>\n" * len(images) + "What?"
    record = {column: image, "conversations": said(question, "That.")}
    assert read(record) == Conversation(None, images, [("human", question), ("gpt", "That.")])


def test_numbered_columns_are_the_images_of_one_record() -> None:
    record = {"image_1": PIXELS, "image_2": "b.png", "image_3": None}
    found = read({**record, "conversations": said("<image><image> Same?", "No")})
    assert isinstance(found, Conversation)
    assert found.images == [PIXELS, "b.png"]


def test_a_list_of_one_path_in_the_column_of_one_image_is_a_repair() -> None:
    found = read({"image": ["a.jpg"], "conversations": said("<image>\nWhat?", "That.")})
    assert isinstance(found, Conversation)
    assert found.images == ["a.jpg"]
    assert found.repairs == (AppliedRepair(Repair.IMAGE_UNLISTED, '["a.jpg"]'),)


def test_images_without_tokens_are_placed_before_the_first_question() -> None:
    record = {"images": ["a.jpg", "b.jpg"], "conversations": said("Same?", "No", "Why?", "So.")}
    assert read(record) == Conversation(
        None,
        ["a.jpg", "b.jpg"],
        [("human", "<image>\n<image>\nSame?"), ("gpt", "No"), ("human", "Why?"), ("gpt", "So.")],
        repairs=(AppliedRepair(Repair.TOKEN_ADDED, "Same?"),),
    )


def test_tokens_that_are_there_stay_even_in_an_answer() -> None:
    turns = [("human", "What?"), ("gpt", "I see <image>.")]
    record = {"image": "a.jpg", "conversations": said("What?", "I see <image>.")}
    assert read(record) == Conversation(None, ["a.jpg"], turns)


def test_an_empty_path_that_no_token_refers_to_is_no_image() -> None:
    turns = [("human", "Hello"), ("gpt", "Hi")]
    repairs = (AppliedRepair(Repair.EMPTY_IMAGE_REMOVED, ""),)
    record = {"image": "", "conversations": said("Hello", "Hi")}
    assert read(record) == Conversation(None, [], turns, repairs=repairs)
    seen = read({"image": "", "conversations": said("<image>\nWhat?", "That.")})
    assert isinstance(seen, Conversation)
    assert seen.images == [""]


@pytest.mark.parametrize(
    ("identity", "kept", "repairs"),
    [
        (33471, "33471", ()),
        ("0007", "0007", ()),
        (None, None, (AppliedRepair(Repair.ID_FROM_PLACE, "null"),)),
        (1.5, "1.5", (AppliedRepair(Repair.ID_TO_TEXT, "1.5"),)),
        (["a", 1], '["a",1]', (AppliedRepair(Repair.ID_TO_TEXT, '["a",1]'),)),
    ],
)
def test_an_id_is_text(identity: Any, kept: str | None, repairs: tuple[AppliedRepair, ...]) -> None:
    turns = [("human", "Hello"), ("gpt", "Hi")]
    record = {"id": identity, "conversations": said("Hello", "Hi")}
    assert read(record) == Conversation(kept, [], turns, repairs=repairs)


def test_a_suffix_of_the_manifest_ends_the_first_question_once() -> None:
    short = "\nAnswer the question using a single word or phrase."
    for first in ("Red?", f"Red?{short}"):
        record = {"conversations": said(first, "Yes", "Blue?", "No")}
        found = read(record, suffix="short_answer")
        assert isinstance(found, Conversation)
        asked = [text for speaker, text in found.turns if speaker == "human"]
        assert asked == [f"Red?{short}", "Blue?"]


def test_parts_of_the_cauldron_in_llavas_form_may_have_llavas_wording() -> None:
    letter = "\nAnswer with the option's letter from the given choices directly."
    asked = "<image>\nQuestion: Which?\nChoices:\nA. owl\nB. crow\nAnswer with the letter."
    record = {"image": PIXELS, "conversations": said(asked, "Answer: A")}
    found = read(record, wording="llava")
    assert isinstance(found, Conversation)
    assert found.turns == [
        ("human", f"<image>\nWhich?\nA. owl\nB. crow{letter}"),
        ("gpt", "A"),
    ]


def test_columns_of_other_names_are_read_where_the_manifest_states_them() -> None:
    record = {"dialog": said("<image>\nWhat?", "That."), "photo": "a.jpg", "nr": 5}
    columns = {"conversations": "dialog", "image": "photo", "id": "nr"}
    turns = [("human", "<image>\nWhat?"), ("gpt", "That.")]
    assert read(record, columns=columns) == Conversation("5", ["a.jpg"], turns)


OBJECT = "should be an image: a path, a URL, or an object with one"
NUMBER = "is a number; if it is a row of image files, name them in image_rows of the manifest"


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"conversations": None}, "conversations", "is null"),
        ({"conversations": "Hello"}, "conversations", "should be a list"),
        ({"conversations": ["Hello"]}, "conversations.0", "should be an object"),
        ({"conversations": [{"value": "Hi"}]}, "conversations.0.from", "names no speaker"),
        ({"conversations": [{"from": "gpt"}]}, "conversations.0.value", "is null"),
        ({"conversations": [{"from": "gpt", "value": 3}]}, "conversations.0.value", None),
        ({"conversations": [{"from": 3, "value": "Hi"}]}, "conversations.0.from", None),
        ({"system": 3}, "system", "should be text"),
        ({"image": 17}, "image", NUMBER),
        ({"image": {"bytes": b"\xff\xd8"}}, "image.bytes", OBJECT),
        ({"image": {"width": 3}}, "image", OBJECT),
        ({"images": ["a.jpg", None]}, "images.1", "is an image that is null"),
        ({"images": ["a.jpg", 17]}, "images.1", NUMBER),
    ],
)
def test_a_verdict_names_the_field_and_the_problem(
    changed: dict[str, Any], field: str, problem: str | None
) -> None:
    verdict = read({"id": "1", "conversations": said("Hello", "Hi"), **changed})
    assert isinstance(verdict, Verdict)
    assert verdict.reason is Reason.WRONG_TYPE
    assert verdict.evidence["field"] == field
    assert verdict.evidence["problem"] == (problem or "should be text")


def test_a_record_without_turns_or_with_an_unknown_speaker_has_its_own_reason() -> None:
    assert read({"conversations": []}) == Verdict(Reason.NO_TURNS, {"field": "conversations"})
    evidence = {"field": "conversations.0.from", "problem": "is no known speaker"}
    assert read({"conversations": [{"from": "narrator", "value": "x"}]}) == Verdict(
        Reason.WRONG_ROLES, {**evidence, "found": "'narrator'"}
    )


def test_two_columns_of_different_images_lose_neither() -> None:
    record = {"images": ["a.jpg"], "image": "b.jpg", "conversations": said("What?", "That.")}
    evidence = {"field": "image", "found": "'b.jpg'"}
    assert read(record) == Verdict(Reason.UNREAD_FIELD, evidence)
    same = read({**record, "image": "a.jpg"})
    assert isinstance(same, Conversation)
    assert same.images == ["a.jpg"]
