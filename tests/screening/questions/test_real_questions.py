"""Real questions of benchmarks beside real records, from the folder IMP_REAL_DATA."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from questions import COCO_ID, FILES, GENERIC, conversations, count_images, exchange, read_json

from imp_data.manifests.benchmark_questions import QuestionColumns
from imp_data.screening.decontamination.questions.matcher import find_questions
from imp_data.screening.decontamination.questions.matches import QuestionMatches, QuestionTally
from imp_data.screening.decontamination.questions.question_files import read_questions
from imp_data.screening.decontamination.questions.question_index import QuestionIndex, build_index
from imp_data.screening.decontamination.questions.question_pack import build_question_pack

REAL = Path(os.environ.get("IMP_REAL_DATA") or "unset")
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="IMP_REAL_DATA names no folder")
LISTS = [REAL / "eval_ids" / f"{name}_ids.txt" for name in ("pope_coco_val2014", "mme_coco")]


@pytest.fixture(scope="module")
def index() -> QuestionIndex:
    packs = [
        build_question_pack(name, read_questions(REAL / file, QuestionColumns()))
        for name, file in FILES.items()
    ]
    return build_index(packs)


def matched(
    index: QuestionIndex, exchanges: Sequence[Sequence[tuple[str, str]]]
) -> QuestionMatches:
    batch: pa.Array = conversations(exchanges)
    tally = QuestionTally(index)
    tally.add(find_questions(batch, index), 0, np.arange(len(batch)).astype(np.uint64))
    return tally.matches()


def test_no_real_record_and_no_generic_question_is_a_benchmarks(index: QuestionIndex) -> None:
    records = [
        r for n in ("llava", "allava") for p in (REAL / n).glob("*.json") for r in read_json(p)
    ]
    assert len(records) == 12
    assert matched(index, [exchange(record) for record in records]).rows.tolist() == []
    assert matched(index, [[(text, "A dog.")] for text in GENERIC]).rows.tolist() == []


def test_a_question_of_pope_counts_beside_its_image_alone(index: QuestionIndex) -> None:
    found = matched(index, [[("Is there a snowboard in the image?", "No")]])
    assert found.rows.tolist() == []
    image = "COCO_val2014_000000310196.jpg"
    match = found.about_image(0, "pope", image)
    assert match is not None and (match.id, match.generic) == ("1", True)
    assert found.about_image(0, "pope", "COCO_val2014_000000000001.jpg") is None


def test_records_with_the_images_of_pope_and_mme_are_counted_by_id(tmp_path: Path) -> None:
    quoted = count_images(REAL / "llava" / "mix665k_quoted_records.json", LISTS)
    assert quoted["records"] == 7
    ids = (LISTS[0].read_text() + LISTS[1].read_text()).split()
    assert all(COCO_ID.fullmatch(one) for one in ids)
    shown = [*ids[:3], "000000000000", ids[-1]]
    rows = (
        f'{{"id": "{n}", "image": "coco/train2017/{one}.jpg", "conversations": []}}\n'
        for n, one in enumerate(shown)
    )
    (tmp_path / "records.jsonl").write_text("".join(rows))
    assert count_images(tmp_path / "records.jsonl", LISTS) == {
        "records": 5,
        "pope_coco_val2014_ids": {"ids": 500, "seen": 3, "records": 3},
        "mme_coco_ids": {"ids": 110, "seen": 1, "records": 1},
    }
