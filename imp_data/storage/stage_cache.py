"""Run a stage, or skip it if its inputs, its code and its files are unchanged."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from imp_data.errors import UserError
from imp_data.storage.atomic_write import link_or_copy, write_text
from imp_data.storage.digests import file_states, text_digest, tree_digest
from imp_data.storage.heap import trim_heap
from imp_data.storage.locks import hold_lock
from imp_data.storage.object_path import ObjectPath, store_errors
from imp_data.storage.object_store import check_writable
from imp_data.storage.range_reader import read_object

_FIELDS = {"inputs", "digest", "figures", "files"}
# A stage's files, or a function that lists them if only the finished stage determines them.
Outputs = Sequence[Path] | Callable[[], Sequence[Path]]


class StageResult(NamedTuple):
    """The digest of a stage's outputs, its figures, and whether the stage was built in this run."""

    digest: str
    figures: dict[str, Any]
    built: bool


class StageOutputs(NamedTuple):
    """The stamp and outputs of the same stage of another mixture."""

    stamp: Path
    outputs: Sequence[Path]


def _no_others(outputs: Sequence[Path]) -> Sequence[StageOutputs]:
    return ()


class StageRun(NamedTuple):
    """The context of a stage: its lock, its label, and for what the run builds it.

    `others` returns results of other mixtures that may be reused for these outputs.
    """

    lock: Path
    label: str
    who: str = ""
    others: Callable[[Sequence[Path]], Sequence[StageOutputs]] = _no_others


def run_stage(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Outputs,
    build: Callable[[], dict[str, Any]],
    digest_of: Callable[[dict[str, Any]], str] | None = None,
    run: StageRun | None = None,
    holds: Callable[[dict[str, Any]], bool] = lambda figures: True,
) -> StageResult:
    """Build `outputs` unless they are complete and were built from these inputs by this code.

    `inputs` maps everything the outputs depend on to digests. The stamp is written last: if it
    matches inputs and files, the stage finished; after a kill it cannot match. `digest_of` computes
    the outputs' digest from the figures if the build already knows it.

    One run builds at a time; another waits and then finds the stage finished. Outputs of another
    mixture from the same inputs are reused if their digest still matches their stamp.

    `holds` returns whether a finished stage's figures are still valid.
    """
    inputs = dict(sorted(inputs.items()))
    run = run or StageRun(stamp.with_name(f"{stamp.name}.lock"), stamp.name)
    with store_errors(stamp):
        if known := _finished(stamp, inputs, outputs, holds):
            return known
        if isinstance(stamp, ObjectPath):
            check_writable(stamp)
        with hold_lock(run.lock, run.label, run.who):
            found = _finished(stamp, inputs, outputs, holds)
            found = found or _reuse_other(stamp, inputs, _listed(outputs), run.others)
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
    digest = digest_of(figures) if digest_of else outputs_digest(_listed(outputs))
    write_stamp(stamp, inputs, digest, figures, outputs)
    trim_heap()
    return StageResult(digest, figures, built=True)


def _reuse_other(
    stamp: Path,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    others: Callable[[Sequence[Path]], Sequence[StageOutputs]],
) -> StageResult | None:
    """Reuse another mixture's outputs of the same inputs, as hard links if the disk supports them.

    Skip outputs that do not match their digest.
    """
    for other in others(outputs):
        known = read_stamp(other.stamp)
        if not known or known["inputs"] != inputs or known["files"] != _states(other.outputs):
            continue
        for theirs, ours in zip(other.outputs, outputs, strict=True):
            link_or_copy(theirs, ours)
        # The other mixture may have been rebuilt meanwhile; then the shared files are useless.
        whole = known["files"] == _states(
            other.outputs if isinstance(stamp, ObjectPath) else outputs
        )
        # Files that both mixtures share need no check of their digest.
        if whole and (other.outputs == outputs or known["digest"] == outputs_digest(outputs)):
            write_stamp(stamp, inputs, known["digest"], known["figures"], outputs)
            return StageResult(known["digest"], known["figures"], built=False)
    return None


def outputs_digest(outputs: Sequence[Path]) -> str:
    """Return the digest of a stage's files, by their names and contents."""
    return text_digest(*(part for o in outputs for part in (o.name, tree_digest(o))))


def write_stamp(
    stamp: Path,
    inputs: Mapping[str, str],
    digest: str,
    figures: dict[str, Any],
    outputs: Outputs = (),
) -> None:
    """Record a finished stage: its inputs, its figures, and the state of its files."""
    states = _states(outputs)
    if lacking := [name for name, size, _ in states if size is None]:
        problem = f"{', '.join(lacking)} does not exist when the stage ends"
        remedy = "stop other programs that write there, and run the command again"
        raise UserError(stamp, problem, remedy)
    record = {"inputs": inputs, "digest": digest, "figures": figures, "files": states}
    record["xxh3"] = _sum(record)
    write_text(stamp, orjson.dumps(record, option=orjson.OPT_INDENT_2).decode())


def read_stamp(stamp: Path) -> dict[str, Any] | None:
    """Return the record of a stage's last finished run.

    Return None if there is none or its stamp is damaged, so that the stage runs again.
    """
    try:
        data = read_object(stamp) if isinstance(stamp, ObjectPath) else stamp.read_bytes()
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
    """Return name, size and version of each file, enough to detect a change."""
    states: list[list[Any]] = []
    for output in _listed(outputs):
        found = file_states(output)
        states += [[(output / name).name, *state] for name, state in found.items()]
        states += [] if found else [[output.name, None, None]]
    return states
