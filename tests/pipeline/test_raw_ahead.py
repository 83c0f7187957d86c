"""Raw files of a mixture arrive in the background, the largest last."""

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import dagster as dg
import pytest
from conftest import World, record
from loopback_hub import Fault, Hub, serving_hub, sha256

from assets.definitions import graph
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.pipeline.raw_ahead import RawAhead
from imp_data.pipeline.run_all import rebuild, stages
from imp_data.raw.threads import run_in_threads
from imp_data.storage.stage_cache import StageResult

SIZES = {"large": 300, "middle": 30, "small": 3}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    for name in ("HF_TOKEN", "IMP_DATA_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def laid(world: World, hub: Hub) -> Build:
    """Return the build of three sources of text, each a file of the Hub."""
    for name, count in SIZES.items():
        content = json.dumps([record(n) for n in range(count)]).encode()
        revision = hub.dataset(f"lab/{name}", {"chats.jsonl": content})
        files = [{"path": "chats.jsonl", "bytes": len(content)}]
        pinned: Any = {"hub": f"lab/{name}", "revision": revision}
        world.source(name, b"", files=files, records=["chats.jsonl"], **pinned)
        (world.data.raw(name) / "records.json").unlink()
    return world.build({name: 1 for name in SIZES})


def test_stages_begin_with_the_smallest_files_and_records_do_not_wait(
    world: World, hub: Hub
) -> None:
    build = laid(world, hub)
    assert build.raw_order() == ["small", "middle", "large"]
    assert [asset for asset, _ in stages(build)][:6] == [
        *("raw/small", "records/small"),
        *("raw/middle", "records/middle"),
        *("raw/large", "records/large"),
    ]


def test_records_of_a_small_source_are_built_while_a_large_file_arrives(
    world: World, hub: Hub
) -> None:
    build = laid(world, hub)
    hub.faults = [Fault(f"GET /cdn/{sha256_of(hub, 'large')}", cut=100, hang=True)]
    build.start_raw(build.published)
    assert build.raw("small").built
    assert build.records("small").figures["samples"] == 3
    assert build.raw("middle").built
    assert not (world.data.raw("large") / "chats.jsonl").exists()
    hub.go_on.set()
    assert build.raw("large").built
    assert len(hub.requests("GET", "/cdn/")) == 3


def sha256_of(hub: Hub, name: str) -> str:
    (files,) = hub.repositories[f"datasets/lab/{name}"].commits.values()
    return sha256(files["chats.jsonl"])


def test_the_error_of_a_background_stage_is_raised_where_its_result_is_needed(
    world: World, hub: Hub
) -> None:
    build = laid(world, hub)
    hub.repositories["datasets/lab/large"].gated = True
    build.start_raw(build.published)
    assert build.raw("small").built and build.raw("middle").built
    with pytest.raises(UserError, match="authentication required"):
        build.raw("large")
    hub.repositories["datasets/lab/large"].gated = False
    assert build.raw("large").built


def test_a_whole_build_fetches_each_file_once(world: World, hub: Hub) -> None:
    results = rebuild(laid(world, hub))
    assert results["mixture"].figures["rows"] == 3
    assert len(hub.requests("GET", "/cdn/")) == 3


def test_a_run_of_some_assets_fetches_only_theirs(world: World, hub: Hub) -> None:
    build = laid(world, hub)
    keys = [dg.AssetKey(["raw", name]) for name in ("small", "middle")]
    keys += [dg.AssetKey(["small", "records", "small"])]
    job = dg.define_asset_job("some", dg.AssetSelection.assets(*keys))
    defs = dg.Definitions.merge(graph(build), dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("some").execute_in_process()
    steps = [event.step_key for event in result.get_step_success_events()]
    assert steps == ["raw__small", "small__records__small", "raw__middle"]
    assert len(hub.requests("GET", "/cdn/")) == 2


def test_a_stage_that_has_not_begun_is_run_by_who_needs_it() -> None:
    hold, ran = Event(), list[str]()

    def stage(name: str, stop: Event) -> StageResult:
        ran.append(name)
        if name != "last":
            hold.wait()
        return StageResult(name, {}, built=True)

    ahead = RawAhead(stage, ["a", "b", "c", "last"])
    last = ahead.take("last")
    assert last is not None and last.digest == "last"
    assert ahead.take("last") is None
    hold.set()
    assert [ahead.take(name) for name in "abc"] == [StageResult(n, {}, True) for n in "abc"]
    assert sorted(ran) == ["a", "b", "c", "last"]


def test_the_first_error_ends_the_other_calls() -> None:
    stop, begun = Event(), list[int]()

    def call(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise UserError("one", "fails", "nothing")
        assert stop.wait(10)
        return number

    with pytest.raises(UserError, match="one: fails"):
        run_in_threads([lambda n=n: call(n) for n in range(9)], 2, stop)  # type: ignore[misc]
    assert sorted(begun) == [0, 1]
    assert run_in_threads([lambda: 1, lambda: 2], 2, Event()) == [1, 2]
