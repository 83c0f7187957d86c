"""The drawn world as a stage: its files take the place of what upstream publishes."""

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
    """Draw the world where files of it are missing, or were drawn by other code.

    The figures hold the sha256 of each file as drawn, by `<raw name>/<path>`. A file that is there
    is left alone: the raw stage compares it with these, and tells if it was altered.
    """
    known = _finished(build)
    if known:
        return known
    run = build.run_of("world")
    with held(run.lock, run.label, run.who):
        return _finished(build) or _drawn(build)


def _inputs() -> dict[str, str]:
    return {"code": code_of("world"), **library_versions("numpy", "pillow", "pyarrow")}


def _finished(build: Stamps) -> StageResult | None:
    known, raw = read_stamp(build.data.stamp("world")), build.data.raw("")
    if not known or known["inputs"] != _inputs():
        return None
    if not all(is_file(raw / path) for path in known["figures"]["files"]):
        return None
    return StageResult(known["digest"], known["figures"], built=False)


def _drawn(build: Stamps) -> StageResult:
    """All is drawn aside; what is missing, or was drawn by other code, is put in place."""
    raw, stamp = build.data.raw(""), build.data.stamp("world")
    known = read_stamp(stamp)
    drawn_before: dict[str, str] = known["figures"]["files"] if known else {}
    same_code = known is not None and known["inputs"] == _inputs()
    # One run at a time draws, so that what a killed one left has the same name.
    aside = local_path(raw / ".world.partial")
    shutil.rmtree(aside, ignore_errors=True)
    with writing_to(raw), progress("world", "folders") as told:
        draw_world(aside, lambda _: told.add(1))
    files = {
        path.relative_to(aside).as_posix(): file_sha256(path)
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    for path, sha256 in files.items():
        if not is_there(raw / path) or not same_code:
            _put(aside / path, raw / path, sha256, drawn_before.get(path))
    shutil.rmtree(aside)
    digest = text_digest(*(part for item in files.items() for part in item))
    figures = {"files": files}
    write_stamp(stamp, _inputs(), digest, figures)
    return StageResult(digest, figures, built=True)


def _put(drawn: Path, target: Path, sha256: str, before: str | None) -> None:
    """Move a drawn file to its place, never over one that was not drawn."""
    if is_there(target) and file_sha256(target) not in {sha256, before}:
        raise UserError(
            target,
            "stands where a drawn file belongs, but was not drawn so",
            "set IMP_DATA_DIR to another folder for drawn mixtures; or move the file elsewhere, if "
            "it is only an altered drawing",
        )
    move(drawn, target)
