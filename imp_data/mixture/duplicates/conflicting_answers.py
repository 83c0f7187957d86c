"""One question on one image, answered in different ways."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from imp_data.images.fingerprint_cache import Names
from imp_data.images.hamming import Places
from imp_data.mixture.duplicates.qa_pairs import Exchanges, Groups, Rows

_AT_ONCE = 1 << 17
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads small numbers


def contradictions(exchanges: Exchanges, rows: Rows, image: Groups) -> pl.DataFrame:
    """row, origin, group, answer of exchanges on one image and question that answer otherwise.

    Those of one `group` belong together; groups are numbered by their first Samples.
    """
    suspect = _answered_otherwise(exchanges, image)
    row, question, answer = (column[suspect] for column in exchanges)
    asked = pl.DataFrame(
        {
            "row": row,
            "question": question,
            "answer": answer,
            "image": image[row],
            "origin": rows.origin[row],
        }
    )
    key = ["image", "question"]
    split = asked.group_by(key).agg(pl.col("answer").n_unique().alias("answers"), pl.min("row"))
    groups = (
        split.filter(pl.col("answers") > 1)
        .sort("row", "image", "question")
        .select(*key)
        .with_row_index("group")
    )
    found = asked.join(groups, on=key).sort("group", "row", "answer")
    return found.select("row", "origin", "group", "question", "answer")


def _answered_otherwise(exchanges: Exchanges, image: Groups) -> Places:
    """Exchanges that share image and question with one of another answer, and hardly any more.

    Sorts of 64-bit names, so many at a time, instead of groups of all exchanges: a hundredth of
    the memory.
    """
    size = len(exchanges.row)
    shares = size // _AT_ONCE + 1
    share = np.empty(size, np.uint16)
    for begin in range(0, size, _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        share[some] = _keys(exchanges, image, some) % np.uint64(shares)
    found = [np.zeros(0, np.int64)]
    for number in range(shares):
        rows = np.flatnonzero(share == number)
        key, answer = _keys(exchanges, image, rows), exchanges.answer[rows]
        order = np.lexsort((answer, key))
        ranked, said = key[order], answer[order]
        differs = (ranked[1:] == ranked[:-1]) & (said[1:] != said[:-1])
        found.append(rows[np.isin(key, np.unique(ranked[1:][differs]))])
    return np.sort(np.concatenate(found))


def _keys(exchanges: Exchanges, image: Groups, some: Places | slice) -> Names:
    """Equal where image and question are, and hardly ever elsewhere."""
    with np.errstate(over="ignore"):
        scattered = image[exchanges.row[some]].astype(np.uint64) * _SCATTER
    return exchanges.question[some] ^ scattered


def told_in_full(found: pl.DataFrame, texts: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    """Each contradicted question with its image, and the ids behind each of its answers."""
    for group in found.partition_by("group", maintain_order=True):
        answers: dict[str, list[str]] = {}
        for row, question, answer in group.select("row", "question", "answer").iter_rows():
            asked, told = texts[row]["exchanges"][question, answer]
            answers.setdefault(told, []).append(texts[row]["id"])
        image = texts[group["row"][0]]["image"]
        yield {"image": image, "question": asked, "answers": dict(sorted(answers.items()))}
