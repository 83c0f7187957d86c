"""An image whose record spells its path differently is found, reported and readable."""

import hashlib
import json
import shutil
import unicodedata
from typing import Any

import polars as pl
import pytest
from conftest import encoded, photo, record, run
from datasets import load_from_disk

from imp_data.mixture.ledger_queries import explain
from imp_data.mixture.mixture_images import open_built_images
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.storage.data_dir import DataDir
from tests.pipeline.test_adding_a_source import ROOT, stated_files

ON_DISK = ["0.jpg", "1.jpg", "café.jpg", "a b.jpg", "old.gif", "Two.jpg", "two.png"]
# {what the record says: (outcome, reason, what it was found as)}
SPELLINGS = {
    "birds/0.jpg": ("kept", None, None),
    "birds//1.jpg\n": ("kept", None, None),
    f"birds/{unicodedata.normalize('NFD', 'café.jpg')}": ("kept", None, "birds/café.jpg"),
    "birds/a%20b.jpg": ("kept", None, "birds/a b.jpg"),
    "Birds/OLD.jpg": ("kept", None, "birds/old.gif"),
    "birds/TWO.jpg": ("kept", None, "birds/Two.jpg"),
    "birds/two.webp": ("dropped", "image_ambiguous", None),
    "birds/gone.jpg": ("dropped", "image_missing", None),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> Build:
    root = tmp_path_factory.mktemp("spelled")
    shutil.copytree(ROOT / "manifests", root / "manifests")
    for path, content in stated_files().items():
        (root / path).write_text(content, encoding="utf-8")
    photos = root / "data" / "raw" / "my_birds" / "photos"
    photos.mkdir(parents=True)
    rows = [record(n, image, "A bird.") for n, image in enumerate(SPELLINGS)]
    (photos.parent / "my_birds.json").write_text(json.dumps(rows), encoding="utf-8")
    for n, name in enumerate(ON_DISK):
        (photos / name).write_bytes(encoded(photo(n), "GIF" if name == "old.gif" else "JPEG"))
    recipe = Build.of(root / "manifests" / "mixtures" / "birds.yaml").recipe
    part = recipe.mixture.parts[0].model_copy(update={"quota": 99})
    mixture = recipe.mixture.model_copy(update={"parts": (part,)})
    build = Build(recipe.model_copy(update={"mixture": mixture}), DataDir(root / "data"))
    run(build)
    return build


def test_the_ledger_records_how_each_image_was_found(built: Build) -> None:
    ledger = pl.read_parquet(built.data.mixture("birds") / "ledger.parquet").to_dicts()
    for row, (image, (outcome, reason, found_as)) in zip(ledger, SPELLINGS.items(), strict=True):
        assert (row["outcome"], row["reason"]) == (outcome, reason)
        evidence = json.loads(row["evidence"] or "{}")
        repairs = {repair["repair"]: repair["before"] for repair in row["repairs"]}
        assert evidence.get("found_as") == found_as
        expected: dict[str, Any] = {} if found_as is None else {"image_respelled": image}
        if image == "birds//1.jpg\n":
            expected = {"image_path_normalised": image}
        assert repairs == expected
    ambiguous = json.loads(ledger[6]["evidence"])
    assert ambiguous["problem"] == "may be any of birds/Two.jpg, birds/two.png"


def test_the_mixture_counts_the_repairs_and_is_sound(built: Build) -> None:
    folder = built.data.mixture("birds")
    (part,) = json.loads((folder / "mixture.json").read_text())["parts"]
    assert part["repairs"] == {"image_path_normalised": 1, "image_respelled": 4}
    assert verify(folder) == []
    (life,) = explain(folder, "4")
    assert any("found as birds/old.gif" in line for line in life.lines())


def test_training_reads_the_bytes_that_were_screened(built: Build) -> None:
    folder = built.data.mixture("birds")
    reader = open_built_images(folder, built.data.root.parent / "manifests")
    rows = load_from_disk(str(folder)).to_list()
    assert len(rows) == 6
    for row in rows:
        data = reader.read(row["image"], 1 << 20)
        assert hashlib.sha256(data).hexdigest() == row["image_sha256"]
