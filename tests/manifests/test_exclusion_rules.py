"""Exclusion rules in a manifest: one criterion each, checked when the manifest is loaded."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imp_data.errors import UserError
from imp_data.manifests import Exclusion, ExclusionRule, Mixture, load_manifest

KIND = {
    "name": "captions",
    "source": "a",
    "image_prefix": "c/",
    "prompt": "Caption",
    "subset": "captions",
    "because": "They are not wanted.",
}


def loaded(tmp_path: Path, *exclusions: dict[str, Any]) -> Mixture:
    path = tmp_path / "m.yaml"
    part = {"source": "a", "quota": 1, "group": "All"}
    fields = {"name": "m", "title": "M", "seed": 7, "parts": [part], "exclusions": exclusions}
    path.write_text(yaml.safe_dump({**fields, "exclusions": list(exclusions)}), encoding="utf-8")
    return load_manifest(path, Mixture)


def rule(**fields: Any) -> dict[str, Any]:
    return {"name": "some", "because": "They are not wanted.", **fields}


def test_a_rule_stands_beside_a_kind_of_record(tmp_path: Path) -> None:
    text = {"pattern": "(?i)as an ai", "in": "answers"}
    mixture = loaded(tmp_path, KIND, rule(text=text, sources=["a"]))
    (kind,), (one,) = mixture.kind_exclusions, mixture.exclusion_rules
    assert isinstance(kind, Exclusion) and isinstance(one, ExclusionRule)
    assert one.criterion == "text" and not one.needs_image
    assert one.applies_to("a", "CC0-1.0") and not one.applies_to("b", "CC0-1.0")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"text": {"pattern": "(a"}}, "is not a regular expression of RE2: missing ): (a"),
        ({"text": {"pattern": "(?=a)"}}, "exclusions.0.text.pattern: is not a regular expression"),
        ({"text": {"pattern": ""}}, "exclusions.0.text.pattern"),
        ({"text": {"pattern": "a", "in": "answer"}}, "exclusions.0.text.in"),
        ({}, "states nothing to exclude; add one of listed, text"),
        ({"sources": ["b"]}, "exclusions: b is not among the parts"),
        ({"sources": []}, "exclusions.0.sources"),
        ({"answer_length": {}}, "exclusions.0.answer_length: states no limit"),
        ({"answer_length": {"min_words": 5, "max_words": 4}}, "min_words: 5 is above the maximum"),
        ({"image_size": {"max_aspect": 0.5}}, "exclusions.0.image_size.max_aspect"),
        (
            {"image_size": {"min_side": 9}, "subsets": ["x"]},
            "images are decided for a whole source",
        ),
        ({"language": {}}, "keep: state either `keep` or `drop`"),
        ({"listed": {"file": "../ids.txt"}}, "must be a relative path without .."),
        ({"listed": {"file": "ids.doc"}}, "must end in .txt, .csv, .json, .jsonl, .parquet"),
        ({"score": {"file": "s.csv", "column": "q", "min": 1}}, "must end in .parquet"),
        ({"score": {"file": "s.parquet", "column": "q"}}, "states no limit; add a min or a max"),
        (
            {"text": {"pattern": "a"}, "answer_length": {"min_words": 1}},
            "answer_length: write a rule of its own, beside text",
        ),
        ({"prefix": "c/"}, "exclusions.0.prefix: unknown field"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_an_error_at_its_line(
    fields: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, rule(**fields))
    assert problem in error.value.problem
    assert error.value.problem.startswith("line ")


def test_two_rules_of_one_name_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="captions occurs twice"):
        loaded(tmp_path, KIND, rule(text={"pattern": "a"}) | {"name": "captions"})


def documented() -> list[dict[str, Any]]:
    page = (Path(__file__).parents[2] / "docs" / "screening.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


@pytest.mark.parametrize("fields", documented())
def test_the_examples_of_the_page_on_screening_are_valid(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    sources = ["llava_665k", "docvqa", "sharegpt4v", "infographicvqa"]
    parts = [{"source": source, "quota": 1, "group": "All"} for source in sources]
    whole = {"name": "m", "title": "M", "seed": 7, "parts": parts, **fields}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    assert load_manifest(tmp_path / "m.yaml", Mixture)
