"""The form `messages` on literal records of OpenAI, of each trainer's demo, and of instructions."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.records.forms.content import join_pieces
from imp_data.sample import EmbeddedImage

PIXELS = EmbeddedImage("train-0.parquet/images/17/0")
MORE = EmbeddedImage("train-0.parquet/images/17/1")


def read(record: dict[str, Any], **settings: Any) -> Conversation | Verdict:
    return FORMS["messages"].read(record, FormSettings(**settings), 0)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_openai_messages_of_strings_are_turns() -> None:
    record = {"messages": [{"role": "system", "content": "Be kind."}, user("Hi"), assistant("Yo")]}
    turns = [("system", "Be kind."), ("human", "Hi"), ("gpt", "Yo")]
    assert read(record) == Conversation(None, [], turns)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg", "detail": "low"}},
        {"type": "image_url", "image_url": "https://example.org/a.jpg"},
        {"type": "image_url", "value": "https://example.org/a.jpg"},
        {"type": "input_image", "image_url": "https://example.org/a.jpg", "detail": "auto"},
        {"type": "image", "image": "https://example.org/a.jpg"},
        {"type": "image", "url": "https://example.org/a.jpg", "text": None},
        {"type": "image", "image": {"url": "https://example.org/a.jpg", "image_wh": [4, 3]}},
        {"type": "image", "path": "https://example.org/a.jpg"},
        {"type": "image", "base64": "https://example.org/a.jpg"},
        {"image": "https://example.org/a.jpg"},
    ],
)
def test_an_image_part_has_many_spellings(part: dict[str, Any]) -> None:
    record = {"messages": [user([part, text("What?")]), assistant([text("That.")])]}
    turns = [("human", "<image>\nWhat?"), ("gpt", "That.")]
    assert read(record) == Conversation(None, ["https://example.org/a.jpg"], turns)


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        ([None, "What?"], "<image>\nWhat?"),
        ([None, None, "Same?"], "<image>\n<image>\nSame?"),
        (["What?", None], "What?\n<image>"),
        (["see ", None, " here"], "see <image> here"),
        (["see", None, "here"], "see <image> here"),
        (["A:", None, "B:", None, "Which?"], "A: <image> B: <image> Which?"),
        (["First.", "Second."], "First.\nSecond."),
        ([None, "\nWhat?"], "<image>\nWhat?"),
        ([None], "<image>"),
        ([None, None], "<image>\n<image>"),
    ],
)
def test_parts_keep_their_order(pieces: list[str | None], joined: str) -> None:
    assert join_pieces(pieces) == joined


def test_trl_fills_image_parts_from_the_column_in_order() -> None:
    parts = [{"type": "image", "text": None}, text("or"), {"type": "image", "text": None}]
    record = {"messages": [user(parts), assistant("The first.")], "images": [PIXELS, MORE]}
    turns = [("human", "<image>\nor\n<image>"), ("gpt", "The first.")]
    assert read(record) == Conversation(None, [PIXELS, MORE], turns)


def indexed(*indices: int) -> list[dict[str, Any]]:
    return [{"index": index, "text": None, "type": "image"} for index in indices]


def test_parts_of_llava_instruct_mix_vsft_state_the_index_of_their_image() -> None:
    asked = {"index": None, "text": "Which is red?\n", "type": "text"}
    said = {"index": None, "text": "The first.", "type": "text"}
    record = {"messages": [user([asked, *indexed(0)]), assistant([said])], "images": [PIXELS]}
    turns = [("human", "Which is red?\n<image>"), ("gpt", "The first.")]
    assert read(record) == Conversation(None, [PIXELS], turns)


@pytest.mark.parametrize(
    ("indices", "images"), [((1, 0), [MORE, PIXELS]), ((0, 1, 0), [PIXELS, MORE, PIXELS])]
)
def test_an_index_selects_an_image_of_the_column(indices: tuple[int, ...], images: Any) -> None:
    asked = [*indexed(*indices), text("Same?")]
    found = read({"messages": [user(asked), assistant("No.")], "images": [PIXELS, MORE]})
    assert isinstance(found, Conversation)
    assert found.images == images


@pytest.mark.parametrize("indices", [(0,), (2, 0), (-1, 0)])
def test_an_image_without_a_part_or_a_part_without_an_image_is_a_verdict(
    indices: tuple[int, ...],
) -> None:
    asked = [*indexed(*indices), text("Same?")]
    verdict = read({"messages": [user(asked), assistant("No.")], "images": [PIXELS, MORE]})
    problem = "has image parts of other indices than its images"
    evidence = {"field": "messages", "problem": problem, "found": repr(list(indices))}
    assert verdict == Verdict(Reason.WRONG_TYPE, evidence)


def test_trl_has_a_prompt_and_its_completion() -> None:
    asked = [user([{"type": "image"}, text("What?")])]
    record = {"prompt": asked, "completion": [assistant("That.")], "images": [PIXELS]}
    turns = [("human", "<image>\nWhat?"), ("gpt", "That.")]
    assert read(record) == Conversation(None, [PIXELS], turns)
    plain = {"prompt": "The sky is", "completion": "blue."}
    assert read(plain) == Conversation(None, [], [("human", "The sky is"), ("gpt", "blue.")])


def test_string_content_with_a_column_of_images_gets_its_tokens() -> None:
    record = {"messages": [user("What?"), assistant("That.")], "image": PIXELS}
    turns = [("human", "<image>\nWhat?"), ("gpt", "That.")]
    repairs = (AppliedRepair(Repair.TOKEN_ADDED, "What?"),)
    assert read(record) == Conversation(None, [PIXELS], turns, repairs=repairs)


def test_the_column_counts_where_parts_name_the_same_images() -> None:
    part = {"type": "image", "url": "https://example.org/a.jpg"}
    record = {"messages": [user([part, text("What?")]), assistant("That.")], "images": [PIXELS]}
    found = read(record)
    assert isinstance(found, Conversation)
    assert found.images == [PIXELS]
    evidence = {"field": "messages", "found": "['https://example.org/a.jpg']"}
    assert read({**record, "images": [PIXELS, MORE]}) == Verdict(Reason.UNREAD_FIELD, evidence)


# The first record of each trainer's demo file

LLAMA_FACTORY = {
    "messages": [
        {"content": "<image>Who are they?", "role": "user"},
        {"content": "They're Kane and Gretzka from Bayern Munich.", "role": "assistant"},
        {"content": "What are they doing?<image>", "role": "user"},
        {"content": "They are celebrating on the soccer field.", "role": "assistant"},
    ],
    "images": ["mllm_demo_data/1.jpg", "mllm_demo_data/1.jpg"],
}
LLAMA_FACTORY_V1 = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "value": "data/mllm_demo_data/1.jpg"},
                {"type": "text", "value": "Who are they?"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "value": "They're Kane and Gretzka from Bayern Munich."}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "value": "What are they doing?"},
                {"type": "image_url", "value": "data/mllm_demo_data/1.jpg"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "value": "They are celebrating on the soccer field."}],
        },
    ]
}


def test_llama_factory_writes_tokens_in_its_strings() -> None:
    assert read(LLAMA_FACTORY) == Conversation(
        None,
        ["mllm_demo_data/1.jpg", "mllm_demo_data/1.jpg"],
        [
            ("human", "<image>Who are they?"),
            ("gpt", "They're Kane and Gretzka from Bayern Munich."),
            ("human", "What are they doing?<image>"),
            ("gpt", "They are celebrating on the soccer field."),
        ],
    )


def test_llama_factory_v1_writes_the_same_in_parts() -> None:
    assert read(LLAMA_FACTORY_V1) == Conversation(
        None,
        ["data/mllm_demo_data/1.jpg", "data/mllm_demo_data/1.jpg"],
        [
            ("human", "<image>\nWho are they?"),
            ("gpt", "They're Kane and Gretzka from Bayern Munich."),
            ("human", "What are they doing?\n<image>"),
            ("gpt", "They are celebrating on the soccer field."),
        ],
    )


DOG = {"url": "resource/mscoco_dog_000000319154.jpg", "image_wh": [375, 500]}
CATS = {"url": "resource/mscoco_twocat_000000039769.jpg", "image_wh": [640, 480]}


def test_xtuner_states_the_places_of_its_images_in_the_text() -> None:
    parts = [
        {"type": "image_url", "image_url": DOG},
        {"type": "image_url", "image_url": CATS},
        text("<IMG_CONTEXT>\n<IMG_CONTEXT>\n两张图片有啥相同之处？"),
    ]
    record = {"id": 1, "messages": [user(parts), assistant("两幅图片中都存在动物。")]}
    new = [{"type": "image", "image": DOG}, {"type": "image", "image": CATS}]
    renewed = {
        "id": 1,
        "messages": [user([*new, text("两张图片有啥相同之处？")]), record["messages"][1]],
    }
    assert (
        read(record)
        == read(renewed)
        == Conversation(
            "1",
            [DOG["url"], CATS["url"]],
            [
                ("human", "<image>\n<image>\n两张图片有啥相同之处？"),
                ("gpt", "两幅图片中都存在动物。"),
            ],
        )
    )


def test_xtuner_pretraining_text_has_no_speaker_that_answers() -> None:
    verdict = read({"id": 1, "messages": [{"role": "pretrain", "content": [text("A dog.")]}]})
    evidence = {"field": "messages.0.role", "problem": "is no known speaker", "found": "'pretrain'"}
    assert verdict == Verdict(Reason.WRONG_ROLES, evidence)


DEMO = "https://example.org/demo.jpeg"


def test_ms_swift_has_query_response_and_history() -> None:
    record = {
        "query": "EEEEE",
        "response": "FFFFF",
        "history": [["AAAAA", "BBBBB"], ["CCCCC", "DDDDD"]],
        "images": [DEMO] * 3,
    }
    assert read(record) == Conversation(
        None,
        [DEMO] * 3,
        [
            *(("human", "<image>\n<image>\n<image>\nAAAAA"), ("gpt", "BBBBB")),
            *(("human", "CCCCC"), ("gpt", "DDDDD")),
            *(("human", "EEEEE"), ("gpt", "FFFFF")),
        ],
        repairs=(AppliedRepair(Repair.TOKEN_ADDED, "AAAAA"),),
    )


def test_ms_swift_may_tag_an_image_within_the_query() -> None:
    tag = f"<img>{DEMO}</img>"
    record = {"query": f"{tag}{tag}eeeee", "response": "fffff", "history": [["hello", "123"]]}
    turns = [("human", "hello"), ("gpt", "123"), ("human", "<image><image>eeeee"), ("gpt", "fffff")]
    assert read(record) == Conversation(None, [DEMO, DEMO], turns)


def test_alpaca_has_an_instruction_an_input_and_an_output() -> None:
    record = {"instruction": "Translate.", "input": "Hund", "output": "Dog", "system": "Be brief."}
    turns = [("system", "Be brief."), ("human", "Translate.\nHund"), ("gpt", "Dog")]
    assert read(record) == Conversation(None, [], turns)
    assert read({"instruction": "Greet.", "input": "", "output": "Hi"}) == Conversation(
        None, [], [("human", "Greet."), ("gpt", "Hi")]
    )


@pytest.mark.parametrize(
    "record",
    [
        LLAMA_FACTORY,
        LLAMA_FACTORY_V1,
        {"query": "a", "response": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"prompt": [user("a")], "completion": [assistant("b")]},
    ],
)
def test_records_of_this_form_are_recognised(record: dict[str, Any]) -> None:
    assert find_form([record]) == "messages"


CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        ({}, Reason.WRONG_TYPE, "messages"),
        ({"messages": [user(3), assistant("x")]}, Reason.WRONG_TYPE, "messages.0.content"),
        ({"messages": [user([3])]}, Reason.WRONG_TYPE, "messages.0.content.0"),
        ({"messages": [user([])]}, Reason.NO_TURNS, "messages.0.content"),
        ({"messages": [user([text(3)])]}, Reason.WRONG_TYPE, "messages.0.content.0.text"),
        (
            {"messages": [user([{"type": "video", "video": "a.mp4"}, text("What?")])]},
            Reason.UNREAD_FIELD,
            "messages.0.content.0",
        ),
        (
            {"messages": [user([{**text("What?"), "bbox": [1, 2]}])]},
            Reason.UNREAD_FIELD,
            "messages.0.content.0.bbox",
        ),
        (
            {"messages": [user("Look."), {**assistant(None), "tool_calls": [CALL]}]},
            Reason.UNREAD_FIELD,
            "messages.1.tool_calls",
        ),
        ({"messages": [user("a")], "prompt": "b"}, Reason.UNREAD_FIELD, "prompt"),
        ({"query": "a", "response": "b", "input": "c"}, Reason.UNREAD_FIELD, "input"),
        ({"query": "a", "response": 3}, Reason.WRONG_TYPE, "response"),
        ({"query": "a", "response": "b", "history": ["x"]}, Reason.WRONG_TYPE, "history.0"),
        (
            {"query": "a", "response": "b", "history": [["x", 3]]},
            Reason.WRONG_TYPE,
            "history.0.1",
        ),
    ],
)
def test_a_verdict_names_the_message_and_its_part(
    record: dict[str, Any], reason: Reason, field: str
) -> None:
    verdict = read(record)
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.evidence["field"]) == (reason, field)
