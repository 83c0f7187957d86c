"""The names of images in files of records are read as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.storage.embedded_names import (
    cell_name,
    parse_cell,
    parse_span,
    span_name,
    split_embedded,
)

NUMBERS = st.integers(0, 2**40)


@given(column=st.text(min_size=1), row=NUMBERS, number=st.none() | NUMBERS)
def test_a_cell_has_the_name_of_its_column_row_and_number(
    column: str, row: int, number: int | None
) -> None:
    assert parse_cell(cell_name(column, row, number)) == (column, row, number, False)


@given(start=NUMBERS, end=NUMBERS, number=NUMBERS)
def test_an_image_in_json_has_the_name_of_its_record(start: int, end: int, number: int) -> None:
    name = span_name(start, end, number)
    assert parse_span(name) == (start, end, number)
    assert parse_cell(name) is None


def test_a_path_is_split_at_the_file() -> None:
    assert split_embedded("birds/a/0.parquet/@image/17") == ("birds/a/0.parquet", "@image/17")
    assert split_embedded("web/0.tar/@/b/2.jpg") == ("web/0.tar", "@/b/2.jpg")
    assert split_embedded("photos/1.png") is None


@pytest.mark.parametrize("name", ["@image", "@image/", "@image/-1", "@image/1/2/3", "@image/¹", ""])
def test_another_name_is_no_cell(name: str) -> None:
    assert parse_cell(name) is None
