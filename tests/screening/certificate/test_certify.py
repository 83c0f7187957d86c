"""`imp-data certify`: a certificate of anybody's images."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, photo
from PIL import Image

from imp_data.screening.decontamination.certificate import chart, report
from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.screening.decontamination.certificate.certify import certify
from imp_data.screening.decontamination.certificate.drawn_documents import draw_document
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher
from imp_data.screening.decontamination.certificate.tables import (
    alteration_table,
    curve_table,
    interval,
    percent,
    summary_tables,
)

# As in test_cli.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from typer.testing import CliRunner

    from imp_data.cli import app

pytestmark = pytest.mark.usefixtures("one_worker")


def lay(folder: Path) -> Path:
    """Write nine photos, one of them twice, two charts of a template, and a broken image."""
    folder.mkdir()
    for n in range(9):
        (folder / f"photo{n}.png").write_bytes(encoded(photo(n, (64, 48))))
    (folder / "again.jpg").write_bytes(encoded(photo(0, (64, 48)), "JPEG", quality=95))
    for n in range(2):
        chart_image = draw_document("table", 0, n).resize((160, 120), Image.Resampling.BOX)
        (folder / f"table{n}.png").write_bytes(encoded(chart_image))
    (folder / "cut.png").write_bytes(encoded(photo(1))[:-200])
    (folder / "notes.txt").write_text("nothing to see")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay(tmp_path_factory.mktemp("certify") / "my images")


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        return certify([folder], 4, BuildMatcher())


def test_a_certificate_states_its_images_and_what_is_left_out(figures: dict[str, Any]) -> None:
    assert list(figures["images"]["unusable"]) == ["my images/cut.png"]
    assert "truncated" in figures["images"]["unusable"]["my images/cut.png"]
    assert {**figures["images"], "unusable": {}} == {
        "found": 13,
        "used": 12,
        "photo_like": 10,
        "document_like": 2,
        "different": 11,  # one photo is there twice
        "unusable": {},
        "not_read": {},
    }
    assert figures["altered_images"] == 4
    images = {name: one["images"] for name, one in figures["sets"].items()}
    assert images == {"photo-like": 2, "document-like": 2}


def test_the_json_has_these_fields(figures: dict[str, Any]) -> None:
    assert list(figures) == [
        "format", "program", "images", "altered_images", "matcher", "version", "unit", "threshold",
        "sets", "false_matches", "curve", "matched",
    ]  # fmt: skip
    assert (figures["format"], figures["unit"], figures["threshold"]) == (1, "bits", 10)
    photos = figures["sets"]["photo-like"]
    assert list(photos) == ["images", "groups", "alterations"]
    slight = photos["groups"]["A"]
    assert list(slight) == ["title", "goal", "found", "of", "recall", "low", "high", "complete"]
    assert (slight["goal"], slight["of"]) == (0.995, 2 * 35)
    assert slight["recall"] > 0.9
    assert photos["alterations"]["mirrored"] == {
        "group": "B",
        "found": 0,
        "of": 2,
        "recall": 0.0,
        "low": 0.0,
        "high": 0.841886,
    }
    assert list(photos["alterations"]) == list(ALTERATIONS)
    assert [point["threshold"] for point in figures["curve"]] == list(range(21))


def test_copies_among_the_images_are_no_false_matches(figures: dict[str, Any]) -> None:
    rows = {row["pairs_of"]: row for row in figures["false_matches"] if not row["altered"]}
    assert (rows["photos"]["pairs"], rows["photos"]["false"]) == (44, 0)
    assert rows["documents"]["false"] == 1  # two tables of one template
    listed = [(p["image"], p["reference"], p["copies"]) for p in figures["matched"]["listed"]]
    assert sorted(listed[0][:2]) == ["my images/table0.png", "my images/table1.png"]
    assert sorted(listed[1][:2]) == ["my images/again.jpg", "my images/photo0.png"]
    assert [copies for *_, copies in listed] == [False, True]


def test_the_markdown_has_every_table(figures: dict[str, Any]) -> None:
    text = report.markdown(figures)
    tables = [*summary_tables(figures), alteration_table(figures), curve_table(figures)]
    for table in tables:
        assert f"## {table.title}\n\n| {' | '.join(table.header)} |\n" in text
        for row in table.rows:
            assert len(row) == len(table.header)
            assert f"| {' | '.join(row)} |\n" in text
    assert "1 of 13 images do not decode and are left out." in text
    assert "| my images/table" in text
    assert "certificate.svg" not in text
    assert "![Copies found and false matches](certificate.svg)" in report.markdown(figures, True)


def test_a_share_below_one_is_never_rounded_to_one() -> None:
    shares = [0, 0.00001, 0.123, 0.9949, 0.9996, 0.99999, 1, None]
    assert [percent(share) for share in shares] == [
        "0", "0.01", "12.3", "99.5", "99.96", "99.99", "100", "–",
    ]  # fmt: skip
    assert interval(0, 0.5) == "0–50.0"


def command(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["certify", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_command_writes_the_same_certificate_and_names_broken_images(
    folder: Path, figures: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "certificate"
    status, printed, errors = command(folder, "-o", out, "--altered-images", 4)
    assert status == 0
    assert "False matches" in printed
    assert "not used: my images/cut.png: " in errors
    written = json.loads((out / "certificate.json").read_text())
    assert written == figures
    assert (out / "certificate.md").read_text().startswith("# How images are matched")
    assert (out / "certificate.svg").exists() == chart.can_draw()


def test_without_the_libraries_of_the_chart_the_rest_is_written(
    figures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "can_draw", lambda: False)
    names = [path.name for path in report.write_certificate(tmp_path, figures)]
    assert names == ["certificate.md", "certificate.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def refusal(*words: object) -> str:
    from imp_data.errors import UserError

    with pytest.raises(UserError) as error:
        command(*words)
    return str(error.value)


def test_a_folder_without_images_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    assert refusal(tmp_path, "-o", tmp_path / "out") == (
        f"{tmp_path}: holds no image (of other files: 1 of an unknown kind)\n"
        "  What to do: name a folder, zip or plain tar of images"
    )
    assert not (tmp_path / "out").exists()


def test_too_few_images_are_an_error_with_their_number(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(encoded(photo(n)))
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    text = refusal(tmp_path, "-o", tmp_path / "out")
    assert text.startswith(f"{tmp_path}: 3 of 4 images can be used, 10 are needed\n  ")
    assert f"{tmp_path.name}/cut.png: " in text
    assert text.endswith("\n  What to do: name folders, zips or plain tars of more images")


def test_archives_that_are_not_read_are_named_with_status_one(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    (images / "more.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    status, printed, errors = command(
        images, "-o", tmp_path / "out", "--altered-images", 1, "--json"
    )
    assert status == 1
    assert json.loads(printed)["images"]["not_read"] == {
        str(images / "more.7z"): "is a 7z archive: unpack it, or make a zip of it"
    }
    assert f"not read: {images / 'more.7z'}" in errors
    assert (tmp_path / "out" / "certificate.json").exists()


def test_an_output_that_is_a_file_and_a_distance_beyond_20_are_wrong_usage(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert command(folder, "-o", file)[0] == 2
    assert command(folder, "-o", tmp_path / "out", "--max-distance", 21)[0] == 2
    assert file.read_text() == "mine"
