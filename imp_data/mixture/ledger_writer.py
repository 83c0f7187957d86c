"""A mixture's ledger: what each stage decided, told of every upstream row."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import LEDGER_SCHEMA, Outcome, Repair, Stage
from imp_data.storage.tables import arrow_batches, parquet_file, parquet_writer, value_counts

_BATCH_ROWS = 1 << 15


class SourceInputs(NamedTuple):
    """One source as the mixture stage needs it."""

    source: str
    license: str
    records: Path
    ledger: Path
    screened: Path


def write_ledger(path: Path, shares: Sequence[SourceInputs]) -> dict[str, dict[str, Any]]:
    """One row for each upstream record of each source; returns the figures by source."""
    figures: dict[str, dict[str, Any]] = {}
    with parquet_writer(path, LEDGER_SCHEMA, sealed=False) as writer:
        for share in shares:
            decisions = _Decisions(share.screened)
            counts: dict[str, Counter[str]] = {
                name: Counter() for name in ("outcomes", "reasons", "repairs")
            }
            for batch in parquet_file(share.ledger).iter_batches(_BATCH_ROWS):
                rows = decisions.settle(batch)
                writer.write_batch(rows)
                counts["outcomes"].update(value_counts(rows.column("outcome")))
                counts["reasons"].update(value_counts(rows.column("reason").drop_null()))
                repairs = rows.column("repairs").flatten().field("repair")
                counts["repairs"].update(value_counts(repairs))
            figures[share.source] = {name: dict(sorted(c.items())) for name, c in counts.items()}
            figures[share.source]["samples"] = decisions.kept
    return figures


class _Decisions:
    """What screening decided of each Sample row, to be told of the upstream rows in it.

    Memory: 2 bytes a Sample; the evidence, and 8 bytes for each that there is.
    """

    def __init__(self, screened: Path) -> None:
        words: dict[str | None, int] = {}
        codes: dict[str, list[npt.NDArray[np.uint8]]] = {"outcome": [], "reason": []}
        evidence, witnessed, first = [pa.array([], pa.string())], [np.zeros(0, np.int64)], 0
        for batch in arrow_batches(screened, [*codes, "evidence"]):
            for name, some in codes.items():
                some.append(_codes(batch.column(name), words))
            told = np.flatnonzero(batch.column("evidence").is_valid())
            evidence.append(batch.column("evidence").take(pa.array(told)))
            witnessed.append(first + told)
            first += len(batch)
        nothing = np.zeros(0, np.uint8)
        self._codes = {name: np.concatenate([nothing, *some]) for name, some in codes.items()}
        self._words = pa.array(list(words), pa.string())
        self._evidence = pa.concat_arrays(evidence)
        self._witnessed = np.concatenate([*witnessed, [np.iinfo(np.int64).max]])
        kept = words.get(Outcome.KEPT, len(words))
        self.kept = int((self._codes["outcome"] == kept).sum())

    def settle(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Ledger rows with an outcome each: the records stage's own, or what screening decided."""
        sample = batch.column("sample")
        without = sample.is_null().to_numpy(zero_copy_only=False)
        rows = sample.fill_null(0).to_numpy()
        told = {name: self._told(codes, rows, without) for name, codes in self._codes.items()}
        stages = pc.equal(told["outcome"], Outcome.DROPPED.value)
        told["stage"] = pc.if_else(stages, Stage.SCREENED.value, Stage.MIXTURE.value)
        at = np.searchsorted(self._witnessed, rows)
        unseen = without | (self._witnessed[at] != rows)
        told["evidence"] = self._evidence.take(pa.array(at, mask=unseen))
        batch = _with_respelled(batch, told)
        columns = [
            pc.coalesce(batch.column(name), told[name]) if name in told else batch.column(name)
            for name in LEDGER_SCHEMA.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)

    def _told(
        self,
        codes: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.int32],
        without: npt.NDArray[np.bool_],
    ) -> pa.Array:
        if without.all():
            return pa.nulls(len(rows), pa.string())
        return self._words.take(pa.array(codes[rows], mask=without))


def _with_respelled(batch: pa.RecordBatch, told: dict[str, pa.Array]) -> pa.RecordBatch:
    """The rows with a repair more where screening kept them and has evidence of a spelling."""
    kept = pc.fill_null(pc.equal(told["outcome"], Outcome.KEPT.value), False)
    respelled = pc.and_(kept, told["evidence"].is_valid())
    if not respelled.true_count:
        return batch
    place = batch.schema.get_field_index("repairs")
    repairs = batch.column(place).to_pylist()
    for row in np.flatnonzero(respelled.to_numpy(zero_copy_only=False)).tolist():
        before = orjson.loads(told["evidence"][row].as_py())["image"]
        repairs[row].append({"repair": Repair.IMAGE_RESPELLED.value, "before": before})
    field = batch.schema.field(place)
    return batch.set_column(place, field, pa.array(repairs, field.type))


def _codes(texts: pa.StringArray, words: dict[str | None, int]) -> npt.NDArray[np.uint8]:
    """Each text's number among the words, to which new ones are added."""
    encoded = texts.dictionary_encode(null_encoding="encode")
    numbers = [words.setdefault(word, len(words)) for word in encoded.dictionary.to_pylist()]
    codes: npt.NDArray[np.uint8] = np.array(numbers, np.uint8)[encoded.indices.to_numpy()]
    return codes
