"""What a mixture says twice: images that look alike, and questions answered in two ways."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import World, encoded, photo, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imp_data.errors import UserError
from imp_data.images import clusters as clusters_module
from imp_data.images.clusters import clusters, pairs, united
from imp_data.images.fingerprint_cache import hash_image_paths
from imp_data.mixture.duplicates.analysis import report
from imp_data.mixture.duplicates.conflicting_answers import contradictions
from imp_data.mixture.duplicates.image_clusters import alike_images, hashes_of, same_images
from imp_data.mixture.duplicates.qa_pairs import (
    Exchanges,
    Rows,
    normalised_answer,
    normalised_question,
)
from imp_data.parallel import map_ordered

HASHES = st.lists(st.integers(0, 31) | st.integers(0, 2**64 - 1), max_size=24)


def connected(values: list[int], max_bits: int) -> list[int]:
    """The place of the first hash that each is connected to, by steps along all pairs."""
    first = list(range(len(values)))
    for _ in values:
        for i, one in enumerate(values):
            for j, other in enumerate(values):
                if (one ^ other).bit_count() <= max_bits:
                    first[i] = first[j] = min(first[i], first[j])
    return first


@given(HASHES, st.integers(0, 15), st.integers(1, 500))
def test_pairs_are_all_within_the_distance_each_once(
    values: list[int], max_bits: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imp_data.images.hamming._BLOCK_PAIRS", at_once)
        patch.setattr(clusters_module, "_MOST_AT_ONCE", at_once)
        found = list(pairs(np.array(values, np.uint64), max_bits))
    told = [row for some in found for row in zip(*(c.tolist() for c in some), strict=True)]
    expected = [
        (i, j, (one ^ other).bit_count())
        for i, one in enumerate(values)
        for j, other in enumerate(values)
        if i < j and (one ^ other).bit_count() <= max_bits
    ]
    assert sorted(told) == expected


@given(HASHES, st.integers(0, 6))
def test_a_cluster_is_what_a_chain_of_near_pairs_connects(values: list[int], max_bits: int) -> None:
    found = clusters(np.array(values, np.uint64), max_bits)
    assert found.tolist() == connected(values, max_bits)


def test_the_engine_s_workers_find_the_same_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    hashes = generator.integers(0, 2**64, 2000, dtype=np.uint64)
    hashes[::3] ^= np.uint64(1) << generator.integers(0, 64, len(hashes[::3]), dtype=np.uint64)
    hashes[1::2] = hashes[::2] ^ np.uint64(6)
    alone = clusters(hashes, 10)
    assert len(np.unique(alone)) < len(hashes)
    monkeypatch.setattr(clusters_module, "_FEW_COMPARISONS", 0)
    monkeypatch.setenv("IMP_WORKERS", "2")
    asked: list[str] = []

    def mapped(function: Any, pieces: Any) -> Any:
        asked.extend(pieces)
        return map_ordered(function, pieces)

    monkeypatch.setattr(clusters_module, "map_ordered", mapped)
    assert clusters(hashes, 10).tolist() == alone.tolist()
    assert len(asked) == 2 + 9 + 9 + 9


def test_a_hundred_thousand_equal_hashes_are_one_cluster_at_no_cost() -> None:
    assert not clusters(np.full(100_000, 7, np.uint64), 10).any()


def test_a_distance_at_which_everything_is_alike_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 15 bits, not 16"):
        list(pairs(np.zeros(2, np.uint64), 16))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_joining_piece_by_piece_and_at_once_gives_the_same_sets(
    edges: list[tuple[int, int]],
) -> None:
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    at_once = united(np.arange(20), left, right)
    piecewise = np.arange(20)
    for n in range(len(edges)):
        piecewise = united(piecewise, left[n : n + 1], right[n : n + 1])
    assert at_once.tolist() == piecewise.tolist()
    assert (at_once[left] == at_once[right]).all()
    assert (at_once <= np.arange(20)).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<image>\nWhat colour is it?", "what  COLOUR is it"),
        (
            "What colour is it?\nAnswer the question using a single word or phrase.",
            "What colour is it?\n<image>",
        ),
        ("Is the sign ﬁxed ?", "is the sign fixed"),
        ("Où est-il ?", "OÙ EST-IL\u00a0?"),
    ],
)
def test_questions_that_ask_the_same_are_equal(one: str, other: str) -> None:
    assert len(set(texts(normalised_question, one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Yes.", "yes"), ("The dog", "a dog"), ("Two", "2"), ("10", "ten"), ("No !", "no")],
)
def test_answers_that_say_the_same_are_equal(one: str, other: str) -> None:
    assert len(set(texts(normalised_answer, one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("yes", "no"), ("3", "-3"), ("1.5", "15"), ("theatre", "atre"), ("a", "b")]
)
def test_answers_that_differ_stay_different(one: str, other: str) -> None:
    assert len(set(texts(normalised_answer, one, other))) == 2


def texts(normalised: Any, *values: str) -> list[str]:
    return pl.DataFrame({"text": values}).select(normalised(pl.col("text"))).to_series().to_list()


def test_a_image_is_the_same_by_path_or_by_bytes_whichever_is_known() -> None:
    image = np.array([5, 5, 6, 7, 0, 8], np.uint64)
    sha256 = np.array([1, 0, 1, 2, 0, 0], np.uint64)
    found = same_images(Rows(image, sha256, np.zeros(6, np.int32), (("s", ""),)))
    assert found[0] == found[1] == found[2]
    assert len({found[0], found[3], found[5]}) == 3
    assert found[4] == -1


def asked(identity: str, image: str | None, *exchanges: tuple[str, str]) -> dict[str, Any]:
    turns = [
        {"from": speaker, "value": text}
        for exchange in exchanges
        for speaker, text in zip(("human", "gpt"), exchange, strict=True)
    ]
    return {"id": identity, **({"image": image} if image else {}), "conversations": turns}


SPOKEN = "What colour is the door?"
COLOUR = f"<image>\n{SPOKEN}"


@pytest.fixture
def built(world: World) -> World:
    """Two sources: the same images again, one saved anew, one turned, and some disagreement."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photo(4).transpose(Image.Transpose.ROTATE_90)
    shown = {f"{n}.png": encoded(photo(n)) for n in range(5)}
    shown |= {"copy.png": shown["0.png"], "soft.jpg": encoded(photo(1), "JPEG", quality=40)}
    shown["turned.png"] = encoded(turned, exif=exif)
    world.images("photos", shown, path="photos")
    first = [
        asked("red", "photos/0.png", (COLOUR, "Red."), ("Is it open?", "No")),
        asked("long", "photos/0.png", (COLOUR, "It seems to be of some green colour.")),
        asked("soft", "photos/1.png", (COLOUR, "Blue")),
        asked("two", "photos/2.png", ("How many?\n<image>", "two"), ("how many", "2")),
        asked("region", "photos/3.png", ("<image>\nWhere is it?", "[0.10, 0.20, 0.30, 0.40]")),
        asked("upright", "photos/4.png", (COLOUR, "White")),
        asked("chat", None, (SPOKEN, "none"), (SPOKEN, "all")),
    ]
    second = [
        asked("again", "photos/0.png", (COLOUR, "the red")),
        asked("green", "photos/copy.png", ("What colour is the door ?\n<image>", "green")),
        asked("open", "photos/copy.png", ("Is it open?\n<image>", "no.")),
        asked("softer", "photos/soft.jpg", (COLOUR, "Black")),
        asked("other", "photos/3.png", ("<image>\nWhere is it?", "[0.11, 0.20, 0.30, 0.40]")),
        asked("turned", "photos/turned.png", (COLOUR, "White")),
    ]
    world.source("first", first, images=["photos"])
    world.source("second", second, images=["photos"])
    run(world.build({"first": 9, "second": 9}))
    return world


def told(world: World, **options: Any) -> dict[str, Any]:
    files = [world.data.fingerprints("small", name) for name in ("first", "second")]
    return report(world.data.mixture("small"), files, **options)


def test_the_same_image_under_two_sources_or_paths_is_counted(built: World) -> None:
    found = told(built)
    assert (found["samples"], found["images"]) == (13, 7)
    assert found["same_image"]["by_sources"] == [
        {"sources": ["first", "second"], "images": 2},
        {"sources": ["second", "second"], "images": 1},
    ]


def test_images_that_look_alike_form_clusters_counted_by_pair_of_sources(built: World) -> None:
    found = told(built, max_bits=6)["alike"]
    assert (found["clusters"], found["images"]) == (2, 4)
    assert found["by_sources"] == [{"sources": ["first", "second"], "clusters": 2}]
    assert {frozenset(some["images"]) for some in found["listed"]} == {
        frozenset({"photos/1.png", "photos/soft.jpg"}),
        frozenset({"photos/4.png", "photos/turned.png"}),
    }


def test_one_question_on_one_image_with_two_answers_is_a_contradiction(built: World) -> None:
    found = told(built)["contradictions"]
    assert found["questions"] == 1
    (conflict,) = found["listed"]
    assert conflict["question"] == "what colour is the door"
    assert conflict["image"] in {"photos/0.png", "photos/copy.png"}
    assert {a: len(ids) for a, ids in conflict["answers"].items()} == {"green": 1, "red": 2}
    assert found["by_subsets"] == [
        {"subsets": ["first", "second"], "questions": 1},
        {"subsets": ["second", "second"], "questions": 1},
    ]


SAID = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=30)


@given(SAID, st.integers(1, 30))
def test_every_exchange_that_another_contradicts_is_found_and_no_other(
    said: list[tuple[int, int, int]], at_once: int
) -> None:
    image, question, answer = np.array(said, np.int64).reshape(-1, 3).T
    exchanges = Exchanges(
        np.arange(len(said), dtype=np.int32), question.astype(np.uint64), answer.astype(np.uint64)
    )
    names = np.zeros(len(said), np.uint64)
    rows = Rows(names, names, np.zeros(len(said), np.int32), (("s", ""),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imp_data.mixture.duplicates.conflicting_answers._AT_ONCE", at_once)
        found = contradictions(exchanges, rows, image)
    expected = [
        n
        for n, (p, q, a) in enumerate(said)
        if any((p, q) == (p2, q2) and a != a2 for p2, q2, a2 in said)
    ]
    assert sorted(found["row"].to_list()) == expected
    groups = {(image[row], question[row]) for row in expected}
    assert found["group"].n_unique() == len(groups)


def test_long_answers_are_compared_only_when_asked_for(built: World) -> None:
    (conflict,) = told(built, max_answer_words=None)["contradictions"]["listed"]
    assert set(conflict["answers"]) == {"red", "green", "it seems to be of some green colour"}


def test_a_limit_on_what_is_listed_changes_no_count(built: World) -> None:
    every, few = told(built, max_bits=6), told(built, max_bits=6, listed=1)
    assert len(few["alike"]["listed"]) == 1
    for kind in ("alike", "contradictions"):
        every[kind].pop("listed")
        few[kind].pop("listed")
    assert few == every


@pytest.mark.parametrize("rows_at_once", [1, 2, 5])
def test_groups_looked_at_some_at_a_time_give_the_same_report(
    rows_at_once: int, built: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told(built, max_bits=6)
    assert whole["alike"]["clusters"] > 1 and whole["same_image"]["by_sources"]
    monkeypatch.setattr("imp_data.mixture.duplicates.analysis._ROWS_AT_ONCE", rows_at_once)
    assert told(built, max_bits=6) == whole


def test_the_same_mixture_gives_the_same_report(built: World) -> None:
    assert told(built) == told(built)


def test_without_fingerprints_bytes_and_questions_are_compared_all_the_same(built: World) -> None:
    found = report(built.data.mixture("small"), [])
    assert found["same_image"] == told(built)["same_image"]
    assert found["contradictions"] == told(built)["contradictions"]
    assert (found["alike"]["clusters"], found["alike"]["listed"]) == (0, [])


def test_hashes_of_another_decoder_are_refused(built: World, tmp_path: Path) -> None:
    path = built.data.fingerprints("small", "first")
    table = pq.read_table(path).replace_schema_metadata({"decoder": "another"})
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(UserError):
        report(built.data.mixture("small"), [tmp_path / "f.parquet"])


def test_a_mixture_of_text_alone_has_no_neighbours(world: World) -> None:
    world.source("chats", [asked(name, None, (SPOKEN, name)) for name in ("yes", "no")])
    run(world.build({"chats": 2}))
    found = report(world.data.mixture("small"), [world.data.fingerprints("small", "chats")])
    assert (found["samples"], found["images"], found["contradictions"]["questions"]) == (2, 0, 0)


def test_images_no_file_knows_belong_to_no_cluster() -> None:
    names = hash_image_paths(["a", None])
    rows = Rows(names, np.zeros(2, np.uint64), np.zeros(2, np.int32), (("s", ""),))
    image = same_images(rows)
    assert alike_images(image, hashes_of(rows, image, []), 4).tolist() == [-1, -1]


def test_flat_images_are_alike_by_their_bytes_alone(world: World) -> None:
    shown = {f"{n}.png": encoded(Image.new("RGB", (60, 40), (n, n, n))) for n in (0, 128, 255)}
    world.images("photos", {**shown, "copy.png": shown["0.png"]}, path="photos")
    names = ["0.png", "128.png", "255.png", "copy.png"]
    rows = [asked(name, f"photos/{name}", (COLOUR, "Red")) for name in names]
    world.source("first", rows, images=["photos"])
    run(world.build({"first": 4}))
    files = [world.data.fingerprints("small", "first")]
    found = report(world.data.mixture("small"), files, max_bits=4)
    assert (found["images"], found["alike"]["clusters"]) == (3, 0)
