"""Shared fixtures: images, records, and a small world in which to build mixtures."""

import gc
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from hypothesis import settings
from PIL import Image

from demo.stage import world as draw_demo
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.pipeline.card_stage import write_card
from imp_data.pipeline.duplicates_stage import write_duplicates_report
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir
from imp_data.storage.stage_cache import StageResult

# Machines that run tests are busy; how long an example takes says nothing about the library.
# Without an option every run has the same examples, so a run that fails, fails again;
# `pytest --hypothesis-profile random` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("repeatable")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import all tests without the garbage collector, and keep it from what they imported.

    These objects live to the end of the run; to search them for cycles takes a third of the time
    of the collection.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line that counts the skipped tests and modules by reason."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_skip_reason(report.longrepr) for report in reports)
    if reasons:
        ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        counted = "; ".join(f"{count} x {reason}" for reason, count in ordered)
        terminalreporter.write_line(f"skipped {len(reports)}: {counted}")


def _skip_reason(longrepr: Any) -> str:
    """Return the reason of a skip: pytest gives (file, line, "Skipped: reason"), or a text."""
    text = longrepr[2] if isinstance(longrepr, tuple | list) else str(longrepr)
    return text.removeprefix("Skipped: ")


DEMO = Path(__file__).parents[1] / "manifests" / "mixtures" / "demo.yaml"
PUBLISHED = {"title": "A small one", "homepage": "https://example.org", "license": "CC0-1.0"}


def photo(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return an image of random coarse structure: two differ in about 32 of 64 bits."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of an image file."""
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def record(identity: Any, image: Any = None, answer: str = "A thing.") -> dict[str, Any]:
    """Return one record in LLaVA's form."""
    question = "What is it?" if image is None else "<image>\nWhat is it?"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": identity, **({} if image is None else {"image": image}), "conversations": turns}


class World:
    """A directory of manifests and upstream files in which a test builds mixtures."""

    def __init__(self, root: Path) -> None:
        self.data = DataDir(root / "data")
        self.manifests = root / "manifests"

    def manifest(self, room: str, name: str, **fields: Any) -> Path:
        path = self.manifests / room / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"name": name, **fields}), encoding="utf-8")
        return path

    def file(self, name: str, path: str, content: bytes) -> Path:
        """Write a file to data/raw/<name>/."""
        target = self.data.raw(name) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def source(self, name: str, records: Any, /, **fields: Any) -> None:
        """Add a source with one file of `records`, given as bytes or as values for JSON."""
        content = records if isinstance(records, bytes) else json.dumps(records).encode()
        self.file(name, "records.json", content)
        files = [{"path": "records.json", "by_hand": "put it there"}]
        stated = {**PUBLISHED, "layout": "llava", "records": ["records.json"], "files": files}
        self.manifest("sources", name, **{**stated, **fields})

    def images(self, name: str, files: Mapping[str, bytes], path: str | None = None) -> None:
        """Add a collection of loose images below `path`, as Samples name them."""
        for file, content in files.items():
            self.file(name, f"loose/{file}", content)
        folders = [{"path": path or name, "inside": "loose"}]
        self.manifest("images", name, **PUBLISHED, folders=folders)

    def benchmark(self, name: str, ids: Sequence[str], **fields: Any) -> None:
        """Add a benchmark whose images are <name>/<id>.png of the collection of its name."""
        self.file(name, "ids.json", json.dumps({"data": [{"image_id": i} for i in ids]}).encode())
        stated = {
            **PUBLISHED,
            "files": [{"path": "ids.json", "by_hand": "put it there"}],
            "id_files": ["ids.json"],
            "id_pattern": "(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])",
            "images": [name],
            "image_paths": [name + "/{id}.png"],
        }
        self.manifest("benchmarks", name, **{**stated, **fields})

    def build(self, quotas: Mapping[str, int], name: str = "small", **fields: Any) -> Build:
        self.data = self.data.of(name)
        parts = [{"source": s, "quota": q, "paper": q, "group": "All"} for s, q in quotas.items()]
        stated = {"title": "A small mixture", "seed": 7, "parts": parts, **fields}
        return Build(load_recipe(self.manifest("mixtures", name, **stated)), self.data)


def run(build: Build) -> dict[str, StageResult]:
    """Run every stage in order; return results by asset."""
    sources = [part.source for part in build.recipe.mixture.parts]
    done = {f"raw/{name}": build.raw(name) for name in build.published}
    done |= {f"records/{name}": build.records(name) for name in sources}
    done |= {f"benchmarks/{name}": build.benchmark(name) for name in build.recipe.benchmarks}
    for name in sources:
        done[f"images/{name}"] = build.images(name)
        done[f"screened/{name}"] = build.screened(name)
    done["mixture"] = build.mixture()
    if build.reports_duplicates:
        done["duplicates"] = write_duplicates_report(build)
    return {**done, "card": write_card(build)}


def built(results: Mapping[str, StageResult]) -> set[str]:
    """Return the assets that were built."""
    return {asset for asset, result in results.items() if result.built}


@pytest.fixture(scope="module")
def one_worker() -> Iterator[None]:
    """Run all work in this process: starting others takes longer than these small builds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        yield


@pytest.fixture
def world(tmp_path: Path, one_worker: None) -> World:
    return World(tmp_path)


TWIN = "00000000000000aa"


def lay_album(world: World) -> None:
    """Write four sources in which every outcome occurs; see `album`."""
    shown = {f"{n}.png": encoded(photo(n)) for n in range(8)}
    shown["cut.png"] = shown["0.png"][:-200]
    shown["again.jpg"] = encoded(photo(900), "JPEG", quality=70)
    world.images("photos", shown, path="photos")
    records = [record(n, f"photos/{n}.png", f"Number {n}.") for n in range(8)]
    records += [record(3, "photos/3.png", "Number 3.")]
    records += [record("x", f"photos/{name}") for name in ("cut.png", "missing.png", "again.jpg")]
    world.source("photos", records, images=["photos"])
    turns = record("t2")["conversations"]
    first = {"from": "gpt", "value": "Hello."}
    chats = [record("t1"), {"id": "t2", "conversations": [first, *turns]}, record("t3", None, " ")]
    world.source("chats", [*chats, "no record"], license="CC-BY-4.0", license_note="of\nthe words")
    asked = {"image": "1.png", "data_split": "train"}
    questions = [
        {"questionId": 10, "question": "Which colour?", "answers": ["red", "pink"], **asked},
        {"questionId": 11, "question": "Which shape?", "answers": ["square"], **asked},
    ]
    world.source(
        *("pages", {"data": questions}),
        layout="docvqa",
        image_prefix="photos/",
        images=["photos"],
    )
    prompt = "Provide a caption."
    captions = [record(n, answer=f"Caption {n}.") for n in range(3)]
    for caption in captions:
        caption["conversations"][0]["value"] = prompt
    world.source("captions", captions)
    world.benchmark("quiz", [TWIN])
    world.images("quiz", {f"{TWIN}.png": encoded(photo(900))})


ALBUM_QUOTAS = {"photos": 8, "chats": 9, "pages": 1, "captions": 2}
ALBUM_RULES = {
    "decontaminate": [{"benchmark": "quiz", "max_distance_bits": 10}],
    "exclusions": [
        {"name": "captions", "source": "captions", "image_prefix": "none/", "prompt": "Provide a"}
        | {"subset": "captioned", "because": "They are not wanted."}
    ],
    "shard_rows": 4,
}


@pytest.fixture(scope="session")
def built_album(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return the world of `lay_album` with its mixture built; copy it before you change it.

    `photos`: 12 records, quota 8: one exact repeat, one broken, one missing and one benchmark
    image. `chats`: 4 records of which one is mended, one empty, one no record. `pages`: two
    questions on one image. `captions`: excluded, all three.
    """
    world = World(tmp_path_factory.mktemp("album"))
    lay_album(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        run(world.build(ALBUM_QUOTAS, **ALBUM_RULES))
    return world


@pytest.fixture(scope="session")
def album(built_album: World) -> Path:
    """Return the folder of the mixture of `built_album`; copy it before you damage it."""
    return built_album.data.mixture("small")


@pytest.fixture
def laid(built_album: World, tmp_path: Path, one_worker: None) -> World:
    """Return a copy of `built_album` to change."""
    # With the times of the files, which stamps record.
    shutil.copytree(built_album.manifests.parent, tmp_path, dirs_exist_ok=True)
    world = World(tmp_path)
    world.data = world.data.of("small")
    return world


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def drawn_demo(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Return the demo's drawn files and their stamp alone; write nothing to them.

    They are drawn once for all processes of a run.
    """
    base = shared_folder(tmp_path_factory)
    data = DataDir(base / "drawn_demo")
    with FileLock(base / "drawn_demo.lock"):
        draw_demo(Build(load_recipe(DEMO), data))
    return data


def link_world(drawn: DataDir, root: Path) -> None:
    """Give a new data directory the same drawn files; replace them instead of writing to them."""
    shutil.copytree(drawn.raw(""), root / "raw", copy_function=os.link)
    (root / ".stamps").mkdir()
    shutil.copy(drawn.stamp("world"), root / ".stamps" / "world.json")


def demo_with_world_of(drawn: DataDir, root: Path) -> Build:
    """Return the demo's build in a new directory `root` with the same drawn files."""
    link_world(drawn, root)
    return Build(load_recipe(DEMO), DataDir(root))


@pytest.fixture(scope="session")
def built_demo(drawn_demo: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return the demo's mixture, built by four local workers; write nothing to it.

    It is built once for all processes of a run.
    """
    root = shared_folder(tmp_path_factory) / "built_demo"
    with FileLock(root.with_suffix(".lock")), pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "4")
        patch.setenv("IMP_ENGINE", "local")
        build = Build(load_recipe(DEMO), DataDir(root))
        if not build.data.stamp("world").exists():
            link_world(drawn_demo, root)
        rebuild(build)
    return build
