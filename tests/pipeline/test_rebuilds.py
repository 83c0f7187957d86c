"""A change rebuilds the stages that depend on it, and no others."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from conftest import (
    ALBUM_QUOTAS,
    ALBUM_RULES,
    TWIN,
    World,
    built,
    encoded,
    lay_album,
    photo,
    record,
    run,
)
from datasets import load_from_disk

from imp_data.errors import UserError
from imp_data.mixture.verify import verify
from imp_data.pipeline.card_stage import write_card
from imp_data.pipeline.checks import mixture_checks, screened_checks

AFTER_PHOTOS = {"images/photos", "screened/photos", "mixture", "duplicates", "card"}


def rebuilt(world: World, **changes: object) -> set[str]:
    """Return the stages that another build runs, with other quotas or rules."""
    quotas = {**ALBUM_QUOTAS, **{s: q for s, q in changes.items() if s in ALBUM_QUOTAS}}
    rules = {**ALBUM_RULES, **{s: r for s, r in changes.items() if s not in ALBUM_QUOTAS}}
    return built(run(world.build(quotas, **rules)))


def outcomes(world: World, source: str = "photos") -> dict[str, str]:
    """Return {upstream id: last outcome} of a source."""
    ledger = pl.read_parquet(world.data.mixture("small") / "ledger.parquet")
    return {r["upstream_id"]: r["outcome"] for r in ledger.filter(source=source).to_dicts()}


def overwrite_unnoticed(path: Path) -> None:
    """Write other bytes with the same size and time: only opening the file reveals them."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_without_a_change_nothing_is_built(laid: World) -> None:
    assert rebuilt(laid) == set()


def test_another_quota_rebuilds_its_source_and_the_mixture(laid: World) -> None:
    assert rebuilt(laid, photos=3) == AFTER_PHOTOS
    assert list(outcomes(laid).values()).count("kept") == 3
    assert rebuilt(laid, photos=3) == set()


def test_another_engine_rebuilds_nothing(laid: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMP_ENGINE", raising=False)
    calls: list[str] = []

    def on_ray(function: Any, pieces: Any, *_: Any) -> Any:
        calls.append(getattr(function, "func", function).__name__)
        return map(function, pieces)

    monkeypatch.setattr("imp_data.parallel.ray.map_on_ray", on_ray)
    assert rebuilt(laid, engine="ray") == set()
    before = verified_digest(laid)
    shutil.rmtree(laid.data.root / ".stamps")
    assert len(rebuilt(laid, engine="ray")) == len(run(laid.build(ALBUM_QUOTAS, **ALBUM_RULES)))
    assert set(calls) == {
        *("_hash_names", "process_chunk", "_fingerprints", "_alter_one", "_read_imagehash"),
        *("_screen_batches", "_scatter", "_assemble", "_read_shard"),
    }
    assert verified_digest(laid) == before
    calls.clear()
    assert rebuilt(laid, photos=3) == AFTER_PHOTOS and not calls


def verified_digest(world: World) -> str:
    folder = world.data.mixture("small")
    assert verify(folder) == []
    digest: str = orjson.loads((folder / "mixture.json").read_bytes())["digest"]
    return digest


def test_mixtures_built_in_turn_rebuild_nothing(laid: World) -> None:
    """Two mixtures with other quotas and rules in one data directory."""
    other = {"exclusions": [], "seed": 8}
    first = laid.build(ALBUM_QUOTAS, **ALBUM_RULES)
    second = laid.build({"photos": 3, "chats": 1}, name="other", **{**ALBUM_RULES, **other})
    assert run(second)["mixture"].figures["rows"] == 4
    for build in (first, second, first):
        assert built(run(build)) == set()
        assert verify(build.data.mixture(build.name)) == []


def test_a_second_mixture_reuses_the_fingerprints(laid: World) -> None:
    for path in (laid.data.raw("photos") / "loose").iterdir():
        overwrite_unnoticed(path)
    second = laid.build({**ALBUM_QUOTAS, "photos": 5}, name="other", **ALBUM_RULES)
    assert run(second)["images/photos"].figures["statuses"].keys() <= {"ok", "missing", "truncated"}
    assert second.figures("mixture")["parts"][0]["samples"] == 5


def test_other_records_rebuild_their_source_and_the_mixture(laid: World) -> None:
    laid.source("chats", [record("t9")], license="CC-BY-4.0")
    stages = {f"{stage}/chats" for stage in ("raw", "records", "images", "screened")}
    assert rebuilt(laid) == {*stages, "mixture", "duplicates", "card"}
    assert outcomes(laid, "chats") == {"t9": "kept"}


def test_another_title_rebuilds_only_the_mixture(laid: World) -> None:
    assert rebuilt(laid, title="Another title") == {"mixture", "duplicates", "card"}


def test_another_benchmark_image_is_found_without_opening_known_images(
    laid: World,
) -> None:
    loose = laid.data.raw("photos") / "loose"
    for n in range(1, 8):  # the sampling did not reach 0.png
        overwrite_unnoticed(loose / f"{n}.png")
    laid.benchmark("quiz", [TWIN, "00000000000000cc"])
    laid.images("quiz", {"00000000000000cc.png": encoded(photo(5))})
    screened = {f"{stage}/{s}" for stage in ("images", "screened") for s in ALBUM_QUOTAS}
    raw = {"raw/quiz", "benchmarks/quiz"}
    assert rebuilt(laid) == {*screened, *raw, "mixture", "duplicates", "card"}
    kept = {"0", "1", "2", "3", "4", "6", "7"}
    assert {i for i, outcome in outcomes(laid).items() if outcome == "kept"} == kept
    assert outcomes(laid)["5"] == "dropped"


def test_a_smaller_quota_opens_no_image(laid: World) -> None:
    for path in (laid.data.raw("photos") / "loose").iterdir():
        overwrite_unnoticed(path)
    assert rebuilt(laid, photos=5) == AFTER_PHOTOS
    assert list(outcomes(laid).values()).count("kept") == 5


def test_a_replaced_image_is_fingerprinted_again(laid: World) -> None:
    replaced = laid.file("photos", "loose/1.png", encoded(photo(77, (50, 60))))
    os.utime(replaced, ns=(1, 1))
    assert "images/photos" in rebuilt(laid)
    assert {
        (row["image_width"], row["image_height"])
        for row in load_from_disk(str(laid.data.mixture("small")))
        if row["image"] == "photos/1.png"
    } == {(50, 60)}


def test_a_manually_unpacked_image_is_noticed(laid: World) -> None:
    unpacked = laid.data.images / "photos" / "missing.png"
    unpacked.parent.mkdir(parents=True)
    unpacked.write_bytes(encoded(photo(55)))
    assert "images/photos" in rebuilt(laid, photos=9)
    assert (
        pl.read_parquet(laid.data.fingerprints("small", "photos"))
        .filter(status="missing")
        .is_empty()
    )


def test_a_replaced_archive_is_read_again(world: World) -> None:
    def lay(image: bytes) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("in/1.png", image)
        world.file("zipped", "p.zip", out.getvalue())

    lay(encoded(photo(1)))
    stated = {"title": "Z", "homepage": "https://example.org", "license": "CC0-1.0"}
    files = [{"path": "p.zip", "by_hand": "put it there"}]
    folders = [{"path": "zipped", "file": "p.zip", "inside": "in"}]
    world.manifest("images", "zipped", **stated, files=files, folders=folders)
    world.source("photos", [record(1, "zipped/1.png")], images=["zipped"])
    run(world.build({"photos": 1}))
    lay(encoded(photo(2, (50, 60))))
    lock = world.manifests / "images" / "zipped.lock"
    with pytest.raises(UserError, match=r"p\.zip: has [\d,]+ bytes, .*zipped\.lock, line 1 says"):
        run(world.build({"photos": 1}))
    lock.write_text("")  # accept the replaced file
    assert built(run(world.build({"photos": 1}))) == {"raw/zipped", *AFTER_PHOTOS}
    assert load_from_disk(str(world.data.mixture("small")))[0]["image_width"] == 50


def test_an_archive_is_unpacked_once(world: World) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1.png", encoded(photo(1)))
    world.file("zipped", "p.zip", out.getvalue())
    stated = {"title": "Z", "homepage": "https://example.org", "license": "CC0-1.0"}
    files = [{"path": "p.zip", "by_hand": "put it there", "unpack": ["*.png"]}]
    world.manifest("images", "zipped", **stated, files=files, folders=[{"path": "zipped"}])
    world.source("photos", [record(1, "zipped/1.png")], images=["zipped"])
    assert run(world.build({"photos": 1}))["mixture"].figures["rows"] == 1
    assert built(run(world.build({"photos": 1}))) == set()


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.unlink(), lambda path: path.write_bytes(b"damaged")],
    ids=["deleted", "damaged"],
)
@pytest.mark.parametrize(
    "file",
    [
        *("records/small/photos.arrow", "ledger/small/photos.parquet"),
        "fingerprints/small/photos.parquet",
        *(
            "benchmarks/small/quiz.parquet",
            "screened/small/photos.arrow",
            "mixtures/small/ledger.parquet",
        ),
        *("mixtures/small/mixture.json", "mixtures/small/data-00001-of-00003.arrow"),
        *("mixtures/small/dataset_info.json", "mixtures/small/README.md"),
        *("reports/small/duplicates.json", "reports/small/duplicates.md"),
    ],
)
def test_a_deleted_or_damaged_file_is_built_again(
    file: str, damage: Callable[[Path], object], laid: World
) -> None:
    path = laid.data.root / file
    whole = path.read_bytes()
    damage(path)
    rebuilt(laid)
    assert path.read_bytes() == whole
    assert verify(laid.data.mixture("small")) == []
    assert rebuilt(laid) == set()


def test_a_stage_without_a_built_input_is_an_error(world: World) -> None:
    lay_album(world)
    build = world.build(ALBUM_QUOTAS, **ALBUM_RULES)
    with pytest.raises(UserError, match="raw/photos: has not been built"):
        build.records("photos")


def test_a_stage_with_a_stale_input_is_an_error(laid: World) -> None:
    run(laid.build({**ALBUM_QUOTAS, "photos": 2}, **ALBUM_RULES))
    build = laid.build({**ALBUM_QUOTAS, "photos": 9}, **ALBUM_RULES)
    with pytest.raises(UserError, match="images/photos"):
        build.screened("photos")


def without_images(world: World) -> None:
    lay_album(world)
    for collection in ("photos", "quiz"):
        for image in (world.data.raw(collection) / "loose").iterdir():
            image.unlink()
    named = record("named", f"photos/share_{TWIN}.jpg")
    world.source("photos", [record(0, "photos/0.png"), named], images=["photos"])


def test_deferred_images_are_not_needed_and_manifest_and_card_state_it(world: World) -> None:
    without_images(world)
    build = world.build({"photos": 9}, images="deferred", decontaminate=RULE)
    results = run(build)
    folder = world.data.mixture("small")
    assert outcomes(world) == {"0": "kept", "named": "dropped"}
    row = load_from_disk(str(folder))[0]
    assert [row[f"image_{name}"] for name in ("sha256", "width", "height")] == [None] * 3
    manifest = orjson.loads((folder / "mixture.json").read_bytes())
    assert manifest["images"] == "deferred"
    assert manifest["not_checked"][0] == "Images were deferred: none was opened."
    card = (folder / "README.md").read_text()
    assert all(f"> * {line}" in card for line in manifest["not_checked"])
    assert len(manifest["not_checked"]) == 4
    assert results["images/photos"].figures == {"images": 0, "statuses": {}, "deferred": True}
    checks = [*screened_checks(build, "photos"), *mixture_checks(build)]
    assert [c.name for c in checks if not c.find().passed] == ["quotas_filled"]
    assert verify(folder) == []
    assert built(run(build)) == set()


RULE = ALBUM_RULES["decontaminate"]


def test_deferred_images_are_fingerprinted_once_they_are_required(world: World) -> None:
    without_images(world)
    run(world.build({"photos": 9}, images="deferred", decontaminate=RULE))
    lay_album(world)
    results = run(world.build(ALBUM_QUOTAS, **ALBUM_RULES))
    assert results["mixture"].figures["rows"] == 11
    assert "Not checked" not in (world.data.mixture("small") / "README.md").read_text()
    assert not write_card(world.build(ALBUM_QUOTAS, **ALBUM_RULES)).built
