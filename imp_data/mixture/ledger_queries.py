"""Questions to the ledger: the life of one record, and what changed between two builds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.ledger import LEDGER_SCHEMA, SENTENCES, Outcome
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.mixture.folder import reading
from imp_data.mixture.mixture_json import check_files, read_manifest
from imp_data.storage.object_store import is_file
from imp_data.storage.tables import parquet_rows

_MOST_LIVES = 20


class RecordHistory(NamedTuple):
    """One ledger row, and the Sample it went into if that was kept."""

    row: dict[str, Any]
    sample: dict[str, Any] | None
    place: int | None

    def lines(self) -> list[str]:
        """The life in sentences."""
        row = self.row
        told = [f"{row['source']}, row {row['ordinal']:,} upstream: id {row['upstream_id']!r}"]
        told += [
            f"  mended: {SENTENCES[r['repair']]} Before: {r['before'][:200]!r}"
            for r in row["repairs"]
        ]
        if row["id"]:
            told.append(f"  became {row['id']}")
        told.append(f"  {self._fate()}")
        if self.sample:
            told += [f"  {t['from']:>5}: {t['value']}" for t in self.sample["conversations"]]
        return told

    def _fate(self) -> str:
        row = self.row
        evidence = orjson.loads(row["evidence"] or b"{}")
        if row["outcome"] == Outcome.KEPT:
            image = self.sample and self.sample["image"]
            found_as = evidence.get("found_as")
            other = f", found as {found_as}" if found_as else ""
            return f"kept: sample {self.place:,} of the mixture, {image or 'text alone'}{other}"
        shown = "".join(f"\n    {name}: {value}" for name, value in evidence.items())
        sentence = SENTENCES[row["reason"]]
        return f"{row['outcome']} in stage {row['stage']}: {row['reason']}. {sentence}{shown}"


def ledger_of(folder: Path) -> pl.LazyFrame:
    """A mixture's ledger. Raises UserError if the folder holds none, or it is damaged."""
    path = folder / "ledger.parquet"
    if not is_file(path):
        raise UserError(path, "is not there", "name the folder of a mixture with --mixture")
    check_files(folder, [path.name])
    with _readable(path):
        rows = parquet_rows(path)
        rows.collect_schema()
    return rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, orjson.JSONDecodeError, OSError) as error:
        remedy = "run `imp-data verify` on the mixture, which names what is damaged"
        raise UserError(path, f"cannot be read ({error})", remedy) from error


def explain(folder: Path, identity: str) -> list[RecordHistory]:
    """The lives of all records with this id, upstream id, or beginning of an id; at most 20."""
    matches = (
        (pl.col("id") == identity)
        | (pl.col("upstream_id") == identity)
        | pl.col("id").str.starts_with(f"{identity}~")
    )
    with reading(folder):
        rows = ledger_of(folder).filter(matches).head(_MOST_LIVES).collect().to_dicts()
        kept = {row["id"] for row in rows if row["outcome"] == Outcome.KEPT}
        if kept:
            stated = read_manifest(folder)["files"]
            check_files(folder, ["state.json", *(n for n in stated if n.endswith(".arrow"))])
        with _readable(folder):
            samples = _samples(folder, kept)
    lives = []
    for row in rows:
        place, sample = samples.get(row["id"], (None, None))
        lives.append(RecordHistory(row, sample, place))
    return lives


def _samples(folder: Path, ids: set[str]) -> dict[str, tuple[int, dict[str, Any]]]:
    """{id: (place, Sample)} of the mixture."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    place = 0
    for batch in mixture_batches(folder) if ids else ():
        for number, sample in enumerate(batch.column("id").to_pylist()):
            if sample in ids:
                found[sample] = (place + number, batch.slice(number, 1).to_pylist()[0])
        place += len(batch)
    return found


_SAME = ["source", "key", "nth"]


def diff(old: Path, new: Path) -> pl.DataFrame:
    """How many records of each source changed their fate, from what to what, with one example.

    Columns: source, before, after (`outcome: reason`, or `absent`), records, example.
    """
    with reading(old), reading(new):
        return _changes(old, new)


def _changes(old: Path, new: Path) -> pl.DataFrame:
    before, after = _fates(old), _fates(new)
    pairs = [before.join(after, on=_SAME)]
    gone, come = before.join(after, on=_SAME, how="anti"), after.join(before, on=_SAME, how="anti")
    # What one build could read and the other could not has an id on one side alone.
    for read in (True, False):
        pair = _in_turn(gone, read).join(
            _in_turn(come, not read), on=["source", "upstream_id", "turn"]
        )
        gone = gone.join(pair, on=_SAME, how="anti")
        come = come.join(
            pair, left_on=_SAME, right_on=["source", "key_right", "nth_right"], how="anti"
        )
        pairs.append(pair)
    gone = gone.with_columns(fate_right=pl.lit("absent"))
    come = come.rename({"fate": "fate_right"}).with_columns(fate=pl.lit("absent"))
    columns = [
        "source",
        "name",
        pl.col("fate").alias("before"),
        pl.col("fate_right").alias("after"),
    ]
    return (
        pl.concat([some.select(columns) for some in (*pairs, gone, come)])
        .filter(pl.col("before") != pl.col("after"))
        .group_by("source", "before", "after")
        .agg(records=pl.len(), example=pl.col("name").min())
        .sort("source", "before", "after")
        .collect()
    )


def _in_turn(fates: pl.LazyFrame, read: bool) -> pl.LazyFrame:
    """Those with an id, or those without, numbered within their upstream id."""
    return fates.filter(read=read).with_columns(
        turn=pl.int_range(pl.len()).over("source", "upstream_id")
    )


def _fates(folder: Path) -> pl.LazyFrame:
    """One row a record: what it is called, and its fate; `nth` tells repeats apart."""
    name = pl.coalesce("id", "upstream_id", pl.lit("(unreadable)"))
    key = pl.concat_str(name, pl.col("upstream_id").fill_null(""), separator="\0")
    fate = pl.concat_str("outcome", "reason", separator=": ", ignore_nulls=True)
    read = pl.col("id").is_not_null()
    return (
        ledger_of(folder)
        .select(*LEDGER_SCHEMA.names)
        .select("source", "upstream_id", key=key, name=name, fate=fate, read=read)
        .with_columns(nth=pl.int_range(pl.len()).over("source", "key"))
    )
