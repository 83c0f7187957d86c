"""A built mixture: its rows, order and ledger; equal inputs give equal bytes."""

import hashlib
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import xxhash
from conftest import World, record, run
from datasets import Features, List, Value, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.ledger import LedgerRow
from imp_data.mixture.build import build_mixture
from imp_data.mixture.ledger_writer import SourceInputs
from imp_data.mixture.reconciliation import reconciliation_problems
from imp_data.sample import Sample
from imp_data.storage.tables import arrow_writer, read_batches

COLUMNS = ["id", "source", "subset", "image", "conversations", "upstream_id"]
FEATURES = Features(
    {
        **{name: Value("string") for name in COLUMNS},
        "conversations": List({"from": Value("string"), "value": Value("string")}),
        "image_sha256": Value("string"),
        "image_width": Value("int32"),
        "image_height": Value("int32"),
        "license": Value("string"),
    }
)


def test_datasets_opens_the_mixture_with_its_features(album: Path) -> None:
    opened = load_from_disk(str(album))
    assert opened.features == FEATURES
    assert opened.num_rows == 11
    assert opened.info.splits["train"].num_examples == 11
    rows = opened.to_list()
    assert all(Sample.model_validate(row) for row in rows)
    (page,) = (row for row in rows if row["source"] == "pages")
    suffix = "\nAnswer the question using a single word or phrase."
    assert page == {
        "id": page["id"],
        "source": "pages",
        "subset": "",
        "image": "photos/1.png",
        "conversations": [
            {"from": "human", "value": f"<image>\nWhich colour?{suffix}"},
            {"from": "gpt", "value": "red"},
            {"from": "human", "value": "Which shape?"},
            {"from": "gpt", "value": "square"},
        ],
        "upstream_id": "1.png",
        "image_sha256": page["image_sha256"],
        "image_width": 96,
        "image_height": 72,
        "license": "CC0-1.0",
    }


def test_a_sample_has_the_digest_and_size_of_its_image_and_the_licence_of_its_source(
    album: Path,
) -> None:
    raw = album.parent.parent / "raw" / "photos" / "loose"
    for row in load_from_disk(str(album)):
        image = (row["image_sha256"], row["image_width"], row["image_height"])
        if row["image"] is None:
            assert image == (None, None, None)
        else:
            content = (raw / row["image"].removeprefix("photos/")).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            assert image == (digest, 96, 72)
        assert row["license"] == ("CC-BY-4.0" if row["source"] == "chats" else "CC0-1.0")


def test_rows_are_ordered_by_xxh3_of_seed_plus_one_and_id(album: Path) -> None:
    ids = load_from_disk(str(album))["id"][:]
    assert ids == sorted(ids, key=lambda i: xxhash.xxh3_64_intdigest(i.encode(), seed=8))


def test_every_shard_but_the_last_has_the_stated_number_of_rows(album: Path) -> None:
    sizes = {}
    for shard in sorted(album.glob("*.arrow")):
        with pa.OSFile(str(shard), "rb") as source:
            sizes[shard.name] = pa.ipc.open_stream(source).read_all().num_rows
    assert sizes == {f"data-0000{n}-of-00003.arrow": rows for n, rows in enumerate((4, 4, 3))}


OUTCOMES = {
    "photos": {"kept": 8, "held: over_quota": 1, "dropped: image_truncated": 1}
    | {"dropped: image_missing": 1, "dropped: benchmark_hash": 1},
    "chats": {"kept": 2, "dropped: empty_value": 1, "dropped: wrong_type": 1},
    "pages": {"kept": 2},
    "captions": {"dropped: excluded": 3},
}


def test_each_upstream_row_has_one_ledger_row_with_its_outcome(album: Path) -> None:
    rows = pl.read_parquet(album / "ledger.parquet").to_dicts()
    found: dict[str, Counter[str]] = {source: Counter() for source in OUTCOMES}
    for row in rows:
        assert LedgerRow.model_validate(row)
        found[row["source"]][": ".join(filter(None, (row["outcome"], row["reason"])))] += 1
    assert found == OUTCOMES
    ordinals = {s: [r["ordinal"] for r in rows if r["source"] == s] for s in OUTCOMES}
    assert ordinals == {s: list(range(sum(counts.values()))) for s, counts in OUTCOMES.items()}
    pages = {row["id"] for row in rows if row["source"] == "pages"}
    assert len(pages) == 1
    stages = {row["outcome"]: set[str]() for row in rows}
    for row in rows:
        stages[row["outcome"]].add(row["stage"])
    assert stages == {
        "kept": {"mixture"},
        "held": {"mixture"},
        "dropped": {"records", "screened"},
    }


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """Two sources of 40 records, screened: 30 of each pass."""
    world = World(tmp_path_factory.mktemp("forty"))
    for source in ("a", "b"):
        records = [record(n, answer=f"{source} " * (n + 1)) for n in range(40)]
        world.source(source, records)
    run(world.build({"a": 30, "b": 30}))
    return world


def mixed(world: World, folder: Path, batch_rows: int, shard_rows: int) -> dict[str, bytes]:
    """Return the files of a mixture built from inputs with record batches of this many rows."""
    sources = []
    for source in ("a", "b"):
        stages = {
            "records": world.data.records(source),
            "screened": world.data.screened("small", source),
        }
        for stage, path in stages.items():
            table = pa.Table.from_batches(list(read_batches(path))).combine_chunks()
            stages[stage] = folder / f"{source}.{stage}"
            with arrow_writer(stages[stage], table.schema) as writer:
                for batch in table.to_batches(batch_rows):
                    writer.write_batch(batch)
        sources.append(SourceInputs(source, "MIT", ledger=world.data.ledger(source), **stages))
    facts = {"parts": [{"source": "a"}, {"source": "b"}]}
    build_mixture(folder / "m", sources, seed=7, shard_rows=shard_rows, facts=facts)
    return {path.name: path.read_bytes() for path in sorted((folder / "m").iterdir())}


@given(batch_rows=st.integers(1, 40))
@settings(max_examples=15)
def test_bytes_do_not_depend_on_the_record_batches_of_the_inputs(
    batch_rows: int, forty: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    some, whole = (
        mixed(forty, tmp_path_factory.mktemp("m"), rows, shard_rows=25) for rows in (batch_rows, 40)
    )
    assert some == whole


@pytest.mark.parametrize("shard_rows", [1, 7, 59, 60, 61, 1000])
def test_rows_do_not_depend_on_the_size_of_the_shards(
    shard_rows: int, forty: World, tmp_path: Path
) -> None:
    files = mixed(forty, tmp_path, batch_rows=9, shard_rows=shard_rows)
    shards = [name for name in files if name.endswith(".arrow")]
    count = -(-60 // shard_rows)
    assert shards == [f"data-{n:05d}-of-{count:05d}.arrow" for n in range(count)]
    assert (
        load_from_disk(str(tmp_path / "m")).to_list()
        == load_from_disk(str(forty.data.mixture("small")))
        .map(lambda row: {"license": "MIT"})
        .to_list()
    )


def test_an_empty_mixture_opens_with_its_features(world: World) -> None:
    world.source("chats", [])
    world.source("bad", ["no record"])
    results = run(world.build({"chats": 1, "bad": 1}))
    opened = load_from_disk(str(world.data.mixture("small")))
    assert (results["mixture"].figures["rows"], opened.num_rows) == (0, 0)
    assert opened.features == FEATURES
    assert reconciliation_problems(world.data.mixture("small")) == []
