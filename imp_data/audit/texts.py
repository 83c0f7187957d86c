"""Lengths of the conversations that can be read: turns, words and characters."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from imp_data.storage.tables import read_batches

QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
_COLUMNS = ["id", "upstream_id", "image", "images", "conversations"]


class Lengths:
    """The lengths of records, and the longest of them: the first of equal ones."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.int64]] = []
        self._most = -1
        self._longest: dict[str, str] = {}

    def add(self, source: str, ids: pl.Series, lengths: pl.Series) -> None:
        """Add the records of a batch."""
        if lengths.is_empty():
            return
        self._parts.append(lengths.cast(pl.Int64).to_numpy())
        place = int(lengths.arg_max() or 0)
        if lengths[place] > self._most:
            self._most = int(lengths[place])
            self._longest = {"source": source, "upstream_id": ids[place]}

    def above(self, limit: int) -> int:
        """Return how many records are longer."""
        return sum(int((part > limit).sum()) for part in self._parts)

    def figures(self) -> dict[str, Any]:
        """Return the quantiles, each the nearest value that occurs, and the longest record."""
        if not self._parts:
            return {}
        values = pl.Series(np.concatenate(self._parts))
        quantiles = {name: int(values.quantile(q) or 0) for name, q in QUANTILES.items()}
        return {**quantiles, "longest": self._longest}


def sample_frames(records: Path, number: int | None = None) -> Iterator[pl.DataFrame]:
    """Yield upstream_id, conversations and images, a number, of the Samples of a records stage.

    A record without an id has that of its Sample. There is a frame for each batch of the file, or
    for one of them.
    """
    for batch in read_batches(records, span=None if number is None else (number, number + 1)):
        names = [name for name in _COLUMNS if name in batch.schema.names]
        frame = pl.from_arrow(batch.select(names))
        assert isinstance(frame, pl.DataFrame)
        images = pl.col("images").list.len() if "images" in names else pl.col("image").is_not_null()
        upstream = pl.col("upstream_id")
        yield frame.select(
            pl.when(upstream == "").then("id").otherwise(upstream).alias("upstream_id"),
            "conversations",
            images=images.cast(pl.Int64).fill_null(0),
        )


def text_figures(records: Mapping[str, Path]) -> dict[str, Any]:
    """Return the figures of turns, words and characters; and of records with several images.

    `records` are the files of the records stage by source. They have all records that can be read,
    whether or not their images are there.
    """
    lengths = {name: Lengths() for name in ("turns", "words", "characters")}
    counts = {"samples": 0, "with_image": 0, "several_images": 0, "with_system": 0}
    value = pl.element().struct.field("value")
    turns = pl.col("conversations")
    for source, path in records.items():
        for frame in sample_frames(path):
            counted = frame.select(
                turns=turns.list.len(),
                words=turns.list.eval(value.str.count_matches(r"\S+")).list.sum(),
                characters=turns.list.eval(value.str.len_chars()).list.sum(),
            )
            for name, some in lengths.items():
                some.add(source, frame["upstream_id"], counted[name])
            counts["samples"] += len(frame)
            counts["with_image"] += int((frame["images"] > 0).sum())
            counts["several_images"] += int((frame["images"] > 1).sum())
            first = frame["conversations"].list.first().struct.field("from")
            counts["with_system"] += int((first == "system").sum())
    return {**counts, **{name: some.figures() for name, some in lengths.items()}}
