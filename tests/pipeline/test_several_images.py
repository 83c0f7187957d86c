"""A source with several images a record, through all stages beside sources of one image."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datasets import load_from_disk

from imp_data.mixture.duplicates.analysis import find_duplicates
from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.verify import verify
from tests.conftest import TWIN, World, encoded, photo, record, run


def on(identity: str, *images: str, question: str | None = None) -> dict[str, Any]:
    """Return a record on these images."""
    asked = question or "<image>" * len(images) + " What differs?"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"Number {identity}."}]
    return {"id": identity, "images": list(images), "conversations": turns}


RECORDS = [
    on("pair", "0.png", "1.png"),
    on("text"),
    on("alone", "2.png"),
    on("triple", "3.png", "0.png", "3.png"),
    on("contaminated", "1.png", "again.jpg"),
    on("broken", "0.png", "missing.png", "again.jpg"),
    on("few tokens", "0.png", "1.png", question="<image> What differs?"),
    on("too many", "0.png", "1.png", "2.png", "3.png"),
    on("respelled", "0.png", "4.jpeg"),
]


@pytest.fixture
def pairs(world: World) -> World:
    """Return a world with a source of several images, and one with a single image and text."""
    files = {f"{n}.png": encoded(photo(n, (96 + n, 72))) for n in range(4)}
    files["4.jpg"] = encoded(photo(4), "JPEG")
    world.images("pairs", {**files, "again.jpg": encoded(photo(900), "JPEG")}, path="pairs")
    world.source("pairs", RECORDS, images=["pairs"], image_prefix="pairs/", max_images=3)
    world.source("single", [record("one", "pairs/0.png"), record("chat")], images=["pairs"])
    world.benchmark("quiz", [TWIN])
    world.images("quiz", {f"{TWIN}.png": encoded(photo(900))})
    return world


RULES: dict[str, Any] = {"decontaminate": [{"benchmark": "quiz", "max_distance_bits": 10}]}


def build(world: World, **fields: Any) -> Path:
    run(world.build({"pairs": 9, "single": 9}, **{**RULES, **fields}))
    return world.data.mixture("small")


def outcomes(folder: Path) -> dict[str, tuple[str | None, Any]]:
    rows = pl.read_parquet(folder / "ledger.parquet").filter(pl.col("reason").is_not_null())
    return {
        name: (reason, json.loads(evidence or "null"))
        for name, reason, evidence in rows.select("upstream_id", "reason", "evidence").iter_rows()
    }


def test_a_mixture_with_several_images_has_lists_of_them(pairs: World) -> None:
    folder = build(pairs)
    assert verify(folder) == []
    rows = {row["upstream_id"]: row for row in load_from_disk(folder).to_list()}
    assert {name: row["images"] for name, row in rows.items()} == {
        "pair": ["pairs/0.png", "pairs/1.png"],
        "text": [],
        "alone": ["pairs/2.png"],
        "triple": ["pairs/3.png", "pairs/0.png", "pairs/3.png"],
        "respelled": ["pairs/0.png", "pairs/4.jpeg"],
        "one": ["pairs/0.png"],
        "chat": [],
    }
    assert {name: row["image_width"] for name, row in rows.items()} == {
        "pair": [96, 97],
        "text": [],
        "alone": [98],
        "triple": [99, 96, 99],
        "respelled": [96, 96],
        "one": [96],
        "chat": [],
    }
    assert rows["one"]["image_sha256"] == rows["pair"]["image_sha256"][:1]
    assert rows["one"]["image_height"] == [72]
    found = find_duplicates(folder, [])
    assert (found["samples"], found["images"], found["same_image"]["shared"]) == (7, 5, 1)


def test_the_ledger_names_the_first_image_that_fails_and_its_position(pairs: World) -> None:
    found = outcomes(build(pairs))
    assert found["too many"] == ("too_many_images", {"images": 4, "most": 3})
    assert found["few tokens"] == ("token_count", {"tokens": 1, "images": 2})
    assert found["broken"] == ("image_missing", {"image": "pairs/missing.png", "position": 1})
    reason, evidence = found["contaminated"]
    assert (reason, evidence["benchmark"]) == ("benchmark_hash", "quiz")
    assert (evidence["image"], evidence["position"]) == ("pairs/again.jpg", 1)
    assert len(found) == 4


def test_a_benchmark_image_is_found_by_its_id_at_any_position(pairs: World) -> None:
    records = [on("named", "0.png", f"{TWIN}.png"), on("only", f"{TWIN}.png")]
    pairs.source("pairs", records, images=["pairs"], image_prefix="pairs/", max_images=3)
    found = outcomes(build(pairs))
    assert found["named"] == (
        "benchmark_id",
        {"benchmark": "quiz", "id": TWIN, "image": f"pairs/{TWIN}.png", "position": 1},
    )
    assert found["only"] == ("benchmark_id", {"benchmark": "quiz", "id": TWIN})


def test_the_history_of_a_record_names_all_its_images(pairs: World) -> None:
    [history] = explain(build(pairs), "respelled")
    assert history.lines()[1].endswith("Before: 'pairs/4.jpeg'")
    assert history.lines()[3].endswith("pairs/0.png, pairs/4.jpeg, found as pairs/4.jpg")


def test_the_card_counts_images_and_samples_with_several(pairs: World) -> None:
    card = (build(pairs) / "README.md").read_text(encoding="utf-8")
    assert "`pairs` 8 images in 5 samples, 3 of them with several." in " ".join(card.split())
    assert "| `images` | paths of the images" in card


def test_deferred_images_have_no_digests_and_sizes(pairs: World) -> None:
    folder = build(pairs, images="deferred")
    assert verify(folder) == []
    rows = {row["upstream_id"]: row for row in load_from_disk(folder).to_list()}
    assert rows["pair"]["image_width"] is rows["one"]["image_width"] is None
    assert rows["text"]["image_width"] == rows["chat"]["image_width"] == []


def test_frames_of_one_sample_are_not_near_duplicates_of_each_other(pairs: World) -> None:
    frame = photo(0).crop((1, 1, 95, 71)).resize((96, 72))
    pairs.file("pairs", "loose/frame.png", encoded(frame))
    records = [on("film", "0.png", "frame.png")]
    pairs.source("pairs", records, images=["pairs"], image_prefix="pairs/", max_images=3)
    near = {"near_duplicates": {"policy": "drop", "max_distance_bits": 15}}
    assert outcomes(build(pairs, **near)) == {}


def test_a_sample_without_an_image_of_another_is_dropped_as_its_near_duplicate(
    pairs: World,
) -> None:
    frame = photo(0).crop((1, 1, 95, 71)).resize((96, 72))
    pairs.file("pairs", "loose/frame.png", encoded(frame))
    records = [on("first", "0.png", "1.png"), on("second", "2.png", "frame.png")]
    pairs.source("pairs", records, images=["pairs"], image_prefix="pairs/", max_images=3)
    near = {"near_duplicates": {"policy": "drop", "max_distance_bits": 15}}
    [(name, (reason, evidence))] = outcomes(build(pairs, **near)).items()
    position = {"first": 0, "second": 1}[name]
    assert (reason, evidence["position"]) == ("near_duplicate", position)


def test_a_mixture_keeps_system_and_tool_turns_if_it_says_so(world: World) -> None:
    turns = record("x")["conversations"]
    system = {"from": "system", "value": "Be brief."}
    tool = [{"from": "tool", "value": "It is sunny."}, {"from": "gpt", "value": "Sunny."}]
    chats = [record("plain"), {"id": "system", "conversations": [system, *turns]}]
    chats.append({"id": "tool", "conversations": [*turns, *tool]})
    world.source("chats", chats)
    run(world.build({"chats": 3}))
    assert outcomes(world.data.mixture("small")) == {
        "system": ("system_turn", {"turn": 0}),
        "tool": ("tool_turn", {"turn": 2}),
    }
    results = run(world.build({"chats": 3}, name="kept", keep_turns=["system", "tool"]))
    assert results["records/chats"].built  # other turns, other records
    folder = world.data.mixture("kept")
    assert (outcomes(folder), verify(folder)) == ({}, [])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "turns `{from: human, gpt or system or tool, value}`" in card
