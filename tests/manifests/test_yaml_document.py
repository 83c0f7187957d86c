"""Manifests are read by YAML 1.2, and errors name line and column."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.manifests import Mixture, load_manifest
from imp_data.manifests.yaml_document import MAX_VALUES, parse_document
from imp_data.manifests.yaml_scalars import parse_scalar, yaml_1_1_value
from imp_data.manifests.yaml_text import MAX_BYTES

MIXTURE = """\
name: small
title: A small mixture
seed: 1
parts:
  - {source: mine, quota: 5, group: Ours}
"""


def written(folder: Path, text: str | bytes, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def load_error(folder: Path, text: str | bytes) -> UserError:
    path = written(folder, text)
    with pytest.raises(UserError) as error:
        load_manifest(path, Mixture)
    assert error.value.where == str(path)
    return error.value


def value_of(text: str) -> Any:
    return parse_document(Path("any.yaml"), f"a: {text}\n").to_python()["a"]


# --- values of the core schema of YAML 1.2.2 ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("-0", 0),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("2024-01-31", "2024-01-31"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("2024-13-45", "2024-13-45"),
        ("1e3", 1000.0),
        ("1e-5", 0.00001),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.5", 1.5),
        ("-1.5E+2", -150.0),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("'010'", "010"),
        ('"true"', "true"),
        ("[010, on]", [10, "on"]),
        ("{x: on}", {"x": "on"}),
        (">-\n  010\n", "010"),
    ],
)
def test_values_are_read_by_yaml_1_2(text: str, value: Any) -> None:
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=12))
@example("1_0.5")
@example("0777")
def test_any_scalar_is_read_or_rejected_with_value_error(text: str) -> None:
    try:
        value = parse_scalar(text)
    except ValueError:
        assert re.search(r"inf|nan|\d", text, re.IGNORECASE)
        return
    assert isinstance(value, str | int | float | None)
    if isinstance(value, str):
        assert value == text
    before = yaml_1_1_value(text)
    assert before is None or not isinstance(before, str)


@given(st.integers(-(2**63), 2**63), st.integers(0, 3))
def test_an_integer_with_leading_zeros_is_decimal(number: int, zeros: int) -> None:
    sign, digits = ("-" if number < 0 else ""), str(abs(number))
    assert parse_scalar(f"{sign}{'0' * zeros}{digits}") == number


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_values_written_by_a_yaml_library_are_read_unchanged(value: Any) -> None:
    # PyYAML quotes text that YAML 1.1 would read as another type.
    text = yaml.safe_dump({"a": value}, default_flow_style=None)
    try:
        found = parse_document(Path("any.yaml"), text).to_python()
    except UserError as error:
        assert "contains the character U+" in error.problem
    else:
        assert found == {"a": value}


# --- one error with line and column -------------------------------------------------------------

LAUGHS = 'a0: &a0 ["lol", "lol"]\n' + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
MERGES = "a: &a {b: 1, c: 2}\nd: {" + ", ".join(["<<: *a"] * 60_000) + "}\n"

REFUSED: list[tuple[str | bytes, str]] = [
    # No text.
    (b"", "is empty"),
    (b" \n\n", "is empty"),
    (b"# a comment\n", "line 2, column 1: contains only comments"),
    ("name: small".encode("utf-16"), "is in UTF-16, not in UTF-8"),
    ("name: small".encode("utf-32"), "is in UTF-32, not in UTF-8"),
    (b"name: small\ntitle: caf\xe9\n", "line 2, column 11: is not UTF-8 (byte 0xe9)"),
    (b"\x89PNG\r\n\x1a\n", "line 1, column 1: is not UTF-8 (byte 0x89)"),
    (b"name: small\0", "line 1, column 12: contains the character U+0000"),
    ("name: small\ntitle: \ufeffx\n", "line 2, column 8: contains the character U+FEFF"),
    ("name: small\r\ntitle: \x1b[2J\r\n", "line 2, column 8: contains the character U+001B"),
    ("title: a\u2028b\n", "line 1, column 9: contains the character U+2028"),
    # No mapping, or several.
    ("[]", "line 1, column 1: contains no fields"),
    ("- name: small", "line 1, column 1: contains no fields"),
    ("just text", "line 1, column 1: contains no fields"),
    ("---\n...\n", "line 2, column 1: contains no fields"),
    (f"{MIXTURE}---\nname: other\n", "line 6, column 1: a second document begins"),
    (f"%YAML 1.1\n---\n{MIXTURE}", "line 1, column 1: declares YAML 1.1"),
    # No YAML.
    ("name: [", "line 1, column 8: is not YAML: "),
    ("name: small\n\ttitle: x\n", "line 2, column 1: is not YAML: while scanning for the next"),
    ("name: a: b\n", "line 1, column 8: is not YAML: mapping values are not allowed here"),
    ('title: "abc\n', "line 2, column 1: is not YAML: while scanning a quoted scalar"),
    ("title: @x\n", "line 1, column 8: is not YAML: "),
    (r'title: "\UFFFFFFFF"', "line 1, column 11: is not YAML: "),
    (r'title: "\U00110000"', "line 1, column 11: is not YAML: "),
    # Aliases.
    ("a: &x [*x]", "line 1, column 8: *x refers to a value that contains it"),
    ("a: &x {b: {c: *x}}", "line 1, column 15: *x refers to a value that contains it"),
    ("a: &x {<<: *x}", "line 1, column 12: *x refers to a value that contains it"),
    ("a: *none", "line 1, column 4: no anchor &none precedes *none"),
    ("a: &x 1\nb: &x 2\n", "line 2, column 4: the anchor &x is defined twice"),
    (LAUGHS, f"line 6, column 5: contains more than {MAX_VALUES:,} values or "),
    (f"a: &a {'x' * 50_000}\nb: [{'*a, ' * 90}]\n", "line 2, column 4: contains more than "),
    (CHAIN, "line 32, column 6: is nested more than 32 deep"),
    (MERGES, "line 2, column 266661: contains more than 100,000 values"),
    ("a: {<<: 5}", "line 1, column 5: <<: is not a mapping"),
    ("a: &a {b: 1}\nc: {<<: [*a, x]}", "line 2, column 5: <<: is not a mapping"),
    # Tags, and keys that are no names.
    (
        "a: !!python/object:os.system x",
        "line 1, column 4: the tag '!!python/object:os.system' is not",
    ),
    ("a: !!python/object/apply:os.system [x]", "line 1, column 4: the tag '!!python/object/apply:"),
    ("a: !!binary aGk=", "line 1, column 4: the tag '!!binary' is not"),
    ("a: !mine x", "line 1, column 4: the tag '!mine' is not"),
    ("!!map {a: 1}", "line 1, column 1: the tag '!!map' is not"),
    ("? [a, b]\n: c\n", "line 1, column 3: a key is not plain text"),
    ("&a name: small\n", "line 1, column 1: a key is not plain text"),
    ("'': small\n", "line 1, column 1: a key has 0 characters"),
    ("k" * 300 + ": small\n", "line 1, column 1: a key has 300 characters"),
    # Too much.
    ("a: " + "[" * 5000, "line 1, column 35: is nested more than 32 deep"),
    ("- " * 5000 + "a", "line 1, column 65: is nested more than 32 deep"),
    ("a: " + "{b: " * 5000, "line 1, column 128: is nested more than 32 deep"),
    (f"seed: {'9' * 5000}\n", "line 1, column 7: an integer has 5,000 digits, the limit is 30"),
    (f"seed: 0x{'f' * 5000}\n", "line 1, column 7: an integer has 5,002 digits, the limit is 30"),
    ("seed: .inf\n", "line 1, column 7: '.inf' is not a finite number"),
    ("seed: -.INF\n", "line 1, column 7: '-.INF' is not a finite number"),
    ("seed: .nan\n", "line 1, column 7: '.nan' is not a finite number"),
    ("seed: 1e999\n", "line 1, column 7: '1e999' is not a finite number"),
    (b"#" * (MAX_BYTES + 1), f"has more than {MAX_BYTES:,} bytes"),
    # Characters that only an escape can write.
    (r'title: "a\0b"', "line 1, column 8: text contains the character U+0000"),
    (r'title: "a\eb"', "line 1, column 8: text contains the character U+001B"),
    (r'title: "\ud800"', "line 1, column 8: text contains the character U+D800"),
    (r'"a\0b": 1', "line 1, column 1: text contains the character U+0000"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=range(len(REFUSED)))
def test_invalid_yaml_is_one_error_with_its_position(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    assert load_error(tmp_path, text).problem.startswith(said)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        # The meaning of YAML 1.1: what to write instead.
        (
            "seed: 1",
            "drawn: on\nseed: 1",
            "line 3, column 1, drawn: Input should be a valid boolean; "
            "'on' is text in YAML 1.2: write true",
        ),
        ("seed: 1", "drawn: No\nseed: 1", "'No' is text in YAML 1.2: write false"),
        (
            "seed: 1",
            "seed: 1_000",
            "line 3, column 1, seed: Input should be a valid integer; "
            "'1_000' is text in YAML 1.2: write 1000",
        ),
        ("seed: 1", "seed: 1:30", "'1:30' is text in YAML 1.2: write 90"),
        ("seed: 1", "seed: 0b11", "'0b11' is text in YAML 1.2: write 3"),
        ("quota: 5", "quota: 5_0", "line 5, column 20, parts.0.quota: "),
        # What is no text.
        (
            "title: A small mixture",
            "title: 2017",
            "line 2, column 1, title: Input should be a valid string; "
            "YAML does not read '2017' as text: write \"2017\", in quotes",
        ),
        ("title: A small mixture", "title: 1e5", 'write "1e5", in quotes'),
        ("title: A small mixture", "title: true", 'write "true", in quotes'),
        ("title: A small mixture", "title:", "the value is empty, which is null: write a value"),
        # A field that is not known, at its key; one that is left out, where it belongs.
        ("quota: 5", "quota: 5, qouta: 6", "line 5, column 30, parts.0.qouta: unknown field"),
        ("quota: 5, ", "", "line 5, column 5, parts.0.quota: state a number"),
        ("seed: 1\n", "", "line 1, column 1, seed: Field required"),
        ("seed: 1", "2024-01-31: x\nseed: 1", "line 3, column 1, 2024-01-31: unknown field"),
        ("seed: 1", "seed: 9223372036854775808", "line 3, column 1, seed: Input should be less"),
        ("quota: 5", "quota: 9223372036854775808", "parts.0.quota: Input should be less than"),
        ("name: small", "name: " + "s" * 101, "line 1, column 1, name: String should have at most"),
        # Fields that do not go together: at the one that the sentence begins with.
        (
            "group: Ours}",
            "group: Ours}\n  - {source: mine, quota: 1, group: Ours}",
            "line 4, column 1, (whole file): parts: mine occurs twice",
        ),
    ],
)
def test_a_wrong_field_is_named_with_line_and_column(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    assert said in load_error(tmp_path, MIXTURE.replace(before, after)).problem


def test_a_list_whose_items_are_all_wrong_is_not_called_too_short(tmp_path: Path) -> None:
    problem = load_error(tmp_path, MIXTURE.replace("quota: 5", "quota: many")).problem
    expected = "should be a number from 1 on, all, or a multiple such as 2x"
    assert problem == f"line 5, column 20, parts.0.quota: {expected}"


def test_at_most_twenty_problems_are_listed(tmp_path: Path) -> None:
    problem = load_error(tmp_path, MIXTURE + "".join(f"k{n}: 1\n" for n in range(1000))).problem
    assert problem.count("unknown field") == 20
    assert problem.endswith("; and 980 more")


@pytest.mark.parametrize(
    "text", [f"\ufeff{MIXTURE}", f"---\n{MIXTURE}...\n", f"%YAML 1.2\n---\n{MIXTURE}"]
)
def test_a_bom_and_document_markers_are_accepted(text: str, tmp_path: Path) -> None:
    assert load_manifest(written(tmp_path, text), Mixture).seed == 1


def test_any_line_ending_is_accepted(tmp_path: Path) -> None:
    plain = load_manifest(written(tmp_path, MIXTURE), Mixture)
    for end in ("\r\n", "\r"):
        assert load_manifest(written(tmp_path, MIXTURE.replace("\n", end)), Mixture) == plain


def test_explicit_fields_override_merged_ones(tmp_path: Path) -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: *x, <<: *y}\nw: {<<: [*x, *y]}\n"
    found = parse_document(Path("any.yaml"), text).to_python()
    assert found["z"] == {"a": 1, "b": 2, "c": 3}
    assert found["w"] == {"a": 1, "b": 1, "c": 2}
