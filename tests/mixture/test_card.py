"""The dataset card states what mixture.json states, in a form that the Hub and people read."""

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, lay_album, record, run
from datasets import Features, load_dataset_builder, load_from_disk
from huggingface_hub import DatasetCard

from imp_data.manifests import Mixture, load_manifest
from imp_data.mixture.card import is_card, metadata, render_card
from imp_data.mixture.mixture_json import manifest_digest
from imp_data.pipeline.card_stage import write_card
from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.storage.atomic_write import json_text

ROOT = Path(__file__).parents[2]


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return {heading: rows of the table below it, header first}; an escaped bar ends no cell."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("|---"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.setdefault(heading, []).append([cell.strip() for cell in cells])
    return found


def number(cell: str) -> int:
    return int(cell.strip("*").replace(",", "").split(" ")[0])


@pytest.fixture(scope="module")
def card(album: Path) -> str:
    return (album / "README.md").read_text(encoding="utf-8")


def test_the_hub_reads_the_metadata(card: str, album: Path) -> None:
    data = DatasetCard(card).data
    assert (data.license, data.language) == ("other", ["en"])
    assert data.size_categories == ["n<1K"]
    assert "visual-question-answering" in data.task_categories
    size = sum(path.stat().st_size for path in album.glob("*.arrow"))
    info = data.dataset_info
    assert info["splits"] == [{"name": "train", "num_bytes": size, "num_examples": 11}]
    assert (info["download_size"], info["dataset_size"]) == (size, size)


def test_its_features_are_those_of_the_dataset(card: str, album: Path) -> None:
    stated = DatasetCard(card).data.dataset_info["features"]
    assert Features._from_yaml_list(stated) == load_from_disk(str(album)).features


def test_a_copy_of_the_folder_loads_as_from_the_hub(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    builder = load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache"))
    assert builder.info.features == load_from_disk(str(album)).features
    assert builder.info.splits["train"].num_examples == 11


def test_the_composition_adds_up(card: str) -> None:
    header, *parts, total = tables(card)["Composition"]
    assert header == ["part", "source", "paper", "quota", "samples"]
    assert [number(part[4]) for part in parts] == [8, 2, 1, 0]
    assert [number(part[3]) for part in parts] == list(ALBUM_QUOTAS.values())
    for column in (2, 3, 4):
        assert number(total[column]) == sum(number(part[column]) for part in parts)
    short = [part[4] for part in parts if "all there are" in part[4]]
    assert short == ["2 (all there are)", "0 (all there are)"]


def test_every_row_read_is_accounted_for(card: str) -> None:
    _, *rows = tables(card)["Outcomes of the records"]
    found = {name: [number(cell) for cell in cells] for name, *cells in rows}
    assert found == {
        "photos": [12, 8, 1, 3, 8],
        "chats": [4, 2, 0, 2, 2],
        "pages": [2, 2, 0, 0, 1],
        "captions": [3, 0, 0, 3, 0],
    }
    text = " ".join(card.split())
    assert "of 21 rows read, 12 went into the samples, 1 were held back by a quota, and 8" in text


def test_dropped_and_repaired_records_are_counted_by_reason_and_source(card: str) -> None:
    _, *losses = tables(card)["Dropped records by reason"]
    assert [(name, count, where) for name, _, count, where in losses] == [
        ("`excluded`", "3", "captions 3"),
        ("`benchmark_hash`", "1", "photos 1"),
        ("`empty_value`", "1", "chats 1"),
        ("`image_missing`", "1", "photos 1"),
        ("`image_truncated`", "1", "photos 1"),
        ("`wrong_type`", "1", "chats 1"),
    ]
    repair = ["`leading_gpt_removed`", "A first turn by gpt was removed.", "1", "chats 1"]
    assert tables(card)["Repaired records by kind of repair"][1:] == [repair]


def test_the_licence_of_each_source_is_stated(card: str) -> None:
    assert tables(card)["Licences"][1:] == [
        ["photos", "CC0-1.0", ""],
        ["chats", "CC-BY-4.0", "of the words"],
        ["pages", "CC0-1.0", ""],
        ["captions", "CC0-1.0", ""],
    ]


def test_exclusions_are_stated(card: str) -> None:
    text = " ".join(card.split())
    assert "* **captions** of captions: 3 records. They are not wanted." in text
    assert "* **quiz**: 1 images by id, 1 of them also by their bytes" in text
    assert "within 10 of 64 bits" in text
    assert "Not checked" not in text


def test_the_recall_of_altered_copies_is_stated(card: str) -> None:
    section = card.partition("### Recall of altered quiz images")[2].partition("\n## ")[0]
    assert "1 of its images were altered" in section
    assert "Of 0 pairs of a\ncopy and another image, 0 match" in section
    found = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    rows = {name: share for name, share, *_ in found}
    assert (rows["PNG"], rows["mirrored"], len(rows)) == ("100.0", "0.0", len(ALTERATIONS) + 7)
    assert found[1] == ["A: re-encoding, size, tone, blur, noise", "100.0", "90.1–100.0"]


def test_deferred_images_are_stated_before_the_first_section(world: World) -> None:
    lay_album(world)
    run(world.build(ALBUM_QUOTAS, **{**ALBUM_RULES, "images": "deferred"}))
    text = (world.data.mixture("small") / "README.md").read_text()
    before, after = text.split("> **Not checked**")
    assert "## " not in before
    notes = after[: after.index("## Composition")]
    assert notes.count("> * ") == 4
    assert "> * Images were deferred: none was opened.\n" in notes
    assert "* **quiz**: 1 images by id. The ledger names" in text


def test_all_but_the_last_section_is_a_pure_function_of_mixture_json(
    album: Path, card: str, tmp_path: Path
) -> None:
    shutil.copy(album / "mixture.json", tmp_path)
    assert card.startswith(render_card(tmp_path))
    assert card.removeprefix(render_card(tmp_path)).startswith(
        "\n## Near-duplicates and conflicting answers\n"
    )
    assert is_card(card, tmp_path) and is_card(render_card(tmp_path), tmp_path)


def test_a_bar_in_a_title_or_a_note_does_not_break_a_table(world: World) -> None:
    world.source("chats", [record(1)], title="Cats | dogs", license_note="ours | yours")
    run(world.build({"chats": 1}))
    found = tables((world.data.mixture("small") / "README.md").read_text())
    assert {len(row) for row in found["Composition"]} == {5}
    assert {len(row) for row in found["Licences"]} == {3}


def test_unconfirmed_statements_and_subsets_are_listed(
    world: World,
) -> None:
    records = [record(1, "coco/1.jpg"), record(2), record(3)]
    unconfirmed = ["That it is so."]
    world.source("mixed", records, subsets="mix665k", unverified=unconfirmed)
    run(world.build({"mixed": 3}, images="deferred"))
    text = (world.data.mixture("small") / "README.md").read_text()
    assert "* mixed: That it is so.\n" in text
    assert "`mixed` by subset: llava_instruct 1, sharegpt 2.\n" in text


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        *((0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (1_005_345, "1M<n<10M")),
        *((999_999, "100K<n<1M"), (10_000_000, "n>10M")),
    ],
)
def test_the_size_category_is_one_of_the_hub(rows: int, category: str) -> None:
    manifest: dict[str, Any] = {"rows": rows, "title": "T", "files": {}}
    assert metadata(manifest)["size_categories"] == [category]


@pytest.mark.parametrize("path", sorted((ROOT / "manifests" / "mixtures").glob("*.yaml")))
def test_the_command_that_rebuilds_the_mixture_is_stated(
    path: Path, album: Path, tmp_path: Path
) -> None:
    mixture = load_manifest(path, Mixture)
    manifest = orjson.loads((album / "mixture.json").read_bytes())
    stated = {**manifest, "name": mixture.name, "drawn": mixture.drawn}
    text = json_text({**stated, "digest": manifest_digest(stated)})
    (tmp_path / "mixture.json").write_text(text)
    command = render_card(tmp_path).split("```sh\n")[1].splitlines()[0]
    where = path.relative_to(ROOT)
    assert command == ("make demo" if mixture.drawn else f"IMP_MIXTURE={where} make build")


def test_the_metadata_is_that_of_the_function(album: Path) -> None:
    stated = yaml.safe_load((album / "README.md").read_text().split("---\n")[1])
    assert stated == metadata(orjson.loads((album / "mixture.json").read_bytes()))


def test_an_unchanged_card_is_written_once(world: World) -> None:
    world.source("chats", [record(1)])
    build = world.build({"chats": 1})
    assert run(build)["card"].built
    assert not write_card(build).built
