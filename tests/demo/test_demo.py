"""The whole demo: planted faults have their expected outcomes, and builds are reproducible."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from conftest import DEMO, demo_with_world_of, link_world
from datasets import load_from_disk

from demo.faults.catalogue import PLANTED
from demo.faults.planted import Planted
from demo.stage import world as draw
from imp_data.errors import UserError
from imp_data.manifests import load_recipe
from imp_data.mixture.duplicates.report import read_report
from imp_data.mixture.verify import verify
from imp_data.pipeline import checks
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import tree_digest

SAMPLES = {
    "llava_665k": 643,
    "dvqa": 10,
    "chartqa": 4,
    "docvqa": 10,
    "ai2d": 4,
    "infographicvqa": 4,
    "sharegpt4v": 20,
    "laion_gpt4v": 10,
    "allava_instruct": 300,
    "pages": 51,
}
KILLS = 5

pytestmark = pytest.mark.slow


def demo_build(root: Path) -> Build:
    return Build(load_recipe(DEMO), DataDir(root))


@pytest.fixture(scope="module")
def demo(built_demo: Build) -> Build:
    return built_demo


@pytest.fixture(scope="module")
def ledger(demo: Build) -> pl.DataFrame:
    return pl.read_parquet(demo.data.mixture("demo") / "ledger.parquet")


def linked(source: Path, target: Path) -> Path:
    """Copy a tree with hard links; replace its files instead of writing to them."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def finished_stages(root: Path) -> int:
    return len(list((root / ".stamps").rglob("*.json")))


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: f"{case.source}: {case.what}")
def test_each_planted_record_has_its_expected_outcome(case: Planted, ledger: pl.DataFrame) -> None:
    rows = ledger.filter(pl.col("source") == case.source)
    by = (
        ("ordinal", case.ordinal) if case.ordinal is not None else ("upstream_id", case.upstream_id)
    )
    row = rows.filter(pl.col(by[0]) == by[1]).row(0, named=True)
    repairs = [repair["repair"] for repair in row["repairs"]]
    assert (row["outcome"], row["reason"]) == (case.outcome, case.reason), row["evidence"]
    assert repairs == ([case.repair] if case.repair else [])
    assert (row["evidence"] is not None) == (case.reason is not None)


def test_the_mixture_has_exactly_1056_samples(demo: Build) -> None:
    parts = demo.figures("mixture")["parts"]
    assert {part["source"]: part["samples"] for part in parts} == SAMPLES
    assert demo.figures("mixture")["rows"] == 1056


def test_samples_have_lists_of_images_and_39_have_two(demo: Build) -> None:
    mixture = load_from_disk(str(demo.data.mixture("demo")))
    counted = Counter(len(images) for images in mixture["images"])
    assert counted == {0: 42, 1: 1056 - 42 - 39, 2: 39}
    pairs = mixture.filter(lambda row: len(row["images"]) == 2, keep_in_memory=True)
    assert set(pairs["source"]) == {"pages"}
    for row in pairs:
        asked = [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
        assert sum(question.count("<image>") for question in asked) == 2
        assert [len(row[name]) for name in ("image_sha256", "image_width", "image_height")] == [
            2
        ] * 3


def test_a_benchmark_image_beside_another_drops_the_sample_and_is_named(
    ledger: pl.DataFrame,
) -> None:
    (row,) = ledger.filter(source="pages", reason="benchmark_hash").to_dicts()
    evidence = json.loads(row["evidence"])
    assert (evidence["benchmark"], evidence["position"]) == ("textvqa", 1)
    assert re.fullmatch(r"pages/train-0000\d-of-00002\.parquet/@images/\d+/1", evidence["image"])


def test_every_check_of_every_stage_holds(demo: Build) -> None:
    made = [*checks.mixture_checks(demo), *checks.benchmark_checks(demo, "textvqa")]
    for source in SAMPLES:
        made += checks.records_checks(demo, source) + checks.screened_checks(demo, source)
    assert {check.name: check.find().problems for check in made if not check.find().passed} == {}


def test_only_planted_records_are_dropped(ledger: pl.DataFrame) -> None:
    by_reason = ledger.filter(pl.col("outcome") == "dropped")["reason"].value_counts()
    counted = dict(by_reason.iter_rows())
    planted = [case.reason for case in PLANTED if case.reason]
    # The recipe excludes 22 TextCaps records, and PLANTED has one question of each test diagram.
    assert counted.pop("excluded") == 22
    assert counted.pop("held_out_split") >= planted.count("held_out_split")
    assert counted == {r: planted.count(r) for r in set(planted) - {"held_out_split"}}


def test_verify_finds_no_problem(demo: Build) -> None:
    assert verify(demo.data.mixture("demo")) == []


def test_the_report_names_the_planted_contradiction_and_no_accidental_near_duplicates(
    demo: Build, ledger: pl.DataFrame
) -> None:
    found = read_report(demo.data.reports("demo"))
    (conflict,) = found["contradictions"]["listed"]
    assert conflict["question"] == "is it night or day"
    what = "a question with another answer in another record"
    (planted,) = [case.ordinal for case in PLANTED if case.what == what]
    (row,) = ledger.filter(source="llava_665k", ordinal=planted).to_dicts()
    assert conflict["answers"]["day"] == [row["id"]]
    assert len(conflict["answers"]["night"]) == 1
    # Uneven light makes the perceptual hash of every drawn image its own.
    assert found["alike"]["by_size"] == []
    # One COCO image of ShareGPT4V that is sampled is in the LLaVA mix too, and DocVQA has a page
    # of a pair.
    pairs = {tuple(pair["sources"]): pair["images"] for pair in found["same_image"]["by_sources"]}
    shared = {pair: images for pair, images in pairs.items() if pair[0] != pair[1]}
    assert shared == {("docvqa", "pages"): 1, ("llava_665k", "sharegpt4v"): 1}


def test_a_second_build_builds_nothing(demo: Build) -> None:
    assert [asset for asset, result in rebuild(demo).items() if result.built] == []


def test_another_directory_and_one_worker_give_the_same_bytes(
    demo: Build, drawn_demo: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")
    other = demo_with_world_of(drawn_demo, tmp_path / "other")
    results = rebuild(other)
    assert {a: r.digest for a, r in results.items()} == {
        a: r.digest for a, r in rebuild(demo).items()
    }
    folders = [build.data.mixture("demo") for build in (demo, other)]
    assert tree_digest(folders[0]) == tree_digest(folders[1])


def test_a_build_that_is_killed_repeatedly_ends_with_the_same_bytes(
    demo: Build, drawn_demo: DataDir, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    link_world(drawn_demo, root)
    script = (
        "from pathlib import Path; from imp_data.pipeline.build import Build;"
        "from imp_data.pipeline.run_all import rebuild;"
        f"__name__ == '__main__' and rebuild(Build.of(Path({str(DEMO)!r})))"
    )
    settings = {**os.environ, "IMP_DATA_DIR": str(root), "IMP_WORKERS": "2"}
    moments = random.Random(5)
    killed = 0
    for _ in range(KILLS):
        goal = finished_stages(root) + moments.randint(1, 9)
        # A session of its own, so that the kill takes the workers along.
        run = subprocess.Popen([sys.executable, "-c", script], env=settings, start_new_session=True)
        while run.poll() is None and finished_stages(root) < goal:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.1))
        if run.poll() is None:
            killed += 1
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    finished = subprocess.run([sys.executable, "-c", script], env=settings, check=False)
    assert finished.returncode == 0
    assert killed >= 3
    assert tree_digest(root / "mixtures" / "demo") == tree_digest(demo.data.mixture("demo"))
    assert [p for p in root.rglob("*.partial")] == []


def raw_files() -> list[str]:
    """Return every file of the demo world by its manifest."""
    recipe = load_recipe(DEMO)
    published = [*recipe.sources.values(), *recipe.images.values(), *recipe.benchmarks.values()]
    return sorted({f"{each.name}/{file.path}" for each in published for file in each.files})


@pytest.mark.parametrize("path", raw_files())
def test_an_altered_raw_file_is_an_error_with_a_remedy(
    path: str, demo: Build, tmp_path: Path
) -> None:
    name = path.split("/")[0]
    linked(demo.data.raw(name), tmp_path / "raw" / name)
    linked(demo.data.root / ".stamps", tmp_path / ".stamps")
    altered = tmp_path / "raw" / path
    data = bytearray(altered.read_bytes())
    data[len(data) // 2] ^= 1
    altered.unlink()
    altered.write_bytes(data)
    build = demo_build(tmp_path)
    for _ in range(2):  # a second run must not take the altered file for verified
        with pytest.raises(UserError) as error:
            build.raw(name)
        assert error.value.where == str(altered)
        assert "move it elsewhere" in error.value.remedy


@pytest.mark.parametrize("path", ["dvqa/train_qa.json", "ai2d/ai2d/questions"])
def test_a_record_file_altered_after_unpacking_is_an_error(
    path: str, demo: Build, tmp_path: Path
) -> None:
    name = path.split("/")[0]
    linked(demo.data.raw(name), tmp_path / "raw" / name)
    linked(demo.data.root / ".stamps", tmp_path / ".stamps")
    unpacked = tmp_path / "raw" / path
    altered = unpacked if unpacked.is_file() else sorted(unpacked.iterdir())[0]
    text = altered.read_text()
    altered.unlink()
    altered.write_text(text.replace("What", "Why"))
    build = demo_build(tmp_path)
    with pytest.raises(UserError) as error:
        build.raw(name)
    assert error.value.where == str(altered)
    assert "was altered since it was unpacked" in error.value.problem
    altered.rename(tmp_path / altered.name)
    assert build.raw(name).digest == demo.raw(name).digest


def test_a_deleted_file_is_drawn_again_with_the_same_bytes(demo: Build, tmp_path: Path) -> None:
    root = linked(demo.data.root, tmp_path / "again")
    build = demo_build(root)
    (root / "raw" / "sharegpt4v").joinpath("sharegpt4v_instruct_gpt4-vision_cap100k.json").unlink()
    results = rebuild(build)
    assert results["world"].built
    # The digest of all files as they are drawn, whether they were missing or not.
    assert results["world"].digest == draw(demo).digest
    assert not results["mixture"].built
