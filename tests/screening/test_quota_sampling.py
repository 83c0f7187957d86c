"""Which Samples go, which stay, which are held: by text, by image, in the order of the draw."""

import json
import re
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
from imp_data.ledger import Reason
from imp_data.manifests import Limits, Mixture
from imp_data.sample import RECORD_SCHEMA
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.image_decisions import ImageFilter, decide_images, decision_writer
from imp_data.screening.image_filters import Benchmarked, benchmarked, image_verdicts
from imp_data.screening.quota_sampling import image_paths, sample_quota, write_screened
from imp_data.screening.text_filters import candidates
from imp_data.storage.tables import arrow_batches, arrow_writer

PART = {"source": "photos", "quota": 1, "paper": 1, "group": "All"}
CAPTIONS = {
    "name": "captions",
    "source": "photos",
    "image_prefix": "captioned/",
    "prompt": "Provide a caption",
    "subset": "captions",
    "because": "They are not wanted.",
}
TWIN, OTHER = "00000000000000aa", "02e3e418198427e7"
LOOKS = {0xFF00: TWIN, 2**64 - 1: "00000000000000bb"}


def quiz(most: int = 10) -> Benchmarked:
    pack = BenchmarkIndex(
        name="quiz",
        ids=frozenset(LOOKS.values()),
        id_pattern=re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])"),
        sha256s={"f" * 64: TWIN},
        hashes=np.array(list(LOOKS), np.uint64),
        hash_ids=list(LOOKS.values()),
    )
    return benchmarked(pack, most)


def mixture(**fields: Any) -> Mixture:
    return Mixture.model_validate({"name": "m", "title": "M", "seed": 7, "parts": [PART], **fields})


def records(path: Path, rows: Sequence[tuple[str, str | None, str]], batch_rows: int = 3) -> Path:
    """records/<source>.arrow of (id, image, first question), in batches of some rows."""
    with arrow_writer(path, RECORD_SCHEMA) as writer:
        for begin in range(0, len(rows), batch_rows):
            some = rows[begin : begin + batch_rows]
            turns = [
                [{"from": "human", "value": question}, {"from": "gpt", "value": "It."}]
                for _, _, question in some
            ]
            columns = [
                pa.array([i for i, _, _ in some]),
                *(pa.array([text] * len(some)) for text in ("photos", "")),
                pa.array([image for _, image, _ in some], pa.string()),
                pa.array(turns, RECORD_SCHEMA.field("conversations").type),
                pa.array([i for i, _, _ in some]),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA))
    return path


def refusals(path: Path, rows: Sequence[tuple[str, str | None, str]], **fields: Any) -> Any:
    """{row: (reason, evidence)} of what text alone refuses."""
    offered = candidates(mixture(**fields), "photos", records(path, rows), [quiz()])
    assert sorted([*offered.order.tolist(), *offered.refused]) == list(range(len(rows)))
    return {row: (v.reason, v.evidence) for row, v in offered.refused.items()}


def test_an_exclusion_takes_what_bears_either_sign_and_says_which(tmp_path: Path) -> None:
    rows = [
        ("photos/a", "captioned/1.jpg", "Provide a caption."),
        ("photos/b", "captioned/2.jpg", "What is it?"),
        ("photos/c", "other/captioned/3.jpg", "Please: Provide a caption"),
        ("photos/d", "other/4.jpg", "What is it?"),
        ("photos/e", None, "Provide a caption of nothing."),
    ]
    path = records(tmp_path / "r.arrow", rows)
    offered = candidates(mixture(exclusions=[CAPTIONS]), "photos", path, [])
    signs = {row: verdict.evidence for row, verdict in offered.refused.items()}
    assert signs == {
        0: {"exclusion": "captions", "image_prefix": True, "prompt": True},
        1: {"exclusion": "captions", "image_prefix": True, "prompt": False},
        2: {"exclusion": "captions", "image_prefix": False, "prompt": True},
        4: {"exclusion": "captions", "image_prefix": False, "prompt": True},
    }
    sampled = sample_quota(offered.order, 9, lambda rows: np.ones(len(rows), np.bool_))
    figures = write_screened(tmp_path / "s.arrow", path, offered, sampled, None)
    assert figures["excluded"] == {"captions": {"records": 4, "disagreeing": 3}}
    assert figures["dropped"] == {"excluded": 4}


def test_an_exclusion_of_another_source_takes_nothing(tmp_path: Path) -> None:
    chats = {**PART, "source": "chats"}
    rule = {**CAPTIONS, "source": "chats"}
    rows = [("photos/a", "captioned/1.jpg", "Provide a caption.")]
    assert refusals(tmp_path / "r", rows, parts=[PART, chats], exclusions=[rule]) == {}


@pytest.mark.parametrize(
    ("image", "carries"),
    [
        (f"share_textvqa/images/{TWIN}.jpg", TWIN),
        (f"allava_vflan/images/images_191task_1k/textcaps+caption_generation_17_{TWIN}.jpg", TWIN),
        (f"allava_vflan/images/images_191task_1k/NOCAPS+image_caption_3_{TWIN}.jpg", TWIN),
        (f"a/LOC_NARRATIVES+open_images_caption_999_{TWIN}.png", TWIN),
        (f"a/{OTHER}_{TWIN}.jpg", TWIN),
        (f"landmarks/{OTHER}.jpg", None),
        (f"a/{TWIN}0.jpg", None),
        (f"{TWIN}/1.jpg", None),
        ("coco/train2017/000000033471.jpg", None),
        (None, None),
    ],
)
def test_a_benchmark_s_own_id_in_a_file_name_is_found(
    image: str | None, carries: str | None, tmp_path: Path
) -> None:
    found = refusals(tmp_path / "r", [("photos/a", image, "What?")])
    evidence = {"benchmark": "quiz", "id": carries}
    assert found == ({0: (Reason.BENCHMARK_ID, evidence)} if carries else {})


def test_exact_repeats_are_kept_or_dropped_as_the_mixture_says(tmp_path: Path) -> None:
    rows = [("photos/a", None, "What?"), ("photos/a~2", None, "What?"), ("photos/b", None, "?")]
    assert refusals(tmp_path / "keep", rows) == {}
    dropped = refusals(tmp_path / "drop", rows, exact_repeats="drop")
    assert dropped == {1: (Reason.EXACT_REPEAT, {"of": "photos/a"})}


def write_decisions(path: Path, fingerprints: Sequence[Fingerprint]) -> None:
    """A fingerprint file with the decisions under the default limits."""
    with decision_writer(path) as write:
        write(decide_images(fingerprint_table(fingerprints), Limits(), []))


def look(image: str, phash: int = 0xFFFF0000, **fields: Any) -> Fingerprint:
    whole = Fingerprint(image, "ok", 9, "0" * 64, "PNG", "RGB", 40, 30, 1, phash, None)
    return whole._replace(**fields)


def verdict_on(fingerprint: Fingerprint, most: int = 10) -> tuple[str, dict[str, Any]] | None:
    verdicts = image_verdicts(fingerprint_table([fingerprint]), Limits(), [quiz(most)])
    return (verdicts[0].reason.value, verdicts[0].evidence) if verdicts else None


@pytest.mark.parametrize("status", ["missing", "empty", "undecodable", "truncated", "too_large"])
def test_a_broken_image_goes_by_its_status(status: Any) -> None:
    reason, evidence = verdict_on(Fingerprint("p", status, problem="so it is")) or ("", {})
    assert (reason, evidence) == (f"image_{status}", {"image": "p", "problem": "so it is"})


@pytest.mark.parametrize(("width", "height", "goes"), [(8, 8, False), (7, 99, True), (99, 7, True)])
def test_a_image_below_the_least_side_goes(width: int, height: int, goes: bool) -> None:
    expected = ("image_too_small", {"image": "p", "size": [width, height]}) if goes else None
    assert verdict_on(look("p", width=width, height=height)) == expected


def test_the_bytes_of_a_benchmark_image_are_told_before_its_look() -> None:
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "sha256": "f" * 64}
    assert verdict_on(look("p", 0xFF00, sha256="f" * 64)) == ("benchmark_bytes", evidence)


@pytest.mark.parametrize("bits", [0, 9, 10, 11])
@pytest.mark.parametrize("upright", [False, True])
def test_a_image_within_the_threshold_goes_with_its_pair_and_distance(
    bits: int, upright: bool
) -> None:
    near = 0xFF00 ^ ((1 << bits) - 1) << 20
    fingerprint = look("p", 0xFFFFFFFF << 16, phash_upright=near) if upright else look("p", near)
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "distance_bits": bits}
    expected = ("benchmark_hash", evidence) if bits <= 10 else None
    assert verdict_on(fingerprint, most=10) == expected


def test_a_flat_image_is_a_benchmark_s_by_its_bytes_alone() -> None:
    flat = look("p", 0)._replace(phash=None)
    assert verdict_on(flat, most=64) is None
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "sha256": "f" * 64}
    assert verdict_on(flat._replace(sha256="f" * 64)) == ("benchmark_bytes", evidence)


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
    """The ids that pass, sorted, and the images that were opened on the way."""
    offered = candidates(mixture(**RULES), "photos", records(path, rows), [quiz()])
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
def test_drawing_lazily_passes_what_screening_everything_first_would(
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
def test_the_draw_does_not_depend_on_the_order_of_upstream(
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


def test_too_few_samples_give_all_they_have(tmp_path: Path) -> None:
    rows = [row_of(n, "good") for n in range(5)]
    assert drawn_ids(tmp_path / "r", rows, 9)[0] == [row[0] for row in rows]


def test_what_was_screened_is_written_row_by_row(tmp_path: Path) -> None:
    rows = [row_of(n, kind) for n, kind in enumerate(["good", "broken", "named", "good", "text"])]
    path = records(tmp_path / "r", rows)
    offered = candidates(mixture(), "photos", path, [quiz()])
    first = next(n for n in offered.order.tolist() if n in (0, 3, 4))
    write_decisions(tmp_path / "f", [seen(row[1]) for row in rows if row[1]])
    looks = read_decisions(tmp_path / "f")
    one = sample_quota(offered.order, 1, lambda some: looks.passes(offered.images[some]))
    figures = write_screened(tmp_path / "s.arrow", path, offered, one, looks)
    written = [row for b in arrow_batches(tmp_path / "s.arrow") for row in b.to_pylist()]
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
    assert image_paths(path, wanted) == [rows[n][1] for n in wanted]


def test_a_image_that_was_not_looked_at_is_an_error(tmp_path: Path) -> None:
    rows = [row_of(n, "good") for n in range(3)]
    offered = candidates(mixture(), "photos", records(tmp_path / "r", rows), [])
    write_decisions(tmp_path / "f", [seen("p/good0.png")])
    looks = read_decisions(tmp_path / "f")
    with pytest.raises(KeyError):
        looks.passes(offered.images)


def test_a_draw_asks_for_no_more_rows_than_places_are_left() -> None:
    asked: list[list[int]] = []

    def every_third_fails(rows: Any) -> Any:
        asked.append(rows.tolist())
        return rows % 3 != 0

    sampled = sample_quota(np.arange(20), 6, every_third_fails)
    assert sampled.passed.tolist() == [1, 2, 4, 5, 7, 8]
    assert asked == [[0, 1, 2, 3, 4, 5], [6, 7], [8]]
    assert sampled.examined == 9
