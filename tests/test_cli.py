"""The `imp-data` command, used by a person and by a program."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest
import yaml
from conftest import World, encoded, photo, record, run

from imp_data import __version__
from imp_data.storage.paths import parse_path, scratch_path

# typer 0.25, the last that Dagster's dg works with, names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    import typer

    from imp_data.cli import app, main
    from imp_data.terminal import expand_home

ROOT = Path(__file__).parent.parent
COMMANDS = {
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback and not command.hidden
}


class Ran:
    """One run of the command in this process: its exit status and output."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        argv, sys.argv = sys.argv, ["imp-data", *map(str, words)]
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            sys.argv = argv
        self.status = end.value.code
        self.out, self.err = capsys.readouterr()


def test_an_error_in_a_new_process_is_short_and_its_status_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", "from imp_data.cli import main; main()", "verify", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"imp-data: {tmp_path}: holds no mixture.json\n  What to do: name the folder of a mixture\n"
    )


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "--version")
    assert (ran.status, ran.out) == (0, f"{__version__}\n")


def plain(text: str) -> str:
    """Return the text without colours and frames."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ((), ["--version", "--help", *COMMANDS]),
        (("explain",), ["ID", "--mixture", "--json"]),
        (("verify",), ["FOLDER", "--json"]),
        (("diff",), ["OLD", "NEW", "--json"]),
        (("schemas",), ["--folder", "--check"]),
        (("fingerprint",), ["PATHS...", "--out", "-o"]),
        (("match",), ["F", "REF", "--max-distance", "--json"]),
        (("question-pack",), ["FILES...", "--name", "--out", "-o", "--column", "--json"]),
        (("fetch-images",), ["LIST", "--out", "-o", "--column", "--rate", "--json"]),
        (("duplicates",), ["FOLDER", "--fingerprints", "--json"]),
        (("train",), ["MANIFEST", "--mixture", "--out", "--stage", "--projector", "--max-steps"]),
        (("merge",), ["RUN", "--out", "--precision"]),
        (("evaluate",), ["--questions", "--out", "--benchmark", "--blind"]),
        (("export",), ["MODEL", "--out", "-o", "--bits", "--resolution", "--max-file"]),
        (("parity",), ["MODEL", "DIR", "--image", "--question", "--threads", "--json"]),
        (("latency",), ["DIR", "--precision", "--runs", "--threads", "--json"]),
        (("quality",), ["MODEL", "DIR", "--image", "--question", "--threads", "--json"]),
        (("bundle",), ["DIR", "--precision", "--resolution", "--max-file"]),
        (("chat",), ["DIR", "--precision", "--resolution", "--host", "--port", "--token"]),
    ],
)
def test_help_lists_the_options(
    command: tuple[str, ...], options: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, *command, flag)
    assert ran.status == 0
    assert [option for option in options if option not in plain(ran.out)] == []


def test_plan_lists_the_files_that_a_build_needs(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("IMP_DATA_DIR", str(world.data.root))
    monkeypatch.delenv("IMP_DATA_MIRROR", raising=False)
    far = {"path": "far.zip", "bytes": 50_000_000, "url": "https://example.org/far.zip"}
    by_hand = {"path": "signed.zip", "by_hand": "Sign, and place it at data/raw/chats/signed.zip."}
    world.source("chats", [record(1)], files=[far, by_hand])
    world.build({"chats": 1})
    mixture = world.manifests / "mixtures" / "small.yaml"
    ran = Ran(capsys, "plan", mixture, "--rate", "5MB/s", "--offline")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ran.out.splitlines()]
    assert [row for row in rows if row] == [
        ["chats/far.zip", "50.0 MB", "missing", "CC0-1.0", "example.org"],
        ["chats/signed.zip", "unknown", "manual", "CC0-1.0", "manually: see below"],
    ]
    signed = world.data.raw("chats") / "signed.zip"
    assert f"to download manually:\n  {signed}\n    Sign, and place it at {signed}.\n" in ran.out
    assert "small: 2 files; 0 there, 1 to download, 1 to download manually\n" in ran.out
    assert ran.out.endswith("time: 10 s at 5.0 MB/s\n")
    monkeypatch.setenv("IMP_MIXTURE", str(mixture))
    found = json.loads(Ran(capsys, "plan", "--json", "--offline").out)
    assert [file["path"] for file in found["files"]] == ["far.zip", "signed.zip"]


def test_plan_needs_a_mixture(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMP_MIXTURE", raising=False)
    ran = Ran(capsys, "plan")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("imp-data: imp-data plan: names no mixture\n")


def test_every_command_is_tested_here() -> None:
    tested = {"explain", "verify", "diff", "schemas", "fingerprint", "match", "duplicates", "plan"}
    # In tests/audit, tests/release, tests/screening/certificate and tests/screening.
    tested |= {"audit", "question-pack", "release", "certify", "pack", "decontaminate"}
    # Tested in tests/training and tests/mobile, where the extras are installed.
    training = {"train", "merge", "evaluate"}
    mobile = {"export", "parity", "latency", "quality", "bundle", "chat"}
    # Tested in tests/raw/test_image_url_collections.py.
    raw = {"fetch-images"}
    assert tested | training | mobile | raw == COMMANDS


@pytest.mark.parametrize(
    "words",
    [
        ("explain",),
        ("verify",),
        ("verify", "a", "b"),
        ("diff", "only-one"),
        ("schemas", "--chek"),
        ("explore",),
        ("fingerprint", "no-out"),
        ("match", "a", "b", "--max-distance", "-1"),
        ("duplicates",),
        ("export", "no-out"),
        ("parity", "only-model"),
        ("latency", "a", "--runs", "0"),
    ],
)
def test_a_command_used_wrongly_ends_with_status_two(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Usage: ")
    assert "Traceback" not in ran.err


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys)
    assert [name for name in COMMANDS if name not in plain(ran.out + ran.err)] == []


def test_explain_shows_a_history_as_text_and_as_json(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Ran(capsys, "explain", "t2", "--mixture", album)
    assert shown.status == 0
    assert shown.out.startswith("chats, row 1 upstream: id 't2'\n  repaired: A first turn by gpt")
    as_json = Ran(capsys, "explain", "t2", "--mixture", album, "--json")
    (history,) = json.loads(as_json.out)
    assert history["row"]["repairs"] == [{"repair": "leading_gpt_removed", "before": "Hello."}]
    assert history["sample"]["upstream_id"] == "t2"
    assert isinstance(history["place"], int)


def test_explain_separates_several_histories_by_an_empty_line(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "explain", "x", "--mixture", album)
    assert [history.splitlines()[0] for history in ran.out.split("\n\n")] == [
        f"photos, row {n} upstream: id 'x'" for n in (9, 10, 11)
    ]


def test_explain_without_a_mixture_uses_that_of_the_environment(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = album.parents[2] / "manifests" / "mixtures"
    monkeypatch.setenv("IMP_MIXTURE", str(manifests / "small.yaml"))
    monkeypatch.setenv("IMP_DATA_DIR", str(album.parents[1]))
    assert Ran(capsys, "explain", "t1").out.startswith("chats, row 0 upstream")
    monkeypatch.setenv("IMP_DATA_DIR", str(tmp_path))
    ran = Ran(capsys, "explain", "t1")
    assert ran.status == 1
    assert f"{tmp_path / 'mixtures' / 'small' / 'ledger.parquet'}: is not there" in ran.err


def test_explain_of_an_unknown_id_is_an_error(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "explain", "nobody", "--mixture", album, "--json")
    assert (ran.status, ran.out) == (1, "")
    assert "no record has the id or upstream id 'nobody'" in ran.err


def test_verify_reports_a_sound_mixture(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = json.loads((album / "mixture.json").read_text())["digest"]
    ran = Ran(capsys, "verify", album)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{album}: whole and unaltered, 11 samples, {digest}\n"
    ran = Ran(capsys, "verify", album, "--json")
    sound = {"sound": True, "problems": [], "foreign": []}
    assert json.loads(ran.out) == {"mixture": str(album), **sound}


def test_verify_reports_altered_and_foreign_files(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    (folder / "state.json").unlink()
    (folder / "more.txt").write_text("mine")
    problems = ["state.json: is missing"]
    ran = Ran(capsys, "verify", folder)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[:2] == [
        "not part of this mixture, ignored: more.txt",
        f"{folder}/{problems[0]}",
    ]
    assert ran.err.splitlines()[2].startswith("What to do: ")
    ran = Ran(capsys, "verify", folder, "--json")
    assert ran.status == 1
    expected = {"sound": False, "problems": problems, "foreign": ["more.txt"]}
    assert json.loads(ran.out) == {"mixture": str(folder), **expected}


def test_diff_shows_the_changes(
    album: Path, tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    same = Ran(capsys, "diff", album, album)
    assert (same.status, same.out) == (0, "No record changed its outcome.\n")
    assert json.loads(Ran(capsys, "diff", album, album, "--json").out) == []
    world.source("chats", [record("new")])
    run(world.build({"chats": 1}))
    new = world.data.mixture("small")
    ran = Ran(capsys, "diff", album, new)
    assert ran.status == 0
    assert "chats: 2 from kept to absent, for example chats/" in ran.out
    changes = json.loads(Ran(capsys, "diff", album, new, "--json").out)
    added = [change for change in changes if change["before"] == "absent"]
    assert [(c["source"], c["after"], c["records"]) for c in added] == [("chats", "kept", 1)]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("explain", "ledger.parquet"),
        ("explain", "state.json"),
        ("explain", "data-00000-of-00003.arrow"),
        ("diff from", "ledger.parquet"),
        ("diff to", "ledger.parquet"),
    ],
)
def test_a_damaged_mixture_is_an_error_without_a_traceback(
    command: str, file: str, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    (folder / file).write_bytes(b"spoilt")
    words = {
        "explain": ("4", "--mixture", folder),
        "diff from": (folder, album),
        "diff to": (album, folder),
    }
    ran = Ran(capsys, command.split()[0], *words[command])
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("imp-data: ")
    assert str(folder) in ran.err


def test_fingerprint_and_match_find_near_duplicates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seeds in {"mine": (1, 2), "theirs": (2, 3)}.items():
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.png").write_bytes(encoded(photo(seed)))
    (tmp_path / "mine" / "cut.png").write_bytes(encoded(photo(4))[:-99])
    mine, theirs = tmp_path / "mine.parquet", tmp_path / "theirs.parquet"
    ran = Ran(capsys, "fingerprint", tmp_path / "mine", "-o", mine)
    assert (ran.status, ran.out) == (0, f"{mine}: 3 images (2 ok, 1 truncated)\n")
    assert Ran(capsys, "fingerprint", tmp_path / "theirs", "--out", theirs).status == 0
    ran = Ran(capsys, "match", mine, theirs)
    assert (ran.status, ran.out) == (0, " 0 bits  mine/2.png  looks like  theirs/2.png\n")
    assert ran.err == "1 within 10 bits\n"
    ran = Ran(capsys, "match", mine, theirs, "--json", "--max-distance", 0)
    pair = {"image": "mine/2.png", "reference": "theirs/2.png", "distance_bits": 0}
    assert json.loads(ran.out) == [pair]


def test_fingerprint_and_match_name_the_file_they_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no images, no fingerprints")
    for words in (("fingerprint", text, "-o", tmp_path / "o"), ("match", text, text)):
        ran = Ran(capsys, *words)
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.startswith(f"imp-data: {text}: ")
    gone = tmp_path / "gone.parquet"
    assert f"{gone}: is not there" in Ran(capsys, "match", gone, gone).err


def test_match_names_a_folder_and_a_table_without_fingerprints(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"imp-data: {tmp_path}: is a folder" in Ran(capsys, "match", tmp_path, tmp_path).err
    ledger = album / "ledger.parquet"
    error = "is no fingerprint file (it lacks the column image)\n"
    assert f"imp-data: {ledger}: {error}" in Ran(capsys, "match", ledger, ledger).err


@pytest.mark.parametrize(
    "words", [("fingerprint", "."), ("train", "m.yaml", "--mixture", "m"), ("merge", "run")]
)
def test_an_output_of_the_wrong_kind_is_an_error_of_usage(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a"
    file.write_text("")
    ran = Ran(capsys, *words, "--out", tmp_path if words[0] == "fingerprint" else file)
    assert ran.status == 2
    assert "Invalid value for '--out'" in ran.err


def test_a_path_that_no_command_checks_is_named_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_bytes(encoded(photo(1)))
    below = tmp_path / "1.png" / "f.parquet"
    ran = Ran(capsys, "fingerprint", tmp_path, "-o", below)
    assert (ran.status, ran.out) == (1, "")
    assert f"imp-data: {tmp_path / '1.png'}" in ran.err
    assert "cannot be read or written (Not a directory)\n  What to do: name another" in ran.err


def test_a_misspelled_command_gets_one_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert Ran(capsys, "verfy").err.count("Did you mean") == 1


def test_fingerprint_has_exit_status_one_if_it_could_not_read_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "1.png").write_bytes(encoded(photo(1)))
    (home / "b.zip").write_bytes(b"no zip")
    ran = Ran(capsys, "fingerprint", home, "-o", tmp_path / "f.parquet")
    assert (ran.status, ran.out) == (1, f"{tmp_path / 'f.parquet'}: 1 images (1 ok)\n")
    assert f"not read: {home / 'b.zip'}: is not a whole zip" in ran.err


def test_duplicates_reports_near_duplicates_and_conflicting_answers(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.images("photos", {"1.png": encoded(photo(1))}, path="photos")
    answers = [record(n, "photos/1.png", answer) for n, answer in enumerate(("A cat.", "A dog."))]
    world.source("photos", answers, images=["photos"])
    run(world.build({"photos": 2}))
    folder = world.data.mixture("small")
    ran = Ran(capsys, "duplicates", folder)
    assert (ran.status, ran.err) == (0, "")
    text = " ".join(ran.out.split())
    assert text.startswith("2 samples on 1 image: 0 images shared by sources, 0 clusters of")
    assert "Conflicting answers" in text and "photos/1.png: what is it" in text
    known = json.loads((world.data.reports("small") / "duplicates.json").read_text())
    assert json.loads(Ran(capsys, "duplicates", folder, "--json").out) == known
    copy = shutil.copytree(folder, tmp_path / "far" / "away" / "copy")
    assert "Near-duplicate images are not known" in Ran(capsys, "duplicates", copy).out
    file = world.data.fingerprints("small", "photos")
    new = Ran(capsys, "duplicates", copy, "--fingerprints", file, "--json")
    assert json.loads(new.out) == known
    ran = Ran(capsys, "duplicates", tmp_path)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"imp-data: {tmp_path}: holds no mixture.json")


def test_neighbours_is_a_hidden_alias_of_duplicates_with_a_warning(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alias = Ran(capsys, "neighbours", album, "--json")
    assert (alias.status, alias.out) == (0, Ran(capsys, "duplicates", album, "--json").out)
    assert alias.err == "imp-data neighbours is now `imp-data duplicates`; use that name\n"
    assert "neighbours" not in Ran(capsys, "--help").out


def test_verify_accepts_a_mixture_of_an_earlier_release_with_a_notice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = ROOT / "tests" / "mixture" / "earlier_release"
    ran = Ran(capsys, "verify", folder)
    assert ran.status == 0 and "whole and unaltered, 12 samples" in ran.out
    assert ran.err == (
        f"{folder / 'README.md'}: written by an earlier release; its figures agree, its wording is "
        "not checked\n"
    )


def test_an_error_in_a_manifest_names_file_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "title": "M", "seed": -1, "parts": []}))
    monkeypatch.setenv("IMP_MIXTURE", str(path))
    ran = Ran(capsys, "explain", "1")
    assert ran.status == 1
    assert ran.err.startswith(f"imp-data: {path}: line 3, column 1, seed: ")
    assert "parts: " in ran.err


def test_a_command_prints_in_any_encoding(world: World, tmp_path: Path) -> None:
    """Text replaces characters by escapes; JSON keeps its content."""
    world.source("chats", [record("é…☃", None, "Schöne Grüße, 你好 😀")])
    run(world.build({"chats": 1}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "imp_data"]
    folder = world.data.mixture("small")

    def printed(*words: object) -> str:
        done = subprocess.run(
            [*command, *map(str, words)], capture_output=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode("ascii")

    (history,) = json.loads(printed("explain", "é…☃", "--mixture", folder, "--json"))
    assert history["sample"]["conversations"][1]["value"] == "Schöne Grüße, 你好 😀"
    words = printed("explain", "é…☃", "--mixture", folder)
    assert "id '\\xe9\\u2026\\u2603'" in words
    assert "--mixture" in printed("explain", "--help")
    assert printed("duplicates", folder).startswith("1 sample on 0 images")


def test_an_error_is_printed_in_any_encoding(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-m", "imp_data", "verify", str(tmp_path / "größe")]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert "gr\\xf6\\xdfe: " in done.stderr.decode("ascii")
    assert "Traceback" not in done.stderr.decode("ascii")


def test_a_tilde_is_the_home_directory_in_every_path(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is expanded in the environment, in arguments and in options; no folder has its name."""
    world.source("chats", [record("t1")])
    run(world.build({"chats": 1}))
    home = world.data.root.parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMP_DATA_DIR", "~/data")
    monkeypatch.setenv("IMP_MIXTURE", "~/manifests/mixtures/small.yaml")
    assert Ran(capsys, "explain", "t1").out.startswith("chats, row 0 upstream")
    (home / "images").mkdir()
    (home / "images" / "1.png").write_bytes(encoded(photo(1)))
    for words in (
        ("explain", "t1", "--mixture=~/data/mixtures/small"),
        ("verify", "~/data/mixtures/small"),
        ("diff", "~/data/mixtures/small", "~/data/mixtures/small"),
        ("schemas", "--folder=~/schemas"),
        ("fingerprint", "~/images", "--out=~/p.parquet"),
        ("match", "~/p.parquet", "~/p.parquet"),
        ("duplicates", "~/data/mixtures/small", "--fingerprints=~/p.parquet"),
    ):
        assert Ran(capsys, *words).status == 0, words
    assert (home / "p.parquet").is_file()
    assert list(tmp_path.rglob("~")) == []


def test_every_path_of_every_command_expands_the_tilde() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        group = expand_home(typer.main.get_command(app))
    assert isinstance(group, click.Group)
    paths = [
        (name, parameter)
        for name, command in group.commands.items()
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
    ]
    assert {name for name, _ in paths} >= {"train", "merge", "evaluate", "export", "chat"}
    home = str(Path.home())
    for name, parameter in paths:
        assert parameter.type.convert("~/x", parameter, None) == f"{home}/x", name
        assert parameter.type.convert("x~/~", parameter, None) == "x~/~", name


def test_a_tilde_is_expanded_as_a_shell_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IMP_SCRATCH", "~/scratch")
    assert scratch_path(parse_path("memory://bucket/a.bin")).parent == tmp_path / "scratch"
    assert parse_path("~/data") == parse_path("file://~/data") == tmp_path / "data"
    assert parse_path("~") == tmp_path
    assert parse_path("~nobody_of_that_name/data") == Path("~nobody_of_that_name/data")
    assert str(parse_path("memory://~/data")) == "memory://~/data"


def test_schemas_are_written_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "schemas"
    stale = Ran(capsys, "schemas", "--check", "--folder", folder)
    assert stale.status == 1
    assert "run `imp-data schemas`" in stale.err
    written = Ran(capsys, "schemas", "--folder", folder)
    names = "source, images, benchmark, mixture, model, sample, ledger"
    assert (written.status, written.out) == (0, f"written: {names}\n")
    assert len(list(folder.glob("*.schema.json"))) == 7
    fresh = Ran(capsys, "schemas", "--check", "--folder", folder)
    assert (fresh.status, fresh.out) == (0, "stale: none, all are fresh\n")
    (folder / "source.schema.json").write_text("{}")
    again = Ran(capsys, "schemas", "--check", "--folder", folder)
    assert again.status == 1
    assert str(folder / "source.schema.json") in again.err
    assert str(folder / "ledger.schema.json") not in again.err


def test_the_schemas_of_this_checkout_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert Ran(capsys, "schemas", "--check", "--folder", ROOT / "schemas").status == 0


def test_plan_dry_prints_what_exclusions_match_as_tables_or_json(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_DATA_DIR", str(world.data.root))
    monkeypatch.setenv("COLUMNS", "120")
    world.source("chats", [record(n, None, "Blue." if n else "As an AI.") for n in range(4)])
    because = "They are not wanted."
    rules = [
        {"name": name, "because": because, "text": {"pattern": pattern}}
        for name, pattern in (("refusals", "(?i)as an ai"), ("none", "zebra"))
    ]
    build = world.build({"chats": 9}, exclusions=rules)
    path = build.recipe.manifests_dir / "mixtures" / "small.yaml"
    tables = Ran(capsys, "plan", path, "--dry").out
    assert "1 of 4 samples match a rule" in tables
    assert "refusals: the first 1 of 1" in tables
    assert [re.findall(r"\w+", line) for line in tables.splitlines() if " none " in line] == [
        ["none", "0"]
    ]
    found = json.loads(Ran(capsys, "plan", path, "--dry", "--json").out)
    assert [(rule["name"], rule["matched"]) for rule in found["rules"]] == [
        ("refusals", 1),
        ("none", 0),
    ]
