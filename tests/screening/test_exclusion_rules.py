"""Exclusion rules: what each kind of rule matches, and the evidence in the ledger."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.ledger import Reason
from imp_data.manifests import ExclusionRule
from imp_data.sample import RECORD_SCHEMA
from imp_data.screening import languages
from imp_data.screening.exclusion_rules import Found, PreparedRule, match_rule, prepare_rule
from imp_data.screening.text_filters import Candidates, find_candidates
from imp_data.storage.tables import arrow_writer
from tests.screening.test_image_filters import TWIN, quiz
from tests.screening.test_text_filters import mixture

Row = dict[str, Any]


def batch(*rows: Row) -> pa.RecordBatch:
    """Records of `photos`; a row states what matters: `turns`, `subset`, `image`, ids."""
    whole = [
        {
            "id": row.get("id", f"photos/{number:016x}"),
            "source": "photos",
            "subset": row.get("subset", ""),
            "image": row.get("image"),
            "conversations": [
                {"from": ("human", "gpt")[n % 2], "value": text}
                for n, text in enumerate(row.get("turns", ("What?", "It.")))
            ],
            "upstream_id": row.get("upstream_id", str(number)),
        }
        for number, row in enumerate(rows)
    ]
    return pa.RecordBatch.from_pylist(whole, schema=RECORD_SCHEMA)


def prepared(file: Path | None = None, license: str = "CC0-1.0", **fields: Any) -> PreparedRule:
    rule = {"name": "some", "because": "They are not wanted.", **fields}
    return prepare_rule(ExclusionRule.model_validate(rule), license, file)


def matched(*rows: Row, file: Path | None = None, **fields: Any) -> Found:
    return match_rule(batch(*rows), prepared(file, **fields))


def test_a_rule_without_a_criterion_excludes_a_subset_or_a_licence() -> None:
    rows = [{"subset": "vqa"}, {"subset": "gqa"}, {"subset": "vqa"}]
    assert matched(*rows, subsets=["vqa"]) == {0: {"subset": "vqa"}, 2: {"subset": "vqa"}}
    assert matched({}, licenses=["CC0-1.0"]) == {0: {"license": "CC0-1.0"}}
    assert prepared(subsets=["vqa"]).verdict({}).reason is Reason.EXCLUDED_BY_ORIGIN


@pytest.mark.parametrize(
    ("side", "rows"), [("questions", {0: "AI model"}), ("answers", {1: "ai model"})]
)
def test_a_text_rule_searches_the_questions_or_the_answers(side: str, rows: dict[int, str]) -> None:
    pattern = "(?i)ai (model|bot)"
    texts = [
        {"turns": ("Are you an AI model?", "No.")},
        {"turns": ("What?", "A cat.", "And?", "I am an ai model, an AI bot.")},
        {"turns": ("What?", "A model.")},
    ]
    found = matched(*texts, text={"pattern": pattern, "in": side})
    assert found == {n: {"pattern": pattern, "found": text} for n, text in rows.items()}
    assert matched(*texts, text={"pattern": pattern}).keys() == {0, 1}


def test_a_rule_applies_within_its_subsets_alone() -> None:
    rows = [{"subset": "a", "turns": ("x", "no")}, {"subset": "b", "turns": ("x", "no")}]
    found = matched(*rows, subsets=["b"], text={"pattern": "no"})
    assert found == {1: {"pattern": "no", "found": "no"}}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"min_words": 2}, {0: {"unit": "words", "found": 1, "min": 2}}),
        ({"max_words": 2}, {2: {"unit": "words", "found": 3, "max": 2}}),
        ({"min_characters": 4}, {0: {"unit": "characters", "found": 3, "min": 4}}),
        (
            {"min_characters": 4, "max_characters": 9},
            {
                0: {"unit": "characters", "found": 3, "min": 4, "max": 9},
                2: {"unit": "characters", "found": 13, "min": 4, "max": 9},
            },
        ),
    ],
)
def test_the_longest_answer_decides_the_length(limits: Row, expected: Found) -> None:
    rows = [
        {"turns": ("Is it red, green or blue?", "Red")},
        {"turns": ("Red?", "No", "What then?", "Dark blue")},
        {"turns": ("What?", "A  tall\u00a0house", "Sure?", "Yes")},
    ]
    assert matched(*rows, answer_length=limits) == expected


def test_a_language_rule_keeps_or_drops_languages_and_leaves_short_texts() -> None:
    german = "Das Bild zeigt eine Katze, die auf einer alten Matte vor dem Fenster sitzt."
    english = "The picture shows a cat that sits on an old mat in front of the window."
    rows = [{"turns": ("What?", text)} for text in (german, english, "Eine Katze.")]
    assert matched(*rows, language={"keep": ["en"]}) == {0: {"found": "de"}}
    assert matched(*rows, language={"drop": ["en", "fr"]}) == {1: {"found": "en"}}
    assert matched(*rows, language={"keep": ["en"], "in": "questions"}) == {}
    assert matched(*rows, language={"drop": ["de"], "min_probability": 1.0}) == {}


def test_a_language_rule_without_its_package_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata.Distribution, "discover", lambda **_: iter(()))
    with pytest.raises(UserError, match="py3langid, which is not installed"):
        languages.detector_version()


LISTS = {
    "ids.txt": b"\xef\xbb\xbf7\r\n\n  9 \n",
    "ids.csv": b"note,upstream_id\nx,7\ny,9\n",
    "ids.json": b'[7, "9"]',
    "objects.json": b'[{"upstream_id": "7"}, {"upstream_id": 9}]',
    "ids.jsonl": b'"7"\n{"upstream_id": 9}\n',
}


@pytest.mark.parametrize("name", [*LISTS, "ids.parquet"])
def test_a_list_of_ids_may_be_text_csv_json_or_parquet(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name in LISTS:
        path.write_bytes(LISTS[name])
    else:
        pq.write_table(pa.table({"upstream_id": [7, 9, None]}), path)
    rows = [{"upstream_id": text} for text in ("7", "8", "9")]
    found = matched(*rows, file=path, listed={"file": name})
    assert found == {0: {"list": name, "found": "7"}, 2: {"list": name, "found": "9"}}


@pytest.mark.parametrize(
    ("of", "line", "rows"),
    [
        ("id", "photos/0000000000000001", [1]),
        ("image", "coco/2.jpg", [1]),
        ("image_name", "2.jpg", [1, 2]),
    ],
)
def test_a_list_may_name_ids_or_images(of: str, line: str, rows: list[int], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(line)
    records = [{}, {"image": "coco/2.jpg"}, {"image": "vg/2.jpg"}, {"image": "coco/12.jpg"}]
    found = matched(*records, file=tmp_path / "list.txt", listed={"file": "list.txt", "of": of})
    assert list(found) == rows


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.txt", None, "cannot be read"),
        ("empty.txt", b"\n \n", "lists nothing"),
        ("ids.csv", b"id\n1\n", "has no column 'upstream_id'"),
        ("ids.json", b'{"a": 1}', "cannot be read (it is no JSON array)"),
        ("ids.json", b"[1.5]", "cannot be read ('1.5' is neither text nor a whole number)"),
        ("ids.json", b"[", "cannot be read"),
        ("ids.txt", b"\xff", "cannot be read"),
        ("ids.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_that_names_it(
    name: str, content: bytes | None, problem: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        prepared(tmp_path / name, listed={"file": name})
    assert error.value.where == str(tmp_path / name)
    assert problem in error.value.problem


def scores(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(("without", "rows"), [("keep", [1, 4]), ("drop", [1, 2, 3, 4])])
def test_a_score_outside_its_limits_excludes_and_records_without_one_stay_or_go(
    without: str, rows: list[int], tmp_path: Path
) -> None:
    file = scores(
        tmp_path / "s.parquet", upstream_id=["0", "1", "2", "4"], quality=[3.0, 1.5, None, 9.0]
    )
    rule = {"file": "s.parquet", "column": "quality", "by": "upstream_id", "min": 2, "max": 5}
    found = matched(*[{}] * 5, file=file, score={**rule, "without": without})
    assert list(found) == rows
    assert found[1] == {"column": "quality", "found": 1.5, "min": 2, "max": 5}
    if without == "drop":
        assert found[3] == {"column": "quality", "found": None, "min": 2, "max": 5}


def test_scores_join_by_any_column_of_text_or_whole_numbers(tmp_path: Path) -> None:
    file = scores(tmp_path / "s.parquet", key=[0, 1], n=[5, 1])
    rule = {"file": "s.parquet", "column": "n", "by": "upstream_id", "key": "key", "max": 3}
    assert matched({}, {}, file=file, score=rule) == {0: {"column": "n", "found": 5.0, "max": 3}}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"id": ["a"], "other": [1.0]}, "has no column 'q'"),
        ({"other": ["a"], "q": [1.0]}, "has no column 'id'"),
        ({"id": ["a", "a"], "q": [1.0, 2.0]}, "gives two scores 'q' for one 'id'"),
        ({"id": ["a"], "q": ["high"]}, "cannot be read"),
        ({"id": [1.5], "q": [1.0]}, "neither text nor whole numbers"),
    ],
)
def test_scores_that_cannot_be_joined_are_an_error(
    columns: Any, problem: str, tmp_path: Path
) -> None:
    file = scores(tmp_path / "s.parquet", **columns)
    with pytest.raises(UserError) as error:
        prepared(file, score={"file": "s.parquet", "column": "q", "min": 1})
    assert problem in error.value.problem


# What rules can see of a record: each kind matches some rules of RULES, or none.
KINDS = {
    "plain": {"turns": ("What is it?", "A large house.")},
    "refusal": {"turns": ("What is it?", "As an AI, I cannot say.")},
    "short": {"turns": ("Is it?", "no")},
    "ocr": {"subset": "ocr", "turns": ("Read it.", "no")},
    "listed": {"upstream_id": "7"},
    "benchmark": {"image": f"p/{TWIN}.jpg", "turns": ("Is it?", "no")},
}
RULES = {
    "refusals": {"text": {"pattern": "(?i)as an ai"}},
    "brief": {"answer_length": {"min_words": 2}},
    "ocr": {"subsets": ["ocr"]},
    "listed": {"listed": {"file": "l.txt"}},
}


def candidates(folder: Path, kinds: list[str], order: list[str]) -> Candidates:
    (folder / "l.txt").write_text("7\n")
    rows = [{"id": f"photos/{n:016x}", **KINDS[kind]} for n, kind in enumerate(kinds)]
    with arrow_writer(folder / "r.arrow", RECORD_SCHEMA) as writer:
        for n in range(0, len(rows), 3):
            writer.write_batch(batch(*rows[n : n + 3]))
    rules = [prepared(folder / "l.txt", **RULES[name], name=name) for name in order]
    return find_candidates(mixture(), "photos", folder / "r.arrow", [quiz()], rules)


@pytest.mark.usefixtures("one_worker")
@settings(max_examples=20)
@given(st.lists(st.sampled_from(list(KINDS)), max_size=12), st.permutations(list(RULES)))
def test_the_order_of_rules_changes_neither_the_rest_nor_what_each_rule_matches(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], order: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("law")
    first, other = (candidates(folder, kinds, some) for some in (list(RULES), order))
    assert first.order.tolist() == other.order.tolist()
    assert dict(first.excluded.matched) == dict(other.excluded.matched)
    refused = [*first.refused, *first.excluded.refused.keys.tolist()]
    assert sorted([*first.order.tolist(), *refused]) == list(range(len(kinds)))
    assert {kinds[n] for n in first.order} <= {"plain"}


def test_the_first_rule_that_matches_gives_the_reason_and_a_benchmark_goes_before(
    tmp_path: Path,
) -> None:
    order = ["ocr", "brief", "refusals", "listed"]
    found = candidates(tmp_path, ["short", "ocr", "benchmark", "listed", "plain"], order)
    reasons, evidence = found.excluded.refused.columns()
    keys = found.excluded.refused.keys.tolist()
    assert dict(zip(keys, reasons.to_pylist(), strict=True)) == {
        0: "excluded_by_length",
        1: "excluded_by_origin",
        3: "excluded_by_length",
    }
    assert json.loads(evidence[0].as_py()) == {
        "exclusion": "brief",
        "found": 1,
        "min": 2,
        "unit": "words",
    }
    assert {n: v.reason for n, v in found.refused.items()} == {2: Reason.BENCHMARK_ID}
    assert found.order.tolist() == [4]
    assert np.array_equal(keys, [0, 1, 3])
