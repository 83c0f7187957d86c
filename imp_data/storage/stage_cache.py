"""A stage's work, skipped where its inputs, its code and its files are unchanged."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from imp_data.errors import UserError
from imp_data.storage.atomic_write import share, write_text
from imp_data.storage.digests import below, text_digest, tree_digest
from imp_data.storage.heap import trim_heap
from imp_data.storage.locks import held
from imp_data.storage.object_path import ObjectPath, store_errors
from imp_data.storage.object_store import check_writable
from imp_data.storage.range_reader import first_bytes

_FIELDS = {"inputs", "digest", "figures", "files"}
# A stage's files; as a function, where only its work shows which there are.
Outputs = Sequence[Path] | Callable[[], Sequence[Path]]


class StageResult(NamedTuple):
    """What a stage left: the digest of its outputs, its figures, and whether it had to work."""

    digest: str
    figures: dict[str, Any]
    built: bool


class Other(NamedTuple):
    """Where another mixture has the stamp and the outputs of the same stage."""

    stamp: Path
    outputs: Sequence[Path]


def _no_others(outputs: Sequence[Path]) -> Sequence[Other]:
    return ()


class Run(NamedTuple):
    """What concerns a stage beside its work: the lock it holds, for whom, whose results serve.

    `others` gives the results of other mixtures that would serve for these outputs.
    """

    lock: Path
    label: str
    who: str = ""
    others: Callable[[Sequence[Path]], Sequence[Other]] = _no_others


def run_stage(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Outputs,
    build: Callable[[], dict[str, Any]],
    digest_of: Callable[[dict[str, Any]], str] | None = None,
    run: Run | None = None,
    holds: Callable[[dict[str, Any]], bool] = lambda figures: True,
) -> StageResult:
    """Build `outputs` unless they are whole and were built from these inputs by this code.

    `inputs` names everything the outputs depend on, each by a digest. The stamp is written last:
    where it agrees with inputs and files the work was finished; after a kill it cannot agree.
    `digest_of` takes the outputs' digest from the figures, where the build knows it already.

    One run at a time builds; another waits, and then finds the work done. What another mixture
    has built from the same inputs is taken over, if its digest is still the one of its stamp.

    `holds` may say of a finished stage's figures that they are not to be relied on any more.
    """
    inputs = dict(sorted(inputs.items()))
    run = run or Run(stamp.with_name(f"{stamp.name}.lock"), stamp.name)
    with store_errors(stamp):
        if known := _finished(stamp, inputs, outputs, holds):
            return known
        if isinstance(stamp, ObjectPath):
            check_writable(stamp)
        with held(run.lock, run.label, run.who):
            found = _finished(stamp, inputs, outputs, holds)
            found = found or _taken_over(stamp, inputs, _listed(outputs), run.others)
            return found or _built(stamp, inputs, outputs, build, digest_of)


def _finished(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Outputs,
    holds: Callable[[dict[str, Any]], bool],
) -> StageResult | None:
    known = read_stamp(stamp)
    same = known and known["inputs"] == inputs and known["files"] == _states(outputs)
    if known and same and holds(known["figures"]):
        return StageResult(known["digest"], known["figures"], built=False)
    return None


def _built(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Outputs,
    build: Callable[[], dict[str, Any]],
    digest_of: Callable[[dict[str, Any]], str] | None,
) -> StageResult:
    trim_heap()
    figures = build()
    digest = digest_of(figures) if digest_of else digest_of_files(_listed(outputs))
    write_stamp(stamp, inputs, digest, figures, outputs)
    trim_heap()
    return StageResult(digest, figures, built=True)


def _taken_over(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    others: Callable[[Sequence[Path]], Sequence[Other]],
) -> StageResult | None:
    """What another mixture has of the same inputs, shared without a copy where the disk can.

    Files that are not those of its digest are passed over.
    """
    for other in others(outputs):
        known = read_stamp(other.stamp)
        if not known or known["inputs"] != inputs or known["files"] != _states(other.outputs):
            continue
        for theirs, ours in zip(other.outputs, outputs, strict=True):
            share(theirs, ours)
        # Theirs may have been built anew meanwhile; what was shared is then of no use.
        whole = known["files"] == _states(
            other.outputs if isinstance(stamp, ObjectPath) else outputs
        )
        # The same files are as good for one mixture as for the other.
        if whole and (other.outputs == outputs or known["digest"] == digest_of_files(outputs)):
            write_stamp(stamp, inputs, known["digest"], known["figures"], outputs)
            return StageResult(known["digest"], known["figures"], built=False)
    return None


def digest_of_files(outputs: Sequence[Path]) -> str:
    """The digest of a stage's files, by their names and contents."""
    return text_digest(*(part for o in outputs for part in (o.name, tree_digest(o))))


def write_stamp(
    stamp: Path,
    inputs: Mapping[str, str],
    digest: str,
    figures: dict[str, Any],
    outputs: Outputs = (),
) -> None:
    """Say that a stage is finished: its inputs, its figures, its files as they are now."""
    states = _states(outputs)
    if lacking := [name for name, size, _ in states if size is None]:
        problem = f"{', '.join(lacking)} is not there when the stage ends"
        raise UserError(stamp, problem, "let nothing else write there, and run the command again")
    record = {"inputs": inputs, "digest": digest, "figures": figures, "files": states}
    record["xxh3"] = _sum(record)
    write_text(stamp, orjson.dumps(record, option=orjson.OPT_INDENT_2).decode())


def read_stamp(stamp: Path) -> dict[str, Any] | None:
    """What the last finished run of a stage left; None if there was none, or its stamp is damaged.

    So a stage with a damaged stamp does its work again.
    """
    try:
        data = first_bytes(stamp) if isinstance(stamp, ObjectPath) else stamp.read_bytes()
        record = orjson.loads(data)
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _FIELDS:
        return None
    stated = record.pop("xxh3", None)  # stamps of earlier releases have none
    return record if stated in (None, _sum(record)) else None


def _sum(record: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(orjson.dumps(record, option=orjson.OPT_SORT_KEYS))


def _listed(outputs: Outputs) -> Sequence[Path]:
    return outputs() if callable(outputs) else outputs


def _states(outputs: Outputs) -> list[list[Any]]:
    """Name, size and change of each file: enough to notice that one was touched."""
    states: list[list[Any]] = []
    for output in _listed(outputs):
        found = below(output)
        states += [[(output / name).name, *state] for name, state in found.items()]
        states += [] if found else [[output.name, None, None]]
    return states
