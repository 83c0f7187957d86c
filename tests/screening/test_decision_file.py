"""Decisions are read as they were written, with the paths that near-duplicates name."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import World, run

from imp_data.errors import UserError
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import (
    fingerprint_table,
    hash_image_paths,
    write_fingerprints,
)
from imp_data.manifests import Limits
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.image_decisions import DECIDED_SCHEMA, decide_images, decision_writer
from imp_data.screening.near_duplicates import NearDuplicateIndex
from imp_data.screening.sample_images import join_images
from tests.screening.test_image_filters import look
from tests.screening.test_near_duplicates import DROP, doubled

__all__ = ["doubled"]  # a fixture


def write_decisions(path: Path, fingerprints: Sequence[Fingerprint]) -> None:
    """A fingerprint file with the decisions under the default limits."""
    with decision_writer(path) as write:
        write(decide_images(fingerprint_table(fingerprints), Limits(), []))


def test_the_kept_image_of_a_near_duplicate_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imp_data.screening.decision_file._BATCH_ROWS", 2)
    images = [
        look("first", 0xFF00FF00, sha256="a" * 64),
        Fingerprint("gone", "missing"),
        look("same bytes", 0xFF00FF00, sha256="a" * 64),
        look("other", 0xFFFFFFFF << 32, sha256="b" * 64),
        look("near", 0xFF00FF01, sha256="c" * 64),
    ]
    index = NearDuplicateIndex(4)
    with decision_writer(tmp_path / "f") as write:
        for some in (images[:3], images[3:]):  # in two rounds of sampling
            write(decide_images(fingerprint_table(some), Limits(), [], index))
    rows = pl.read_parquet(tmp_path / "f").to_dicts()
    assert list(rows[0]) == DECIDED_SCHEMA.names
    assert [row["reason"] for row in rows] == [None, "image_missing", None, None, "near_duplicate"]
    assert json.loads(rows[4]["evidence"]) == {"image": "near", "distance_bits": 1}
    names = hash_image_paths([image.image for image in images])
    assert [row["duplicate_of"] for row in rows] == [None] * 4 + [int(names[0])]
    decisions = read_decisions(tmp_path / "f")
    alone = join_images(names, np.ones(5, np.int32))
    assert decisions.passing_images(alone).tolist() == [True, False, True, True, False]
    refused = decisions.refused.for_rows(np.array([0, 1], np.int32), names[[1, 4]])
    reasons, evidence = (column.to_pylist() for column in refused.columns())
    assert reasons == ["image_missing", "near_duplicate"]
    assert evidence == ['{"image":"gone"}', '{"distance_bits":1,"image":"near","of":"first"}']


def test_a_file_without_decisions_is_an_error_that_names_the_missing_columns(
    tmp_path: Path,
) -> None:
    write_fingerprints(tmp_path / "f", [look("first")])
    with pytest.raises(UserError, match="lacks the columns duplicate_of, evidence, reason"):
        read_decisions(tmp_path / "f")


def test_other_rules_take_over_fingerprints_and_decide_again(doubled: World) -> None:
    quotas = {"photos": 40}
    run(doubled.build(quotas))
    path = doubled.data.fingerprints("small", "photos")
    before = pl.read_parquet(path)
    assert before["reason"].is_null().all()
    for image in (doubled.data.raw("photos") / "loose").iterdir():
        stat = image.stat()
        image.write_bytes(bytes(stat.st_size))  # an image that is opened is undecodable
        os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run(doubled.build(quotas, **DROP))
    after = pl.read_parquet(path)
    assert after["reason"].drop_nulls().unique().to_list() == ["near_duplicate"]
    facts = [name for name in before.columns if name not in ("reason", "evidence", "duplicate_of")]
    assert after.select(facts).equals(before.select(facts))
