"""Unpacking harms no file that is there, lays nothing outside, and stops at its limits."""

import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import PUBLISHED, World

from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.raw.extract import extract
from imp_data.storage.paths import place

Pack = Callable[[Mapping[str, bytes]], bytes]


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w:") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


PACKS: dict[str, Pack] = {
    "a.zip": zipped,
    "a.tar": tarred,
    "a.tar.gz": lambda members: tarred(members, "w:gz"),
    "a.tar.bz2": lambda members: tarred(members, "w:bz2"),
    "a.tar.xz": lambda members: tarred(members, "w:xz"),
}
each_kind = pytest.mark.parametrize("file", PACKS)


@pytest.fixture(params=["this machine", "an object store"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A raw folder; that of a store lies in this process's memory."""
    if request.param == "an object store":
        return place(f"memory://{tmp_path}")
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def unpacked(home: Path, file: str, members: Mapping[str, bytes], **limits: int) -> None:
    (home / file).write_bytes(PACKS[file](members))
    extract(home / file, str(members), ["*"], home, Limits(**limits))


def refused(home: Path, file: str, members: Mapping[str, bytes], **limits: int) -> UserError:
    with pytest.raises(UserError) as error:
        unpacked(home, file, members, **limits)
    return error.value


@each_kind
def test_members_are_extracted_unchanged(file: str, home: Path) -> None:
    members = {"a/1.json": b"[1]", "empty.json": b"", "block.json": b"x" * 512, "b.json": b"[2]"}
    unpacked(home, file, members)
    assert {name: (home / name).read_bytes() for name in members} == members


@each_kind
@pytest.mark.parametrize("form", ["{}", "{}/x.json", "./{}", ".{}.unpacked", "a/.{}.part"])
def test_a_member_named_like_its_archive_or_a_file_of_the_build_is_refused(
    form: str, file: str, home: Path
) -> None:
    error = refused(home, file, {"1.json": b"[1]", form.format(file): b"evil"})
    assert error.problem.endswith("has the name of the archive or of a file of the build")
    assert (home / file).read_bytes()[:4] != b"evil"


def test_the_name_of_the_archive_is_compared_without_case(home: Path) -> None:
    assert "has the name of the archive" in refused(home, "a.zip", {"A.ZIP": b"evil"}).problem


@each_kind
def test_a_users_file_is_not_overwritten(file: str, home: Path) -> None:
    (home / "mine.json").write_bytes(b"[mine]")
    error = refused(home, file, {"1.json": b"[1]", "mine.json": b"[theirs]"})
    assert error.where == str(home / "mine.json")
    assert error.remedy.startswith("move the existing file elsewhere")
    assert (home / "mine.json").read_bytes() == b"[mine]"
    (home / "mine.json").write_bytes(b"[theirs]")  # the same as the member
    unpacked(home, file, {"1.json": b"[1]", "mine.json": b"[theirs]"})


@each_kind
def test_files_of_a_failed_extraction_are_overwritten(file: str, tmp_path: Path) -> None:
    refused(tmp_path, file, {"1.json": b"[old]", "../2.json": b""})
    assert (tmp_path / "1.json").read_bytes() == b"[old]"
    unpacked(tmp_path, file, {"1.json": b"[new]"})
    assert (tmp_path / "1.json").read_bytes() == b"[new]"


@each_kind
def test_the_last_of_several_members_with_one_name_wins(file: str, home: Path) -> None:
    unpacked(home, file, {"1.json": b"first", "./1.json": b"last"})
    assert (home / "1.json").read_bytes() == b"last"


@each_kind
def test_more_bytes_than_the_limit_are_refused(file: str, home: Path) -> None:
    members = {"1.json": b"1" * 600, "2.json": bytes(50_000), "3.json": b"[3]"}
    error = refused(home, file, members, max_unpacked_bytes=50_000)
    assert error.problem == "unpacks to more than 50,000 bytes"
    assert "raise `max_unpacked_bytes` in `limits`" in error.remedy
    unpacked(home, file, members, max_unpacked_bytes=70_000)


@each_kind
def test_more_members_than_the_limit_are_refused(file: str, home: Path) -> None:
    members = {f"{n}.json": b"[]" for n in range(9)}
    assert refused(home, file, members, max_members=8).problem == "has more than 8 members"
    unpacked(home, file, members, max_members=9)


@each_kind
@pytest.mark.parametrize("name", ["a\nb.json", "\x1b[2J.json", "a\u2028b.json"])
def test_a_name_with_control_characters_is_refused_and_escaped(
    name: str, file: str, home: Path
) -> None:
    error = refused(home, file, {name: b"[]"})
    assert error.problem.endswith("has control characters in its name")
    assert error.problem.isprintable()


@pytest.mark.parametrize("file", ["a.zip", "a.tar"])
def test_a_name_may_be_as_long_as_a_disk_allows_and_no_longer(file: str, home: Path) -> None:
    unpacked(home, file, {"o" * 250 + ".json": b"[]"})
    assert (home / ("o" * 250 + ".json")).read_bytes() == b"[]"
    assert "longer than file systems" in refused(home, file, {"o" * 251 + ".json": b"[]"}).problem


def test_a_member_below_another_file_is_an_error(tmp_path: Path) -> None:
    error = refused(tmp_path, "a.tar", {"a": b"file", "a/b.json": b"[]"})
    assert error.problem.startswith("member a/b.json cannot be extracted")


def test_damage_after_the_last_member_of_a_compressed_tar_is_found(tmp_path: Path) -> None:
    for file in ("a.tar.gz", "a.tar.xz", "a.tar.bz2"):
        content = bytearray(PACKS[file]({"1.json": b"[1]"}))
        content[-9] ^= 1
        (tmp_path / file).write_bytes(content)
        with pytest.raises(UserError, match="is damaged at or after"):
            extract(tmp_path / file, file, ["*"], tmp_path)
        assert not (tmp_path / f".{file}.unpacked").exists()


def test_a_tar_in_two_xz_streams_is_extracted(tmp_path: Path) -> None:
    whole = tarred({"1.json": b"[1]", "2.json": b"[2]"})
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(whole[:700]) + lzma.compress(whole[700:]))
    extract(tmp_path / "a.tar.xz", "x", ["*"], tmp_path)
    assert (tmp_path / "2.json").read_bytes() == b"[2]"


def test_the_limits_of_a_mixture_apply_to_its_archives(world: World) -> None:
    world.file("talk", "talk.zip", zipped({"talk.json": b"[]" + b" " * 5_000}))
    files = [{"path": "talk.zip", "by_hand": "put it there", "unpack": ["*.json"]}]
    stated = {**PUBLISHED, "layout": "llava", "records": ["talk.json"], "files": files}
    world.manifest("sources", "talk", **stated)
    small = world.build({"talk": 1}, limits={"max_unpacked_bytes": 5_000})
    with pytest.raises(UserError, match=r"unpacks to more than 5,000 bytes"):
        small.raw("talk")
    world.build({"talk": 1}, limits={"max_unpacked_bytes": 6_000}).raw("talk")
