"""Near-duplicate images and conflicting answers are found in a built mixture."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import World, encoded, photo, run
from PIL import Image

from imp_data.errors import UserError
from imp_data.mixture.duplicates.analysis import find_duplicates


def sample(identity: str, image: str | None, *pairs: tuple[str, str]) -> dict[str, Any]:
    turns = [
        {"from": speaker, "value": text}
        for pair in pairs
        for speaker, text in zip(("human", "gpt"), pair, strict=True)
    ]
    return {"id": identity, **({"image": image} if image else {}), "conversations": turns}


QUESTION = "What colour is the door?"
COLOUR = f"<image>\n{QUESTION}"


@pytest.fixture
def built(world: World) -> World:
    """Two sources with the same images, one recompressed, one rotated, and conflicting answers."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photo(4).transpose(Image.Transpose.ROTATE_90)
    images = {f"{n}.png": encoded(photo(n)) for n in range(5)}
    images |= {"copy.png": images["0.png"], "soft.jpg": encoded(photo(1), "JPEG", quality=40)}
    images["turned.png"] = encoded(turned, exif=exif)
    world.images("photos", images, path="photos")
    first = [
        sample("red", "photos/0.png", (COLOUR, "Red."), ("Is it open?", "No")),
        sample("long", "photos/0.png", (COLOUR, "It seems to be of some green colour.")),
        sample("soft", "photos/1.png", (COLOUR, "Blue")),
        sample("two", "photos/2.png", ("How many?\n<image>", "two"), ("how many", "2")),
        sample("region", "photos/3.png", ("<image>\nWhere is it?", "[0.10, 0.20, 0.30, 0.40]")),
        sample("upright", "photos/4.png", (COLOUR, "White")),
        sample("chat", None, (QUESTION, "none"), (QUESTION, "all")),
    ]
    second = [
        sample("again", "photos/0.png", (COLOUR, "the red")),
        sample("green", "photos/copy.png", ("What colour is the door ?\n<image>", "green")),
        sample("open", "photos/copy.png", ("Is it open?\n<image>", "no.")),
        sample("softer", "photos/soft.jpg", (COLOUR, "Black")),
        sample("other", "photos/3.png", ("<image>\nWhere is it?", "[0.11, 0.20, 0.30, 0.40]")),
        sample("turned", "photos/turned.png", (COLOUR, "White")),
    ]
    world.source("first", first, images=["photos"])
    world.source("second", second, images=["photos"])
    run(world.build({"first": 9, "second": 9}))
    return world


def find(world: World, **options: Any) -> dict[str, Any]:
    files = [world.data.fingerprints("small", name) for name in ("first", "second")]
    return find_duplicates(world.data.mixture("small"), files, **options)


def test_an_image_of_two_sources_or_two_paths_is_counted(built: World) -> None:
    found = find(built)
    assert (found["samples"], found["images"]) == (13, 7)
    assert found["same_image"]["by_sources"] == [
        {"sources": ["first", "second"], "images": 2},
        {"sources": ["second", "second"], "images": 1},
    ]


def test_near_duplicate_images_form_clusters_counted_by_pair_of_sources(built: World) -> None:
    found = find(built, max_bits=6)["alike"]
    assert (found["clusters"], found["images"]) == (2, 4)
    assert found["by_sources"] == [{"sources": ["first", "second"], "clusters": 2}]
    assert {frozenset(some["images"]) for some in found["listed"]} == {
        frozenset({"photos/1.png", "photos/soft.jpg"}),
        frozenset({"photos/4.png", "photos/turned.png"}),
    }


def test_one_question_on_one_image_with_two_answers_is_a_conflict(built: World) -> None:
    found = find(built)["contradictions"]
    assert found["questions"] == 1
    (conflict,) = found["listed"]
    assert conflict["question"] == "what colour is the door"
    assert conflict["image"] in {"photos/0.png", "photos/copy.png"}
    assert {a: len(ids) for a, ids in conflict["answers"].items()} == {"green": 1, "red": 2}
    assert found["by_subsets"] == [
        {"subsets": ["first", "second"], "questions": 1},
        {"subsets": ["second", "second"], "questions": 1},
    ]


def test_long_answers_are_compared_only_without_a_limit_of_words(built: World) -> None:
    (conflict,) = find(built, max_answer_words=None)["contradictions"]["listed"]
    assert set(conflict["answers"]) == {"red", "green", "it seems to be of some green colour"}


def test_a_limit_on_the_listed_findings_changes_no_count(built: World) -> None:
    every, few = find(built, max_bits=6), find(built, max_bits=6, listed=1)
    assert len(few["alike"]["listed"]) == 1
    for kind in ("alike", "contradictions"):
        every[kind].pop("listed")
        few[kind].pop("listed")
    assert few == every


@pytest.mark.parametrize("rows_at_once", [1, 2, 5])
def test_groups_in_small_batches_give_the_same_report(
    rows_at_once: int, built: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = find(built, max_bits=6)
    assert whole["alike"]["clusters"] > 1 and whole["same_image"]["by_sources"]
    monkeypatch.setattr("imp_data.mixture.duplicates.analysis._ROWS_AT_ONCE", rows_at_once)
    assert find(built, max_bits=6) == whole


def test_the_same_mixture_gives_the_same_report(built: World) -> None:
    assert find(built) == find(built)


def test_without_fingerprints_bytes_and_answers_are_still_compared(built: World) -> None:
    found = find_duplicates(built.data.mixture("small"), [])
    assert found["same_image"] == find(built)["same_image"]
    assert found["contradictions"] == find(built)["contradictions"]
    assert (found["alike"]["clusters"], found["alike"]["listed"]) == (0, [])


def test_fingerprints_of_another_decoder_are_refused(built: World, tmp_path: Path) -> None:
    path = built.data.fingerprints("small", "first")
    table = pq.read_table(path).replace_schema_metadata({"decoder": "another"})
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(UserError):
        find_duplicates(built.data.mixture("small"), [tmp_path / "f.parquet"])


def test_a_mixture_of_text_alone_has_no_duplicates(world: World) -> None:
    world.source("chats", [sample(name, None, (QUESTION, name)) for name in ("yes", "no")])
    run(world.build({"chats": 2}))
    found = find_duplicates(
        world.data.mixture("small"), [world.data.fingerprints("small", "chats")]
    )
    assert (found["samples"], found["images"], found["contradictions"]["questions"]) == (2, 0, 0)


def test_flat_images_are_compared_by_their_bytes_alone(world: World) -> None:
    images = {f"{n}.png": encoded(Image.new("RGB", (60, 40), (n, n, n))) for n in (0, 128, 255)}
    world.images("photos", {**images, "copy.png": images["0.png"]}, path="photos")
    names = ["0.png", "128.png", "255.png", "copy.png"]
    rows = [sample(name, f"photos/{name}", (COLOUR, "Red")) for name in names]
    world.source("first", rows, images=["photos"])
    run(world.build({"first": 4}))
    files = [world.data.fingerprints("small", "first")]
    found = find_duplicates(world.data.mixture("small"), files, max_bits=4)
    assert (found["images"], found["alike"]["clusters"]) == (3, 0)
