"""A raw folder: what is published under one name, fetched, unpacked, and not altered since."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.fetch import mirrors_from_environment, obtain
from imp_data.manifest import Published, Source, model_digest
from imp_data.store import Run, StageResult, read_stamp, run_stage, text_digest, tree_digest


def raw_stage(
    manifests: Sequence[Published],
    folder: Path,
    stamp: Path,
    pins: Mapping[str, str],
    code: str,
    run_of: Callable[[Sequence[Path]], Run] | None = None,
) -> StageResult:
    """Fetch, verify and unpack what these manifests, which share a folder, publish.

    `pins` are sha256 by path of drawn files, in the place of what the manifests state of
    upstream's. The figures hold the sha256 of each file, and of the record files unpacked from it.
    """
    files = {file.path: folder / file.path for m in manifests for file in m.files}
    unpacked = [path for m in manifests if isinstance(m, Source) for path in _unpacked(m, folder)]
    outputs = [*files.values(), *unpacked]

    def build() -> dict[str, Any]:
        found: dict[str, str] = {}
        for manifest in manifests:
            pinned = _pinned(manifest, pins) if pins else manifest
            found |= obtain(pinned, folder, mirrors_from_environment())
        told = {_below(folder, path): tree_digest(path) for path in unpacked}
        _refuse_altered(folder, stamp, found, told)
        return {"files": dict(sorted(found.items())), "unpacked": told}

    inputs = {
        "code": code,
        "manifest": model_digest(*manifests),
        "pins": text_digest(*(f"{path} {sha256}" for path, sha256 in sorted(pins.items()))),
    }

    def digest_of(figures: dict[str, Any]) -> str:
        """What reading all outputs once more would give."""
        digests = [figures["files"][path] for path in files]
        digests += [figures["unpacked"][_below(folder, path)] for path in unpacked]
        names = [path.name for path in outputs]
        return text_digest(*(part for pair in zip(names, digests, strict=True) for part in pair))

    run = run_of(outputs) if run_of else None
    return run_stage(stamp, inputs, outputs, build, digest_of, run)


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _pinned(manifest: Published, pins: Mapping[str, str]) -> Published:
    """The manifest with the digests of drawn files in the place of upstream's."""
    files = tuple(
        file.model_copy(update={"sha256": pins.get(file.path), "bytes": None})
        for file in manifest.files
    )
    return manifest.model_copy(update={"files": files})


def _unpacked(source: Source, folder: Path) -> list[Path]:
    """The record files of a source that come out of an archive; of a glob, the folder."""
    published = {file.path for file in source.files}
    patterns = [folder / p for p in source.records if p not in published]
    return [p.parent if "*" in p.name else p for p in patterns]


def _refuse_altered(
    folder: Path, stamp: Path, files: dict[str, str], unpacked: dict[str, str]
) -> None:
    """UserError if what was unpacked from the same archives is not what it was."""
    known = read_stamp(stamp)
    before: dict[str, Any] = known["figures"] if known else {}
    if before.get("files") != files:
        return
    for path, digest in unpacked.items():
        if before.get("unpacked", {}).get(path, digest) != digest:
            raise UserError(
                folder / path,
                "was altered since it was unpacked",
                "delete it and run the same command again",
            )
