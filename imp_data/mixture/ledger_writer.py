"""Write a mixture's ledger: the outcome of every upstream row, and the stage that decided it."""

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
from imp_data.mixture.copies import stated_copies
from imp_data.storage.tables import open_parquet, parquet_writer, read_batches, value_counts

_BATCH_ROWS = 1 << 15


class SourceInputs(NamedTuple):
    """The files of one source that the mixture stage reads, and its licence."""

    source: str
    license: str
    records: Path
    ledger: Path
    screened: Path


def write_ledger(path: Path, sources: Sequence[SourceInputs]) -> dict[str, dict[str, Any]]:
    """Write one row for each upstream record of each source; return the counts by source."""
    figures: dict[str, dict[str, Any]] = {}
    with parquet_writer(path, LEDGER_SCHEMA, sealed=False) as writer:
        for source in sources:
            decisions = _Decisions(source.screened)
            counts: dict[str, Counter[str]] = {
                name: Counter() for name in ("outcomes", "reasons", "repairs")
            }
            for batch in open_parquet(source.ledger).iter_batches(_BATCH_ROWS):
                rows = decisions.decide(batch)
                writer.write_batch(rows)
                counts["outcomes"].update(value_counts(rows.column("outcome")))
                counts["reasons"].update(value_counts(rows.column("reason").drop_null()))
                repairs = rows.column("repairs").flatten().field("repair")
                counts["repairs"].update(value_counts(repairs))
            figures[source.source] = {name: dict(sorted(c.items())) for name, c in counts.items()}
            figures[source.source]["samples"] = decisions.samples
            if copies := decisions.samples - decisions.kept:
                figures[source.source]["copies"] = copies
    return figures


class _Decisions:
    """Screening's decision on each Sample, to apply to the upstream rows of the Sample.

    Memory: 2 bytes for each Sample; the evidence, and 8 bytes for each Sample with evidence.
    """

    def __init__(self, screened: Path) -> None:
        words: dict[str | None, int] = {}
        codes: dict[str, list[npt.NDArray[np.uint8]]] = {"outcome": [], "reason": []}
        evidence, with_evidence, first = [pa.array([], pa.string())], [np.zeros(0, np.int64)], 0
        self.samples = 0
        """How many Samples the mixture has of the source, copies included."""
        for batch in read_batches(screened, [*codes, "evidence"]):
            is_kept = pc.equal(batch.column("outcome"), Outcome.KEPT)
            self.samples += int(stated_copies(batch.column("evidence").filter(is_kept)).sum())
            for name, some in codes.items():
                some.append(_codes(batch.column(name), words))
            rows = np.flatnonzero(batch.column("evidence").is_valid())
            evidence.append(batch.column("evidence").take(pa.array(rows)))
            with_evidence.append(first + rows)
            first += len(batch)
        empty = np.zeros(0, np.uint8)
        self._codes = {name: np.concatenate([empty, *some]) for name, some in codes.items()}
        self._words = pa.array(list(words), pa.string())
        self._evidence = pa.concat_arrays(evidence)
        self._with_evidence = np.concatenate([*with_evidence, [np.iinfo(np.int64).max]])
        kept = words.get(Outcome.KEPT, len(words))
        self.kept = int((self._codes["outcome"] == kept).sum())

    def decide(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return ledger rows with an outcome each: the records stage's, or else screening's."""
        sample = batch.column("sample")
        without = sample.is_null().to_numpy(zero_copy_only=False)
        rows = sample.fill_null(0).to_numpy()
        decided = {
            name: self._words_at(codes, rows, without) for name, codes in self._codes.items()
        }
        is_dropped = pc.equal(decided["outcome"], Outcome.DROPPED.value)
        decided["stage"] = pc.if_else(is_dropped, Stage.SCREENED.value, Stage.MIXTURE.value)
        at = np.searchsorted(self._with_evidence, rows)
        no_evidence = without | (self._with_evidence[at] != rows)
        decided["evidence"] = self._evidence.take(pa.array(at, mask=no_evidence))
        batch = _add_respelling_repairs(batch, decided)
        columns = [
            pc.coalesce(batch.column(name), decided[name])
            if name in decided
            else batch.column(name)
            for name in LEDGER_SCHEMA.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)

    def _words_at(
        self,
        codes: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.int32],
        without: npt.NDArray[np.bool_],
    ) -> pa.Array:
        if without.all():
            return pa.nulls(len(rows), pa.string())
        return self._words.take(pa.array(codes[rows], mask=without))


def _add_respelling_repairs(batch: pa.RecordBatch, decided: dict[str, pa.Array]) -> pa.RecordBatch:
    """Add a repair to the rows that screening kept with evidence of another spelling."""
    kept = pc.fill_null(pc.equal(decided["outcome"], Outcome.KEPT.value), False)
    names_path = pc.fill_null(pc.match_substring(decided["evidence"], '"found_as"'), False)
    respelled = pc.and_(kept, names_path)
    if not respelled.true_count:
        return batch
    place = batch.schema.get_field_index("repairs")
    repairs = batch.column(place).to_pylist()
    for row in np.flatnonzero(respelled.to_numpy(zero_copy_only=False)).tolist():
        evidence = orjson.loads(decided["evidence"][row].as_py())
        repairs[row] += [
            {"repair": Repair.IMAGE_RESPELLED.value, "before": one["image"]}
            for one in evidence.get("respelled", [evidence])
        ]
    field = batch.schema.field(place)
    return batch.set_column(place, field, pa.array(repairs, field.type))


def _codes(texts: pa.StringArray, words: dict[str | None, int]) -> npt.NDArray[np.uint8]:
    """Return each text's number in `words`, and add new texts to them."""
    encoded = texts.dictionary_encode(null_encoding="encode")
    numbers = [words.setdefault(word, len(words)) for word in encoded.dictionary.to_pylist()]
    codes: npt.NDArray[np.uint8] = np.array(numbers, np.uint8)[encoded.indices.to_numpy()]
    return codes
