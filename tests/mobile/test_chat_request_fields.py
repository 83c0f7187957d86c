"""Every field of OpenAI's request is forwarded, dropped, or refused with its name and value."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import chat
from openai.types.chat import completion_create_params as openai_params
from openai.types.chat.chat_completion_content_part_image_param import ImageURL
from PIL import Image

from imp_data.mobile.chat import images
from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.chat.request_fields import IMAGE_URL_FIELDS, MESSAGE_FIELDS, REQUEST_FIELDS
from imp_data.mobile.chat.requests import convert_body, convert_request

HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
SENT, DROPPED = "sent", "dropped"

# Field to values and their treatment: SENT, DROPPED, or a part of the refusal's message.
TABLE: dict[str, list[tuple[Any, str]]] = {
    "messages": [([], "must be a list of at least one message")],
    "model": [("gpt-4o", DROPPED), (7, "is 7, but must be a string")],
    "audio": [
        ({"voice": "alloy", "format": "wav"}, "must be left out: this model answers in text")
    ],
    "frequency_penalty": [(0, SENT), (-2.0, SENT), (2.5, "is 2.5, but must be a number from -2")],
    "function_call": [("auto", DROPPED), ({"name": "f"}, 'is {"name": "f"}, but must be "none"')],
    "functions": [([], DROPPED), ([{"name": "f"}], "this model calls no tools")],
    "logit_bias": [({}, SENT), ({"50": -100}, SENT), ({"a": 1}, 'is {"a": 1}, but must be')],
    "logprobs": [(True, SENT), (1, "is 1, but must be true or false")],
    "max_completion_tokens": [(8, SENT), (0, "is 0, but must be a whole number from 1")],
    "max_tokens": [(8, SENT), (True, "is true, but must be a whole number"), (1.5, "is 1.5, but")],
    "metadata": [
        ({}, DROPPED),
        ({"run": "7"}, DROPPED),
        ("run", 'is "run", but must be an object'),
    ],
    "modalities": [(["text"], DROPPED), (["text", "audio"], 'is ["text", "audio"], but must be')],
    "moderation": [({"model": "omni-moderation-latest"}, "nothing is moderated here")],
    "n": [
        (1, DROPPED),
        (2, "is 2, but must be 1 or left out: a request gets one answer"),
        (True, "is true, but must be 1"),
    ],
    "parallel_tool_calls": [(True, DROPPED), (False, DROPPED), ("no", 'is "no", but must be true')],
    "prediction": [({"type": "content", "content": "x"}, DROPPED), ("x", "must be an object")],
    "presence_penalty": [(0.5, SENT), (float("nan"), "is NaN, but must be a number")],
    "prompt_cache_key": [("a", DROPPED), (1, "must be a string")],
    "prompt_cache_options": [({"ttl": "30m"}, DROPPED), (1, "must be an object")],
    "prompt_cache_retention": [("24h", DROPPED), (24, "must be a string")],
    "reasoning_effort": [("none", DROPPED), ("low", DROPPED), (1, "must be a string")],
    "response_format": [({"type": "text"}, SENT), (SCHEMA, SENT), ({"type": "xml"}, "json_schema")],
    "safety_identifier": [("a", DROPPED), ([], "must be a string")],
    "seed": [(42, SENT), ("42", 'is "42", but must be a whole number')],
    "service_tier": [("auto", DROPPED), ("flex", DROPPED), (1, "must be a string")],
    "stop": [("\n", SENT), (["a", "b"], SENT), ([""], "none empty"), (7, "is 7, but must be")],
    "store": [(False, DROPPED), (True, DROPPED), ("yes", "must be true or false")],
    "stream": [(True, SENT), (False, SENT), ("yes", "must be true or false")],
    "stream_options": [({"include_usage": True}, SENT), ({}, SENT), ({"x": 1}, "include_usage")],
    "temperature": [(0, SENT), (2, SENT), ("0", 'is "0", but must be a number from 0 to 2')],
    "tool_choice": [("none", DROPPED), ("auto", DROPPED), ("required", "calls no tools")],
    "tools": [([], DROPPED), ([{"type": "function"}], "this model calls no tools")],
    "top_logprobs": [(20, SENT), (21, "is 21, but must be a whole number from 0 to 20")],
    "top_p": [(0.5, SENT), (1.5, "is 1.5, but must be a number from 0 to 1")],
    "user": [("me", DROPPED), (7, "must be a string")],
    "verbosity": [("medium", DROPPED), ("low", "state the desired length")],
    "web_search_options": [({}, "does not search the web")],
}


def squared(image: Image.Image) -> Image.Image:
    return image.resize((8, 8))


def asked(**fields: Any) -> dict[str, Any]:
    return convert_request({"messages": HELLO, **fields}, squared)


def refusal(request: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        convert_request(request, squared)
    return caught.value


def test_the_rules_cover_every_field_of_openais_request() -> None:
    known = get_type_hints(openai_params.CompletionCreateParamsNonStreaming)
    known |= get_type_hints(openai_params.CompletionCreateParamsStreaming)
    assert set(TABLE) == set(known)


@pytest.mark.parametrize(
    ("field", "value", "fate"), [(f, *row) for f, rows in TABLE.items() for row in rows], ids=str
)
def test_a_field_is_forwarded_dropped_or_refused_with_name_and_value(
    field: str, value: Any, fate: str
) -> None:
    if fate in {SENT, DROPPED}:
        expected = {field: value} if fate is SENT else {}
        assert asked(**{field: value}) == {"messages": HELLO, **expected}
        return
    refused = refusal({"messages": HELLO, field: value})
    assert (refused.status, refused.field) == (400, field)
    assert fate in refused.problem
    error = refused.body()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", field)
    assert error["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("field", sorted(set(TABLE) - {"messages"}))
def test_null_means_that_the_field_is_left_out(field: str) -> None:
    assert asked(**{field: None}) == {"messages": HELLO}


def test_a_long_value_is_truncated_in_the_refusal() -> None:
    assert len(str(refusal({"messages": HELLO, "n": "x" * 10_000}))) < 200


def messages(*given: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = convert_request({"messages": list(given)}, squared)["messages"]
    return sent


def test_the_rules_cover_every_field_of_openais_messages() -> None:
    taken = ("Developer", "System", "User", "Assistant")
    types = [getattr(chat, f"ChatCompletion{role}MessageParam") for role in taken]
    fields = {name for one in types for name in get_type_hints(one)} - {"role", "content"}
    # An answer's message has two more fields, which clients send back unchanged.
    assert set(MESSAGE_FIELDS) == fields | {"annotations", "reasoning_content"}
    assert set(IMAGE_URL_FIELDS) == set(get_type_hints(ImageURL))


def test_leading_system_and_developer_messages_are_merged() -> None:
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}
    assert messages(developer, *HELLO) == [{"role": "system", "content": "Be brief."}, *HELLO]
    more = {"role": "system", "content": "Be kind.", "name": "house"}
    joined = {"role": "system", "content": "Be brief.\nBe kind."}
    assert messages(developer, more, *HELLO) == [joined, *HELLO]


def test_a_late_system_message_is_refused() -> None:
    late = [*HELLO, {"role": "system", "content": "Be brief."}, *HELLO]
    assert refusal({"messages": late}).field == "messages[1]"


def test_an_empty_or_refused_answer_is_accepted_in_the_history() -> None:
    empty = {"annotations": [], "audio": None, "function_call": None, "tool_calls": None}
    said = {"role": "assistant", "content": None, "refusal": None, **empty}
    assert messages(*HELLO, said, *HELLO)[1] == {"role": "assistant", "content": ""}
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(*HELLO, refused, *HELLO)[1] == {"role": "assistant", "content": "No."}
    alone = {"role": "assistant", "refusal": "No."}
    assert messages(*HELLO, alone, *HELLO)[1] == {"role": "assistant", "content": "No."}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "audio": {"id": "1"}}, "messages[0].audio"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0]"),
        (
            {"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]},
            "messages[0].content[0].y",
        ),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]},
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_an_unsupported_field_of_a_message_is_refused_with_its_name(
    message: dict[str, Any], field: str
) -> None:
    assert refusal({"messages": [message, *HELLO]}).field == field


def file_of(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, lossless=True, quality=100)
    return out.getvalue()


def seen(url: Any, **more: Any) -> Image.Image:
    part = {"type": "image_url", "image_url": url, **more}
    (sent,) = messages({"role": "user", "content": [part]})
    data = sent["content"][0]["image_url"]["url"].removeprefix("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


RED = Image.new("RGB", (8, 8), "red")
PNG = base64.b64encode(file_of(RED, "PNG")).decode()


@pytest.mark.parametrize(
    "head",
    [
        *("image/jpg", "image/jpeg", "IMAGE/PNG", "image/x-png", "application/octet-stream", ""),
        *("image/png;charset=utf-8", "text/plain", 'image/png;name="a b.png"'),
    ],
)
def test_the_bytes_determine_the_image_format_not_the_media_type(head: str) -> None:
    assert seen({"url": f"data:{head};base64,{PNG}"}).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        PNG.rstrip("="),
        PNG.replace("+", "-").replace("/", "_"),
        "\r\n".join(PNG[n : n + 76] for n in range(0, len(PNG), 76)),
        PNG.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
    ids=["no padding", "url-safe", "lines", "percent"],
)
def test_every_variant_of_base64_is_read(data: str) -> None:
    assert seen({"url": f"DATA:image/png;BASE64,{data}"}).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "MPO"])
def test_every_format_of_phones_and_browsers_is_read(kind: str) -> None:
    data = base64.b64encode(file_of(RED, kind)).decode()
    red, green, blue = seen({"url": f"data:;base64,{data}"}).convert("RGB").getpixel((4, 4))  # type: ignore[misc]
    assert (red > 250, green < 5, blue < 5) == (True, True, True)


def test_an_image_url_may_have_a_detail_or_be_a_plain_string() -> None:
    url = f"data:image/png;base64,{PNG}"
    assert seen({"url": url, "detail": "low"}).size == (8, 8)
    assert seen(url, prompt_cache_breakpoint={"mode": "explicit"}).size == (8, 8)


def test_an_image_in_a_system_message_is_refused() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}}
    system = {"role": "system", "content": [part]}
    assert refusal({"messages": [system, *HELLO]}).field == "messages[0].content[0]"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.dictionaries(st.sampled_from(sorted(REQUEST_FIELDS)), ANY, max_size=4)
PARTS = st.fixed_dictionaries(
    {"type": st.just("text") | ANY}, optional={"text": ANY, "image_url": ANY}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]) | ANY},
    optional={"content": st.text() | st.lists(PARTS, max_size=3) | ANY, "name": ANY},
)
REQUESTS = ANY | st.builds(
    lambda fields, given: {**fields, "messages": given}, KNOWN, st.lists(MESSAGES, max_size=3) | ANY
)


@given(REQUESTS)
def test_any_json_is_converted_or_refused_with_a_4xx(request: Any) -> None:
    try:
        sent = json.loads(convert_body(json.dumps(request).encode(), squared))
    except RequestRefused as refused:
        assert 400 <= refused.status < 500
    else:
        assert set(sent) <= set(REQUEST_FIELDS) | {"messages"}


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_4xx(body: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        convert_body(body, squared)
    assert 400 <= caught.value.status < 500


def test_the_page_sends_no_larger_file_than_the_server_takes() -> None:
    page = (Path(images.__file__).parent / "page/images.js").read_text(encoding="utf-8")
    factors = re.findall(r"const MAX_BYTES = (\d+) \* 1024 \* 1024;", page)
    assert [int(factor) << 20 for factor in factors] == [images.MAX_IMAGE_BYTES]
