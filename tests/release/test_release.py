"""A release has the mixture's samples with their images, as Parquet that everyone opens."""

import json
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import World, encoded, photo, record, run
from datasets import load_dataset

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.release.run import ReleaseOptions, write_release
from imp_data.release.sharing import SharingChoice, allows_sharing

# typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main


def released(world: World, out: Path, **options: Any) -> dict[str, Any]:
    """The release.json of the small mixture."""
    chosen = ReleaseOptions(world.manifests, **options)
    return write_release(world.data.mixture("small"), out, chosen)


def contents(out: Path) -> dict[str, bytes]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def rows_of(out: Path, config: str = "data") -> list[dict[str, Any]]:
    files = sorted((out / config).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_each_sample_has_the_bytes_that_upstream_published(laid: World, tmp_path: Path) -> None:
    released(laid, tmp_path / "out")
    batches = mixture_batches(laid.data.mixture("small"))
    samples = [row for batch in batches for row in batch.to_pylist()]
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [sample["id"] for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        assert row["image_path"] == sample["image"]
        if sample["image"] is None:
            assert row["image"] is None
        else:
            own = laid.data.raw("photos") / "loose" / sample["image"].removeprefix("photos/")
            assert row["image"] == {"bytes": own.read_bytes(), "path": sample["image"]}
            assert sha256(row["image"]["bytes"]).hexdigest() == row["image_sha256"]


def test_datasets_opens_it_as_images_also_streaming(laid: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    released(laid, out)
    cache = str(tmp_path / "cache")
    whole = load_dataset(str(out), split="train", cache_dir=cache)
    streamed = list(load_dataset(str(out), split="train", streaming=True))
    assert whole["id"] == [row["id"] for row in streamed]
    for row in streamed:
        assert (row["image"] is None) == (row["image_path"] is None)
        if row["image"] is not None:
            assert row["image"].size == (row["image_width"], row["image_height"])


def test_the_ledger_is_a_config_of_its_own(laid: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    released(laid, out)
    ledger = load_dataset(str(out), "ledger", split="train", cache_dir=str(tmp_path / "cache"))
    own = pq.read_table(laid.data.mixture("small") / "ledger.parquet")
    assert ledger["outcome"] == own["outcome"].to_pylist()


def test_the_text_alone_has_the_same_samples(laid: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    released(laid, out)
    text = pl.read_parquet(out / "text" / "*.parquet")
    assert text["id"].to_list() == [row["id"] for row in rows_of(out)]
    assert "image" not in text.columns
    assert text["conversations"].to_list() == [row["conversations"] for row in rows_of(out)]


def test_a_second_release_has_the_same_bytes_and_keeps_your_own_files(
    laid: World, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    released(laid, out)
    first = contents(out)
    (out / "notes.txt").write_text("mine")
    released(laid, out)
    assert contents(out) == {**first, "notes.txt": b"mine"}


def test_release_json_states_each_file(laid: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stated = released(laid, out)
    found = contents(out)
    assert json.loads(found.pop("release.json")) == stated
    assert stated["files"] == {
        name: {"bytes": len(data), "sha256": sha256(data).hexdigest()}
        for name, data in found.items()
    }


def test_files_stay_below_their_size_and_rows_keep_their_order(laid: World, tmp_path: Path) -> None:
    released(laid, tmp_path / "one")
    released(laid, tmp_path / "many", shard_bytes=20_000)
    files = sorted((tmp_path / "many" / "data").iterdir())
    assert len(files) > 1
    assert files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    assert rows_of(tmp_path / "many") == rows_of(tmp_path / "one")


def test_images_whose_licence_is_no_permission_are_left_out(laid: World, tmp_path: Path) -> None:
    path = laid.manifests / "images" / "photos.yaml"
    path.write_text(path.read_text().replace("CC0-1.0", "Flickr terms, by image"))
    stated = released(laid, tmp_path / "out")
    shown = sum(row["image_path"] is not None for row in rows_of(tmp_path / "out"))
    assert stated["images"] == [
        {
            "origin": "photos",
            "license": "Flickr terms, by image",
            "images": shown,
            "included": False,
        }
    ]
    assert {row["image"] for row in rows_of(tmp_path / "out")} == {None}
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| photos | Flickr terms, by image | {shown} | no |" in card
    with_them = released(
        laid, tmp_path / "all", choice=SharingChoice.of(include=["photos"], exclude=[])
    )
    assert with_them["images"][0]["included"]


@pytest.mark.parametrize(
    ("license", "allowed"),
    [
        ("CC0-1.0", True),
        ("CC-BY-4.0", True),
        ("CC-BY-NC-SA-4.0", True),
        ("MIT", True),
        ("Flickr terms, by image", False),
        ("not stated", False),
        ("academic use only", False),
        ("", False),
    ],
)
def test_only_a_licence_that_says_so_allows_to_pass_images_on(license: str, allowed: bool) -> None:
    assert allows_sharing(license) is allowed


def test_samples_of_several_images_have_a_list_of_them(world: World, tmp_path: Path) -> None:
    shown = {f"{n}.png": encoded(photo(n)) for n in range(2)}
    world.images("photos", shown)
    pair = {
        "id": "pair",
        "images": ["photos/0.png", "photos/1.png"],
        "conversations": [
            {"from": "human", "value": "<image> or <image>?"},
            {"from": "gpt", "value": "The first."},
        ],
    }
    samples = [pair, record("one", "photos/1.png"), record("none")]
    world.source("chats", samples, images=["photos"], max_images=2)
    run(world.build({"chats": 3}))
    released(world, tmp_path / "out")
    rows = {row["upstream_id"]: row for row in rows_of(tmp_path / "out")}
    images = {i: [cell["bytes"] for cell in row["images"]] for i, row in rows.items()}
    assert images == {"pair": [*shown.values()], "one": [shown["1.png"]], "none": []}
    loaded = load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    sizes = {row["upstream_id"]: [image.size for image in row["images"]] for row in loaded}
    assert sizes == {"pair": [(96, 72)] * 2, "one": [(96, 72)], "none": []}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.write_bytes(encoded(photo(99))), "has changed since the mixture was"),
        (lambda path: path.unlink(), "is not there any more"),
    ],
)
def test_an_image_that_is_no_longer_the_built_one_is_an_error_that_names_it(
    change: Any, problem: str, laid: World, tmp_path: Path
) -> None:
    change(laid.data.raw("photos") / "loose" / "2.png")
    with pytest.raises(UserError) as error:
        released(laid, tmp_path / "out")
    assert error.value.where == "photos/2.png"
    assert problem in error.value.problem
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_misspelled_collection_is_an_error_and_not_ignored(
    option: str, laid: World, tmp_path: Path
) -> None:
    names = {"include": [], "exclude": []} | {option: ["fotos"]}
    with pytest.raises(UserError, match="is no collection of images or source") as error:
        released(laid, tmp_path / "out", choice=SharingChoice.of(**names))
    assert error.value.where == "fotos"
    assert not (tmp_path / "out").exists()


def test_images_of_a_named_collection_are_left_out(laid: World, tmp_path: Path) -> None:
    choice = SharingChoice.of(include=[], exclude=["photos"])
    stated = released(laid, tmp_path / "out", choice=choice)
    assert [one["included"] for one in stated["images"]] == [False]
    assert {row["image"] for row in rows_of(tmp_path / "out")} == {None}


def test_a_folder_of_other_files_is_not_written_to(laid: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="has other files"):
        released(laid, out)
    with pytest.raises(UserError, match="is the mixture's own folder"):
        released(laid, laid.data.mixture("small"))


def test_a_mixture_without_its_images_cannot_be_released(world: World, tmp_path: Path) -> None:
    world.source("chats", [record("1")])
    run(world.build({"chats": 1}, images="deferred"))
    with pytest.raises(UserError, match="its images were deferred"):
        released(world, tmp_path / "out")


def test_the_command_reports_what_the_release_has(
    laid: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ["release", laid.data.mixture("small"), "-o", out, "--manifests", laid.manifests]
    monkeypatch.setattr("sys.argv", ["imp-data", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 0
    assert lines[0].startswith(f"{out}: ")
    assert lines[1].endswith(" images of photos (CC0-1.0): included")
