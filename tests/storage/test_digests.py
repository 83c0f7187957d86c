"""Digests of files, folders, texts and keys."""

from pathlib import Path

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from imp_data.storage.atomic_write import write_text
from imp_data.storage.digests import (
    file_sha256,
    listing_digest,
    text_digest,
    tree_digest,
    xxh3_keys,
)


def test_the_digest_depends_on_contents_and_names_not_times(tmp_path: Path) -> None:
    for name in "ab":
        write_text(tmp_path / name / "x/file.txt", "content")
    a, b = tmp_path / "a", tmp_path / "b"
    assert tree_digest(a) == tree_digest(b)
    assert listing_digest(a) != listing_digest(b)
    (b / "x/file.txt").rename(b / "x/other.txt")
    assert tree_digest(a) != tree_digest(b)


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "f") == tree_digest(tmp_path / "f") == known


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_distinct_lists_of_parts_have_distinct_digests(one: list[str], other: list[str]) -> None:
    assert (text_digest(*one) == text_digest(*other)) == (one == other)


def test_the_sampling_keys_are_xxh3_of_seed_and_id() -> None:
    assert xxh3_keys(7, ["a/1", "é"]) == [
        xxhash.xxh3_64(b"a/1", seed=7).intdigest(),
        xxhash.xxh3_64("é".encode(), seed=7).intdigest(),
    ]
