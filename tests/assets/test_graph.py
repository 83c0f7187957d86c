"""The Dagster graph: assets, dependencies, checks, failures and output."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.definitions import DEMO, ROOT, graph
from imp_data.manifests import NearDuplicates, load_recipe
from imp_data.pipeline.build import Build
from imp_data.storage.data_dir import DataDir

CAPTION = "Provide a one-sentence caption for the provided image.\nReference OCR token: STOP"
SOURCE = {
    "name": "chats",
    "title": "Chats between neighbours",
    "homepage": "https://example.org/chats",
    "license": "CC0-1.0",
    "layout": "llava",
    "subsets": "mix665k",
    "files": [{"path": "chats.json", "by_hand": "Ask a neighbour."}],
    "records": ["chats.json"],
}
EXCLUSION = {
    "name": "textcaps",
    "source": "chats",
    "image_prefix": "textvqa/train_images/",
    "prompt": "Reference OCR token:",
    "subset": "textcaps",
    "because": "its images are a benchmark's",
}
MIXTURE = {
    "name": "tiny",
    "title": "A tiny mixture",
    "seed": 1,
    "images": "deferred",
    "parts": [{"source": "chats", "quota": 2, "paper": 2, "group": "all"}],
    "exclusions": [EXCLUSION],
}


def caption(number: int) -> dict[str, Any]:
    """A record of TextCaps as LLaVA's mix has it."""
    image = f"textvqa/train_images/{number:016x}.jpg"
    return chat(number, f"<image>\n{CAPTION}", image=image)


def chat(number: int, question: str, **more: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "Yes."}]
    return {"id": number, "conversations": turns, **more}


RECORDS = [
    *(chat(n, f"Is {n} a number?") for n in range(3)),
    chat(3, ""),
    caption(4),
]


class World:
    """A mixture of text alone in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, DataDir(folder / "data")
        self.write("sources/chats", SOURCE)
        self.write("mixtures/tiny", MIXTURE)
        self.publish("chats", RECORDS)

    def write(self, name: str, manifest: dict[str, Any]) -> None:
        path = self.folder / "manifests" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(manifest))

    def publish(self, name: str, records: list[dict[str, Any]]) -> None:
        self.data.raw(name).mkdir(parents=True, exist_ok=True)
        (self.data.raw(name) / f"{name}.json").write_text(json.dumps(records))

    def defs(self, name: str = "tiny") -> dg.Definitions:
        manifest = self.folder / f"manifests/mixtures/{name}.yaml"
        return graph(Build(load_recipe(manifest), self.data))

    def rebuild(self) -> dg.ExecuteInProcessResult:
        job = self.defs().resolve_job_def("rebuild")
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(instance=instance, raise_on_error=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def edges(defs: dg.Definitions, mixture: str = "demo") -> dict[str, set[str]]:
    """Return {asset: parents}; keys of the mixture lose its name, with which they begin."""
    assets = defs.resolve_asset_graph()
    return {
        short(key, mixture): {short(parent, mixture) for parent in assets.get(key).parent_keys}
        for key in assets.get_all_asset_keys()
    }


def short(key: dg.AssetKey, mixture: str) -> str:
    return key.to_user_string().removeprefix(f"{mixture}/")


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    """Return the materializations by key."""
    return {
        short(m.asset_key, "tiny"): m
        for event in result.get_asset_materialization_events()
        for m in [event.step_materialization_data.materialization]
    }


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    return {name: v.value for name, v in materialized(result)[key].metadata.items()}


@pytest.fixture(scope="module")
def demo() -> dict[str, set[str]]:
    return edges(graph(Build.of(ROOT / DEMO)))


SOURCES = [
    *("ai2d", "allava_instruct", "chartqa", "docvqa", "dvqa"),
    *("infographicvqa", "laion_gpt4v", "llava_665k", "pages", "sharegpt4v"),
]


TRAINING = {"demo_cards/mixture", "projector", "adapter", "model", "evidence"}
MOBILE = {"gguf", "quality", "phone"}


def test_each_source_has_one_asset_for_each_stage(demo: dict[str, set[str]]) -> None:
    for stage in ("drawn/raw", "records", "images", "screened"):
        assert {f"{stage}/{source}" for source in SOURCES} <= set(demo)
    others = (
        {"drawn/world", "benchmarks/textvqa", "mixture", "duplicates", "card"} | TRAINING | MOBILE
    )
    assert {
        key for key in demo if key.split("/")[-1] not in SOURCES and "raw/" not in key
    } == others


def test_the_demo_has_66_assets_and_without_its_report_65(demo: dict[str, set[str]]) -> None:
    assert len(demo) == 66
    recipe = load_recipe(ROOT / DEMO)
    ignore = NearDuplicates(policy="ignore")
    mixture = recipe.mixture.model_copy(update={"near_duplicates": ignore})
    fewer = edges(graph(Build(recipe.model_copy(update={"mixture": mixture}))))
    assert set(demo) - set(fewer) == {"duplicates"}
    assert fewer["card"] == {"mixture"}


def test_all_raw_assets_depend_on_the_drawn_world(demo: dict[str, set[str]]) -> None:
    raw = {key for key in demo if key.startswith("drawn/raw/")}
    assert {"drawn/raw/dvqa", "drawn/raw/coco", "drawn/raw/textvqa"} <= raw
    assert all(demo[key] == {"drawn/world"} for key in raw)
    assert demo["drawn/world"] == set()


def test_all_downloads_depend_on_the_check_of_the_inputs() -> None:
    fetched = edges(graph(Build.of(ROOT / "manifests/mixtures/imp-1m.yaml")), "imp_1m")
    raw = {key for key in fetched if key.startswith("raw/")}
    assert {"raw/dvqa", "raw/coco", "raw/textvqa"} <= raw
    assert all(fetched[key] == {"inputs"} for key in raw)
    assert fetched["inputs"] == set()


def test_the_edges_are_as_documented(demo: dict[str, set[str]]) -> None:
    assert demo["records/dvqa"] == {"drawn/raw/dvqa"}
    assert demo["benchmarks/textvqa"] == {"drawn/raw/textvqa"}
    images = {f"drawn/raw/{name}" for name in ("coco", "gqa", "ocr_vqa", "textvqa", "vg")}
    assert demo["images/llava_665k"] == {"records/llava_665k", "benchmarks/textvqa"} | images
    assert demo["screened/ai2d"] == {"records/ai2d", "images/ai2d", "benchmarks/textvqa"}
    assert demo["mixture"] == {f"{box}/{s}" for box in ("records", "screened") for s in SOURCES}
    assert demo["duplicates"] == {"mixture", *(f"images/{source}" for source in SOURCES)}
    assert demo["card"] == {"mixture", "duplicates"}


def test_deferred_images_are_no_dependency(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / DEMO)
    later = recipe.mixture.model_copy(update={"images": "deferred"})
    parents = edges(graph(Build(recipe.model_copy(update={"mixture": later}))))
    assert "drawn/raw/coco" not in parents
    assert parents["images/llava_665k"] == {"records/llava_665k", "benchmarks/textvqa"}


def test_every_asset_has_description_group_kinds_and_owner() -> None:
    assets = graph(Build.of(ROOT / DEMO)).resolve_asset_graph()
    for key in assets.get_all_asset_keys():
        node = assets.get(key)
        assert node.description and node.code_version and node.owners == ["team:data"], key
        groups = {"drawn": "raw", "card": "mixture", "duplicates": "mixture"}
        groups |= {name.split("/")[0]: "training" for name in TRAINING}
        groups |= dict.fromkeys(MOBILE, "mobile")
        assert node.group_name == groups.get(*short(key, "demo").split("/")[:1] * 2)
        assert 1 <= len(node.kinds) <= 3
    dvqa = assets.get(dg.AssetKey(["demo", "records", "dvqa"]))
    assert dvqa.tags["layout"] == "dvqa" and dvqa.tags["license"]
    assert "https://" in (dvqa.description or "")


def test_a_model_depends_on_its_mixtures_and_each_stage_on_the_previous(
    demo: dict[str, set[str]],
) -> None:
    assert demo["demo_cards/mixture"] == {"drawn/world"}
    assert demo["projector"] == {"mixture", "demo_cards/mixture"}
    assert demo["adapter"] == {"mixture", "demo_cards/mixture", "projector"}
    assert (demo["model"], demo["evidence"]) == ({"adapter"}, {"model"})
    assert (demo["gguf"], demo["phone"]) == ({"model"}, {"gguf"})
    assert demo["quality"] == {"gguf", "evidence"}


def test_the_job_curate_excludes_the_model() -> None:
    defs = graph(Build.of(ROOT / DEMO))
    assets = {
        name: {
            short(k, "demo") for k in defs.resolve_job_def(name).asset_layer.executable_asset_keys
        }
        for name in ("rebuild", "curate")
    }
    assert assets["rebuild"] - assets["curate"] == TRAINING | MOBILE


def test_the_weekly_schedule_is_stopped() -> None:
    (schedule,) = graph(Build.of(ROOT / DEMO)).schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.name == "weekly_demo", "the status of one mixture is not that of another"


def test_one_yaml_file_adds_a_source(world: World) -> None:
    before = set(edges(world.defs(), "tiny"))
    renamed = {"name": "letters", "files": [{"path": "letters.json", "by_hand": "Write some."}]}
    world.write("sources/letters", {**SOURCE, **renamed, "records": ["letters.json"]})
    part = {"source": "letters", "quota": 1, "paper": 1, "group": "all"}
    world.write("mixtures/tiny", {**MIXTURE, "parts": [*MIXTURE["parts"], part]})
    world.publish("letters", RECORDS)
    boxes = ("raw", "records", "images", "screened")
    assert set(edges(world.defs(), "tiny")) - before == {f"{box}/letters" for box in boxes}
    result = world.rebuild()
    assert result.success and metadata(result, "mixture")["dagster/row_count"] == 3


def test_a_run_records_counts_digests_and_reasons(world: World) -> None:
    result = world.rebuild()
    assert result.success
    records = metadata(result, "records/chats")
    assert records["summary"] == "5 rows, 4 samples, 1 dropped"
    assert records["dagster/row_count"] == 4
    (dropped,) = records["dropped, and why"].records
    assert dropped.data == {
        "reason": "empty_value",
        "rows": 1,
        "meaning": "A question or an answer is empty.",
    }
    screened = metadata(result, "screened/chats")
    assert screened["summary"] == "2 passed, 1 dropped, 1 held"
    mixture = metadata(result, "mixture")
    assert mixture["dagster/row_count"] == 2
    assert [c.name for c in mixture["dagster/column_schema"].columns][:2] == ["id", "source"]
    duplicates = metadata(result, "duplicates")
    assert duplicates["summary"].startswith("2 samples on 0 images: 0 images shared")
    assert "Images were deferred" in duplicates["not checked"]
    part, whole = mixture["parts"].records
    assert part.data["quota"] == 2 and part.data["dropped"] == 2
    assert whole.data == {**part.data, "part": "total"}
    digest = json.loads(world.data.stamp("mixtures/tiny/mixture").read_text())["digest"]
    assert (materialized(result)["mixture"].tags or {})["dagster/data_version"] == digest


def test_a_mixture_without_a_paper_has_no_column_paper(world: World) -> None:
    parts = [{"source": "chats", "quota": 2, "group": "all"}]
    world.write("mixtures/tiny", {**MIXTURE, "parts": parts})
    part, _ = metadata(world.rebuild(), "mixture")["parts"].records
    assert list(part.data)[:3] == ["part", "quota", "samples"]


def test_a_quota_without_a_number_has_no_sum(world: World) -> None:
    parts = [{"source": "chats", "quota": "all", "paper": 2, "group": "all"}]
    world.write("mixtures/tiny", {**MIXTURE, "parts": parts})
    part, whole = metadata(world.rebuild(), "mixture")["parts"].records
    assert (part.data["quota"], part.data["samples"]) == ("all Samples", 3)
    assert whole.data == {**part.data, "part": "total", "quota": ""}


def test_a_source_of_several_images_shows_how_many_samples_have_them(world: World) -> None:
    pair = {**chat(0, "<image> or <image>?"), "images": ["a.png", "b.png"]}
    world.publish("chats", [pair, *RECORDS[1:]])
    world.write("sources/chats", {**SOURCE, "max_images": 2})
    parts = [{"source": "chats", "quota": "all", "paper": 2, "group": "all"}]
    world.write("mixtures/tiny", {**MIXTURE, "parts": parts})
    screened = metadata(world.rebuild(), "screened/chats")
    assert (screened["images in samples"], screened["samples with several images"]) == (2, 1)


def test_mixtures_in_one_instance_have_separate_row_counts_and_states(world: World) -> None:
    part = {"source": "chats", "quota": 1, "paper": 1, "group": "all"}
    world.write("mixtures/single", {**MIXTURE, "name": "single", "parts": [part]})
    lost = {**SOURCE, "name": "lost", "files": [{"path": "lost.json", "by_hand": "Find it."}]}
    world.write("sources/lost", {**lost, "records": ["lost.json"]})
    parts = [part, {**part, "source": "lost"}]
    world.write("mixtures/broken", {**MIXTURE, "name": "broken", "parts": parts})
    boxes = ("records/chats", "images/chats", "screened/chats", "mixture", "duplicates", "card")
    with dg.DagsterInstance.ephemeral() as instance:
        for name, succeeds in {"tiny": True, "single": True, "broken": False}.items():
            job = world.defs(name).resolve_job_def("rebuild")
            result = job.execute_in_process(instance=instance, raise_on_error=False)
            assert result.success is succeeds
            (run,) = instance.get_runs(dg.RunsFilter(tags={"mixture": name}))
            assert run.run_id == result.run_id
        assert [rows(instance, f"{name}/mixture") for name in ("tiny", "single")] == [2, 1]
        keys = instance.get_asset_keys()
        made = [key for key in keys if instance.get_latest_materialization_event(key)]
        assert {key.to_user_string() for key in made} == {
            "raw/chats",
            "inputs",
            *(f"{name}/{box}" for name in ("tiny", "single") for box in boxes),
            *("broken/records/chats", "broken/images/chats", "broken/screened/chats"),
        }
        # The UI shows the last run of an asset: the failed run touched its own assets alone.
        for name in ("tiny", "single"):
            for record in instance.get_asset_records([dg.AssetKey([name, "mixture"])]):
                (run,) = instance.get_runs(dg.RunsFilter(tags={"mixture": name}))
                assert record.asset_entry.last_run_id == run.run_id
        assert stale_assets(world.defs("tiny"), instance) == []


def rows(instance: dg.DagsterInstance, asset: str) -> int:
    """Return the row count of the asset's last materialization."""
    key = dg.AssetKey.from_user_string(asset)
    event = instance.get_latest_materialization_event(key)
    assert event is not None and event.asset_materialization is not None
    found = event.asset_materialization.metadata["dagster/row_count"].value
    assert isinstance(found, int)
    return found


def stale_assets(defs: dg.Definitions, instance: dg.DagsterInstance) -> list[str]:
    """Return the assets that Dagster considers stale."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return [
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if resolver.get_status(key) is not StaleStatus.FRESH
    ]


def test_a_second_run_builds_nothing_and_prints_that(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    first = world.rebuild()
    assert {metadata(first, key)["work"] for key in materialized(first)} == {"built"}
    assert "8 assets: 8 built, 0 unchanged\n" in capfd.readouterr().err
    second = world.rebuild()
    assert {metadata(second, key)["work"] for key in materialized(second)} == {"unchanged"}
    output = capfd.readouterr().err
    assert "records/chats" in output and "unchanged" in output
    assert output.endswith("8 assets: 0 built, 8 unchanged; nothing had changed\n")
    assert len(output.splitlines()) == 10, "one line for each asset, one before and one after"


HOLD = """
import select, sys
from pathlib import Path
from imp_data.storage.locks import hold_lock
with hold_lock(Path(sys.argv[1]), "records/chats", "mixture other"):
    print("held", flush=True)
    select.select([sys.stdin], [], [], 60)
"""


@pytest.mark.slow
def test_a_waiting_run_prints_for_which_process_it_waits(world: World, tmp_path: Path) -> None:
    settings = (ROOT / "dagster.yaml").read_text().replace(".dagster", f"{tmp_path}/.dagster")
    (tmp_path / "dagster.yaml").write_text(settings)
    manifest = world.folder / "manifests/mixtures/tiny.yaml"
    lock = Build(load_recipe(manifest), world.data).run_of("records/chats").lock
    places = {"DAGSTER_HOME": str(tmp_path), "IMP_DATA_DIR": str(world.data.root)}
    own = {**os.environ, "PYTHONPATH": str(ROOT), "IMP_MIXTURE": str(manifest), **places}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], env=own, **pipes)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    dg_launch = [Path(sys.executable).with_name("dg"), "launch", "--job", "curate"]
    launched = subprocess.Popen(dg_launch, cwd=ROOT, env=own, text=True, stderr=subprocess.PIPE)
    assert launched.stderr is not None
    waits = f"records/chats: waits for process {holder.pid} on this machine (mixture other), "
    for line in launched.stderr:
        if line.startswith(f"{waits}running since 20"):
            holder.communicate()
            break
    else:
        pytest.fail("the run did not wait, or did not print it")
    _, rest = launched.communicate()
    assert launched.returncode == 0 and "0 unchanged" in rest


def test_records_that_an_exclusion_misses_stop_the_mixture(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    """The planted fault: an exclusion whose two signs match nothing lets 22 captions pass."""
    world.publish("chats", [*RECORDS, *(caption(n) for n in range(5, 26))])
    blind = {**EXCLUSION, "image_prefix": "nowhere/", "prompt": "never said", "expect": 22}
    parts = [{**MIXTURE["parts"][0], "quota": 25}]
    world.write("mixtures/tiny", {**MIXTURE, "exclusions": [blind], "parts": parts})
    result = world.rebuild()
    assert not result.success
    assert "screened/chats" in materialized(result)
    assert not {"mixture", "duplicates", "card"} & set(materialized(result))
    assert not world.data.mixture("tiny").exists()
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["exclusions_hold"]
    assert "textcaps kept: 22 found, 0 expected" in (failed[0].description or "")
    output = capfd.readouterr().err
    assert "check exclusions_hold: textcaps excluded: 0 found, 22 expected" in output
    assert output.endswith("8 assets: 4 built, 0 unchanged, 1 failed, 3 not reached\n")


def test_a_failed_check_that_does_not_block_warns(world: World) -> None:
    parts = [{**MIXTURE["parts"][0], "quota": 4}]
    world.write("mixtures/tiny", {**MIXTURE, "parts": parts})
    result = world.rebuild()
    assert "mixture" in materialized(result)
    (check,) = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert check.check_name == "quotas_filled"
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description == "chats: 3 found, 4 expected"


def test_a_user_error_is_printed_without_a_traceback(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    (world.data.raw("chats") / "chats.json").unlink()
    result = world.rebuild()
    (failure,) = result.filter_events(lambda e: e.is_step_failure)
    data = failure.step_failure_data.user_failure_data
    assert data is not None and "Ask a neighbour." in (data.description or "")
    output = capfd.readouterr().err
    assert "What to do: put each there" in output
    assert "Traceback" not in output and "Stack Trace" not in output
    assert output.endswith("8 assets: 1 built, 0 unchanged, 1 failed, 6 not reached\n")


def output_of(code: str, cwd: Path, **environment: str) -> str:
    """Return the output of a new interpreter."""
    paths = {"PYTHONPATH": str(ROOT), "IMP_MIXTURE": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_definitions_load_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("datasets", "openai", "torch", "transformers", "peft", "gguf", "xllamacpp", "ray")
    heavy = {*heavy, "demo.world"}
    code = f"import sys, assets.definitions; print(sorted({heavy} & set(sys.modules)))"
    assert output_of(code, tmp_path) == "[]"


@pytest.mark.slow
def test_the_mixture_path_is_relative_to_the_repository_root(tmp_path: Path) -> None:
    code = "from assets.definitions import defs; print(len(list(defs.assets)))"
    named = output_of(code, tmp_path, IMP_MIXTURE="manifests/mixtures/imp-1m.yaml")
    model = {*TRAINING, *MOBILE}
    pages = {"raw/pages", "records/pages", "images/pages", "screened/pages"}
    assert int(named) == int(output_of(code, tmp_path)) - len(model | pages), (
        "inputs for world, no pages, and no model"
    )


@pytest.mark.slow
def test_a_missing_manifest_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    own = {"DAGSTER_HOME": str(tmp_path), "IMP_MIXTURE": "manifests/mixtures/imp-2m.yaml"}
    done = subprocess.run(
        [Path(sys.executable).with_name("dg"), "launch", "--job", "rebuild"],
        cwd=ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "imp-2m.yaml: there is no such manifest" in done.stderr
    assert "What to do: write it, or name one of demo, demo-cards, imp-1m" in done.stderr
    assert "Traceback" not in done.stderr
