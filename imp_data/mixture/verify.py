"""Verify a mixture: digests, schema, ids, ledger, composition and card."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from imp_data.mixture.arrow_dataset import is_mixture_file
from imp_data.mixture.card import is_card
from imp_data.mixture.earlier_card import is_earlier_card
from imp_data.mixture.folder import consistent_read
from imp_data.mixture.mixture_json import MANIFEST, manifest_or_problem
from imp_data.mixture.reconciliation import reconciliation_problems
from imp_data.parallel.progress import progress
from imp_data.sample import sample_problem, sample_schema
from imp_data.storage.digests import file_sha256, file_sizes
from imp_data.storage.object_path import store_errors
from imp_data.storage.object_store import exists
from imp_data.storage.replace_folder import unmoved_foreign_files
from imp_data.storage.tables import open_arrow_source

_CARD = "README.md"


def verify(folder: Path) -> list[str]:
    """Return every problem of a mixture, each with its file; none if the mixture is sound.

    Raise UserError if the folder holds no mixture, or one that a build is replacing.
    """
    with consistent_read(folder):
        return _problems(folder)


def foreign_files(folder: Path) -> list[str]:
    """Return names in the folder that are not part of the mixture: caches, notes, desktop files.

    A folder, with "/" at its end, stands for all files below it. Nothing reads these files as part
    of the mixture, so they are no problem.
    """
    with store_errors(folder):
        stated = manifest_or_problem(folder, to_the_byte=True)
        known = set(stated["files"]) if isinstance(stated, dict) else set()
        found = [
            f"{top}/" if rest else top
            for top, _, rest in (name.partition("/") for name in file_sizes(folder))
            if rest or not (top in known or top == _CARD or is_mixture_file(top))
        ]
    return list(dict.fromkeys(found))


def files_to_move(folder: Path) -> list[Path]:
    """Return other files in the previous folder, which a killed build did not move to this one.

    The next build of the mixture moves them.
    """
    return unmoved_foreign_files(
        folder, lambda path: is_mixture_file(path.name) or path.name == _CARD
    )


def has_earlier_card(folder: Path) -> bool:
    """Return whether the card is one that an earlier release rendered."""
    card = folder / _CARD
    return exists(card) and is_earlier_card(_text(card))


def _text(card: Path) -> str:
    return card.read_bytes().decode(errors="replace")


def _problems(folder: Path) -> list[str]:
    manifest = manifest_or_problem(folder, to_the_byte=True)
    if isinstance(manifest, str):
        return [f"{MANIFEST}: {manifest}"]
    altered = dict(_altered_files(folder, manifest))
    problems = [f"{name}: {problem}" for name, problem in altered.items()]
    if problems:
        # An altered file causes further problems, which say nothing new.
        return problems
    counted: Counter[tuple[str, str]] = Counter()
    copies: Counter[str] = Counter()
    problems += _row_problems(folder, manifest, counted, copies)
    problems += reconciliation_problems(folder)
    problems += _composition_problems(manifest, counted)
    problems += _copy_problems(manifest, copies)
    card = folder / _CARD
    if exists(card) and not is_card(_text(card), folder):
        problems.append(f"{_CARD}: is not the card of this mixture.json")
    return problems


def _altered_files(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (file, problem) by presence, size and sha256."""
    stated = manifest["files"]
    sizes = file_sizes(folder)
    for name in sorted(sizes.keys() - set(stated) - {MANIFEST}):
        # A file with a shard's name is read as a shard by readers that list the folder.
        if is_mixture_file(name):
            yield name, "does not belong to this mixture"
    with progress("verify", "bytes", sum(f["bytes"] for f in stated.values())) as bar:
        for name, file in stated.items():
            if name not in sizes:
                yield name, "is missing"
                continue
            size = sizes[name]
            if size != file["bytes"]:
                yield name, f"has {size:,} bytes instead of {file['bytes']:,}"
            elif file_sha256(folder / name) != file["sha256"]:
                yield name, "its bytes were altered: sha256 differs"
            bar.add(size)


def _row_problems(
    folder: Path,
    manifest: dict[str, Any],
    counted: Counter[tuple[str, str]],
    copies: Counter[str],
) -> Iterator[str]:
    """Yield the first invalid row of each shard; count rows by source and subset, and copies."""
    shards = [name for name in manifest["files"] if name.endswith(".arrow")]
    schema = sample_schema(manifest.get("max_images", 1))
    with progress("verify", "samples", manifest["rows"]) as bar:
        for name in shards:
            with open_arrow_source(folder / name) as source:
                reader = pa.ipc.open_stream(source)
                if reader.schema != schema:
                    yield f"{name}: its columns are not those of a Sample"
                    continue
                problem = None
                for number, row in enumerate(row for batch in reader for row in batch.to_pylist()):
                    counted[row["source"], row["subset"]] += 1
                    copies[row["source"]] += "+" in (row["id"] or "")
                    problem = problem or _row_problem(number, row)
                    bar.add(1)
                if problem:
                    yield f"{name}, {problem}"


def _row_problem(number: int, row: dict[str, Any]) -> str | None:
    try:
        problem = sample_problem(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A row with one image has no lists of facts, as which a Sample reads them.
        is_fact = "image" in row and str(first["loc"][0]).startswith("image")
        place = first["loc"][:1] if is_fact else first["loc"]
        problem = f"{'.'.join(map(str, place))}: {first['msg']}"
    return f"row {number}: {problem}" if problem else None


def _copy_problems(manifest: dict[str, Any], copies: Counter[str]) -> Iterator[str]:
    """Yield the sources whose number of copies differs from the one that mixture.json states."""
    for part in manifest["parts"]:
        stated, found = part.get("copies", 0), copies[part["source"]]
        if stated != found:
            yield f"copies: {found:,} of {part['source']} in the shards, {stated:,} stated"


def _composition_problems(
    manifest: dict[str, Any], counted: Counter[tuple[str, str]]
) -> Iterator[str]:
    """Yield the counts in the shards that differ from those that mixture.json states."""
    stated = {
        (part["source"], subset): count
        for part in manifest["parts"]
        for subset, count in part["subsets"].items()
    }
    for key in sorted(stated.keys() | counted.keys()):
        if stated.get(key, 0) != counted[key]:
            name = "/".join(filter(None, key))
            yield (
                f"composition: {counted[key]:,} of {name} in the shards, "
                f"{stated.get(key, 0):,} stated"
            )
    if sum(counted.values()) != manifest["rows"]:
        yield f"rows: {sum(counted.values()):,} in the shards, {manifest['rows']:,} stated"
