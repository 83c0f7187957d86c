"""A stage's work, skipped where its inputs, its code and its files are unchanged."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from imp_data.memory import give_back
from imp_data.objects import check_writable
from imp_data.places import in_store, reached
from imp_data.ranges import first_bytes
from imp_data.store.digests import below, text_digest, tree_digest
from imp_data.store.files import write_text


class StageResult(NamedTuple):
    """What a stage left: the digest of its outputs, its figures, and whether it had to work."""

    digest: str
    figures: dict[str, Any]
    built: bool


def run_stage(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    build: Callable[[], dict[str, Any]],
    digest_of: Callable[[dict[str, Any]], str] | None = None,
) -> StageResult:
    """Build `outputs` unless they are whole and were built from these inputs by this code.

    `inputs` names everything the outputs depend on, each by a digest. The stamp is written last:
    where it agrees with inputs and files the work was finished; after a kill it cannot agree.
    `digest_of` takes the outputs' digest from the figures, where the build knows it already.
    """
    inputs = dict(sorted(inputs.items()))
    known = read_stamp(stamp)
    with reached(stamp):
        if known and known["inputs"] == inputs and known["files"] == _states(outputs):
            return StageResult(known["digest"], known["figures"], built=False)
        if in_store(stamp):
            check_writable(stamp)
        give_back()
        figures = build()
        if digest_of is None:
            digest = text_digest(*(part for o in outputs for part in (o.name, tree_digest(o))))
        else:
            digest = digest_of(figures)
        write_stamp(stamp, inputs, digest, figures, outputs)
    give_back()
    return StageResult(digest, figures, built=True)


def write_stamp(
    stamp: Path,
    inputs: Mapping[str, str],
    digest: str,
    figures: dict[str, Any],
    outputs: Sequence[Path] = (),
) -> None:
    """Say that a stage is finished: its inputs, its figures, its files as they are now."""
    record = {"inputs": inputs, "digest": digest, "figures": figures, "files": _states(outputs)}
    write_text(stamp, orjson.dumps(record, option=orjson.OPT_INDENT_2).decode())


def read_stamp(stamp: Path) -> dict[str, Any] | None:
    """What the last finished run of a stage left; None if there was none."""
    try:
        data = first_bytes(stamp) if in_store(stamp) else stamp.read_bytes()
        record: dict[str, Any] = orjson.loads(data)
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return record if record.keys() >= {"inputs", "digest", "figures", "files"} else None


def _states(outputs: Sequence[Path]) -> list[list[Any]]:
    """Name, size and change of each file: enough to notice that one was touched."""
    states: list[list[Any]] = []
    for output in outputs:
        found = below(output)
        states += [[(output / name).name, *state] for name, state in found.items()]
        states += [] if found else [[output.name, None, None]]
    return states
