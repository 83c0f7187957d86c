"""Is a mixture whole and unaltered: digests, schema, ids, conservation, composition, card."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from imp_data.mixture.arrow_dataset import is_ours
from imp_data.mixture.card import is_card
from imp_data.mixture.folder import reading
from imp_data.mixture.mixture_json import MANIFEST, manifest_or_problem
from imp_data.mixture.reconciliation import conservation_problems
from imp_data.parallel.progress import progress
from imp_data.sample import SAMPLE_SCHEMA, sample_problem
from imp_data.storage.digests import file_sha256, file_sizes
from imp_data.storage.object_path import store_errors
from imp_data.storage.object_store import is_there
from imp_data.storage.replace_folder import half_emptied
from imp_data.storage.tables import arrow_source

_CARD = "README.md"


def verify(folder: Path) -> list[str]:
    """Everything that is wrong with a mixture, each naming its file; nothing if it is sound.

    Raises UserError if the folder holds no mixture, or one that a build is replacing.
    """
    with reading(folder):
        return _problems(folder)


def foreign_files(folder: Path) -> list[str]:
    """What others left in a mixture's folder: caches of `datasets`, notes, files of a desktop.

    By name; a folder stands for all that is below it, with "/" at its end. None of it is read as
    part of the mixture, so none of it makes the mixture less whole.
    """
    with store_errors(folder):
        stated = manifest_or_problem(folder, to_the_byte=True)
        ours = set(stated["files"]) if isinstance(stated, dict) else set()
        found = [
            f"{top}/" if rest else top
            for top, _, rest in (name.partition("/") for name in file_sizes(folder))
            if rest or not (top in ours or top == _CARD or is_ours(top))
        ]
    return list(dict.fromkeys(found))


def left_behind(folder: Path) -> list[Path]:
    """What others had in the folder before, and a build that was killed did not move to this one.

    The next build of the mixture does.
    """
    return half_emptied(folder, lambda path: is_ours(path.name) or path.name == _CARD)


def _problems(folder: Path) -> list[str]:
    manifest = manifest_or_problem(folder, to_the_byte=True)
    if isinstance(manifest, str):
        return [f"{MANIFEST}: {manifest}"]
    altered = dict(_altered_files(folder, manifest))
    problems = [f"{name}: {problem}" for name, problem in altered.items()]
    if problems:
        # What was altered is known; what it would further lead to says nothing new.
        return problems
    counted: Counter[tuple[str, str]] = Counter()
    problems += _row_problems(folder, manifest, counted)
    problems += conservation_problems(folder)
    problems += _composition_problems(manifest, counted)
    card = folder / _CARD
    if is_there(card) and not is_card(card.read_bytes().decode(errors="replace"), folder):
        problems.append(f"{_CARD}: is not the card that mixture.json gives")
    return problems


def _altered_files(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) by presence, size and sha256."""
    stated = manifest["files"]
    there = file_sizes(folder)
    for name in sorted(there.keys() - set(stated) - {MANIFEST}):
        # Named as a shard, it would be read as one by whoever opens all shards of the folder.
        if is_ours(name):
            yield name, "does not belong to this mixture"
    with progress("verify", "bytes", sum(f["bytes"] for f in stated.values())) as told:
        for name, file in stated.items():
            if name not in there:
                yield name, "is missing"
                continue
            size = there[name]
            if size != file["bytes"]:
                yield name, f"has {size:,} bytes instead of {file['bytes']:,}"
            elif file_sha256(folder / name) != file["sha256"]:
                yield name, "its bytes were altered: sha256 differs"
            told.add(size)


def _row_problems(
    folder: Path, manifest: dict[str, Any], counted: Counter[tuple[str, str]]
) -> Iterator[str]:
    """The first invalid row of each shard; counts rows by source and subset on the way."""
    shards = [name for name in manifest["files"] if name.endswith(".arrow")]
    with progress("verify", "samples", manifest["rows"]) as told:
        for name in shards:
            with arrow_source(folder / name) as source:
                reader = pa.ipc.open_stream(source)
                if reader.schema != SAMPLE_SCHEMA:
                    yield f"{name}: its columns are not those of a Sample"
                    continue
                problem = None
                for number, row in enumerate(row for batch in reader for row in batch.to_pylist()):
                    counted[row["source"], row["subset"]] += 1
                    problem = problem or _row_problem(number, row)
                    told.add(1)
                if problem:
                    yield f"{name}, {problem}"


def _row_problem(number: int, row: dict[str, Any]) -> str | None:
    try:
        problem = sample_problem(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"row {number}: {problem}" if problem else None


def _composition_problems(
    manifest: dict[str, Any], counted: Counter[tuple[str, str]]
) -> Iterator[str]:
    """Where the shards hold other counts than mixture.json states."""
    stated = {
        (part["source"], subset): count
        for part in manifest["parts"]
        for subset, count in part["subsets"].items()
    }
    for key in sorted(stated.keys() | counted.keys()):
        if stated.get(key, 0) != counted[key]:
            name = "/".join(filter(None, key))
            found, told = counted[key], stated.get(key, 0)
            yield f"composition: {found:,} of {name} in the shards, {told:,} stated"
    if sum(counted.values()) != manifest["rows"]:
        yield f"rows: {sum(counted.values()):,} in the shards, {manifest['rows']:,} stated"
