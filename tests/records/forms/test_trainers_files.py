"""Each trainer's own demo file, from the folder hub/ of IMP_REAL_DATA."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from imp_data.ledger import Reason, Repair, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.records.forms.wording import BREVITY_PHRASES, LETTER_PHRASE
from imp_data.sample import IMAGE_TOKEN

HUB = Path(os.environ.get("IMP_REAL_DATA") or "unset") / "hub"
pytestmark = pytest.mark.skipif(not HUB.is_dir(), reason="IMP_REAL_DATA has no folder hub")


def load(file: str) -> list[dict[str, Any]]:
    text = (HUB / file).read_text(encoding="utf-8")
    if file.endswith(".json"):
        records: list[dict[str, Any]] = json.loads(text)
        return records
    return [json.loads(line) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("file", "form", "images", "placed"),
    [
        ("llamafactory/mllm_demo.json", "messages", [2, 1, 1, 2, 1, 1], 0),
        ("llamafactory/v1_multimodal_demo.jsonl", "messages", [2, 1, 1, 2, 1, 1] * 4, 0),
        ("ms_swift/conversations.jsonl", "conversations", [0, 0, 0], 0),
        ("ms_swift/sharegpt.jsonl", "conversations", [0, 0, 0], 0),
        ("ms_swift/multi_modal_1.jsonl", "messages", [1, 2, 0], 0),
        ("ms_swift/multi_modal_2.jsonl", "messages", [1, 1, 3], 3),
        ("ms_swift/multi_modal_3.jsonl", "messages", [1, 1, 1], 3),
        ("qwen_vl_finetune/single_images.json", "conversations", [1, 1, 1], 0),
    ],
)
def test_a_demo_file_is_read_whole(file: str, form: str, images: list[int], placed: int) -> None:
    records = load(file)
    assert find_form(records) == form
    found = [FORMS[form].read(record, FormSettings(), n) for n, record in enumerate(records)]
    conversations = [one for one in found if isinstance(one, Conversation)]
    assert [len(one.images) for one in conversations] == images
    repairs = [repair.repair for one in conversations for repair in one.repairs]
    assert repairs == [Repair.TOKEN_ADDED] * placed
    for one in conversations:
        assert sum(text.count(IMAGE_TOKEN) for _, text in one.turns) == len(one.images)
        assert one.turns[-1][0] == "gpt"


@pytest.mark.parametrize("images", ["single", "multi"])
def test_both_spellings_of_xtuner_say_the_same(images: str) -> None:
    old, new = (
        [FORMS["messages"].read(record, FormSettings(), 0) for record in load(f"xtuner/{file}")]
        for file in (
            f"mllm_sft_{images}_image_example_data.jsonl",
            f"mllm_sft_{images}_image_example_data_new.jsonl",
        )
    )
    assert old == new
    for one in new:
        assert isinstance(one, Conversation)
        count = sum(text.count(IMAGE_TOKEN) for _, text in one.turns)
        assert count == len(one.images)


def test_xtuner_pretraining_text_is_dropped_for_its_speaker() -> None:
    for record in load("xtuner/mllm_pretrain_image_example_data.jsonl"):
        verdict = FORMS["messages"].read(record, FormSettings(), 0)
        assert isinstance(verdict, Verdict)
        assert verdict.reason is Reason.WRONG_ROLES


def test_each_phrase_of_the_cauldron_is_known() -> None:
    lines = (HUB / "the_cauldron" / "suffixes.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.replace("<sp>", " ") for line in lines if line and not line.startswith("#")}
    assert listed == {*BREVITY_PHRASES, LETTER_PHRASE}
