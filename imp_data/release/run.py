"""Write the release of a mixture: Parquet with images, text alone, ledger, card."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.mixture.folder import consistent_read
from imp_data.mixture.mixture_images import ImageOrigins, open_built_images
from imp_data.mixture.mixture_json import check_files
from imp_data.parallel.progress import Progress, progress
from imp_data.release.card import render_release_card
from imp_data.release.parquet_shards import SHARD_BYTES, TEXT_GROUP_ROWS, ParquetShards
from imp_data.release.rows import RowGroup, with_images, without_images
from imp_data.release.schema import release_schema, text_schema
from imp_data.release.sharing import SharedImages, SharingChoice
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.storage.digests import file_sha256

RELEASE = "release.json"
CARD = "README.md"
_FOLDERS = ("data", "text", "ledger")


class ReleaseOptions(NamedTuple):
    """Options of a release: the manifests of its images, whose images it has, sizes of files."""

    manifests: Path
    choice: SharingChoice = SharingChoice()
    shard_bytes: int = SHARD_BYTES


def write_release(folder: Path, out: Path, options: ReleaseOptions) -> dict[str, Any]:
    """Write the release of the mixture in `folder`, completely or not at all; return release.json.

    Files in `out` that no release wrote stay. Raise UserError if the mixture is damaged, was built
    without its images, or if an image is no longer the one that was built.
    """
    with consistent_read(folder):
        manifest = check_files(folder)
        if manifest["images"] == "deferred":
            problem = "its images were deferred: no digest says which images belong to it"
            raise UserError(folder, problem, "build it with `images: required`")
        _check_target(folder, out)
        with write_atomically(out, RELEASE, alone=True, ours=_is_release_file) as aside:
            aside.mkdir(parents=True)
            return _write(folder, aside, manifest, options)


def _check_target(folder: Path, out: Path) -> None:
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise UserError(out, "is the mixture's own folder", "name another folder with -o")
    if out.is_dir() and any(out.iterdir()) and not (out / RELEASE).is_file():
        problem = f"has other files, and no {RELEASE} of an earlier release"
        raise UserError(out, problem, "name an empty or a new folder with -o")


def _is_release_file(path: Path) -> bool:
    return path.name in (RELEASE, CARD, "mixture.json", *_FOLDERS)


def _write(
    folder: Path, aside: Path, manifest: dict[str, Any], options: ReleaseOptions
) -> dict[str, Any]:
    several = manifest.get("max_images", 1) > 1
    shared = SharedImages(ImageOrigins(options.manifests), options.choice)
    reader = open_built_images(folder, options.manifests)
    most = Limits().max_image_bytes

    def write(
        name: str, schema: Any, groups: Callable[[Iterator[Any]], Iterator[RowGroup]]
    ) -> None:
        with (
            progress(f"release/{name}", "samples", manifest["rows"]) as bar,
            ParquetShards(aside / name, "train", schema, options.shard_bytes) as shards,
        ):
            _write_groups(shards, groups(mixture_batches(folder)), bar)

    write("data", release_schema(several), lambda b: with_images(b, reader, shared, most))
    text = text_schema(several)
    write("text", text, lambda b: without_images(b, text))
    (aside / "ledger").mkdir()
    shutil.copyfile(folder / "ledger.parquet", aside / "ledger" / "ledger.parquet")
    shutil.copyfile(folder / "mixture.json", aside / "mixture.json")
    images = [
        {
            "origin": origin.name,
            "license": origin.license,
            "images": count,
            "included": shared.shares(origin),
        }
        for origin, count in sorted(shared.counts.items())
    ]
    facts = {
        "format": 1,
        "mixture": {name: manifest[name] for name in ("name", "title", "rows", "digest")},
        "images": images,
    }
    write_text(aside / CARD, render_release_card(folder, manifest, images))
    release = {**facts, "files": dict(_digests(aside))}
    write_text(aside / RELEASE, json_text(release))
    return release


def _write_groups(shards: ParquetShards, groups: Iterator[RowGroup], bar: Progress) -> None:
    for group in groups:
        for begin in range(0, max(len(group.rows), 1), TEXT_GROUP_ROWS):
            shards.write_group(group.rows.slice(begin, TEXT_GROUP_ROWS), group.size)
        bar.add(len(group.rows))


def _digests(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        facts = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        yield path.relative_to(folder).as_posix(), facts
