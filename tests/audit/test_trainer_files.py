"""Audits of the demo files of trainers and tools, from the folder IMP_REAL_DATA.

They lie in hub/, without the folders in which their publishers have them; each test lays those.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imp_data.audit.run import AuditOptions, audit
from imp_data.errors import UserError

REAL = Path(os.environ.get("IMP_REAL_DATA") or "unset")
pytestmark = [
    pytest.mark.skipif(not (REAL / "hub").is_dir(), reason="IMP_REAL_DATA names no folder"),
    pytest.mark.usefixtures("one_worker"),
]


class Found(NamedTuple):
    """What an audit finds: records by form and outcome, reasons, repairs, images by status."""

    forms: Mapping[str, int]
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int] = {}
    repairs: Mapping[str, int] = {}
    images: Mapping[str, int] = {}


def found_in(folder: Path, files: Mapping[str, str], **options: Any) -> Found:
    """Lay files of the folder of real data at their publishers' paths, and audit them."""
    for path, real in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REAL / real, target)
    found = audit(str(folder), AuditOptions(**options))
    return Found(
        {one["form"]: one["rows"] for one in found["records"]},
        found["outcomes"],
        {one["reason"]: one["records"] for one in found["reasons"]},
        {one["repair"]: one["records"] for one in found["repairs"]},
        found["images"],
    )


def photos(folder: str) -> dict[str, str]:
    return {f"{folder}/mllm_demo_data/{n}.jpg": f"hub/llamafactory/{n}.jpg" for n in (1, 2, 3)}


def xtuner(name: str) -> dict[str, str]:
    """Return a file of XTuner and one of its two images; the other is not among the real data."""
    dog = "mscoco_dog_000000319154.jpg"
    return {f"{name}.jsonl": f"hub/xtuner/{name}.jsonl", f"resource/{dog}": f"hub/xtuner/{dog}"}


def swift(name: str) -> dict[str, str]:
    return {f"{name}.jsonl": f"hub/ms_swift/{name}.jsonl"}


QWEN = {f"demo/images/{n}.png": f"hub/qwen_vl_finetune/{n}.png" for n in (10095, 10149)}
ONE_OF_TWO = {"missing": 1, "ok": 1}
HALF = Found(
    {"messages": 22}, {"kept": 12, "dropped": 10}, {"image_missing": 10}, images=ONE_OF_TWO
)
SEVERAL = Found({"messages": 11}, {"dropped": 11}, {"image_missing": 11}, images=ONE_OF_TWO)
# Images by URL, which an audit does not download.
BY_URL = Found({"messages": 3}, {"dropped": 3}, {"image_is_url": 3}, {"token_added": 3})
KEPT = Found({"conversations": 3}, {"kept": 3})

FILES: dict[str, tuple[dict[str, str], Found]] = {
    "LLaVA": (
        {"mix665k.json": "llava/mix665k_quoted_records.json"},
        Found(
            {"conversations": 7},
            {"dropped": 7},
            {"image_missing": 7},
            {"token_moved": 3},
            {"missing": 7},
        ),
    ),
    "LLaMA-Factory": (
        {"mllm_demo.json": "hub/llamafactory/mllm_demo.json", **photos(".")},
        Found({"messages": 6}, {"kept": 6}, {}, {"token_moved": 4}, {"ok": 3}),
    ),
    "LLaMA-Factory, v1": (
        {"demo.jsonl": "hub/llamafactory/v1_multimodal_demo.jsonl", **photos("data")},
        Found({"messages": 24}, {"kept": 24}, images={"ok": 3}),
    ),
    "LLaMA-Factory, videos": (
        {"demo.json": "hub/llamafactory/mllm_video_demo.json"},
        Found({"messages": 3}, {"dropped": 3}, {"unread_field": 3}),
    ),
    "ms-swift, img tags": (
        swift("multi_modal_1"),
        Found(
            {"messages": 3},
            {"dropped": 2, "kept": 1},
            {"image_is_url": 2},
            {"token_moved": 1},
        ),
    ),
    "ms-swift, images": (swift("multi_modal_2"), BY_URL),
    "ms-swift, one image": (swift("multi_modal_3"), BY_URL),
    "ms-swift, ShareGPT": (swift("sharegpt"), KEPT),
    "ms-swift, conversations": (swift("conversations"), KEPT),
    "Qwen-VL": (
        {"single.json": "hub/qwen_vl_finetune/single_images.json", **QWEN},
        Found({"conversations": 3}, {"kept": 3}, {}, {"token_moved": 3}, {"ok": 2}),
    ),
    "Qwen-VL, videos": (
        {"video.json": "hub/qwen_vl_finetune/video.json"},
        Found({"conversations": 3}, {"dropped": 3}, {"unread_field": 3}),
    ),
    "XTuner": (xtuner("mllm_sft_single_image_example_data"), HALF),
    "XTuner, new": (xtuner("mllm_sft_single_image_example_data_new"), HALF),
    "XTuner, several images": (xtuner("mllm_sft_multi_image_example_data"), SEVERAL),
    "XTuner, several images, new": (xtuner("mllm_sft_multi_image_example_data_new"), SEVERAL),
    # The speaker `pretrain`: text that no question precedes.
    "XTuner, pretraining": (
        xtuner("mllm_pretrain_image_example_data"),
        Found({"messages": 12}, {"dropped": 12}, {"wrong_roles": 12}),
    ),
    "img2dataset": (
        {
            f"00000{ending}": f"hub/img2dataset/sample_output/00000{ending}"
            for ending in (".tar", ".parquet", "_stats.json")
        },
        Found(
            {"captions": 15},
            {"dropped": 10, "kept": 5},
            {"download_failed": 10},
            images={"ok": 5},
        ),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_each_trainers_demo_file_is_read(name: str, tmp_path: Path) -> None:
    files, expected = FILES[name]
    assert found_in(tmp_path, files) == expected


def test_a_table_for_img2dataset_is_read_as_captions_of_urls(tmp_path: Path) -> None:
    files = {"boxes.parquet": "hub/img2dataset/test_bbox.parquet"}
    with pytest.raises(UserError, match="columns: url, txt, bboxes"):
        found_in(tmp_path, files)
    options = {"form": "captions", "columns": {"image": "url"}, "ignored_fields": ("bboxes",)}
    assert found_in(tmp_path, files, **options) == Found(
        {"captions": 1}, {"dropped": 1}, {"image_is_url": 1}
    )


@pytest.mark.parametrize(
    ("real", "problem"),
    [
        (
            "internvl/internvl_1_2_finetune_custom.json",
            "lists data sets, and holds no records: audit the files that it names (playground/"
            "opensource/sharegpt4v_instruct_gpt4-vision_cap100k.jsonl, ",
        ),
        ("croissant/hf_mnist_1.1_metadata.json", "columns: @context, @type, name"),
        ("datasets_parquet/images_list_1row.parquet", "columns: id, images"),
    ],
)
def test_a_file_without_conversations_is_named_with_its_columns(
    real: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        found_in(tmp_path, {f"file.{real.rpartition('.')[2]}": f"hub/{real}"})
    assert problem in error.value.problem


@pytest.mark.parametrize("folder", ["croissant", "the_cauldron"])
def test_a_folder_without_records_is_an_error(folder: str) -> None:
    with pytest.raises(UserError, match="holds no file of records"):
        audit(str(REAL / "hub" / folder), AuditOptions())
