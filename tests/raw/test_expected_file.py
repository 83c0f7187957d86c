"""A file whose content contradicts its name is an error."""

import gzip
from pathlib import Path

import pytest

from imp_data.errors import UserError
from imp_data.raw.fetch import obtain
from tests.raw.test_fetch import here


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("a.zip", gzip.compress(b"tar", mtime=0), "a gzip file"),
        ("a.zip", b"<!doctype html><html>Sign in</html>", "an HTML page"),
        ("a.tar", b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        ("a.parquet", b'[{"id": 1}]', "JSON text"),
        ("a.tar.gz", b"PAR1" + bytes(600), "a Parquet file"),
    ],
    ids=["gzip", "html", "lfs", "json", "parquet"],
)
def test_a_file_of_another_kind_is_an_error_and_kept(
    path: str, content: bytes, kind: str, tmp_path: Path
) -> None:
    (tmp_path / path).write_bytes(content)
    with pytest.raises(UserError) as error:
        obtain(here(path), tmp_path)
    assert error.value.where == str(tmp_path / path)
    assert error.value.problem.startswith(f"is {kind}")
    assert "delete" not in error.value.remedy
    assert (tmp_path / path).read_bytes() == content
