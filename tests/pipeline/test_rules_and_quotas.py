"""Whole builds with exclusion rules and quotas: outcomes, copies, checks, and what is reopened."""

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest
from conftest import World, built, encoded, photo, record, run
from datasets import load_from_disk

from imp_data.manifests import Exclusion, ExclusionRule
from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.reconciliation import reconciliation_problems
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks, screened_checks
from imp_data.sample import original_id

BECAUSE = "It is not wanted."
WIDE = {"name": "wide", "because": BECAUSE, "image_size": {"max_aspect": 2}}
BRIEF = {"name": "brief", "because": BECAUSE, "answer_length": {"min_words": 2}}


def lay_photos(world: World) -> None:
    """Write a source of eight records: one image is wide and one small, one answer is a word."""
    sizes = {0: (96, 30), 1: (24, 20)}
    files = {f"{n}.png": encoded(photo(n, sizes.get(n, (96, 72)))) for n in range(8)}
    world.images("photos", files, path="photos")
    answers = {2: "No."}
    records = [record(n, f"photos/{n}.png", answers.get(n, f"A photo, {n}.")) for n in range(8)]
    world.source("photos", records, images=["photos"])


@pytest.fixture
def photos(world: World) -> World:
    lay_photos(world)
    return world


def ledger(build: Build) -> pl.DataFrame:
    return pl.read_parquet(build.data.mixture(build.name) / "ledger.parquet")


def outcomes(build: Build) -> dict[str, str]:
    rows = ledger(build).iter_rows(named=True)
    return {row["upstream_id"]: row["reason"] or row["outcome"] for row in rows}


def findings(build: Build) -> dict[str, list[str]]:
    checks = [*screened_checks(build, "photos"), *mixture_checks(build)]
    return {check.name: check.find().problems for check in checks}


def test_each_rule_has_its_reason_and_evidence_in_the_ledger(photos: World) -> None:
    small = {"name": "small", "because": BECAUSE, "image_size": {"min_side": 24}}
    build = photos.build({"photos": 9}, exclusions=[WIDE, BRIEF, small])
    run(build)
    assert {n: why for n, why in outcomes(build).items() if why != "kept"} == {
        "0": "excluded_by_image",
        "1": "excluded_by_image",
        "2": "excluded_by_length",
    }
    evidence = dict(ledger(build).drop_nulls("evidence").select("upstream_id", "evidence").rows())
    assert {n: json.loads(text) for n, text in evidence.items()} == {
        "0": {"exclusion": "wide", "image": "photos/0.png", "size": [96, 30], "max_aspect": 2.0},
        "1": {"exclusion": "small", "image": "photos/1.png", "size": [24, 20], "min_side": 24},
        "2": {"exclusion": "brief", "unit": "words", "found": 1, "min": 2},
    }
    stated = json.loads((build.data.mixture("small") / "mixture.json").read_text())["exclusions"]
    assert [(one["name"], one["records"]) for one in stated] == [
        ("wide", 1),
        ("brief", 1),
        ("small", 1),
    ]
    assert verify(build.data.mixture("small")) == []
    (history,) = explain(build.data.mixture("small"), "2")
    assert "dropped in stage screened: excluded_by_length. The longest answer" in history.lines()[2]


def test_a_changed_rule_opens_no_image(photos: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(photos.build({"photos": 9}))

    def refuse(*_: Any) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr("imp_data.images.fingerprint_cache._fingerprints", refuse)
    changed = photos.build({"photos": 9}, exclusions=[WIDE])
    assert "images/photos" in built(run(changed))
    assert outcomes(changed)["0"] == "excluded_by_image"


def test_a_score_may_join_by_the_sha256_of_images(photos: World) -> None:
    first = photos.build({"photos": 9})
    run(first)
    rows = load_from_disk(str(first.data.mixture("small")))
    known = {row["upstream_id"]: row["image_sha256"] for row in rows}
    file = photos.manifests / "mixtures" / "scores.parquet"
    frame = pl.DataFrame({"image_sha256": [known["3"], known["4"]], "aesthetic": [2.5, 6.0]})
    frame.write_parquet(file)
    score = {"file": "scores.parquet", "column": "aesthetic", "by": "image_sha256", "min": 5}
    rule = {"name": "ugly", "because": BECAUSE, "expect": 1, "score": score}
    build = photos.build({"photos": 9}, exclusions=[rule])
    run(build)
    assert {n for n, why in outcomes(build).items() if why == "excluded_by_score"} == {"3"}
    assert findings(build)["exclusion_rules_hold"] == []
    frame.with_columns(aesthetic=pl.lit(9.0)).write_parquet(file)
    assert "screened/photos" in built(run(build))
    assert findings(build)["exclusion_rules_hold"] == ["ugly matched: 0 found, 1 expected"]


def test_a_multiple_takes_each_sample_so_often_and_the_ledger_has_each_record_once(
    photos: World,
) -> None:
    part = {"source": "photos", "quota": "2x", "group": "All"}
    build = photos.build({}, exclusions=[WIDE], shard_rows=4, parts=[part])
    run(build)
    folder = build.data.mixture("small")
    rows = load_from_disk(str(folder)).to_list()
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)) == 14
    assert set(Counter(map(original_id, ids)).values()) == {2}
    twins = {row["id"]: row["conversations"] for row in rows}
    assert all(turns == twins[original_id(id_)] for id_, turns in twins.items())
    assert ledger(build).height == 8
    assert verify(folder) == []
    assert findings(build) == {"conserved": [], "quotas_filled": []}
    (part,) = json.loads((folder / "mixture.json").read_text())["parts"]
    assert (part["quota"], part["samples"], part["copies"]) == ("2x", 14, 7)
    assert part["subsets"] == {"": 14}
    card = (folder / "README.md").read_text()
    assert "| 2x | 14 (7 of them copies) |" in card
    named = next(id_ for id_ in ids if id_.endswith("+2"))
    (history,) = explain(folder, named)
    assert history.row["id"] == original_id(named)
    assert history.lines()[-3].endswith(f", and 1 more as {named}")


def test_a_copy_that_is_missing_is_reported(photos: World) -> None:
    part = {"source": "photos", "quota": "2x", "group": "All"}
    build = photos.build({}, parts=[part])
    run(build)
    folder = build.data.mixture("small")
    frame = pl.read_parquet(folder / "ledger.parquet")
    changed = pl.col("evidence").str.replace('"copies":2', '"copies":3')
    frame.with_columns(evidence=changed).write_parquet(folder / "ledger.parquet")
    problems = reconciliation_problems(folder)
    assert problems == ["kept ids: 24 in ledger.parquet, 16 in the shards, 16 in both"]


@pytest.mark.parametrize(
    ("quota", "copies"), [("1.5x", {2: 4, 1: 4}), ("all", {1: 8}), ("0.5x", {1: 4}), (3, {1: 3})]
)
def test_other_quotas(photos: World, quota: Any, copies: dict[int, int]) -> None:
    build = photos.build({}, parts=[{"source": "photos", "quota": quota, "group": "All"}])
    run(build)
    ids = load_from_disk(str(build.data.mixture("small")))["id"][:]
    assert Counter(Counter(map(original_id, ids)).values()) == copies
    assert verify(build.data.mixture("small")) == []
    held = [why for why in outcomes(build).values() if why == "over_quota"]
    assert len(held) == 8 - sum(copies.values())


def test_the_models_of_exclusions_are_told_apart(photos: World) -> None:
    kind = {"name": "none", "source": "photos", "image_prefix": "x/", "prompt": "y"}
    kind |= {"subset": "z", "because": BECAUSE}
    build = photos.build({"photos": 9}, exclusions=[kind, WIDE])
    assert [type(one) for one in build.recipe.mixture.exclusions] == [Exclusion, ExclusionRule]
