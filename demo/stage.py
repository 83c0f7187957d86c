"""The stage that draws the demo world in place of the files that upstream publishes."""

import shutil
from pathlib import Path

from demo.world import draw_world
from imp_data.errors import UserError
from imp_data.parallel.progress import progress
from imp_data.pipeline.stages import Stamps, code_of
from imp_data.storage.atomic_write import move, writing_to
from imp_data.storage.digests import file_sha256, library_versions, text_digest
from imp_data.storage.locks import held
from imp_data.storage.object_store import is_file, is_there
from imp_data.storage.paths import local_path
from imp_data.storage.stage_cache import StageResult, read_stamp, write_stamp


def world(build: Stamps) -> StageResult:
    """Draw the world if a file is missing or the code that drew it has changed.

    The figures map `<raw name>/<path>` to the sha256 of the file as drawn. The stage keeps existing
    files; the raw stage compares them with these digests and reports an altered one.
    """
    finished = _finished(build)
    if finished:
        return finished
    run = build.run_of("world")
    with held(run.lock, run.label, run.who):
        return _finished(build) or _draw(build)


def _inputs() -> dict[str, str]:
    return {"code": code_of("world"), **library_versions("numpy", "pillow", "pyarrow")}


def _finished(build: Stamps) -> StageResult | None:
    known, raw = read_stamp(build.data.stamp("world")), build.data.raw("")
    if not known or known["inputs"] != _inputs():
        return None
    if not all(is_file(raw / path) for path in known["figures"]["files"]):
        return None
    return StageResult(known["digest"], known["figures"], built=False)


def _draw(build: Stamps) -> StageResult:
    """Draw into a temporary directory, then move the missing and outdated files into place."""
    raw, stamp = build.data.raw(""), build.data.stamp("world")
    known = read_stamp(stamp)
    drawn_before: dict[str, str] = known["figures"]["files"] if known else {}
    same_code = known is not None and known["inputs"] == _inputs()
    # The lock allows one run at a time, so the rest of a killed run always has this name.
    aside = local_path(raw / ".world.partial")
    shutil.rmtree(aside, ignore_errors=True)
    with writing_to(raw), progress("world", "folders") as bar:
        draw_world(aside, lambda: bar.add(1))
    files = {
        path.relative_to(aside).as_posix(): file_sha256(path)
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    for path, sha256 in files.items():
        if not is_there(raw / path) or not same_code:
            _install(aside / path, raw / path, sha256, drawn_before.get(path))
    shutil.rmtree(aside)
    digest = text_digest(*(part for item in files.items() for part in item))
    figures = {"files": files}
    write_stamp(stamp, _inputs(), digest, figures)
    return StageResult(digest, figures, built=True)


def _install(drawn: Path, target: Path, sha256: str, before: str | None) -> None:
    """Move a drawn file into place; raise UserError if a file that was not drawn is there."""
    if is_there(target) and file_sha256(target) not in {sha256, before}:
        raise UserError(
            target,
            "a file that the demo did not draw is in the place of a drawn file",
            "set IMP_DATA_DIR to another folder for drawn mixtures, or move the file elsewhere if "
            "it is an altered drawing",
        )
    move(drawn, target)
