"""Fields with paths stay inside their folder, and templates and expressions are checked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PUBLISHED

from imp_data.errors import UserError
from imp_data.manifests import Benchmark, ImageCollection, Source, load_manifest
from tests.manifests.test_yaml_document import written

ELSEWHERE = [
    "../../outside",
    "photos/../../..",
    "/etc",
    "~/photos",
    "C:\\photos",
    "C:/photos",
    "..\\..\\outside",
    "photos\\birds",
    "\u2025/\u2025/outside",  # TWO DOT LEADER
    "\u2024\u2024/outside",  # ONE DOT LEADER
    "\uff0e\uff0e/outside",  # FULLWIDTH FULL STOP
    "..\uff0foutside",  # FULLWIDTH SOLIDUS
    "..\u2215..\u2215outside",  # DIVISION SLASH
    "\uff0fetc",
    " ../outside",
    "a\n../b",
    "p" * 256,
    "p/" * 600,
]
PATH_FIELDS = {
    "inside": (ImageCollection, {"folders": [{"path": "birds", "inside": ...}]}),
    "path": (ImageCollection, {"folders": [{"path": ..., "inside": ""}]}),
    "file": (ImageCollection, {"folders": [{"path": "birds", "file": ...}]}),
    "files": (ImageCollection, {"folders": [{"path": "b"}], "files": [{"path": ..., "url": "u"}]}),
    "unpack": (
        ImageCollection,
        {"folders": [{"path": "b"}], "files": [{"path": "a", "url": "u", "unpack": [...]}]},
    ),
    "records": (Source, {"layout": "llava", "records": [...]}),
    "held_out": (Source, {"layout": "llava", "records": ["a"], "held_out": ...}),
    "image_prefix": (Source, {"layout": "llava", "records": ["a"], "image_prefix": ...}),
    "image_paths": (
        Benchmark,
        {
            "files": [{"path": "ids.json", "url": "u"}],
            "id_files": ["ids.json"],
            "images": ["birds"],
            "image_paths": [...],
        },
    ),
}


def filled(template: Any, value: str) -> Any:
    """The document with the value in the place of `...`."""
    if template is ...:
        return value
    if isinstance(template, dict):
        return {name: filled(inner, value) for name, inner in template.items()}
    return [filled(inner, value) for inner in template] if isinstance(template, list) else template


@pytest.mark.parametrize("field", PATH_FIELDS)
@pytest.mark.parametrize("path", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_no_path_field_leads_out_of_its_base_folder(field: str, path: str, tmp_path: Path) -> None:
    model, template = PATH_FIELDS[field]
    stated = filled(template, path + "/{id}" * (field == "image_paths"))
    text = yaml.safe_dump({"name": "birds", **PUBLISHED, **stated}, allow_unicode=True)
    file = written(tmp_path, text, "birds.yaml")
    with pytest.raises(UserError) as error:
        load_manifest(file, model)
    assert re.match(r"line \d+, column \d+, ", error.value.problem)
    assert "must be a relative path without .." in error.value.problem


@pytest.mark.parametrize("field", PATH_FIELDS)
@pytest.mark.parametrize(
    "path", ["photos", "a/b..c", "...", "\u00fcber/\u9ce5", "a\u2026b", "~ann", "a b", "1\uff0f2"]
)
def test_names_that_resemble_an_escape_are_accepted(field: str, path: str, tmp_path: Path) -> None:
    model, template = PATH_FIELDS[field]
    stated = filled(template, path + "/{id}" * (field == "image_paths"))
    text = yaml.safe_dump({"name": "birds", **PUBLISHED, **stated}, allow_unicode=True)
    assert load_manifest(written(tmp_path, text, "birds.yaml"), model)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image_paths", ["a/{id.__class__}.png"], "must have {id} where the id goes"),
        ("image_paths", ["a/{0}.png"], "must have {id} where the id goes"),
        ("image_paths", ["a/{id:>999999999}.png"], "must have {id} where the id goes"),
        ("image_paths", ["a/1.png"], "must have {id} where the id goes"),
        ("image_paths", [], "belong together; state both"),
        ("id_files", ["other.json"], "other.json is not among `files`"),
        ("same_images", [{"file": "ids.json", "ids": {"coco": "a", "vizwiz": "b"}}], "image_ids"),
        ("id_pattern", "[0-9", "is not a regular expression"),
        ("id_pattern", "(a)(b)", "has several groups"),
    ],
)
def test_the_expressions_of_a_benchmark_are_checked(
    field: str, value: Any, said: str, tmp_path: Path
) -> None:
    stated = {
        "files": [{"path": "ids.json", "url": "u"}],
        "id_files": ["ids.json"],
        "id_pattern": "x",
        "images": ["birds"],
        "image_paths": ["{id}"],
    }
    text = yaml.safe_dump({"name": "quiz", **PUBLISHED, **stated, field: value})
    with pytest.raises(UserError) as error:
        load_manifest(written(tmp_path, text, "quiz.yaml"), Benchmark)
    assert said in error.value.problem
