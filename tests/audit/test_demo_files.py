"""Audits of the files that the demo draws, as upstream publishes them."""

from collections.abc import Mapping

import pytest

from imp_data.audit.run import AuditOptions, audit
from imp_data.errors import UserError
from imp_data.storage.data_dir import DataDir

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]

# The images are in other folders, some of them in zips, so no record with an image is kept.
FAULTS = {
    "image_missing": 651,
    "bad_image_path": 4,
    "wrong_type": 4,
    "wrong_roles": 2,
    **dict.fromkeys(("empty_value", "lone_surrogate", "no_turns", "not_json", "not_utf8"), 1),
    **dict.fromkeys(("token_count", "token_in_answer", "token_repeated"), 1),
    **dict.fromkeys(("token_without_image", "too_deep", "too_long", "truncated"), 1),
    "unanswered": 1,
}


@pytest.mark.parametrize(
    ("source", "rows", "outcomes", "reasons"),
    [
        ("llava_665k", 717, {"dropped": 674, "kept": 43}, FAULTS),
        ("allava_instruct", 719, {"dropped": 719}, {"image_missing": 719}),
        ("sharegpt4v", 109, {"dropped": 109}, {"image_missing": 109}),
    ],
)
def test_every_fault_of_the_drawn_conversations_is_found(
    source: str,
    rows: int,
    outcomes: Mapping[str, int],
    reasons: Mapping[str, int],
    drawn_demo: DataDir,
) -> None:
    found = audit(str(drawn_demo.raw(source)), AuditOptions())
    assert [(one["form"], one["rows"]) for one in found["records"]] == [("conversations", rows)]
    assert found["outcomes"] == outcomes
    assert {one["reason"]: one["records"] for one in found["reasons"]} == reasons


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("docvqa", "columns: dataset_name, dataset_version, dataset_split, data"),
        ("laion_gpt4v", "columns: link, caption, message_id, timestamp, image"),
        ("chartqa", "holds no file of records"),
    ],
)
def test_files_in_a_layout_of_their_own_are_named(
    source: str, problem: str, drawn_demo: DataDir
) -> None:
    with pytest.raises(UserError) as error:
        audit(str(drawn_demo.raw(source)), AuditOptions())
    assert problem in error.value.problem
