"""A folder is replaced atomically: a run killed at any moment loses and breaks nothing.

A run is killed before each change that it makes to the disk, the first, the second, and so on: by
an audit hook of Python's, in a fork of this process.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, lay_album, run
from faulty import Disk
from test_cli import Ran
from trials.replacing import WAYS, contents, killed_at, lay, of_ours
from trials.replacing import replace as put_in_place

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import is_ours
from imp_data.mixture.duplicates.report import neighbours
from imp_data.mixture.folder import reading
from imp_data.mixture.ledger_queries import diff, explain
from imp_data.mixture.verify import left_behind, verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.card_stage import write_card
from imp_data.storage import object_store, replace_folder
from imp_data.storage.atomic_write import written_aside
from imp_data.storage.paths import place
from imp_data.storage.replace_folder import half_emptied
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.data.shards import Shards

# --- folders ------------------------------------------------------------------------------------

FOREIGN = {
    "notes.md": b"mine",
    "cache-1.arrow": b"of datasets",
    "plots/deep/a.svg": b"<svg/>",
    "plots/b.svg": b"<svg></svg>",
}


OLD = {"1.ours": b"one", "2.ours": b"two", "old.ours": b"goes", "last.ours": b"old"}
NEW = {"1.ours": b"ONE", "2.ours": b"TWO", "new.ours": b"comes", "last.ours": b"new"}


def replace(folder: Path, files: dict[str, bytes] = NEW) -> None:
    put_in_place(folder, files)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_killed_before_any_change_leaves_a_complete_or_detectably_incomplete_folder(
    way: str, tmp_path: Path
) -> None:
    number, states, ended = 0, set[str](), False
    while not ended:
        number += 1
        folder = tmp_path / f"{number}" / "folder"
        lay(folder, {**OLD, **FOREIGN})
        (folder / "link").symlink_to("notes.md")
        ended = killed_at(number, partial(replace, folder), way)
        states.add(state_of(folder))
        everywhere = {content for content in contents(folder.parent).values()}
        assert everywhere >= set(FOREIGN.values())
        replace(folder)
        assert contents(folder) == {**NEW, **FOREIGN, "link": b"mine"}
        assert (folder / "link").is_symlink()
        assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert number > 10
    between = {"exchange": set[str](), "two renames": {"moved aside"}, "file by file": {"no last"}}
    assert states == {"old", "new", *between[way]}


def state_of(folder: Path) -> str:
    if not folder.exists():
        with pytest.raises(
            UserError, match=r"a run was killed while replacing it; the previous one"
        ):
            replace_folder.check_not_moved(folder)
        return "moved aside"
    ours = {name: content for name, content in contents(folder).items() if name.endswith(".ours")}
    if "last.ours" not in ours:
        return "no last"
    assert ours in (OLD, NEW)
    return "old" if ours == OLD else "new"


def test_foreign_files_are_in_the_folder_at_every_moment(tmp_path: Path) -> None:
    number, ended = 0, False
    while not ended:
        number += 1
        folder = tmp_path / f"{number}" / "folder"
        lay(folder, {**OLD, "notes.md": b"mine", "plots/a.svg": b"<svg/>"})
        ended = killed_at(number, partial(replace, folder))
        assert (folder / "notes.md").read_bytes() == b"mine"
        # A folder follows a moment later; until then it is told where it is.
        if not (folder / "plots").exists():
            (left,) = half_emptied(folder, of_ours)
            assert left == folder.parent / ".folder.replaced" / "plots"


def test_a_file_saved_during_the_replacement_is_kept_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    lay(folder, {**OLD, "notes.md": b"mine"})
    exchanged = replace_folder._exchanged

    def as_an_editor_saves(one: Path, other: Path) -> bool:
        (folder / "notes.md.new").write_bytes(b"mine, better")
        os.replace(folder / "notes.md.new", folder / "notes.md")
        (folder / "more.md").write_bytes(b"more")
        return exchanged(one, other)

    monkeypatch.setattr(replace_folder, "_exchanged", as_an_editor_saves)
    replace(folder)
    assert contents(folder) == {
        **NEW,
        "notes.md": b"mine",
        "notes.kept-1.md": b"mine, better",
        "more.md": b"more",
    }
    told = "notes.kept-1.md: was notes.md in the previous folder; another file has that name now"
    assert capsys.readouterr().err == f"{folder}/{told}\n"


def test_a_program_with_the_folder_open_continues_with_the_old_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    lay(folder, OLD)
    with (folder / "1.ours").open("rb") as one:
        replace(folder)
        assert one.read() == b"one"
    assert contents(folder) == NEW


def test_a_folder_keeps_its_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    lay(folder, OLD)
    folder.chmod(0o2775)
    replace(folder)
    assert folder.stat().st_mode & 0o7777 == 0o2775


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    lay(tmp_path / "elsewhere/folder", {**OLD, **FOREIGN})
    (tmp_path / "folder").symlink_to("elsewhere/folder")
    replace(tmp_path / "folder")
    assert (tmp_path / "folder").is_symlink()
    assert contents(tmp_path / "elsewhere") == {
        f"folder/{name}": content for name, content in {**NEW, **FOREIGN}.items()
    }


def test_the_working_directory_is_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path / "folder", {**OLD, **FOREIGN})
    monkeypatch.chdir(tmp_path / "folder")
    replace(Path())
    assert contents(tmp_path) == {f"folder/{n}": c for n, c in {**NEW, **FOREIGN}.items()}


def test_a_mount_point_is_replaced_file_by_file(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "folder", 1024)
    try:
        lay(disk.folder, {**OLD, **FOREIGN})
        replace(disk.folder)
        assert contents(disk.folder) == {**NEW, **FOREIGN}
        assert sorted(tmp_path.iterdir()) == [disk.folder]
    finally:
        disk.unmount()


def test_a_foreign_folder_that_cannot_be_moved_is_named_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    lay(folder, OLD)
    disk = Disk(folder / "images", 1024)
    try:
        (disk.folder / "1.png").write_bytes(b"png")
        kept = tmp_path / ".folder.replaced" / "images"
        for _ in range(2):
            with pytest.raises(UserError) as error:
                replace(folder)
            assert error.value.where == str(kept)
            assert "cannot be moved to" in error.value.problem
            assert (kept / "1.png").read_bytes() == b"png"
            assert contents(folder) == NEW
    finally:
        disk.folder = kept  # where it is by now
        disk.unmount()


def test_a_file_at_the_path_of_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(UserError, match="is a file, but a folder is to be written"):
        replace(tmp_path / "folder")
    assert contents(tmp_path) == {"folder": b"a file"}


def test_a_failed_exchange_leaves_all_files_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path / "folder", {**OLD, **FOREIGN})

    def full(*_: Path) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(replace_folder, "_exchanged", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        replace(tmp_path / "folder")
    assert contents(tmp_path) == {f"folder/{n}": c for n, c in {**OLD, **FOREIGN}.items()}


def test_two_writers_of_one_folder_each_leave_it_complete(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    lay(folder, {**OLD, **FOREIGN})
    with written_aside(folder, "last.ours", ours=of_ours) as one:
        one.mkdir()
        lay(one, NEW)
        child = os.fork()
        if child == 0:
            with written_aside(folder, "last.ours", ours=of_ours) as other:
                other.mkdir()
                lay(other, {"last.ours": b"another's"})
            os._exit(0)
        os.waitpid(child, 0)
        assert contents(folder) == {"last.ours": b"another's", **FOREIGN}
    assert contents(tmp_path) == {f"folder/{n}": c for n, c in {**NEW, **FOREIGN}.items()}


# --- mixtures -----------------------------------------------------------------------------------


class Two:
    """A built mixture with foreign files in its folder, and a build that replaces it."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        lay_album(self.world)
        run(self.build(7))
        self.folder = self.world.data.of("small").mixture("small")
        lay(self.folder, FOREIGN)
        self.old = digest_of(self.folder)
        self.before = self.screened(8)

    def build(self, seed: int) -> Build:
        return self.world.build(ALBUM_QUOTAS, **{**ALBUM_RULES, "seed": seed})

    def screened(self, seed: int) -> Build:
        """The build of another seed, finished except for its mixture."""
        build = self.build(seed)
        for source in ALBUM_QUOTAS:
            build.images(source)
            build.screened(source)
        return build

    def copy(self, root: Path) -> "Two":
        """Copy both to another folder with their times, which stamps record."""
        shutil.copytree(self.world.data.root.parent, root, symlinks=True)
        other = object.__new__(Two)
        other.world, other.old = World(root), self.old
        other.before = other.build(8)
        other.folder = root / "data" / "mixtures" / "small"
        return other


def digest_of(folder: Path) -> bytes:
    return (folder / "mixture.json").read_bytes()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        yield Two(tmp_path_factory.mktemp("two") / "world")


@pytest.fixture(scope="module")
def new(two: Two, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that the replacing build writes, including the card."""
    other = two.copy(tmp_path_factory.mktemp("new") / "world")
    other.before.mixture()
    write_card(other.before)
    return {name: c for name, c in contents(other.folder).items() if name not in FOREIGN}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_mixture_that_is_replaced_is_the_old_or_the_new_one_at_every_kill(
    way: str, two: Two, new: dict[str, bytes], tmp_path: Path
) -> None:
    number, ended, seen = 0, False, set[str]()
    while not ended:
        number += 1
        other = two.copy(tmp_path / "world")
        ended = killed_at(number, other.before.mixture, way)
        seen.add(told(other.folder, two.old, new["mixture.json"]))
        other.before.mixture()
        write_card(other.before)
        assert contents(other.folder) == {**new, **FOREIGN}
        assert verify(other.folder) == []
        shutil.rmtree(tmp_path / "world")
    words = {"exchange": set[str](), "two renames": {"moved"}, "file by file": {"half"}}
    assert seen == {"old", "new", *words[way]}


def told(folder: Path, old: bytes, new: bytes) -> str:
    """Return what all readers find: a complete mixture, or the same error."""
    readers: list[Callable[[], object]] = [
        lambda: verify(folder),
        lambda: explain(folder, "t1"),
        lambda: diff(folder, folder),
        lambda: neighbours(folder, []),
        lambda: open_mixture(folder),
        lambda: Shards(folder),
    ]
    try:
        assert verify(folder) == []
    except UserError as error:
        for read in readers:
            with pytest.raises(UserError) as same:
                read()
            assert str(same.value) == str(error)
        kind = (
            "moved"
            if "was killed while replacing it; the previous one is" in str(error)
            else "half"
        )
        assert kind == "moved" or "holds no mixture.json: a build is replacing" in str(error)
        return kind
    for read in readers:
        read()
    found = digest_of(folder)
    assert found in (old, new)
    return "old" if found == old else "new"


def test_a_card_that_the_user_changed_is_kept(two: Two, tmp_path: Path) -> None:
    other = two.copy(tmp_path / "world")
    card = other.folder / "README.md"
    card.write_text(edited := card.read_text() + "\nMine.\n")
    other.before.mixture()
    assert card.read_text() == edited
    write_card(other.before)
    (kept,) = other.folder.glob("README.mine-*.md")
    assert kept.read_text() == edited
    assert verify(other.folder) == []


def test_a_reader_gets_an_error_if_the_mixture_is_replaced_meanwhile(
    two: Two, tmp_path: Path
) -> None:
    other = two.copy(tmp_path / "world")
    words = "was replaced by a build while it was read"
    with pytest.raises(UserError, match=words), reading(other.folder):
        other.before.mixture()
    shards = Shards(other.folder)
    state = shards.__getstate__()
    other.build(9)
    other.screened(9).mixture()
    with pytest.raises(
        UserError, match="was replaced by another mixture after this command started"
    ):
        shards.__setstate__(state)


def test_verify_names_foreign_files_that_a_killed_build_has_not_moved(
    two: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = two.copy(tmp_path / "world")
    number = 1
    while not left_behind(other.folder):
        shutil.rmtree(tmp_path / "world")
        other = two.copy(tmp_path / "world")
        number += 1
        assert not killed_at(number, other.before.mixture)
    ran = Ran(capsys, "verify", str(other.folder))
    assert ran.status == 0
    assert ran.err.splitlines()[-1] == (
        f"{other.folder.parent}/.small.replaced/plots: not part of this mixture, in its "
        "previous folder; its next build moves them here"
    )
    other.before.mixture()
    assert left_behind(other.folder) == []


def test_readers_get_an_error_while_objects_are_uploaded(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place(f"memory://{tmp_path}/mixtures/small")
    files = {n: c for n, c in contents(two.folder).items() if is_ours(n)}

    def is_of_mixture(path: Path) -> bool:
        return is_ours(path.name)

    def put_mixture() -> None:
        with written_aside(folder, "mixture.json", ours=is_of_mixture) as aside:
            aside.mkdir()
            lay(aside, files)

    put_mixture()
    assert verify(folder) == []
    (folder / "backup").mkdir()
    (folder / "backup" / "ledger.parquet").write_bytes(b"mine")
    asked = list[str]()

    def put(file: Path, target: Path) -> None:
        asked.append(target.name)
        for read in (verify, partial(explain, identity="t1"), partial(neighbours, fingerprints=[])):
            with pytest.raises(UserError, match=r"a build is replacing this mixture"):
                read(folder)
        objects_put(file, target)

    objects_put = object_store.put
    monkeypatch.setattr(object_store, "put", put)
    put_mixture()
    assert sorted(asked) == sorted(files) and asked[-1] == "mixture.json"
    assert verify(folder) == []
    assert (folder / "backup" / "ledger.parquet").read_bytes() == b"mine"


def test_no_name_of_a_mixtures_file_is_foreign(two: Two) -> None:
    files = {path.name for path in two.folder.iterdir()} - {"README.md", "plots", *FOREIGN}
    assert all(map(is_ours, files)) and len(files) > 5
