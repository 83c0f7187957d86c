"""Preflight: encodes every row before the first step, and reports figures."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import World, record, run

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from imp_data.errors import UserError
from imp_data.storage.stage_cache import StageResult
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import EncodedSample, encode
from imp_data.training.data.preflight import format_report, preflight, read_accepted_rows
from imp_data.training.data.shards import Shards
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer

PHI2 = TEMPLATES["phi2"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return prepare_tokenizer(byte_level_bpe(["USER: What is it?"], 257), PHI2)


@pytest.fixture
def mixture(world: World) -> Path:
    """Build four samples: two short, one of two exchanges, one with a very long first answer."""
    long = record("long", answer="word " * 300)
    two = record("two")
    two["conversations"] += record("two", answer="word " * 100)["conversations"]
    world.source("chats", [record("a"), record("b", answer="Yes."), two, long])
    run(world.build({"chats": 4}, shard_rows=2))
    return world.data.mixture("small")


def checked(mixture: Path, tokenizer: Any, out: Path, limit: int = 300) -> StageResult:
    return preflight(mixture, tokenizer, PHI2, 4, limit, out)


def test_every_row_gets_token_counts_and_an_outcome(
    mixture: Path, tokenizer: Any, tmp_path: Path
) -> None:
    checked(mixture, tokenizer, tmp_path)
    rows = {row["row"]: row for row in pl.read_parquet(tmp_path / "preflight.parquet").to_dicts()}
    shards = Shards(mixture)
    assert list(rows) == [0, 1, 2, 3]
    outcomes = {}
    for number, row in rows.items():
        sample = shards.row(number, ["id", "upstream_id", "conversations"])
        outcomes[sample["upstream_id"]] = row["outcome"]
        assert (row["id"], row["source"], row["image"]) == (sample["id"], "chats", False)
        if row["outcome"] != "refused":
            found = encode(tokenizer, PHI2, sample["conversations"], 0, 300)
            assert isinstance(found, EncodedSample)
            assert row["tokens"] == len(found.input_ids)
            assert row["learned"] == (found.labels != -100).sum()
    assert outcomes == {"a": "whole", "b": "whole", "two": "truncated", "long": "refused"}


def test_the_report_counts_by_source_and_lists_refused_samples(
    mixture: Path, tokenizer: Any, tmp_path: Path
) -> None:
    figures = checked(mixture, tokenizer, tmp_path).figures
    together = figures["together"]
    assert (together["samples"], together["truncated"], together["refused"]) == (4, 1, 1)
    assert [source["source"] for source in figures["sources"]] == ["chats"]
    lines = format_report(figures).splitlines()
    assert lines[0].split() == [
        *("source", "samples", "tokens", "learned", "mean", "longest"),
        *("truncated", "refused", "lost", "lost", "learned"),
    ]
    assert lines[-2].split()[:2] == ["total", "4"]
    assert lines[-1].startswith("refused: chats/")
    assert "its first answer ends at token" in lines[-1]


def test_lost_tokens_of_a_length_are_counted(mixture: Path, tokenizer: Any, tmp_path: Path) -> None:
    whole = checked(mixture, tokenizer, tmp_path / "whole", limit=10_000).figures["together"]
    found = checked(mixture, tokenizer, tmp_path / "short").figures["together"]
    assert (whole["lost"], whole["lost_learned"]) == (0, 0)
    assert found["tokens"] + found["lost"] == whole["tokens"]
    assert found["learned"] + found["lost_learned"] == whole["learned"]
    # An answer's terminator is one token; its blank and its letters are one each.
    assert found["lost_learned"] == len(" " + "word " * 300) + 1 + len(" " + "word " * 100) + 1


def test_special_tokens_that_texts_spell_out_are_counted(
    world: World, tokenizer: Any, tmp_path: Path
) -> None:
    world.source(
        "chats",
        [
            record("a", answer="It ends with </s> and </s>."),
            record("b", answer="Write <|endoftext|></s>."),
            record("c", answer="<|im_end|> is no token of phi2's."),
        ],
    )
    run(world.build({"chats": 3}))
    found = checked(world.data.mixture("small"), tokenizer, tmp_path).figures
    assert found["spelled"] == [
        {"token": "</s>", "times": 3, "samples": 2},
        {"token": "<|endoftext|>", "times": 1, "samples": 1},
    ]
    assert "  </s>: 3 in 2 samples" in format_report(found).splitlines()
    assert (found["together"]["refused"], found["together"]["samples"]) == (0, 3)


def test_refused_rows_are_not_trained_on(mixture: Path, tokenizer: Any, tmp_path: Path) -> None:
    checked(mixture, tokenizer, tmp_path)
    rows, lengths, *_ = read_accepted_rows(tmp_path)
    assert len(rows) == len(lengths) == 3
    assert (lengths < 0).all(), "lengths without an image are negative"


def test_length_estimates_equal_the_originals(album: Path, tokenizer: Any, tmp_path: Path) -> None:
    checked(album, tokenizer, tmp_path)
    table = read_accepted_rows(tmp_path)
    shards = Shards(album)
    for number, estimate in zip(table.rows.tolist(), table.estimates.tolist(), strict=True):
        row = shards.row(number, ["image", "conversations"])
        words = len(" ".join(turn["value"] for turn in row["conversations"]).split())
        assert estimate == (-words if row["image"] is None else words + 700)


def test_lengths_of_samples_without_an_image_are_negative(
    album: Path, tokenizer: Any, tmp_path: Path
) -> None:
    checked(album, tokenizer, tmp_path)
    rows, lengths, *_ = read_accepted_rows(tmp_path)
    shards = Shards(album)
    has_image = [shards.row(int(n), ["image"])["image"] is not None for n in rows]
    assert (lengths > 0).tolist() == has_image
    assert True in has_image and False in has_image


def test_preflight_runs_again_only_after_a_change(
    mixture: Path, tokenizer: Any, tmp_path: Path
) -> None:
    assert checked(mixture, tokenizer, tmp_path).built
    first = (tmp_path / "preflight.parquet").read_bytes()
    assert not checked(mixture, tokenizer, tmp_path).built
    assert checked(mixture, tokenizer, tmp_path, limit=301).built
    assert checked(mixture, tokenizer, tmp_path).built
    assert (tmp_path / "preflight.parquet").read_bytes() == first
    assert sorted(path.name for path in tmp_path.glob("preflight*")) == (
        ["preflight.json", "preflight.parquet"]
    )


def test_worker_processes_count_the_same(
    mixture: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imp_data.training.data.preflight._CHUNK_ROWS", 1)
    checked(mixture, tokenizer, tmp_path / "one")
    monkeypatch.setenv("IMP_WORKERS", "2")
    checked(mixture, tokenizer, tmp_path / "two")
    tables = [(tmp_path / name / "preflight.parquet").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]


def test_preflight_names_a_folder_without_a_mixture(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"holds no mixture\.json"):
        checked(tmp_path, tokenizer, tmp_path / "out")
