"""Every hostile request gets a 4xx in OpenAI's format, and the next request is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_requests import Hostile, answered, exchanged, fault, hostile_requests
from llama_stand_in import StandIn, behind, served
from PIL import Image

from imp_data.mobile.chat.app import ModelInfo, chat_app

REQUESTS = list(hostile_requests())
# No reply may contain the paths of this code, of the model or of Python.
SECRETS = (str(Path(__file__).parents[2]), ".py", ".gguf", ".sock", "Traceback", "object at 0x")


def squared(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((14, 14))


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    about = ModelInfo("imp-tiny", 14, "square", "Apache-2.0", mixture="9418671a")
    with behind(StandIn().app) as upstream, served(chat_app(upstream, about, squared)) as base:
        yield base.removeprefix("http://")


def test_there_are_many_hostile_requests_with_unique_names() -> None:
    names = [request.name for request in REQUESTS]
    assert len(set(names)) == len(names) >= 300


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.name[:60])
def test_a_hostile_request_gets_a_4xx_and_the_next_request_is_served(
    host: str, request_: Hostile
) -> None:
    reply = exchanged(host, request_.raw(host))
    assert fault(reply, request_.status, SECRETS) is None
    assert answered(host) is None
