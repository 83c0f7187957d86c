"""The form `captions` on literal records of LAION-GPT4V, img2dataset and COCO."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import EmbeddedImage

PIXELS = EmbeddedImage("00000.tar/000000003.jpg")
PROMPTS = ("Describe this image.", "What do you see?", "Caption the image.")
WEBDATASET = {
    "__key__": "000000003",
    "jpg": PIXELS,
    "txt": "An owl on a barn.",
    "json": {"status": "success", "sha256": "0", "url": "https://example.org/owl.jpg"},
}


def read(record: dict[str, Any], ordinal: int = 0, **settings: Any) -> Conversation | Verdict:
    return FORMS["captions"].read(record, FormSettings(**settings), ordinal)


def prompt_of(record: dict[str, Any], ordinal: int = 0) -> str:
    found = read(record, ordinal, prompts=PROMPTS)
    assert isinstance(found, Conversation)
    return found.turns[0][1].removeprefix("<image>\n")


def test_a_sample_of_a_webdataset_is_a_caption_with_a_prompt() -> None:
    turns = [("human", "<image>\nDescribe the image."), ("gpt", "An owl on a barn.")]
    assert read(WEBDATASET) == Conversation("000000003", [PIXELS], turns)
    assert find_form([WEBDATASET]) == "captions"


def test_a_row_of_laion_gpt4v_has_a_caption_and_an_id() -> None:
    row = {
        "link": "https://example.org/a.png",
        "caption": "A map.",
        "message_id": 12,
        "image": PIXELS,
    }
    turns = [("human", "<image>\nWhat do you see?"), ("gpt", "A map.")]
    assert read(row, prompts=PROMPTS[1:2]) == Conversation("12", [PIXELS], turns)


def test_the_records_own_id_selects_the_prompt() -> None:
    chosen = [prompt_of({**WEBDATASET, "__key__": str(n)}) for n in range(6)]
    assert chosen == [prompt_of({**WEBDATASET, "__key__": str(n)}, 99) for n in range(6)]
    assert {*chosen} == {*PROMPTS}


def test_without_an_id_the_records_place_selects_the_prompt() -> None:
    bare = {"image": "a.jpg", "caption": "An owl."}
    assert {prompt_of(bare, n) for n in range(9)} == {*PROMPTS}


def test_the_first_of_several_captions_is_read() -> None:
    record = {"image": "a.jpg", "caption": [" An owl. ", "A bird."]}
    turns = [("human", "<image>\nDescribe the image."), ("gpt", "An owl.")]
    assert read(record) == Conversation(None, ["a.jpg"], turns)


def test_a_caption_whose_image_was_not_downloaded_is_dropped_with_the_reason() -> None:
    row = {
        "key": "000000005",
        "url": "https://example.org/a.jpg",
        "caption": "An owl.",
        "jpg": None,
    }
    failed = {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"}
    assert read({**row, **failed}) == Verdict(
        Reason.IMAGE_MISSING,
        {
            "field": "jpg",
            "problem": "a caption without an image",
            "status": "'failed_to_download'",
            "error_message": "'HTTP Error 404: Not Found'",
        },
    )


def test_a_null_id_is_a_repair() -> None:
    found = read({"id": None, "image": "a.jpg", "caption": "An owl."})
    assert isinstance(found, Conversation)
    assert found.repairs == (AppliedRepair(Repair.ID_FROM_PLACE, "null"),)


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"txt": None}, Reason.WRONG_TYPE, "txt"),
        ({"txt": 3}, Reason.WRONG_TYPE, "txt"),
        ({"txt": []}, Reason.WRONG_TYPE, "txt"),
        ({"caption": "A crow."}, Reason.UNREAD_FIELD, "txt"),
        ({"jpg": None}, Reason.IMAGE_MISSING, "jpg"),
        ({"jpg": 3}, Reason.WRONG_TYPE, "jpg"),
        ({"png": "b.png"}, Reason.UNREAD_FIELD, "png"),
    ],
)
def test_a_verdict_names_the_field(changed: dict[str, Any], reason: Reason, field: str) -> None:
    verdict = read({**WEBDATASET, **changed})
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.evidence["field"]) == (reason, field)
