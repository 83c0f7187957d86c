"""Samples are taken in sampling order up to the quota, and each has its outcome."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.manifests import Limits
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.image_decisions import ImageFilter
from imp_data.screening.quota_sampling import image_paths, sample_quota, write_screened
from imp_data.screening.text_filters import find_candidates
from imp_data.storage.tables import read_batches
from tests.screening.test_decision_file import write_decisions
from tests.screening.test_image_filters import TWIN, look, quiz
from tests.screening.test_text_filters import CAPTIONS, mixture, records

# One row: is its image broken, a benchmark's, named like one, excluded, text alone, or good.
KINDS = st.sampled_from(["good", "good", "text", "broken", "twin", "named", "excluded", "repeat"])


def row_of(number: int, kind: str) -> tuple[str, str | None, str]:
    image = {
        "text": None,
        "named": f"p/{TWIN}_{number}.png",
        "excluded": f"captioned/{number}.png",
    }.get(kind, f"p/{kind}{number % 5}.png")
    repeat = "~2" if kind == "repeat" else ""
    return f"photos/{number:016x}{repeat}", image, "What?"


def seen(image: str) -> Fingerprint:
    if "broken" in image:
        return Fingerprint(image, "missing")
    return look(image, 0xFF01) if "twin" in image else look(image)


RULES: Mapping[str, Any] = {"exclusions": [CAPTIONS], "exact_repeats": "drop"}


def drawn_ids(path: Path, rows: list[Any], quota: int) -> tuple[list[str], list[str]]:
    """Return the sorted ids that pass, and the images that were opened."""
    offered = find_candidates(mixture(**RULES), "photos", records(path, rows), [quiz()])
    opened: list[str] = []

    def open_all(images: Sequence[str]) -> pa.Table:
        opened.extend(images)
        return fingerprint_table([seen(image) for image in images])

    image_filter = ImageFilter(open_all, lambda table: None, Limits(), [quiz()])
    sampled = sample_quota(
        offered.order, quota, lambda some: image_filter.passes(image_paths(path, some))
    )
    return sorted(rows[n][0] for n in sampled.passed), opened


@given(st.lists(KINDS, max_size=30), st.integers(0, 12))
def test_lazy_sampling_passes_the_same_rows_as_screening_everything_first(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], quota: int
) -> None:
    path = tmp_path_factory.mktemp("law") / "r.arrow"
    rows = [row_of(n, kind) for n, kind in enumerate(kinds)]
    lazily, opened = drawn_ids(path, rows, quota)

    by_text = ("named", "excluded", "repeat")
    in_order = sorted(
        (n for n, kind in enumerate(kinds) if kind not in by_text),
        key=lambda n: xxhash.xxh3_64_intdigest(rows[n][0].encode(), seed=7),
    )
    passing = [kinds[n] in ("good", "text") for n in in_order]
    assert lazily == sorted(
        rows[n][0] for n in [n for n, good in zip(in_order, passing, strict=True) if good][:quota]
    )
    # No fewer images would have told as much: all up to the one that filled the quota.
    enough = next((k for k in range(len(passing)) if sum(passing[:k]) >= quota), len(passing))
    asked = [rows[n][1] for n in in_order[:enough] if rows[n][1] is not None]
    assert opened == list(dict.fromkeys(asked))  # each image once


@pytest.mark.slow
@given(st.lists(KINDS, max_size=20), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_sample_does_not_depend_on_the_upstream_order(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], quota: int, random: Any
) -> None:
    folder = tmp_path_factory.mktemp("order")
    rows = [row_of(n, kind) for n, kind in enumerate(kinds)]
    shuffled = random.sample(rows, len(rows))
    first, again = (drawn_ids(folder / "r", some, quota)[0] for some in (rows, shuffled))
    assert first == again


@pytest.mark.slow
@given(st.lists(KINDS, min_size=1, max_size=20), st.integers(0, 12))
def test_one_more_upstream_record_changes_at_most_one_row(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], quota: int
) -> None:
    folder = tmp_path_factory.mktemp("more")
    rows = [row_of(n, kind) for n, kind in enumerate(kinds)]
    before, after = (set(drawn_ids(folder / "r", some, quota)[0]) for some in (rows[1:], rows))
    assert len(before - after) <= 1
    assert after - before <= {rows[0][0]}


def test_a_source_with_fewer_samples_than_its_quota_gives_all(tmp_path: Path) -> None:
    rows = [row_of(n, "good") for n in range(5)]
    assert drawn_ids(tmp_path / "r", rows, 9)[0] == [row[0] for row in rows]


def test_the_outcome_of_each_sample_is_written_in_its_row(tmp_path: Path) -> None:
    rows = [row_of(n, kind) for n, kind in enumerate(["good", "broken", "named", "good", "text"])]
    path = records(tmp_path / "r", rows)
    offered = find_candidates(mixture(), "photos", path, [quiz()])
    first = next(n for n in offered.order.tolist() if n in (0, 3, 4))
    write_decisions(tmp_path / "f", [seen(row[1]) for row in rows if row[1]])
    looks = read_decisions(tmp_path / "f")

    def passes(some: Any) -> Any:
        images = offered.images.take(some)
        return images.all_pass(looks.passing_images(images))

    one = sample_quota(offered.order, 1, passes)
    figures = write_screened(tmp_path / "s.arrow", path, offered, one, looks)
    written = [row for b in read_batches(tmp_path / "s.arrow") for row in b.to_pylist()]
    assert [(row["sample"], row["id"]) for row in written] == [
        (n, row[0]) for n, row in enumerate(rows)
    ]
    assert [n for n, row in enumerate(written) if row["outcome"] == "kept"] == [first]
    assert written[first]["reason"] is None
    shown = [written[first][f"image_{name}"] for name in ("sha256", "width", "height")]
    assert shown == ([None] * 3 if first == 4 else ["0" * 64, 40, 30])
    assert written[2]["reason"] == "benchmark_id"
    assert json.loads(written[2]["evidence"]) == {"benchmark": "quiz", "id": TWIN}
    held = [row["reason"] for row in written if row["outcome"] == "held"]
    assert held == ["over_quota"] * figures["held"]
    assert figures["samples"] == 5
    assert figures["passed"] + figures["held"] + sum(figures["dropped"].values()) == 5


def test_the_images_of_rows_are_found_in_any_order(tmp_path: Path) -> None:
    rows = [row_of(n, "text" if n == 4 else "good") for n in range(11)]
    path = records(tmp_path / "r", rows)
    wanted = np.array([9, 4, 0, 9, 10])
    assert image_paths(path, wanted) == [[] if n == 4 else [rows[n][1]] for n in wanted]


def test_an_image_without_a_decision_is_an_error(tmp_path: Path) -> None:
    rows = [row_of(n, "good") for n in range(3)]
    offered = find_candidates(mixture(), "photos", records(tmp_path / "r", rows), [])
    write_decisions(tmp_path / "f", [seen("p/good0.png")])
    looks = read_decisions(tmp_path / "f")
    with pytest.raises(KeyError):
        looks.passing_images(offered.images)


def test_a_sampling_round_covers_no_more_rows_than_places_are_left() -> None:
    asked: list[list[int]] = []

    def every_third_fails(rows: Any) -> Any:
        asked.append(rows.tolist())
        return rows % 3 != 0

    sampled = sample_quota(np.arange(20), 6, every_third_fails)
    assert sampled.passed.tolist() == [1, 2, 4, 5, 7, 8]
    assert asked == [[0, 1, 2, 3, 4, 5], [6, 7], [8]]
    assert sampled.examined == 9
