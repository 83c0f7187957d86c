"""The steps of docs/adding-a-source.md add a user's file as a tenth source."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import World, encoded, photo, record, run
from datasets import load_from_disk

from imp_data.manifests import MANIFEST_KINDS, Source
from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks, records_checks, screened_checks
from imp_data.records.all_layouts import LAYOUTS
from imp_data.sample import Sample
from imp_data.storage.data_dir import DataDir

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "adding-a-source.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL)


def stated_files() -> dict[str, str]:
    """Return {path: content} of the YAML blocks, each with the path that precedes it."""
    found = {}
    for block in blocks("yaml"):
        before = DOC[: DOC.index(block)]
        found[re.findall(r"`(manifests/\w+/\w+\.yaml)`", before)[-1]] = block
    return found


def birds() -> list[Any]:
    """Return the page's record, and others: valid ones, a repeat, and one for each fault."""
    literal = json.loads(blocks("json")[0])
    more = [record(n, f"birds/{n}.jpg", f"Bird {n}.") for n in range(3)]
    bad = [
        "no record",
        record("silent", "birds/0.jpg", " "),
        record("lost", "birds/lost.jpg"),
        record("cut", "birds/cut.jpg"),
        record("outside", "../secret.jpg"),
    ]
    return [*literal, *more, more[1], *bad]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> Build:
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "manifests", root / "manifests")
    for path, content in stated_files().items():
        assert not (ROOT / path).exists()
        (root / path).write_text(content, encoding="utf-8")
    photos = root / "data" / "raw" / "my_birds" / "photos"
    photos.mkdir(parents=True)
    (photos.parent / "my_birds.json").write_text(json.dumps(birds()), encoding="utf-8")
    for n, name in enumerate(("owl", "0", "1", "2")):
        (photos / f"{name}.jpg").write_bytes(encoded(photo(n), "JPEG"))
    (photos / "cut.jpg").write_bytes(encoded(photo(9), "JPEG")[:900])
    recipe = Build.of(root / "manifests" / "mixtures" / "birds.yaml").recipe
    build = Build(recipe, DataDir(root / "data"))
    run(build)
    return build


def test_the_page_has_exactly_three_manifests() -> None:
    names = ["sources/my_birds", "images/my_birds", "mixtures/birds"]
    assert list(stated_files()) == [f"manifests/{name}.yaml" for name in names]


def test_the_samples_are_those_of_the_records(built: Build) -> None:
    rows = load_from_disk(str(built.data.mixture("birds"))).to_list()
    assert len(rows) == 4
    for row in rows:
        assert Sample.model_validate(row)
        assert (row["source"], row["subset"], row["license"]) == ("my_birds", "", "CC-BY-4.0")
        assert (row["image_width"], row["image_height"]) == (96, 72)
    upstream = [row["upstream_id"] for row in rows]
    assert set(upstream) <= {"owl-1", "0", "1", "2"}
    assert len(set(upstream) - {"1"}) >= 2


def test_the_record_of_the_page_is_unchanged_in_the_mixture(built: Build) -> None:
    (history,) = explain(built.data.mixture("birds"), "owl-1")
    (literal,) = json.loads(blocks("json")[0])
    assert history.row["outcome"] in {"kept", "held"}
    assert history.row["repairs"] == []
    if history.sample is not None:
        assert history.sample["conversations"] == literal["conversations"]


def test_the_record_of_several_images_of_the_page_is_a_sample(world: World) -> None:
    pair = json.loads(blocks("json")[1])
    world.images("birds", {f"{n}.jpg": encoded(photo(1), "JPEG") for n in ("owl", "kite")})
    for most, images in ((1, None), (4, ["birds/owl.jpg", "birds/kite.jpg"])):
        world.source("my_birds", [pair, record("text")], images=["birds"], max_images=most)
        run(world.build({"my_birds": 2}))
        rows = load_from_disk(str(world.data.mixture("small"))).to_list()
        found = {row["upstream_id"]: row for row in rows}
        assert found.get("pair-1", {}).get("images") == images
        assert found["text"].get("images") == (None if most == 1 else [])


def test_every_record_is_in_the_ledger_with_the_outcome_of_the_page(built: Build) -> None:
    ledger = pl.read_parquet(built.data.mixture("birds") / "ledger.parquet")
    found = {row["ordinal"]: (row["outcome"], row["reason"]) for row in ledger.to_dicts()}
    assert [found[n] for n in (5, 6, 9)] == [
        ("dropped", "wrong_type"),
        ("dropped", "empty_value"),
        ("dropped", "bad_image_path"),
    ]
    good = sorted(found[n][0] for n in range(5))
    assert good == ["held", "kept", "kept", "kept", "kept"]
    # The sampling opens these two only if it reaches them before the quota is full.
    reached = {"image_missing": 7, "image_truncated": 8}
    assert all(found[n][1] in (reason, "over_quota") for reason, n in reached.items())
    assert len(found) == 10


def test_a_larger_quota_keeps_the_held_records(
    built: Build, one_worker: None, tmp_path: Path
) -> None:
    data = DataDir(shutil.copytree(built.data.root, tmp_path / "data"))
    part = built.recipe.mixture.parts[0].model_copy(update={"quota": 9})
    mixture = built.recipe.mixture.model_copy(update={"parts": (part,)})
    run(Build(built.recipe.model_copy(update={"mixture": mixture}), data))
    ledger = pl.read_parquet(data.mixture("birds") / "ledger.parquet")
    counts = {
        (row["outcome"], row["reason"]): row["len"]
        for row in ledger.group_by("outcome", "reason").len().to_dicts()
    }
    reasons = ["wrong_type", "empty_value", "bad_image_path", "image_missing", "image_truncated"]
    assert counts == {("kept", None): 5, **{("dropped", reason): 1 for reason in reasons}}


def test_every_check_passes_and_the_mixture_is_sound(built: Build) -> None:
    checks = [
        *records_checks(built, "my_birds"),
        *screened_checks(built, "my_birds"),
        *mixture_checks(built),
    ]
    assert [check.name for check in checks if not check.find().passed] == []
    assert verify(built.data.mixture("birds")) == []


def test_the_page_names_every_layout_and_only_existing_fields() -> None:
    table = DOC[DOC.index("| `name` |") : DOC.index("The first line lets")]
    fields = {
        name for cell in re.findall(r"^\| (.*?) \|", table, re.M) for name in cell.split("`")[1::2]
    }
    assert fields <= set(Source.model_fields)
    assert {name for name in LAYOUTS if f"`{name}`" in DOC} == set(LAYOUTS)


@pytest.mark.parametrize("path", list(stated_files()))
def test_the_schema_that_a_file_names_exists(path: str) -> None:
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)", stated_files()[path])
    assert schema is not None
    assert (ROOT / Path(path).parent / schema.group(1)).resolve().is_file()
    assert Path(path).parent.name in MANIFEST_KINDS


def test_an_unmet_expected_count_is_a_problem(built: Build) -> None:
    source = built.recipe.sources["my_birds"]
    changed = source.model_copy(update={"expect": source.expect.model_copy(update={"rows": 9})})
    other = Build(built.recipe.model_copy(update={"sources": {"my_birds": changed}}), built.data)
    found = {check.name: check.find() for check in records_checks(other, "my_birds")}
    assert found["as_published"].problems == ["rows: 10 found, 9 expected"]
