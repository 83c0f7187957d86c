"""The ledger's outcomes, reasons, repairs and evidence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imp_data.ledger import (
    LEDGER_SCHEMA,
    RECORDS_LEDGER_SCHEMA,
    SENTENCES,
    LedgerRow,
    Outcome,
    Reason,
    Repair,
    Stage,
    evidence_json,
)

DROPPED: dict[str, Any] = {
    "source": "dvqa",
    "ordinal": 3,
    "upstream_id": "7",
    "id": None,
    "outcome": "dropped",
    "stage": "records",
    "reason": "empty_value",
    "evidence": '{"turn":1}',
    "repairs": [{"repair": "token_moved", "before": "What?\n<image>"}],
}


def test_a_record_has_one_of_three_outcomes_at_one_of_three_stages() -> None:
    assert list(Outcome) == ["kept", "held", "dropped"]
    assert list(Stage) == ["records", "screened", "mixture"]


@pytest.mark.parametrize("word", [*Reason, *Repair])
def test_each_reason_and_repair_has_a_code_and_a_sentence(word: Reason | Repair) -> None:
    assert word == word.value == word.name.lower()
    assert word.sentence[0] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ<" and word.sentence.endswith(".")
    assert SENTENCES[word] == word.sentence


def test_codes_and_sentences_are_unique() -> None:
    assert len(SENTENCES) == len(Reason) + len(Repair) == len(set(SENTENCES.values()))


def test_a_reason_equals_its_value_in_both_directions() -> None:
    assert Reason("over_quota") is Reason.OVER_QUOTA
    assert f"{Reason.OVER_QUOTA}" == "over_quota"
    assert Reason.OVER_QUOTA.sentence == "The source's quota was full before this record's turn."
    with pytest.raises(ValueError):
        Reason("because")


def test_the_ledger_schema_has_the_columns_of_ledger_row() -> None:
    assert LEDGER_SCHEMA.names == list(LedgerRow.model_fields) == list(DROPPED)
    assert RECORDS_LEDGER_SCHEMA.names == [*LEDGER_SCHEMA.names, "sample"]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"upstream_id": None, "repairs": []},
        {"outcome": "kept", "stage": "mixture", "reason": None, "evidence": None, "id": "dvqa/0"},
        {"outcome": "held", "stage": "mixture", "reason": "over_quota", "evidence": None},
    ],
)
def test_a_valid_ledger_row_is_accepted(changed: dict[str, Any]) -> None:
    row = DROPPED | changed
    assert LedgerRow.model_validate(row).model_dump(mode="json") == row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "lost"),
        ("outcome", None),
        ("stage", "raw"),
        ("reason", "because"),
        ("ordinal", -1),
        ("repairs", [{"repair": "guessed", "before": ""}]),
        ("repairs", [{"repair": "token_moved"}]),
        ("sample", 1),
    ],
)
def test_an_invalid_ledger_row_is_rejected(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as error:
        LedgerRow.model_validate(DROPPED | {field: value})
    assert error.value.errors()[0]["loc"][0] == field


def test_evidence_is_compact_json_with_sorted_keys() -> None:
    assert evidence_json({}) == "{}"
    assert evidence_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'


def test_evidence_contains_a_lone_surrogate_and_a_long_integer() -> None:
    assert evidence_json({"b": 1, "a": "x\ud800"}) == '{"a":"x\\ud800","b":1}'
    assert evidence_json({"correct": 10**25}) == '{"correct":10000000000000000000000000}'


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans())))
def test_evidence_round_trips(evidence: dict[str, Any]) -> None:
    assert json.loads(evidence_json(evidence)) == evidence
