"""Query the ledger: the history of one record, and the changes between two builds."""

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
from imp_data.mixture.folder import consistent_read
from imp_data.mixture.mixture_json import check_files, read_manifest
from imp_data.sample import images_of, original_id
from imp_data.storage.object_store import is_file
from imp_data.storage.tables import scan_published_parquet

_MAX_HISTORIES = 20


class RecordHistory(NamedTuple):
    """One ledger row, and the Sample that holds the record if it was kept."""

    row: dict[str, Any]
    sample: dict[str, Any] | None
    place: int | None

    def lines(self) -> list[str]:
        """Return the history as lines of text."""
        row = self.row
        lines = [f"{row['source']}, row {row['ordinal']:,} upstream: id {row['upstream_id']!r}"]
        lines += [
            f"  repaired: {SENTENCES[r['repair']]} Before: {r['before'][:200]!r}"
            for r in row["repairs"]
        ]
        if row["id"]:
            lines.append(f"  became {row['id']}")
        lines.append(f"  {self._outcome()}")
        if self.sample:
            lines += [f"  {t['from']:>5}: {t['value']}" for t in self.sample["conversations"]]
        return lines

    def _outcome(self) -> str:
        row = self.row
        evidence = orjson.loads(row["evidence"] or b"{}")
        if row["outcome"] == Outcome.KEPT:
            images = images_of(self.sample) if self.sample else []
            found = [
                one["found_as"]
                for one in evidence.get("respelled", [evidence])
                if one.get("found_as")
            ]
            other = f", found as {', '.join(found)}" if found else ""
            shown = ", ".join(images) or "text alone"
            copies = evidence.get("copies", 1)
            ids = f"{row['id']}+2" + (f" to {row['id']}+{copies}" if copies > 2 else "")
            also = f", and {copies - 1:,} more as {ids}" if copies > 1 else ""
            return f"kept: sample {self.place:,} of the mixture, {shown}{other}{also}"
        details = "".join(f"\n    {name}: {value}" for name, value in evidence.items())
        sentence = SENTENCES[row["reason"]]
        return f"{row['outcome']} in stage {row['stage']}: {row['reason']}. {sentence}{details}"


def ledger_of(folder: Path) -> pl.LazyFrame:
    """Return a mixture's ledger. Raise UserError if it is missing or damaged."""
    path = folder / "ledger.parquet"
    if not is_file(path):
        raise UserError(path, "is not there", "name the folder of a mixture")
    check_files(folder, [path.name])
    with _readable(path):
        rows = scan_published_parquet(path)
        rows.collect_schema()
    return rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, orjson.JSONDecodeError, OSError) as error:
        remedy = "run `imp-data verify` on the mixture, which names the damaged files"
        raise UserError(path, f"cannot be read ({error})", remedy) from error


def explain(folder: Path, identity: str) -> list[RecordHistory]:
    """Return the histories of at most 20 records with this id or upstream id.

    An id also matches those that extend it by `~`, and the id of a copy its Sample.
    """
    identity = original_id(identity) if "/" in identity else identity
    matches = (
        (pl.col("id") == identity)
        | (pl.col("upstream_id") == identity)
        | pl.col("id").str.starts_with(f"{identity}~")
    )
    with consistent_read(folder):
        rows = ledger_of(folder).filter(matches).head(_MAX_HISTORIES).collect().to_dicts()
        kept = {row["id"] for row in rows if row["outcome"] == Outcome.KEPT}
        if kept:
            stated = read_manifest(folder)["files"]
            check_files(folder, ["state.json", *(n for n in stated if n.endswith(".arrow"))])
        with _readable(folder):
            samples = _samples(folder, kept)
    histories = []
    for row in rows:
        place, sample = samples.get(row["id"], (None, None))
        histories.append(RecordHistory(row, sample, place))
    return histories


def _samples(folder: Path, ids: set[str]) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return {id: (place in the mixture, Sample)}."""
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
    """Count the records whose outcome changed, by source and change, with one example each.

    Columns: source, before, after (`outcome: reason`, or `absent`), records, example.
    """
    with consistent_read(old), consistent_read(new):
        return _changes(old, new)


def _changes(old: Path, new: Path) -> pl.DataFrame:
    before, after = _outcomes(old), _outcomes(new)
    pairs = [before.join(after, on=_SAME)]
    removed, added = (
        before.join(after, on=_SAME, how="anti"),
        after.join(before, on=_SAME, how="anti"),
    )
    # A record that only one of the builds could read has an id on one side alone.
    for read in (True, False):
        pair = _number_within_upstream_id(removed, read).join(
            _number_within_upstream_id(added, not read), on=["source", "upstream_id", "turn"]
        )
        removed = removed.join(pair, on=_SAME, how="anti")
        added = added.join(
            pair, left_on=_SAME, right_on=["source", "key_right", "nth_right"], how="anti"
        )
        pairs.append(pair)
    removed = removed.with_columns(outcome_right=pl.lit("absent"))
    added = added.rename({"outcome": "outcome_right"}).with_columns(outcome=pl.lit("absent"))
    columns = [
        "source",
        "name",
        pl.col("outcome").alias("before"),
        pl.col("outcome_right").alias("after"),
    ]
    return (
        pl.concat([some.select(columns) for some in (*pairs, removed, added)])
        .filter(pl.col("before") != pl.col("after"))
        .group_by("source", "before", "after")
        .agg(records=pl.len(), example=pl.col("name").min())
        .sort("source", "before", "after")
        .collect()
    )


def _number_within_upstream_id(outcomes: pl.LazyFrame, read: bool) -> pl.LazyFrame:
    """Return the records with an id, or those without, numbered within their upstream id."""
    return outcomes.filter(read=read).with_columns(
        turn=pl.int_range(pl.len()).over("source", "upstream_id")
    )


def _outcomes(folder: Path) -> pl.LazyFrame:
    """Return one row for each record: its name and outcome; `nth` numbers records of one name."""
    name = pl.coalesce("id", "upstream_id", pl.lit("(unreadable)"))
    key = pl.concat_str(name, pl.col("upstream_id").fill_null(""), separator="\0")
    outcome = pl.concat_str("outcome", "reason", separator=": ", ignore_nulls=True)
    read = pl.col("id").is_not_null()
    return (
        ledger_of(folder)
        .select(*LEDGER_SCHEMA.names)
        .select("source", "upstream_id", key=key, name=name, outcome=outcome, read=read)
        .with_columns(nth=pl.int_range(pl.len()).over("source", "key"))
    )
