"""A Sample, the id its content gives it, and its Arrow schema."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imp_data.sample import (
    MULTI_IMAGE_RECORD_SCHEMA,
    MULTI_IMAGE_SAMPLE_SCHEMA,
    RECORD_SCHEMA,
    SAMPLE_SCHEMA,
    Sample,
    content_hash,
    image_lists,
    images_of,
    sample_id,
    sample_problem,
    sample_schema,
)

TURNS = [("human", "<image>\nWhat is it?"), ("gpt", "A bus.")]
ROW: dict[str, Any] = {
    "id": sample_id("dvqa", content_hash("dvqa", "7", ["dvqa/images/7.png"], TURNS)),
    "source": "dvqa",
    "subset": "",
    "image": "dvqa/images/7.png",
    "conversations": [{"from": who, "value": value} for who, value in TURNS],
    "upstream_id": "7",
    "image_sha256": "0" * 64,
    "image_width": 640,
    "image_height": 480,
    "license": "CC-BY-NC-4.0",
}


def test_the_columns_are_in_the_documented_order() -> None:
    assert SAMPLE_SCHEMA.names == list(ROW)
    assert RECORD_SCHEMA.names == SAMPLE_SCHEMA.names[:6]
    table = pa.Table.from_pylist([ROW], SAMPLE_SCHEMA)
    assert table.to_pylist() == [ROW]


def test_an_id_is_the_source_and_16_hex_digits() -> None:
    assert sample_id("dvqa", 0xBEEF) == "dvqa/000000000000beef"
    assert sample_id("dvqa", 2**64 - 1, 1) == "dvqa/ffffffffffffffff"
    assert sample_id("dvqa", 0xBEEF, 2) == "dvqa/000000000000beef~2"
    assert sample_id("dvqa", 0xBEEF, 11) == "dvqa/000000000000beef~11"


def test_an_id_never_changes_between_releases() -> None:
    # Published ledgers and mixtures contain these ids: another hash would change all of them.
    assert ROW["id"] == "dvqa/f43f76841aa3d9ad"
    assert sample_id("chat", content_hash("chat", "1", (), [("human", "é")])) == (
        "chat/9f5559715296afa1"
    )


contents = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "1", "2"]),
    st.lists(st.sampled_from(["", "1"]), max_size=2),
    st.lists(st.tuples(st.sampled_from(["human", "gpt"]), st.sampled_from(["", "x"])), max_size=2),
)


def test_turns_are_by_human_gpt_system_or_tool() -> None:
    turns = [("system", "Be brief."), ("human", "a"), ("gpt", "call"), ("tool", "b"), ("gpt", "c")]
    row = ROW | {"conversations": [{"from": who, "value": value} for who, value in turns]}
    row["id"] = sample_id("dvqa", content_hash("dvqa", "7", [row["image"]], turns))
    assert sample_problem(row) is None


@given(contents, contents)
def test_two_contents_have_the_same_hash_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)


@pytest.mark.parametrize("identity", [ROW["id"], ROW["id"] + "~2", ROW["id"] + "~17"])
def test_a_row_with_the_id_of_its_content_has_no_problem(identity: str) -> None:
    assert sample_problem(ROW | {"id": identity}) is None


def test_a_text_only_sample_has_no_image_and_no_size() -> None:
    nothing = dict.fromkeys(("image", "image_sha256", "image_width", "image_height"))
    row = ROW | nothing
    row["id"] = sample_id("dvqa", content_hash("dvqa", "7", (), TURNS))
    assert sample_problem(row) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"upstream_id": "8"},
        {"image": "dvqa/images/8.png"},
        {"conversations": [*ROW["conversations"][:1], {"from": "gpt", "value": "A tram."}]},
        {"source": "chartqa"},
    ],
)
def test_an_altered_row_does_not_match_its_id(changed: dict[str, Any]) -> None:
    problem = sample_problem(ROW | changed)
    assert problem is not None
    assert problem.startswith(f"id {ROW['id']} does not belong to this content, whose id is ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "dvqa/BEEF000000000000"),
        ("id", "dvqa/beef"),
        ("id", ROW["id"] + "~0"),
        ("id", ROW["id"] + "~"),
        ("id", ROW["id"] + "\n"),
        ("conversations", ROW["conversations"][:1]),
        ("conversations", [{"from": "user", "value": "a"}, {"from": "gpt", "value": "b"}]),
        ("conversations", [{"from": "human", "value": ""}, {"from": "gpt", "value": "b"}]),
        ("conversations", [{"role": "human", "value": "a"}, {"from": "gpt", "value": "b"}]),
        ("upstream_id", 7),
        ("image_sha256", "0" * 63),
        ("image_width", 0),
        ("license", None),
        ("more", "x"),
    ],
)
def test_an_invalid_sample_row_is_rejected(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as error:
        Sample.model_validate(ROW | {field: value})
    assert error.value.errors()[0]["loc"][0] == field


def listed(count: int) -> dict[str, Any]:
    """Return a row of the schema with lists that has so many images."""
    images = [f"dvqa/images/{n}.png" for n in range(count)]
    facts = {"image_sha256": ["0" * 64] * count, "image_width": [640] * count}
    rest = {name: value for name, value in ROW.items() if name != "image"}
    identity = sample_id("dvqa", content_hash("dvqa", "7", images, TURNS))
    return rest | {"id": identity, "images": images, "image_height": [480] * count, **facts}


def test_the_schema_with_lists_has_the_same_columns_in_the_same_order() -> None:
    names = ["images" if name == "image" else name for name in SAMPLE_SCHEMA.names]
    assert MULTI_IMAGE_SAMPLE_SCHEMA.names == list(Sample.model_fields) == names
    assert MULTI_IMAGE_RECORD_SCHEMA.names == names[:6]
    assert sample_schema(1) is SAMPLE_SCHEMA
    assert sample_schema(2) is MULTI_IMAGE_SAMPLE_SCHEMA


@given(st.integers(0, 4))
def test_a_row_of_any_number_of_images_is_a_sample_in_the_schema_with_lists(count: int) -> None:
    row = listed(count)
    assert pa.Table.from_pylist([row], MULTI_IMAGE_SAMPLE_SCHEMA).to_pylist() == [row]
    assert sample_problem(row) is None
    assert len(Sample.model_validate(row).images) == len(images_of(row)) == count


def test_a_sample_with_one_image_has_the_same_id_in_both_schemas() -> None:
    row = ROW | {"image": "dvqa/images/0.png"}
    row["id"] = sample_id("dvqa", content_hash("dvqa", "7", ["dvqa/images/0.png"], TURNS))
    assert Sample.model_validate(row) == Sample.model_validate(listed(1))
    assert images_of(row) == images_of(listed(1))


@pytest.mark.parametrize("name", ["image_sha256", "image_width", "image_height"])
def test_each_image_of_a_sample_has_a_digest_and_a_size(name: str) -> None:
    row = listed(2)
    assert sample_problem(row | {name: None}) is None  # deferred
    with pytest.raises(ValidationError, match=f"{name} has 1 entries for 2 images"):
        sample_problem(row | {name: row[name][:1]})


def test_the_order_of_images_belongs_to_the_content() -> None:
    row = listed(2)
    problem = sample_problem(row | {"images": row["images"][::-1]})
    assert problem is not None and "does not belong to this content" in problem


def test_images_are_read_as_lists_from_either_column() -> None:
    single = pa.array(["a", None, "b"], pa.string())
    assert image_lists(single).to_pylist() == [["a"], [], ["b"]]
    several = pa.array([["a", "b"], []], pa.list_(pa.string()))
    assert image_lists(several) is several
