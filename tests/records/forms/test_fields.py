"""The fields of each form: what is read, what has no meaning, and what drops the record."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Source
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.records.layouts.unread_fields import check_unread_fields

TURNS = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]
MESSAGES = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]
TEXTS = [{"user": "What?", "assistant": "That.", "source": "ChartQA"}]


def checked(
    form: str, record: dict[str, Any], *ignore: str, **settings: Any
) -> Verdict | tuple[str, ...]:
    stated = {"name": "some", "title": "Some", "homepage": "https://example.org", "license": "MIT"}
    source = Source.model_validate(
        {**stated, "layout": "llava", "records": ["f.json"], "ignore_fields": ignore}
    )
    return check_unread_fields(record, FORMS[form].fields(FormSettings(**settings)), source)


@pytest.mark.parametrize(
    ("form", "record", "ignored"),
    [
        (
            "conversations",
            {"id": "1", "conversations": TURNS, "data_source": "x", "image": None},
            ("data_source",),
        ),
        ("messages", {"messages": MESSAGES, "images": ["a.jpg"]}, ()),
        ("messages", {"query": "What?", "response": "That.", "history": []}, ()),
        ("texts", {"images": ["a.jpg"], "texts": TEXTS}, ()),
        (
            "texts",
            {
                "images": ["a.jpg"],
                "texts": TEXTS,
                "source": "x",
                "relevance_ratings": [5],
                "relevance_min": 5,
                "formatting_ratings": [None],
                "formatting_min": None,
            },
            (
                *("source", "relevance_ratings", "relevance_min", "formatting_ratings"),
                "formatting_min",
            ),
        ),
        (
            "questions",
            {"image": "a.jpg", "query": "What?", "label": ["That."], "human_or_machine": 0},
            ("human_or_machine",),
        ),
        (
            "questions",
            {"questionId": "1", "question": "What?", "answers": ["That."], "data_split": "train"},
            (),
        ),
        (
            "captions",
            {"__key__": "1", "jpg": "1.jpg", "txt": "An owl.", "json": {"status": "success"}},
            ("json",),
        ),
    ],
)
def test_the_columns_of_published_datasets_are_read_or_ignored(
    form: str, record: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    assert find_form([record]) == form
    assert checked(form, record) == ignored


@pytest.mark.parametrize(
    ("form", "record", "field"),
    [
        ("conversations", {"conversations": TURNS, "video": "a.mp4"}, "video"),
        (
            "conversations",
            {"conversations": [TURNS[0], {**TURNS[1], "weight": 0}]},
            "conversations.weight",
        ),
        ("messages", {"messages": MESSAGES, "tools": [{"name": "look"}]}, "tools"),
        (
            "messages",
            {"messages": [MESSAGES[0], {**MESSAGES[1], "reasoning_content": "Hm."}]},
            "messages.reasoning_content",
        ),
        ("messages", {"messages": MESSAGES, "videos": ["a.mp4"]}, "videos"),
        ("texts", {"texts": [{**TEXTS[0], "system": "Be kind."}]}, "texts.system"),
        ("questions", {"question": "?", "answer": "x", "lecture": "Owls are birds."}, "lecture"),
        ("questions", {"question": "?", "answer": "x", "image_path": "a.jpg"}, "image_path"),
        ("captions", {"image": "a.jpg", "caption": "x", "alt_text": "y"}, "alt_text"),
    ],
)
def test_a_field_that_may_matter_drops_the_record_unless_the_manifest_ignores_it(
    form: str, record: dict[str, Any], field: str
) -> None:
    verdict = checked(form, record)
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.evidence["field"]) == (Reason.UNREAD_FIELD, field)
    assert checked(form, record, field) == (field,)


def test_a_column_that_the_manifest_states_replaces_the_common_names() -> None:
    record = {"conversations": TURNS, "photo": "a.jpg", "image": "thumbnail.jpg"}
    verdict = checked("conversations", record, columns={"image": "photo"})
    assert isinstance(verdict, Verdict)
    assert verdict.evidence["field"] == "image"


def test_a_rating_that_the_manifest_asks_for_is_a_field_that_is_read() -> None:
    record = {"texts": TEXTS, "beauty_ratings": [3]}
    assert isinstance(checked("texts", record), Verdict)
    assert checked("texts", record, min_ratings={"beauty": 2}) == ()


def test_the_form_is_that_of_most_of_the_first_records() -> None:
    damaged = [{"conversations": "Hello"}, "no object", {"question": "What?", "answer": "That."}]
    assert find_form([{"conversations": TURNS}, *damaged, {"conversations": TURNS}]) == (
        "conversations"
    )
    assert find_form(["no object", {"passage": "Owls are birds."}]) is None
    assert find_form([]) is None


def test_a_conversation_beside_a_question_is_a_conversation() -> None:
    record = {"conversations": TURNS, "question": "What?", "answer": "That."}
    assert find_form([record]) == "conversations"


def test_each_example_of_the_manual_is_read_by_its_form() -> None:
    page = Path(__file__).parents[3] / "docs" / "adding-a-source.md"
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\{.*\})` \|$", page.read_text("utf-8"), re.MULTILINE)
    assert {form for form, _ in rows} == {*FORMS}
    for form, written in rows:
        record = json.loads(written)
        assert find_form([record]) == form
        found = FORMS[form].read(record, FormSettings(), 0)
        assert isinstance(found, Conversation)
        assert found.images == ["owl.jpg"]
        assert checked(form, record) in {(), ("relevance_ratings",)}
