"""docs/adding-a-source.md, done to the letter: a user's own file becomes a tenth source."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import encoded, photo, record, run
from datasets import load_from_disk

from imp_data.manifests import ROOMS, Source
from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks, records_checks, screened_checks
from imp_data.records.layouts import LAYOUTS
from imp_data.sample import Sample
from imp_data.storage.data_dir import DataDir

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "adding-a-source.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The page's blocks of one language."""
    return re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL)


def stated_files() -> dict[str, str]:
    """{path: content} of the YAML blocks, each under the path that stands before it."""
    found = {}
    for block in blocks("yaml"):
        before = DOC[: DOC.index(block)]
        found[re.findall(r"`(manifests/\w+/\w+\.yaml)`", before)[-1]] = block
    return found


def birds() -> list[Any]:
    """The page's own record, and others: good ones, a repeat, and one of each kind of trouble."""
    (literal,) = (json.loads(block) for block in blocks("json"))
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


def test_the_page_states_three_files_and_no_more() -> None:
    rooms = ["sources/my_birds", "images/my_birds", "mixtures/birds"]
    assert list(stated_files()) == [f"manifests/{room}.yaml" for room in rooms]


def test_the_samples_are_the_ones_drawn(built: Build) -> None:
    rows = load_from_disk(str(built.data.mixture("birds"))).to_list()
    assert len(rows) == 4
    for row in rows:
        assert Sample.model_validate(row)
        assert (row["source"], row["subset"], row["license"]) == ("my_birds", "", "CC-BY-4.0")
        assert (row["image_width"], row["image_height"]) == (96, 72)
    upstream = [row["upstream_id"] for row in rows]
    assert set(upstream) <= {"owl-1", "0", "1", "2"}
    assert len(set(upstream) - {"1"}) >= 2


def test_the_page_s_own_record_comes_out_as_it_went_in(built: Build) -> None:
    (life,) = explain(built.data.mixture("birds"), "owl-1")
    (literal,) = json.loads(blocks("json")[0])
    assert life.row["outcome"] in {"kept", "held"}
    assert life.row["repairs"] == []
    if life.sample is not None:
        assert life.sample["conversations"] == literal["conversations"]


def test_every_record_is_in_the_ledger_with_the_fate_the_page_says(built: Build) -> None:
    ledger = pl.read_parquet(built.data.mixture("birds") / "ledger.parquet")
    fates = {row["ordinal"]: (row["outcome"], row["reason"]) for row in ledger.to_dicts()}
    assert [fates[n] for n in (5, 6, 9)] == [
        ("dropped", "wrong_type"),
        ("dropped", "empty_value"),
        ("dropped", "bad_image_path"),
    ]
    good = sorted(fates[n][0] for n in range(5))
    assert good == ["held", "kept", "kept", "kept", "kept"]
    # These two are looked at only if the draw reaches them before the quota is full.
    reached = {"image_missing": 7, "image_truncated": 8}
    assert all(fates[n][1] in (reason, "over_quota") for reason, n in reached.items())
    assert len(fates) == 10


def test_a_larger_quota_takes_up_what_was_held(
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


def test_every_check_holds_and_the_mixture_is_sound(built: Build) -> None:
    checks = [
        *records_checks(built, "my_birds"),
        *screened_checks(built, "my_birds"),
        *mixture_checks(built),
    ]
    assert [check.name for check in checks if not check.find().passed] == []
    assert verify(built.data.mixture("birds")) == []


def test_the_page_names_every_layout_and_fields_that_exist() -> None:
    table = DOC[DOC.index("| `name` |") : DOC.index("The first line lets")]
    fields = {
        name for cell in re.findall(r"^\| (.*?) \|", table, re.M) for name in cell.split("`")[1::2]
    }
    assert fields <= set(Source.model_fields)
    assert {name for name in LAYOUTS if f"`{name}`" in DOC} == set(LAYOUTS)


@pytest.mark.parametrize("path", list(stated_files()))
def test_an_editor_finds_the_schema_that_the_file_names(path: str) -> None:
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)", stated_files()[path])
    assert schema is not None
    assert (ROOT / Path(path).parent / schema.group(1)).resolve().is_file()
    assert Path(path).parent.name in ROOMS


def test_an_expected_count_that_does_not_come_out_is_told(built: Build) -> None:
    source = built.recipe.sources["my_birds"]
    wrong = source.model_copy(update={"expect": source.expect.model_copy(update={"rows": 9})})
    other = Build(built.recipe.model_copy(update={"sources": {"my_birds": wrong}}), built.data)
    found = {check.name: check.find() for check in records_checks(other, "my_birds")}
    assert found["as_published"].problems == ["rows: 10 found, 9 expected"]
