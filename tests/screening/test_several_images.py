"""A bad image drops exactly the samples that have it, and the ledger's evidence names it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.manifests import Limits
from imp_data.sample import MULTI_IMAGE_RECORD_SCHEMA
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.image_decisions import ImageFilter, decision_writer
from imp_data.screening.quota_sampling import image_paths, sample_quota, write_screened
from imp_data.screening.text_filters import find_candidates
from imp_data.storage.tables import arrow_writer, read_batches
from tests.screening.test_image_filters import TWIN, quiz
from tests.screening.test_quota_sampling import seen
from tests.screening.test_text_filters import CAPTIONS, mixture

NAMED, GOOD = f"p/{TWIN}.png", ["p/good0.png", "p/good1.png", "captioned/2.png"]
BAD = {"p/broken.png": "image_missing", "p/twin.png": "benchmark_hash"}
IMAGES = st.sampled_from([*GOOD, *GOOD, *BAD, NAMED])
SAMPLES = st.lists(st.lists(IMAGES, max_size=4), max_size=12)


def records(path: Path, samples: Sequence[Sequence[str]]) -> Path:
    """Write a records file of samples with these images, in batches of five."""
    with arrow_writer(path, MULTI_IMAGE_RECORD_SCHEMA) as writer:
        for begin in range(0, len(samples), 5):
            rows = [
                {
                    "id": f"photos/{begin + n:016x}",
                    "source": "photos",
                    "subset": "",
                    "images": images,
                    "conversations": [
                        {"from": "human", "value": "<image>" * len(images) + "?"},
                        {"from": "gpt", "value": "It."},
                    ],
                    "upstream_id": str(begin + n),
                }
                for n, images in enumerate(samples[begin : begin + 5])
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, MULTI_IMAGE_RECORD_SCHEMA))
    return path


def screened(folder: Path, samples: Sequence[Sequence[str]], quota: int) -> list[dict[str, Any]]:
    """Return the rows of the screened stage; each distinct image is fingerprinted once."""
    path, opened = records(folder / "r.arrow", samples), list[str]()

    def fingerprint(images: Sequence[str]) -> pa.Table:
        opened.extend(images)
        return fingerprint_table([seen(image) for image in images])

    candidates = find_candidates(mixture(), "photos", path, [quiz()])
    with decision_writer(folder / "f") as write:
        chosen = ImageFilter(fingerprint, write, Limits(), [quiz()])
        sample_quota(candidates.order, quota, lambda rows: chosen.passes(image_paths(path, rows)))
    assert len(opened) == len(set(opened))
    decisions = read_decisions(folder / "f")

    def passes(rows: Any) -> Any:
        images = candidates.images.take(rows)
        return images.all_pass(decisions.passing_images(images))

    sampled = sample_quota(candidates.order, quota, passes)
    write_screened(folder / "s.arrow", path, candidates, sampled, decisions)
    return [row for batch in read_batches(folder / "s.arrow") for row in batch.to_pylist()]


@settings(max_examples=25)
@given(SAMPLES)
def test_a_bad_image_drops_exactly_the_samples_that_have_it(
    tmp_path_factory: pytest.TempPathFactory, samples: list[list[str]]
) -> None:
    rows = screened(tmp_path_factory.mktemp("law"), samples, quota=99)
    for images, row in zip(samples, rows, strict=True):
        # Names are compared before any image is opened.
        bad = NAMED if NAMED in images else next((image for image in images if image in BAD), None)
        assert row["outcome"] == ("dropped" if bad else "kept")
        assert row["reason"] == (bad and BAD.get(bad, "benchmark_id"))
        evidence = json.loads(row["evidence"] or "{}")
        assert evidence.get("position") == (images.index(bad) if bad and len(images) > 1 else None)
        for name in ("image_sha256", "image_width", "image_height"):
            assert row[name] is None if bad else len(row[name]) == len(images)


@pytest.mark.slow
@settings(max_examples=30)
@given(SAMPLES, st.integers(0, 6))
def test_a_quota_takes_the_first_samples_that_pass(
    tmp_path_factory: pytest.TempPathFactory, samples: list[list[str]], quota: int
) -> None:
    folder = tmp_path_factory.mktemp("quota")
    every, some = (screened(folder, samples, most) for most in (99, quota))
    kept = [row["id"] for row in some if row["outcome"] == "kept"]
    passing = {row["id"] for row in every if row["outcome"] == "kept"}
    assert set(kept) <= passing and len(kept) == min(quota, len(passing))


def test_an_exclusion_looks_at_every_image(tmp_path: Path) -> None:
    path = records(tmp_path / "r.arrow", [GOOD[:2], GOOD, [], GOOD[2:]])
    excluded = find_candidates(mixture(exclusions=[CAPTIONS]), "photos", path, []).refused
    assert sorted(excluded) == [1, 3]
    assert excluded[1].evidence == {
        "exclusion": "captions",
        "image_prefix": True,
        "prompt": False,
    }


def test_the_images_of_rows_are_found_in_any_order(tmp_path: Path) -> None:
    samples = [GOOD[: n % 4] for n in range(11)]
    path = records(tmp_path / "r.arrow", samples)
    wanted = np.array([9, 4, 0, 9, 10])
    assert image_paths(path, wanted) == [samples[n] for n in wanted]
