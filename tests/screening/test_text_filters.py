"""Samples are refused by their text and paths, and the others sorted into sampling order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imp_data.ledger import Reason
from imp_data.manifests import Mixture
from imp_data.sample import RECORD_SCHEMA
from imp_data.screening.quota_sampling import sample_quota, write_screened
from imp_data.screening.text_filters import find_candidates
from imp_data.storage.tables import arrow_writer
from tests.screening.test_image_filters import OTHER, TWIN, quiz

PART = {"source": "photos", "quota": 1, "paper": 1, "group": "All"}
CAPTIONS = {
    "name": "captions",
    "source": "photos",
    "image_prefix": "captioned/",
    "prompt": "Provide a caption",
    "subset": "captions",
    "because": "They are not wanted.",
}


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
    offered = find_candidates(mixture(**fields), "photos", records(path, rows), [quiz()])
    assert sorted([*offered.order.tolist(), *offered.refused]) == list(range(len(rows)))
    return {row: (v.reason, v.evidence) for row, v in offered.refused.items()}


def test_an_exclusion_drops_records_that_meet_either_condition_and_reports_which(
    tmp_path: Path,
) -> None:
    rows = [
        ("photos/a", "captioned/1.jpg", "Provide a caption."),
        ("photos/b", "captioned/2.jpg", "What is it?"),
        ("photos/c", "other/captioned/3.jpg", "Please: Provide a caption"),
        ("photos/d", "other/4.jpg", "What is it?"),
        ("photos/e", None, "Provide a caption of nothing."),
    ]
    path = records(tmp_path / "r.arrow", rows)
    offered = find_candidates(mixture(exclusions=[CAPTIONS]), "photos", path, [])
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


def test_an_exclusion_of_another_source_drops_nothing(tmp_path: Path) -> None:
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
def test_a_benchmark_id_in_a_file_name_is_found(
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
