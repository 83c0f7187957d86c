"""The chat application: forwarded and refused requests, images, access control."""

import base64
import io
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama_stand_in import ANSWER, StandIn, behind, served
from PIL import Image, ImageOps

from imp_data.mobile.chat.app import ModelInfo, chat_app
from imp_data.mobile.chat.request_body import MAX_BODY_BYTES
from imp_data.mobile.gguf.export_manifest import ExampleQuestion, QuestionStyle

NOWHERE = Path("nowhere.sock")
ABOUT = ModelInfo("imp-tiny", 56, "square", "Apache-2.0", mixture="9418671a")


def squared(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((56, 56), Image.Resampling.BICUBIC)


@pytest.fixture
def llama() -> StandIn:
    return StandIn()


@pytest.fixture
def chat(llama: StandIn) -> Iterator[httpx.Client]:
    """Yield a client of the chat without a token."""
    with (
        behind(llama.app) as upstream,
        served(chat_app(upstream, ABOUT, squared)) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):
        yield client


def data_url(image: Image.Image, kind: str = "PNG") -> str:
    out = io.BytesIO()
    image.save(out, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def question(*parts: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return {"messages": [{"role": "user", "content": content}], **fields}


def shown(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def ask(chat: httpx.Client, body: dict[str, Any], **headers: str) -> httpx.Response:
    return chat.post("/v1/chat/completions", json=body, headers=headers)


def test_a_question_reaches_the_model_and_its_answer_comes_back(
    chat: httpx.Client, llama: StandIn
) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    answer = ask(chat, body)
    assert answer.json()["choices"][0]["message"]["content"] == ANSWER
    assert llama.asked == [body]


def test_an_image_is_forwarded_square_and_before_its_text_with_a_newline(
    chat: httpx.Client, llama: StandIn
) -> None:
    wide = Image.new("RGB", (160, 40), "red")
    ask(chat, question("What colour?", shown(data_url(wide, "JPEG"))))
    image, text = llama.asked[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "\nWhat colour?"}
    sent = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    seen = Image.open(io.BytesIO(sent))
    assert (seen.format, seen.size) == ("PNG", (56, 56))


@pytest.mark.parametrize(
    ("status", "told", "error"),
    [
        (
            400,
            '{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}',
            ("too long", "invalid_request_error", "messages", "context_length_exceeded"),
        ),
        (
            400,
            '{"error":{"code":400,"message":"bad schema","type":"invalid_request_error"}}',
            ("bad schema", "invalid_request_error", None, None),
        ),
        (500, "oops", ("the model answered with status 500", "server_error", None, None)),
    ],
)
def test_an_error_of_llama_cpp_is_converted_to_openais_format(
    chat: httpx.Client, llama: StandIn, status: int, told: str, error: tuple[str | None, ...]
) -> None:
    llama.refusal = (status, told)
    answer = ask(chat, question("Hello", stream=True))
    names = ("message", "type", "param", "code")
    assert answer.status_code == status
    assert answer.json() == {"error": dict(zip(names, error, strict=True))}


def test_the_answer_streams_word_by_word(chat: httpx.Client) -> None:
    body = question("Hello", stream=True)
    with chat.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = [line for line in answer.iter_lines() if line]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(events) == len(ANSWER.split()) + 2
    assert events[-1] == "data: [DONE]"


def test_a_client_that_disconnects_stops_the_model(chat: httpx.Client, llama: StandIn) -> None:
    llama.pause_s = 0.3
    body = question("Hello", stream=True)
    with chat.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    time.sleep(2.5)  # the whole answer would take 1.8 s
    assert 1 <= llama.said < len(ANSWER.split())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.org/cat.png", "no other address"),
        ("file:///etc/passwd", "no other address"),
        ("data:image/png,%89PNG", "no other address"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "cannot be read as an image"),
        ("data:text/html;base64,aGVsbG8=", "send JPEG, PNG, WebP, GIF, AVIF, BMP"),
        ("data:image/png;base64,!!!", "is not base64"),
        ("data:image/png;base64,aGVsbG8=", "cannot be read as an image"),
        ("data:image/heic;base64,AAAAGGZ0eXBoZWljAAAAAA==", "cannot be read as an image (HEIC)"),
    ],
)
def test_an_invalid_image_is_refused_and_never_fetched(
    chat: httpx.Client, llama: StandIn, url: str, says: str
) -> None:
    answer = ask(chat, question("What is it?", shown(url)))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[1]"
    assert says in answer.json()["error"]["message"]
    assert llama.asked == []


def test_a_format_that_is_not_supported_is_refused_although_pillow_reads_it(
    chat: httpx.Client,
) -> None:
    tiff = io.BytesIO()
    Image.new("RGB", (4, 4)).save(tiff, "TIFF")
    lying = f"data:image/png;base64,{base64.b64encode(tiff.getvalue()).decode()}"
    assert ask(chat, question(shown(lying))).status_code == 400


def test_a_decompression_bomb_is_refused_by_its_header(chat: httpx.Client) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    bomb = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    answer = ask(chat, question(shown(bomb)))
    assert answer.status_code in (400, 413)
    assert "pixels" in answer.json()["error"]["message"]


def test_a_request_that_is_too_large_is_refused(chat: httpx.Client, llama: StandIn) -> None:
    answer = chat.post("/v1/chat/completions", content=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert llama.asked == []


def said(content: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content}], **fields}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "secret": 1}]}, "messages[0].secret"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "lora": []}, "lora"),
        ({"messages": [{"role": "user", "content": "x"}], "grammar": "x"}, "grammar"),
    ],
)
def test_an_invalid_request_is_refused_with_the_name_of_the_field(
    chat: httpx.Client, llama: StandIn, body: Any, field: str
) -> None:
    answer = chat.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert llama.asked == []


def test_a_body_that_is_not_json_is_refused(chat: httpx.Client) -> None:
    answer = chat.post("/v1/chat/completions", content=b"{")
    assert answer.status_code == 400
    assert "is not JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/page/index.html", "/etc/passwd", "/props", "/slots"],
)
def test_no_path_of_the_server_is_reachable(chat: httpx.Client, path: str) -> None:
    assert chat.get(path).status_code == 404


def test_every_file_that_the_page_uses_is_served_and_nothing_external_is_loaded(
    chat: httpx.Client,
) -> None:
    page = chat.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    names = ("chat.css", "chat.js", "log.js", "model.js", "images.js", "conversations.js")
    assert [chat.get(f"/{name}").status_code for name in names] == [200] * len(names)
    assert "http" not in page.text


def test_the_model_is_listed_as_openai_lists_models(chat: httpx.Client) -> None:
    assert chat.get("/v1/models").json()["data"][0]["id"] == "imp-tiny"


def test_about_contains_the_question_style(llama: StandIn) -> None:
    asks = QuestionStyle(
        short_answer_suffix="\nShort.", examples=[ExampleQuestion(text="Why?", short=False)]
    )
    with (
        served(chat_app(NOWHERE, ABOUT._replace(asking=asks), squared)) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):
        told = client.get("/v1/about").json()
    assert told["name"] == "imp-tiny"
    assert told["asking"] == {
        "short_answer_suffix": "\nShort.",
        "short_by_default": False,
        "examples": [{"text": "Why?", "short": False}],
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_uploaded_file_is_turned_upright_and_squared(
    chat: httpx.Client, orientation: int
) -> None:
    upright = Image.new("RGB", (40, 20), "red")
    upright.paste("blue", (20, 0, 40, 20))
    upright.paste("green", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Find the stored image that ImageOps turns upright, as a camera would store it.
    for turn in (None, *Image.Transpose):
        stored = upright if turn is None else upright.transpose(turn)
        out = io.BytesIO()
        stored.save(out, "PNG", exif=exif)
        if ImageOps.exif_transpose(Image.open(out)).tobytes() == upright.tobytes():
            break
    found = chat.post("/v1/image", content=out.getvalue()).json()
    data = found["image"].removeprefix("data:image/png;base64,")
    seen = Image.open(io.BytesIO(base64.b64decode(data)))
    assert found["aspect"] == 2
    assert seen.tobytes() == squared(upright).tobytes()


def test_an_image_in_a_request_is_not_rotated_as_in_training(
    chat: httpx.Client, llama: StandIn
) -> None:
    stored = Image.new("RGB", (40, 20), "red")
    stored.paste("blue", (20, 0, 40, 20))
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    stored.save(out, "PNG", exif=exif)
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    ask(chat, question("What is it?", shown(url)))
    sent = llama.asked[0]["messages"][0]["content"][0]["image_url"]["url"]
    seen = Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2])))
    assert (seen.getpixel((10, 28)), seen.getpixel((45, 28))) == ((255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [(b"no image", 400, "cannot be read as an image"), (b" " * (MAX_BODY_BYTES + 1), 413, "MiB")],
)
def test_an_uploaded_file_that_is_not_an_image_is_refused(
    chat: httpx.Client, content: bytes, status: int, says: str
) -> None:
    answer = chat.post("/v1/image", content=content)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_requests_from_another_site_or_host_name_are_refused(
    chat: httpx.Client, llama: StandIn
) -> None:
    assert ask(chat, question("Hello"), origin="https://evil.example").status_code == 403
    assert ask(chat, question("Hello"), host="evil.example").status_code == 403
    assert llama.asked == []


def test_with_a_token_requests_without_it_are_refused(llama: StandIn) -> None:
    with (
        behind(llama.app) as upstream,
        served(chat_app(upstream, ABOUT, squared, token="s3cret")) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):
        assert client.get("/").status_code == 200
        assert ask(client, question("Hello")).status_code == 401
        assert ask(client, question("Hello"), authorization="Bearer wrong").status_code == 401
        assert llama.asked == []
        assert ask(client, question("Hello"), authorization="Bearer s3cret").status_code == 200


def test_an_unreachable_model_gives_a_502() -> None:
    with (
        served(chat_app(NOWHERE, ABOUT, squared)) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):
        answer = ask(client, question("Hello"))
    assert answer.status_code == 502
    assert answer.json()["error"]["param"] == "model"
