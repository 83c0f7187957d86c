"""Extraction overwrites no user file, writes nothing outside its folder, and obeys its limits."""

import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import PUBLISHED, World

from imp_data.errors import UserError
from imp_data.manifests import File, Limits
from imp_data.raw.extract import extract
from imp_data.raw.fetch import obtain
from imp_data.storage.digests import file_sizes
from imp_data.storage.paths import place
from tests.raw.test_fetch import Upstream, birds, here, names, pauses, store, upstream

__all__ = ["pauses", "store", "upstream"]

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
    """A raw folder on this machine, and one in an in-memory object store."""
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


# --- extraction as a part of fetching ------------------------------------------------------------

Entry = tuple[str, bytes]


def write_zip(path: Path, *entries: Entry | tuple[zipfile.ZipInfo, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)


def write_tar(path: Path, *entries: Entry, links: Sequence[str] = ()) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)


RECORDS: tuple[Entry, ...] = (
    ("qa/train.json", b"[1]"),
    ("qa/deep/val.json", b"[2]"),
    ("images/0.png", b"PNG"),
    ("__MACOSX/qa/._train.json", b"junk"),
)


PACKERS = [("a.zip", write_zip), ("a.tar.gz", write_tar), ("a.tar", write_tar)]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_matching_members_are_extracted_beside_the_archive(
    name: str, pack: Any, tmp_path: Path
) -> None:
    pack(tmp_path / name, *RECORDS)
    digests = obtain(here(name, "*.json", "qa/*"), tmp_path)
    assert list(digests) == [name]
    assert names(tmp_path) == [f".{name}.unpacked", name, "qa/deep/val.json", "qa/train.json"]
    assert (tmp_path / "qa/train.json").read_bytes() == b"[1]"
    marker = (tmp_path / f".{name}.unpacked").read_text()
    assert marker.splitlines()[:3] == [digests[name], "*.json", "qa/*"]
    assert sorted(marker.splitlines()[4:]) == ["qa/deep/val.json", "qa/train.json"]


def test_a_leading_dot_slash_of_tar_members_is_dropped(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("./qa/train.json", b"[1]"))
    obtain(here("a.tar", "qa/*"), tmp_path)
    assert (tmp_path / "qa/train.json").read_bytes() == b"[1]"


def test_an_archive_is_downloaded_and_extracted_in_one_call(
    upstream: Upstream, tmp_path: Path
) -> None:
    write_zip(tmp_path / "a.zip", *RECORDS)
    upstream.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    file = File(path="b.zip", url=f"{upstream.url}/a.zip", unpack=("images/*",))
    obtain(birds(file), tmp_path / "raw")
    assert names(tmp_path / "raw") == [".b.zip.unpacked", "b.zip", "images/0.png"]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_members_of_an_archive_in_a_store_are_extracted_beside_it(
    name: str, pack: Any, store: Path, tmp_path: Path
) -> None:
    large = ("qa/large.json", os.urandom(5 << 20))
    pack(tmp_path / name, *RECORDS, large)
    (store / name).write_bytes((tmp_path / name).read_bytes())
    obtain(here(name, "*.json", "qa/*"), store)
    marker, laid = f".{name}.unpacked", ["qa/deep/val.json", "qa/large.json", "qa/train.json"]
    assert sorted(file_sizes(store)) == sorted([marker, name, *laid])
    assert (store / "qa/train.json").read_bytes() == b"[1]"
    assert (store / "qa/large.json").read_bytes() == large[1]
    (store / "qa/train.json").write_bytes(b"[mine]")
    obtain(here(name, "*.json", "qa/*"), store)
    assert (store / "qa/train.json").read_bytes() == b"[mine]"
    (store / "qa/deep/val.json").unlink()
    obtain(here(name, "*.json", "qa/*"), store)
    assert (store / "qa/deep/val.json").read_bytes() == b"[2]"
    assert (store / "qa/train.json").read_bytes() == b"[mine]"
    assert (store / "qa/deep/val.json").read_bytes() == b"[2]"


def test_a_finished_extraction_is_not_repeated(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", *RECORDS)
    obtain(here("a.zip", "*.json"), tmp_path)
    (tmp_path / "qa/train.json").write_bytes(b"[mine]")
    obtain(here("a.zip", "*.json"), tmp_path)
    assert (tmp_path / "qa/train.json").read_bytes() == b"[mine]"


def test_an_interrupted_extraction_is_repeated(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", *RECORDS)
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa/train.json").write_bytes(b"[1]")
    (tmp_path / "qa/.train.json.partial").write_bytes(b"[")
    obtain(here("a.zip", "*.json"), tmp_path)
    assert (tmp_path / "qa/train.json").read_bytes() == b"[1]"
    assert names(tmp_path / "qa") == ["deep/val.json", "train.json"]


def test_another_archive_or_other_globs_are_extracted_again(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", *RECORDS)
    obtain(here("a.zip", "qa/*"), tmp_path)
    obtain(here("a.zip", "qa/*", "images/*"), tmp_path)
    assert (tmp_path / "images/0.png").read_bytes() == b"PNG"
    write_zip(tmp_path / "a.zip", *RECORDS[1:], ("qa/train.json", b"[3]"))
    obtain(here("a.zip", "qa/*", "images/*"), tmp_path)
    assert (tmp_path / "qa/train.json").read_bytes() == b"[3]"


@pytest.mark.parametrize("name", ["../evil", "qa/../../evil", "/tmp/evil", "..\\evil"])
@pytest.mark.parametrize(("archive", "pack"), PACKERS)
def test_a_member_that_leads_out_of_the_folder_is_refused(
    name: str, archive: str, pack: Any, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    pack(raw / archive, (name, b"evil"))
    with pytest.raises(UserError) as error:
        obtain(here(archive, "*"), raw)
    assert error.value.problem == f"member {name} is a link or a device, or leads out of the folder"
    assert names(tmp_path) == [f"raw/{archive}"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("passwd")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    write_zip(tmp_path / "a.zip", (link, b"/etc/passwd"))
    write_tar(tmp_path / "a.tar", links=["passwd"])
    for name in ("a.zip", "a.tar"):
        with pytest.raises(UserError, match="member passwd is a link"):
            obtain(here(name, "*"), tmp_path)
    assert names(tmp_path) == ["a.tar", "a.zip"]


def test_a_link_that_no_glob_matches_is_ignored(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", *RECORDS, links=["passwd"])
    obtain(here("a.tar", "images/*"), tmp_path)
    assert names(tmp_path) == [".a.tar.unpacked", "a.tar", "images/0.png"]


def test_a_glob_without_matches_is_an_error(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", *RECORDS)
    with pytest.raises(UserError, match=r"a\.zip: no member matches \*\.txt, b/\*"):
        obtain(here("a.zip", "*.json", "*.txt", "b/*"), tmp_path)
    assert not (tmp_path / ".a.zip.unpacked").exists()


def test_a_damaged_member_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, *RECORDS)
    path.write_bytes(path.read_bytes().replace(b"[2]", b"[3]"))
    with pytest.raises(
        UserError, match=r"a\.zip: is damaged at or after qa/deep/val\.json: Bad CRC"
    ):
        obtain(here("a.zip", "*"), tmp_path)
    assert names(tmp_path) == [".a.zip.unpacking", "a.zip", "qa/train.json"]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_a_truncated_archive_is_an_error(name: str, pack: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    pack(path, ("one", os.urandom(5000)), ("two", os.urandom(5000)))
    path.write_bytes(path.read_bytes()[:8000])
    with pytest.raises(UserError, match="is damaged at or after"):
        obtain(here(name, "*"), tmp_path)
    assert not (tmp_path / f".{name}.unpacked").exists()


def test_a_damaged_tar_header_is_not_the_end_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, *RECORDS)
    path.write_bytes(path.read_bytes().replace(b"images/0.png", b"images/0.pnq"))
    with pytest.raises(UserError, match=r"damaged at or after qa/deep/val\.json: no header"):
        obtain(here("a.tar", "*"), tmp_path)


def test_a_tar_named_as_a_zip_is_extracted_as_a_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", *RECORDS)
    (tmp_path / "a.tar").rename(tmp_path / "a.zip")
    obtain(here("a.zip", "qa/*"), tmp_path)
    assert (tmp_path / "qa/train.json").read_bytes() == b"[1]"
