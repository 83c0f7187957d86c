"""The demo world has upstream's files in upstream's formats, true answers and planted faults."""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, List
from datasets import Image as ImageFeature
from PIL import Image

from demo.drawing.ink import COLOURS
from demo.faults.catalogue import PLANTED
from demo.faults.planted import SEED, Planted
from demo.sources import ai2d, charts, llava, pages, textvqa
from imp_data.images.reader import ImageReader
from imp_data.ledger import Outcome, Reason
from imp_data.manifests import Publication, load_recipe
from imp_data.raw.fetch import fetch_files
from imp_data.records.build import build_records
from imp_data.sample import images_of
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.tables import read_batches

MIXTURES = Path(__file__).parents[2] / "manifests" / "mixtures"
RECIPE = load_recipe(MIXTURES / "demo.yaml")
# ShareGPT4V's COCO images end before 218, planted ones begin at 300.
COCO_INDICES = [*range(218), *range(300, 360)]
VG_INDICES = [*range(110), 300, 340, 341]
SOURCES = list(RECIPE.sources)
IMAGE_REASONS = {r for r in Reason if r.startswith("image_")}
SCREENING_REASONS = {*IMAGE_REASONS, *(r for r in Reason if r.startswith("benchmark_"))}


class Reading(NamedTuple):
    """The output of the records stage for a source."""

    figures: dict[str, Any]
    ledger: list[dict[str, Any]]
    samples: list[dict[str, Any]]

    def row(self, planted: Planted) -> dict[str, Any]:
        """Return the one ledger row of a planted record."""
        rows = [
            row
            for row in self.ledger
            if planted.ordinal == row["ordinal"]
            or (planted.ordinal is None and planted.upstream_id == row["upstream_id"])
        ]
        assert len(rows) == 1, planted
        return rows[0]


def published() -> list[Publication]:
    cards = load_recipe(MIXTURES / "demo-cards.yaml")
    kinds = (RECIPE.sources, RECIPE.benchmarks, RECIPE.images, cards.sources, cards.images)
    return [manifest for kind in kinds for manifest in kind.values()]


def planted_in(source: str) -> list[Planted]:
    return [planted for planted in PLANTED if planted.source == source]


@pytest.fixture(scope="session")
def drawn_world(drawn_demo: DataDir) -> Path:
    """Return the raw folder of the drawn world, which is read-only."""
    return drawn_demo.raw("")


@pytest.fixture(scope="session")
def unpacked_world(drawn_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the drawn files with the unpacked ones beside them."""
    raw = tmp_path_factory.mktemp("unpacked")
    for manifest in published():
        files = [f.model_copy(update={"bytes": None, "sha256": None}) for f in manifest.files]
        for file in files:
            target = raw / manifest.name / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.hardlink_to(drawn_world / manifest.name / file.path)
        fetch_files([manifest.model_copy(update={"files": tuple(files)})], raw / manifest.name)
    return raw


@pytest.fixture(scope="session")
def readings(
    unpacked_world: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Reading]]:
    out = tmp_path_factory.mktemp("read")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        for name, source in RECIPE.sources.items():
            paths = out / f"{name}.arrow", out / f"{name}.parquet"
            limits = RECIPE.mixture.limits
            figures = build_records(source, unpacked_world / name, limits, *paths)
            samples = [s for batch in read_batches(paths[0]) for s in batch.to_pylist()]
            found[name] = Reading(figures, pq.read_table(paths[1]).to_pylist(), samples)
    yield found


def test_the_world_has_exactly_the_files_of_the_manifests(drawn_world: Path) -> None:
    drawn = [path for path in drawn_world.rglob("*") if path.is_file()]
    assert {path.relative_to(drawn_world).as_posix() for path in drawn} == {
        f"{manifest.name}/{f.path}" for manifest in published() for f in manifest.files
    }
    assert sum(path.stat().st_size for path in drawn) < 100_000_000


def test_the_mix_has_665_records_without_a_fault() -> None:
    assert sum(llava.CLEAN.values()) == len(llava.entries()) == 665


@pytest.mark.parametrize("source", SOURCES)
def test_rows_and_subsets_have_the_counts_of_the_recipe(
    source: str, readings: dict[str, Reading]
) -> None:
    expected, figures = RECIPE.part(source).expect, readings[source].figures
    assert figures["rows"] == expected.rows
    assert not expected.subsets or figures["subsets"] == expected.subsets


@pytest.mark.parametrize("source", SOURCES)
def test_only_planted_records_are_dropped(source: str, readings: dict[str, Reading]) -> None:
    planted = {
        readings[source].row(p)["ordinal"]: p.reason
        for p in planted_in(source)
        if p.outcome == Outcome.DROPPED and p.reason not in SCREENING_REASONS
    }
    refused = {row["ordinal"]: row["reason"] for row in readings[source].ledger if row["reason"]}
    if source == "ai2d":  # PLANTED has one question of each test image
        for row in readings[source].ledger:
            if row["upstream_id"].split(".")[0] in map(str, ai2d.TEST):
                planted.pop(row["ordinal"], None)
                assert refused.pop(row["ordinal"]) == Reason.HELD_OUT_SPLIT
    assert refused == planted


@pytest.mark.parametrize(
    "planted", PLANTED, ids=lambda planted: f"{planted.source}: {planted.what}"
)
def test_planted_records_have_their_ids_and_repairs(
    planted: Planted, readings: dict[str, Reading]
) -> None:
    row = readings[planted.source].row(planted)
    assert row["upstream_id"] == planted.upstream_id
    repairs = [repair["repair"] for repair in row["repairs"]]
    assert repairs == ([planted.repair] if planted.repair else [])


@pytest.mark.parametrize("source", SOURCES)
def test_sampling_reaches_every_planted_record_whose_outcome_depends_on_it(
    source: str, readings: dict[str, Reading]
) -> None:
    ids = [
        sample["id"]
        for sample in readings[source].samples
        if not (source == "llava_665k" and sample["subset"] == "textcaps")
    ]
    keys = xxh3_keys(RECIPE.mixture.seed, ids)
    quota = RECIPE.part(source).quota
    most = len(ids) if quota == "all" else quota
    reached = {i for _, i in sorted(zip(keys, ids, strict=True))[:most]}
    for planted in planted_in(source):
        if planted.outcome == Outcome.KEPT or planted.reason in SCREENING_REASONS:
            assert readings[source].row(planted)["id"] in reached, planted.what


def test_planted_records_are_worded_for_the_seed_of_the_demo() -> None:
    assert RECIPE.mixture.seed == SEED


def reader(raw: Path, source: str) -> ImageReader:
    return ImageReader(raw / "none", raw, RECIPE.folders(RECIPE.sources[source].images))


@pytest.mark.parametrize("source", SOURCES)
def test_every_image_but_the_planted_ones_is_present_and_intact(
    source: str, readings: dict[str, Reading], unpacked_world: Path
) -> None:
    reading, images = readings[source], reader(unpacked_world, source)
    broken = {
        reading.row(p)["id"]: p.reason for p in planted_in(source) if p.reason in IMAGE_REASONS
    }
    found = {
        sample["id"]: reason
        for sample in reading.samples
        for path in images_of(sample)
        if (reason := status(images, path))
    }
    assert found == broken


def status(images: ImageReader, path: str) -> Reason | None:
    try:
        data = images.read(path, 1 << 30)
        if not data:
            return Reason.IMAGE_EMPTY
        with Image.open(BytesIO(data)) as image:
            image.load()
    except FileNotFoundError:
        return Reason.IMAGE_MISSING
    except OSError as error:
        return Reason.IMAGE_TRUNCATED if "truncated" in str(error) else Reason.IMAGE_UNDECODABLE
    return Reason.IMAGE_TOO_SMALL if min(image.size) < 8 else None


def test_the_benchmark_has_34_images_and_textcaps_the_first_22(
    drawn_world: Path, readings: dict[str, Reading]
) -> None:
    folder, ids = drawn_world / "textvqa", {}
    for split in ("train", "val", "test"):
        content = json.loads((folder / f"TextVQA_0.5.1_{split}.json").read_bytes())
        ids[split] = {row["image_id"] for row in content["data"]}
    assert {split: len(some) for split, some in ids.items()} == {"train": 22, "val": 6, "test": 6}
    assert len(set.union(*ids.values())) == 34
    captioned = [s for s in readings["llava_665k"].samples if s["subset"] == "textcaps"]
    assert {s["upstream_id"] for s in captioned} == ids["train"]
    with zipfile.ZipFile(folder / "train_val_images.zip") as archive:
        assert len(archive.namelist()) == 28


def test_ids_are_integers_and_strings(drawn_world: Path) -> None:
    text = (drawn_world / "llava_665k" / "llava_v1_5_mix665k.json").read_bytes()
    assert len(re.findall(rb'\n    "id": \d+,', text)) == 94  # VQAv2's and two planted ones
    assert len(re.findall(rb'\n    "id": "[^"]+",', text)) > 560


def test_most_visual_genome_records_have_twenty_exchanges(readings: dict[str, Reading]) -> None:
    samples = readings["llava_665k"].samples
    lengths = Counter(len(s["conversations"]) // 2 for s in samples if s["subset"] == "vg")
    assert lengths.most_common(1)[0][0] == 20
    assert lengths[20] > sum(lengths.values()) / 2


def test_a_question_occurs_with_its_options_in_four_orders() -> None:
    records = [entry.record for entry in llava.entries()]
    asked = [r for r in records if "\nA. " in r["conversations"][0]["value"] and "image" in r]
    by_id: dict[str, set[str]] = {}
    for record in asked:
        question, answer = (turn["value"] for turn in record["conversations"])
        right = dict(re.findall(r"\n([A-D])\. (.*)", question))[answer]
        by_id.setdefault(record["id"], set()).add(right)
    assert len(asked) == 66
    assert len(by_id) == 17
    assert all(len(rights) == 1 for rights in by_id.values())


def test_boxes_contain_the_colour_of_their_phrase(
    readings: dict[str, Reading], unpacked_world: Path
) -> None:
    images = reader(unpacked_world, "llava_665k")
    shares = []
    for sample in (s for s in readings["llava_665k"].samples if s["subset"] == "refcoco"):
        image = Image.open(BytesIO(images.read(sample["image"], 1 << 30)))
        text = [turn["value"] for turn in sample["conversations"]]
        for question, answer in zip(text[::2], text[1::2], strict=True):
            box = [float(n) for n in re.findall(r"\d\.\d+", question + answer)]
            colours = [c for c in COLOURS if re.search(rf"\b{c}\b", question + answer)]
            shares.append(share_in_colour(image, box, colours[0]))
    assert len(shares) > 100
    assert np.median(shares) > 0.4
    assert min(shares) > 0.15


def share_in_colour(image: Image.Image, box: list[float], colour: str) -> float:
    """Return the share of pixels in a box that are nearest to the named colour.

    The box is in shares of the padded image."""
    side = max(image.size)
    across, down = (side - image.width) / 2, (side - image.height) / 2
    corners = [share * side - pad for share, pad in zip(box, (across, down) * 2, strict=True)]
    inside = image.crop(tuple(round(corner) for corner in corners))  # type: ignore[arg-type]
    pixels = np.asarray(inside, dtype=np.float32).reshape(-1, 1, 3)
    palette = np.asarray(list(COLOURS.values()), dtype=np.float32)
    nearest = np.linalg.norm(pixels - palette, axis=2).argmin(axis=1)
    return float(np.mean(nearest == list(COLOURS).index(colour)))


def test_chart_labels_have_the_forms_of_the_real_ones() -> None:
    labels = [row["label"] for row in charts.human_rows()]
    assert labels[0] == "[63, 26]"
    assert charts.chart(0).facts.values[1:] == (63.0, 26.0)
    assert labels[4] == "0.39"
    assert labels[8] == "41640"  # 1 January 2014 in Excel's count


def test_every_isbn_has_its_check_digit_and_some_have_an_x() -> None:
    numbers = [llava.isbn(n) for n in range(80)]
    for number in numbers:
        digits = [10 if digit == "X" else int(digit) for digit in number]
        assert sum(d * weight for d, weight in zip(digits, range(10, 0, -1), strict=True)) % 11 == 0
    assert any(number.endswith("X") for number in numbers)


def test_the_pages_are_two_files_of_the_hub_with_their_images(
    drawn_world: Path, tmp_path: Path
) -> None:
    files = [drawn_world / "pages" / f"train-0000{n}-of-00002.parquet" for n in range(2)]
    for file in files:
        footer = pq.ParquetFile(file).metadata
        assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [12, 12, 6]
    rows = Dataset.from_parquet([str(file) for file in files], cache_dir=str(tmp_path))
    assert rows.features["images"] == List(ImageFeature())
    scans = {row["id"]: row["images"] for row in rows.skip(12).take(4)}
    assert {image.mode for images in scans.values() for image in images} == {"RGB"}
    counted = Counter(len(cells) for cells in rows.with_format("arrow")["images"].to_pylist())
    assert counted == {1: 12, 2: 47, 3: 1}


def test_the_second_page_of_a_pair_may_stand_between_texts_or_come_later() -> None:
    def places(record: pages.Record) -> list[list[str]]:
        asked = [message for message in record.messages if message["role"] == "user"]
        return [[part["type"] for part in message["content"]] for message in asked]

    one, front, between, later = map(places, pages.records()[:4])
    assert one == [["image", "text"], ["text"]]
    assert front == [["image", "image", "text"], ["text"], ["text"]]
    assert between == [["text", "image", "text", "image", "text"], ["text"], ["text"]]
    assert later == [["image", "text"], ["text", "image", "text"], ["text"], ["text"]]


def test_answers_on_pages_are_printed_there() -> None:
    for n, record in enumerate(pages.records()):
        shown = [dict(pages.page(2 * n + position).facts.fields) for position in range(2)]
        texts = [message["content"][-1]["text"] for message in record.messages]
        for question, answer in zip(texts[::2], texts[1::2], strict=True):
            if named := re.search("beside '(.+)'", question):
                assert answer == shown["second page" in question][named[1]]
            elif "earlier" in question:
                dates = [datetime.strptime(page["Date"], "%B %d, %Y") for page in shown]
                assert answer == ("yes" if dates[0].year < dates[1].year else "no")
            else:
                kinds = [pages.page(2 * n + position).facts.kind for position in range(2)]
                assert answer == ("yes" if kinds[0] == kinds[1] else "no")
                assert kinds[0] in question


def test_random_names_do_not_collide() -> None:
    assert len({llava.coco_number(n) for n in COCO_INDICES}) == len(COCO_INDICES)
    assert len({llava.vg_number(n) for n in VG_INDICES}) == len(VG_INDICES)
    assert len({textvqa.image_id(n) for n in range(34)}) == 34
