"""Images as base64 within the messages of a table or of JSON text, and images named by URL."""

import base64
import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from conftest import World, encoded, photo, record

from imp_data.records.tables.image_columns import is_base64_image
from imp_data.storage.embedded_names import EmbeddedCell, cell_name, parse_cell
from tests.records.test_record_files import (
    arrow,
    ledger,
    lines,
    parquet,
    samples,
    sha256,
    source,
    tar,
)

IMAGES = [encoded(photo(n)) for n in range(4)]


def text(data: bytes, uri: bool = False) -> str:
    return ("data:image/png;base64," if uri else "") + base64.b64encode(data).decode()


def part(data: bytes, uri: bool) -> dict[str, Any]:
    """Return a part as OpenAI writes it, or as TRL and Axolotl do, with the same fields."""
    found = {"type": "image_url", "text": None, "image": None, "image_url": None}
    if uri:
        return {**found, "image_url": {"url": text(data, uri=True)}}
    return {**found, "type": "image", "image": text(data)}


def asked(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "image": None, "image_url": None}


def messages(*shown: bytes) -> list[dict[str, Any]]:
    """Return messages with two images in each question; the second as a URI."""
    question = [part(shown[0], uri=False), asked("and"), part(shown[1], uri=True), asked("alike?")]
    answer = {"type": "text", "text": "Yes.", "image": None, "image_url": None}
    return [{"role": "user", "content": question}, {"role": "assistant", "content": [answer]}]


def rows() -> pa.Table:
    some = [messages(*IMAGES[:2]), messages(*IMAGES[2:]), messages(IMAGES[3], b"no image" * 9)]
    return pa.table({"id": [f"r{n}" for n in range(3)], "messages": some})


FILES = {
    "parquet": parquet(rows(), row_group_size=2),
    "arrow": arrow(rows()),
    "jsonl": lines(rows()),
}


@pytest.mark.parametrize("kind", FILES)
def test_images_within_messages_are_read_where_they_stand(kind: str, world: World) -> None:
    source(world, "hub", f"a.{kind}", FILES[kind], max_images=2)
    found = samples(world, hub=3)
    assert [row["upstream_id"] for row in found] == ["r0", "r1"]
    assert [row["image_sha256"] for row in found] == [
        [sha256(data) for data in some] for some in (IMAGES[:2], IMAGES[2:])
    ]
    assert found[1]["conversations"] == [
        {"from": "human", "value": "<image>\nand <image> alike?"},
        {"from": "gpt", "value": "Yes."},
    ]
    if kind != "jsonl":
        assert found[1]["images"] == [f"hub/a.{kind}/@messages/1/inner/{n}" for n in range(2)]
    [lost] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert (lost["upstream_id"], lost["reason"]) == ("r2", "image_undecodable")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl"])
def test_images_within_messages_that_are_json_text_are_read_too(kind: str, world: World) -> None:
    cells = [json.dumps(messages(*IMAGES[2 * n :][:2])) for n in range(2)]
    table = pa.table({"id": ["r0", "r1"], "messages": cells})
    content = {"parquet": parquet, "arrow": arrow, "jsonl": lines}[kind](table)
    source(world, "hub", f"a.{kind}", content, max_images=2)
    assert [row["image_sha256"] for row in samples(world, hub=2)] == [
        [sha256(data) for data in some] for some in (IMAGES[:2], IMAGES[2:])
    ]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_column_may_hold_lists_of_base64_and_a_first_cell_that_is_null(
    kind: str, world: World
) -> None:
    chat = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "These."}]
    shown = [None, [text(IMAGES[0]), text(IMAGES[1], uri=True)], [text(IMAGES[2])]]
    table = pa.table({"id": ["r0", "r1", "r2"], "messages": [chat] * 3, "images": shown})
    content = {"parquet": parquet, "arrow": arrow}[kind](table)
    source(world, "hub", f"a.{kind}", content, max_images=2)
    assert [row["image_sha256"] for row in samples(world, hub=3)] == [
        [sha256(data) for data in some] for some in ([], IMAGES[:2], IMAGES[2:3])
    ]


def test_the_json_of_a_webdataset_may_hold_images_too(world: World) -> None:
    members = {"r0.json": json.dumps({"messages": messages(*IMAGES[:2])}).encode()}
    members["r1.json"] = json.dumps({"messages": messages(IMAGES[2], b"no image" * 9)}).encode()
    members["r2.json"] = json.dumps(
        {"messages": messages(*IMAGES[:2]), "images": [text(IMAGES[3])]}
    ).encode()
    source(world, "web", "0.tar", tar({**members, "r2.png": IMAGES[3]}), max_images=3)
    [row] = samples(world, web=3)
    assert row["images"] == [f"web/0.tar/@/r0.json/inner/{n}" for n in range(2)]
    assert row["image_sha256"] == [sha256(data) for data in IMAGES[:2]]
    lost = {row["upstream_id"]: row["reason"] for row in ledger(world) if row["reason"]}
    assert lost == {"r1": "image_undecodable", "r2": "unread_field"}


def test_images_of_a_webdatasets_json_are_paths_where_it_has_no_members(world: World) -> None:
    chat = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "This."}]
    data = json.dumps({"messages": chat, "images": ["photos/0.png"]}).encode()
    world.images("photos", {"0.png": IMAGES[0]})
    source(world, "web", "0.tar", tar({"r0.json": data}), images=["photos"])
    [row] = samples(world, web=1)
    assert row["image"] == "photos/0.png"


def test_a_name_within_a_cell_is_no_name_of_a_list() -> None:
    name = cell_name("a/b", 17, 3, inner=True)
    assert name == "@a%2Fb/17/inner/3"
    assert parse_cell(name) == EmbeddedCell("a/b", 17, 3, inner=True)
    assert parse_cell("@a/17/3") == EmbeddedCell("a", 17, 3)
    assert [parse_cell(f"@a/17/{rest}") for rest in ("inner", "inner/x", "other/3")] == [None] * 3


def test_words_are_no_image() -> None:
    words = "Why do owls turn their heads so far? Because their eyes cannot move. " * 9
    assert not is_base64_image(words)
    assert not is_base64_image(words.replace(" ", "/").replace("?", "/").replace(".", "/"))
    assert is_base64_image(text(IMAGES[0]))


URL = "https://example.org/a//b/./owl.jpg?size=9&x=%20"


@pytest.mark.parametrize("stated", [{}, {"image_prefix": "photos/"}])
@pytest.mark.parametrize("layout", ["llava", "conversations"])
def test_an_image_named_by_url_has_a_reason_with_the_url_as_it_is(
    layout: str, stated: dict[str, str], world: World
) -> None:
    records = [record("r0", URL), record("r1", URL.replace("https", "HTTP")), record("r2")]
    world.source("web", records, layout=layout, **stated)
    assert [row["upstream_id"] for row in samples(world, web=3)] == ["r2"]
    lost = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert [(row["stage"], row["reason"]) for row in lost] == [("records", "image_is_url")] * 2
    assert orjson.loads(lost[0]["evidence"]) == {"image": URL}
    assert lost[0]["repairs"] == []


def test_one_url_among_several_images_is_named_by_its_position(world: World) -> None:
    shown = {**record("r0"), "images": ["a.jpg", URL]}
    shown["conversations"][0]["value"] = "<image> or <image>?"
    world.source("web", [shown, record("r1")], layout="conversations", max_images=2)
    samples(world, web=2)
    [lost] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert orjson.loads(lost["evidence"]) == {"image": URL, "position": 1}
