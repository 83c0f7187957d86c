"""Near-duplicates within a source are dropped by the sampling order alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import World, built, encoded, photo, record, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.verify import verify
from imp_data.pipeline.checks import mixture_checks, screened_checks
from imp_data.screening import near_duplicates
from imp_data.screening.near_duplicates import HashedImages, NearDuplicate, NearDuplicateIndex
from imp_data.storage.digests import tree_digest

# Few different hashes, near each other, so that chains and repeats occur; few different bytes.
HASHES = st.sampled_from([0, 1, 3, 7, 15, 31, 63, 2**63, 2**64 - 1])
SHOWN = st.lists(st.tuples(HASHES, HASHES, st.booleans()), max_size=30)


def images(shown: list[tuple[int, int, bool]]) -> HashedImages:
    """Images numbered from 1; bytes are equal where both hashes and the flag are."""
    digests = [shown.index(one) for one in shown]
    hashes = np.array([each[:2] for each in shown], np.uint64).reshape(-1, 2)
    names = np.arange(1, len(shown) + 1, dtype=np.uint64)
    hashed = np.ones(len(shown), np.bool_)
    return HashedImages(names, np.array(digests, np.uint64), hashes, hashed)


def one_after_the_other(
    shown: list[tuple[int, int, bool]], max_bits: int
) -> dict[int, NearDuplicate]:
    """The rule by definition: each image against all that were kept before."""
    kept: list[int] = []
    found: dict[int, NearDuplicate] = {}
    for row, one in enumerate(shown):
        near = [
            (other, min((a ^ b).bit_count() for a in one[:2] for b in shown[other][:2]))
            for other in kept
        ]
        alike = [(other, bits) for other, bits in near if bits <= max_bits]
        if not alike:
            kept.append(row)
        elif shown[alike[0][0]] != one:
            found[row] = NearDuplicate(alike[0][0] + 1, alike[0][1])
    return found


@given(SHOWN, st.integers(0, 6), st.integers(1, 8), st.integers(1, 8))
def test_each_image_is_compared_with_those_kept_before_in_chunks_of_any_size(
    shown: list[tuple[int, int, bool]], max_bits: int, at_once: int, step: int
) -> None:
    twins, found = NearDuplicateIndex(max_bits), dict[int, NearDuplicate]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_CHUNK_IMAGES", at_once)
        for begin in range(0, len(shown), step):
            some = twins.refuse(images(shown).take(slice(begin, begin + step)))
            found.update((begin + row, twin) for row, twin in some.items())
    assert found == one_after_the_other(shown, max_bits)


def test_a_hundred_thousand_equal_hashes_take_little_time() -> None:
    count = 100_000
    names = np.arange(1, count + 1, dtype=np.uint64)
    hashes = np.full((count, 2), 7, np.uint64)
    found = NearDuplicateIndex(4).refuse(
        HashedImages(names, names, hashes, np.ones(count, np.bool_))
    )
    assert len(found) == count - 1
    assert set(found.values()) == {NearDuplicate(1, 0)}


def saved_again(seed: int, quality: int) -> bytes:
    return encoded(photo(seed), "JPEG", quality=quality)


@pytest.fixture
def doubled(world: World) -> World:
    """Ten images in three forms: original, saved again, and a byte-for-byte copy."""
    shown = {f"{n}.png": encoded(photo(n)) for n in range(10)}
    shown |= {f"{n}.jpg": saved_again(n, 60) for n in range(10)}
    shown |= {f"copy{n}.png": shown[f"{n}.png"] for n in range(10)}
    world.images("photos", shown, path="photos")
    records = [record(name, f"photos/{name}", f"Of {name}.") for name in sorted(shown)]
    records += [record(f"{n} again", f"photos/{n}.png", "Something else.") for n in range(10)]
    world.source("photos", records, images=["photos"])
    world.source("others", [record(n, f"photos/{n}.jpg") for n in range(10)], images=["photos"])
    return world


DROP: dict[str, Any] = {"near_duplicates": {"policy": "drop", "max_distance_bits": 6}}


def ledger(world: World, source: str = "photos") -> list[dict[str, Any]]:
    rows = pl.read_parquet(world.data.mixture("small") / "ledger.parquet")
    return rows.filter(source=source).to_dicts()


def test_the_first_sampled_of_two_near_duplicates_stays_with_all_its_conversations(
    doubled: World,
) -> None:
    build = doubled.build({"photos": 40, "others": 10}, **DROP)
    run(build)
    kept = {r["upstream_id"] for r in ledger(doubled) if r["outcome"] == "kept"}
    gone = {r["upstream_id"]: r for r in ledger(doubled) if r["outcome"] == "dropped"}
    drawn, saved = 0, 0
    for n in range(10):
        as_drawn, again = {f"{n}.png", f"copy{n}.png", f"{n} again"}, {f"{n}.jpg"}
        assert (as_drawn <= kept and again <= gone.keys()) or (
            again <= kept and as_drawn <= gone.keys()
        )
        drawn, saved = drawn + (as_drawn <= kept), saved + (again <= kept)
    assert drawn and saved, "either may be drawn first"
    for row in gone.values():
        assert (row["stage"], row["reason"]) == ("screened", "near_duplicate")
        seen = orjson.loads(row["evidence"])
        files = [Path(seen[name]).stem.removeprefix("copy") for name in ("image", "of")]
        assert files[0] == files[1] and seen["distance_bits"] <= 6
        twin = seen["of"].removeprefix("photos/")
        assert twin in kept or f"{twin[0]} again" in kept
    assert {r["outcome"] for r in ledger(doubled, "others")} == {"kept"}, "its own source alone"


def test_a_dropped_near_duplicate_gives_its_place_to_the_next_and_every_record_has_an_outcome(
    doubled: World,
) -> None:
    build = doubled.build({"photos": 12, "others": 10}, **DROP)
    run(build)
    assert build.figures("mixture")["parts"][0]["samples"] == 12
    assert build.figures("screened/photos")["dropped"]["near_duplicate"] > 0
    assert build.figures("screened/photos")["held"] > 0
    checks = [*screened_checks(build, "photos"), *mixture_checks(build)]
    assert [check.find().problems for check in checks] == [[]] * 3
    assert verify(build.data.mixture("small")) == []
    assert built(run(build)) == set()


def test_a_smaller_quota_keeps_the_first_of_what_a_larger_one_keeps(doubled: World) -> None:
    run(doubled.build({"photos": 40}, **DROP))
    every = {r["ordinal"]: r["outcome"] for r in ledger(doubled)}
    for quota in (1, 5, 12):
        run(doubled.build({"photos": quota}, **DROP))
        few = {r["ordinal"]: r["outcome"] for r in ledger(doubled)}
        assert sum(fate == "kept" for fate in few.values()) == quota
        assert {n for n, fate in few.items() if fate == "kept"} <= {
            n for n, fate in every.items() if fate == "kept"
        }
        assert {n for n, fate in few.items() if fate == "dropped"} <= {
            n for n, fate in every.items() if fate == "dropped"
        }


def test_sampling_rounds_and_workers_change_no_byte(
    doubled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = {"photos": 14, "others": 10}
    run(doubled.build(quotas, **DROP))
    folder = doubled.data.mixture("small")
    before = tree_digest(folder)
    for at_once, workers in ((1, "1"), (3, "1"), (1 << 15, "2")):
        monkeypatch.setattr("imp_data.screening.quota_sampling._MOST_AT_ONCE", at_once)
        monkeypatch.setenv("IMP_WORKERS", workers)
        for stamp in (doubled.data.root / ".stamps" / "mixtures").rglob("*.json"):
            stamp.unlink()
        assert "mixture" in built(run(doubled.build(quotas, **DROP)))
        assert tree_digest(folder) == before


def test_policy_and_distance_rebuild_what_depends_on_them(doubled: World) -> None:
    quotas = {"photos": 14}
    run(doubled.build(quotas))
    own = {"images/photos", "screened/photos", "mixture", "duplicates", "card"}
    assert built(run(doubled.build(quotas, **DROP))) == own
    ignore = {"near_duplicates": {"policy": "ignore"}}
    assert built(run(doubled.build(quotas, **ignore))) == own - {"duplicates"}
    wider = {"near_duplicates": {"policy": "report", "max_distance_bits": 8}}
    assert built(run(doubled.build(quotas, **wider))) == {"duplicates", "card"}


def test_the_card_and_the_record_s_history_report_a_near_duplicate(doubled: World) -> None:
    build = doubled.build({"photos": 40}, **DROP)
    run(build)
    folder = build.data.mixture("small")
    card = " ".join((folder / "README.md").read_text().split())
    dropped = "within each source, samples whose image is a near-duplicate of one kept"
    assert f"* **near-duplicates**: {dropped}" in card
    assert "within 6 of 64 bits of perceptual hash" in card
    assert "Near-duplicates within one source were dropped when the mixture was built." in card
    gone = next(r for r in ledger(doubled) if r["outcome"] == "dropped")
    (life,) = explain(folder, gone["id"])
    told = "\n".join(life.lines())
    assert "near_duplicate. The image looks like one its source has kept before." in told
    assert f"of: {orjson.loads(gone['evidence'])['of']}" in told


def test_near_duplicates_stay_by_default(doubled: World, tmp_path: Path) -> None:
    run(doubled.build({"photos": 40, "others": 10}))
    assert {r["outcome"] for r in ledger(doubled)} == {"kept"}
    manifest = orjson.loads((doubled.data.mixture("small") / "mixture.json").read_bytes())
    assert manifest["near_duplicates"] is None
    assert (
        "is a near-duplicate of one kept before"
        not in (doubled.data.mixture("small") / "README.md").read_text()
    )


def cut_out(seed: int) -> bytes:
    """Black strokes on transparent ground: all colours are black, but on white they differ."""
    strokes = photo(seed).convert("L").point(lambda level: 255 if level > 140 else 0)
    image = Image.new("RGBA", strokes.size)
    image.putalpha(strokes)
    return encoded(image)


def nearly_empty(seed: int) -> bytes:
    """A white page with one word on it, always at the same place."""
    page = Image.new("RGB", (620, 877), "white")
    ImageDraw.Draw(page).text((60, 75), f"Chapter {seed}", "black", ImageFont.load_default(14))
    return encoded(page)


@pytest.mark.parametrize("draw", [cut_out, nearly_empty])
def test_cut_outs_and_nearly_empty_pages_all_stay(
    draw: Callable[[int], bytes], world: World
) -> None:
    shown = {f"{n}.png": draw(n) for n in range(8)}
    world.images("photos", shown, path="photos")
    records = [record(name, f"photos/{name}", f"Of {name}.") for name in shown]
    world.source("photos", records, images=["photos"])
    run(world.build({"photos": 8}, **DROP))
    assert [row["outcome"] for row in ledger(world)] == ["kept"] * 8


def test_an_image_without_a_hash_is_never_refused_and_refuses_no_other() -> None:
    names = np.arange(1, 5, dtype=np.uint64)
    hashes = np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.uint64)
    hashed = np.array([False, True, False, True])
    assert NearDuplicateIndex(4).refuse(HashedImages(names, names, hashes, hashed)) == {
        3: NearDuplicate(2, 1)
    }
