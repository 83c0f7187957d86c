"""For records of any shape, each form returns a conversation or a verdict, and loses nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.ledger import Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import IMAGE_TOKEN, EmbeddedImage

NAMES = (
    *("id", "image", "images", "image_1", "system", "conversations", "conversation", "messages"),
    *("prompt", "completion", "query", "response", "history", "instruction", "input", "output"),
    *("texts", "relevance_ratings", "question", "answer", "answers", "label", "options", "hint"),
    *("answer_index", "data_split", "caption", "txt", "jpg", "from", "value", "role", "content"),
    *("type", "text", "user", "assistant", "human", "url", "path", "bytes", "image_url"),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.floats()
    | st.sampled_from(["human", "gpt", "user", "A", "1", "text", "image", "train", "<image>"])
    | st.text(max_size=6)
    | st.builds(EmbeddedImage, st.text(max_size=3))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
records = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
form_settings = st.builds(
    FormSettings,
    columns=st.dictionaries(
        st.sampled_from(["image", "images", "answer", "subset", "id"]), st.sampled_from(NAMES)
    ),
    prompts=st.sampled_from([(), ("What?",)]),
    min_ratings=st.sampled_from([{}, {"relevance": 3}]),
    suffix=st.sampled_from(["", "short_answer"]),
    wording=st.sampled_from(["", "llava"]),
)


def check(form: str, record: dict[str, Any], settings: FormSettings) -> None:
    """Check that a record is a conversation, or a verdict with a field."""
    found = FORMS[form].read(record, settings, 0)
    if isinstance(found, Verdict):
        assert isinstance(found.evidence["field"], str)
        return
    assert isinstance(found, Conversation)
    assert {speaker for speaker, _ in found.turns} <= {"system", "human", "gpt", "tool"}
    assert all(isinstance(text, str) for _, text in found.turns)
    assert all(isinstance(image, str | EmbeddedImage) for image in found.images)


@given(record=records, settings=form_settings)
def test_any_record_is_a_conversation_or_a_verdict_that_names_a_field(
    record: dict[str, Any], settings: FormSettings
) -> None:
    for form in FORMS:
        check(form, record, settings)


SOUND: dict[str, dict[str, Any]] = {
    "conversations": {
        "system": "Be kind.",
        "image": ["a.jpg", {"path": "b.jpg", "bytes": None}],
        "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}],
    },
    "messages": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image"}]},
            {"role": "assistant", "content": "!"},
        ],
        "images": [EmbeddedImage("c.jpg")],
    },
    "texts": {
        "images": ["a.jpg"],
        "texts": [{"user": "?\nAnswer briefly.", "assistant": "!"}],
        "relevance_ratings": [3],
    },
    "questions": {
        "question": "?",
        "options": ["A. x", "B. y"],
        "answer": "B",
        "answers": [{"answer": "y"}],
        "hint": "!",
    },
    "captions": {"id": 3, "jpg": {"url": "a.jpg"}, "caption": ["x", "y"]},
}
PAIRS = {"query": "?", "response": "!", "history": [["?", "!"]], "images": ["a.jpg"]}


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """Draw a value that has another value at one place, at any depth."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(values)
    place = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
    changed = value.copy()
    changed[place] = draw(altered(value[place]))
    return changed


@pytest.mark.parametrize("form", [*FORMS, "pairs"])
@given(st.data(), form_settings)
def test_a_sound_record_with_one_value_altered_is_no_crash(
    form: str, data: st.DataObject, settings: FormSettings
) -> None:
    record = data.draw(altered(SOUND.get(form, PAIRS)))
    if isinstance(record, dict):
        check(form if form in FORMS else "messages", record, settings)
        find_form([record])


@given(st.lists(records | values, max_size=4))
def test_the_form_of_any_records_is_found_or_none(found: list[Any]) -> None:
    assert find_form(found) in {*FORMS, None}


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
paths = words.map("{}.jpg".format)
images = paths | st.builds(EmbeddedImage, paths)


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[str, Any], list[str], list[Any]]:
    """Draw a record of messages of parts, its texts, and its images in order."""
    texts, shown, turns = list[str](), list[Any](), list[dict[str, Any]]()
    for role in draw(st.lists(st.sampled_from(["user", "assistant"]), min_size=1, max_size=4)):
        parts = list[dict[str, Any]]()
        for part in draw(st.lists(words | images.map(lambda one: (one,)), min_size=1, max_size=4)):
            if isinstance(part, str):
                texts.append(part)
                parts.append({"type": "text", "text": part})
            else:
                shown.append(part[0])
                parts.append({"type": "image", "image": part[0]})
        turns.append({"role": role, "content": parts})
    return {"messages": turns}, texts, shown


@given(messages())
def test_texts_and_images_of_parts_survive_in_order(
    drawn: tuple[dict[str, Any], list[str], list[Any]],
) -> None:
    record, texts, shown = drawn
    found = FORMS["messages"].read(record, FormSettings(), 0)
    assert isinstance(found, Conversation)
    assert found.images == shown
    whole = "\n".join(text for _, text in found.turns)
    assert whole.count(IMAGE_TOKEN) == len(shown)
    assert whole.replace(IMAGE_TOKEN, " ").split() == texts


@given(st.lists(images, max_size=4), st.lists(st.tuples(words, words), min_size=1, max_size=3))
def test_each_form_refers_to_as_many_images_as_the_record_has(
    shown: list[Any], exchanges: list[tuple[str, str]]
) -> None:
    said = [text for exchange in exchanges for text in exchange]
    turns = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(said)]
    spoken = [{"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(said)]
    texts = [{"user": asked, "assistant": answer} for asked, answer in exchanges]
    query, response = exchanges[-1]
    for form, record in (
        ("conversations", {"conversations": turns}),
        ("messages", {"messages": spoken}),
        ("messages", {"query": query, "response": response, "history": exchanges_of(exchanges)}),
        ("texts", {"texts": texts}),
    ):
        found = FORMS[form].read({**record, "images": shown}, FormSettings(), 0)
        assert isinstance(found, Conversation)
        assert found.images == shown
        plain = [text.removeprefix(f"{IMAGE_TOKEN}\n" * len(shown)) for _, text in found.turns]
        assert plain == said
        assert "".join(text for _, text in found.turns).count(IMAGE_TOKEN) == len(shown)


@given(st.lists(words.filter(lambda word: len(word) > 2), min_size=1, max_size=26, unique=True))
def test_the_text_the_letter_and_the_index_of_an_option_lead_to_its_line(
    options: list[str],
) -> None:
    for index, option in enumerate(options):
        letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]
        for correct in (option, letter, index):
            record = {"question": "?", "choices": options, "answer": correct}
            found = FORMS["questions"].read(record, FormSettings(), 0)
            assert isinstance(found, Conversation)
            assert found.turns[1] == ("gpt", letter)
            assert f"{letter}. {option}" in found.turns[0][1].splitlines()


def exchanges_of(exchanges: list[tuple[str, str]]) -> list[list[str]]:
    return [list(exchange) for exchange in exchanges[:-1]]
