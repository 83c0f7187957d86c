"""Find questions on one image that have conflicting answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from imp_data.images.fingerprint_cache import HashKeys
from imp_data.images.hamming import Places
from imp_data.mixture.duplicates.qa_pairs import Groups, QAPairs, Rows

_AT_ONCE = 1 << 17
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads small numbers


def find_conflicts(pairs: QAPairs, rows: Rows, image: Groups) -> pl.DataFrame:
    """Return row, origin, group, question and answer of the pairs with conflicting answers.

    A `group` is one question on one image, or on the same images in the same order; groups are
    numbered by their first Samples. `image` numbers the image of each of `rows`.
    """
    image, origin = _image_groups(rows, image), rows.origin[rows.firsts]
    candidates = _candidates(pairs, image)
    row, question, answer = (column[candidates] for column in pairs)
    compared = pl.DataFrame(
        {
            "row": row,
            "question": question,
            "answer": answer,
            "image": image[row],
            "origin": origin[row],
        }
    )
    key = ["image", "question"]
    counts = compared.group_by(key).agg(pl.col("answer").n_unique().alias("answers"), pl.min("row"))
    groups = (
        counts.filter(pl.col("answers") > 1)
        .sort("row", "image", "question")
        .select(*key)
        .with_row_index("group")
    )
    found = compared.join(groups, on=key).sort("group", "row", "answer")
    return found.select("row", "origin", "group", "question", "answer")


def _image_groups(rows: Rows, image: Groups) -> Groups:
    """Return a number for the images of each Sample: its image's, or one for the list of them."""
    firsts = rows.firsts
    groups: Groups = image[firsts]
    counts = np.diff(firsts, append=len(image))
    known: dict[bytes, int] = {}
    for sample in np.flatnonzero(counts > 1).tolist():
        own = image[firsts[sample] : firsts[sample] + counts[sample]].tobytes()
        groups[sample] = known.setdefault(own, len(image) + len(known))
    return groups


def _candidates(pairs: QAPairs, image: Groups) -> Places:
    """Return the pairs that share image and question with a pair of another answer.

    A hash collision may add a few others. Sorting 64-bit keys one partition at a time takes a
    hundredth of the memory of grouping all pairs.
    """
    size = len(pairs.row)
    partitions = size // _AT_ONCE + 1
    partition = np.empty(size, np.uint16)
    for begin in range(0, size, _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        partition[some] = _keys(pairs, image, some) % np.uint64(partitions)
    found = [np.zeros(0, np.int64)]
    for number in range(partitions):
        rows = np.flatnonzero(partition == number)
        key, answer = _keys(pairs, image, rows), pairs.answer[rows]
        order = np.lexsort((answer, key))
        sorted_keys, sorted_answers = key[order], answer[order]
        same_key = sorted_keys[1:] == sorted_keys[:-1]
        conflicting = same_key & (sorted_answers[1:] != sorted_answers[:-1])
        found.append(rows[np.isin(key, np.unique(sorted_keys[1:][conflicting]))])
    return np.sort(np.concatenate(found))


def _keys(pairs: QAPairs, image: Groups, some: Places | slice) -> HashKeys:
    """Return a 64-bit key of image and question; different ones hardly ever collide."""
    with np.errstate(over="ignore"):
        scattered = image[pairs.row[some]].astype(np.uint64) * _SCATTER
    return pairs.question[some] ^ scattered


def list_conflicts(found: pl.DataFrame, texts: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    """Yield each question with its image and answers, and the ids of the Samples that give them."""
    for group in found.partition_by("group", maintain_order=True):
        answers: dict[str, list[str]] = {}
        for row, question, answer in group.select("row", "question", "answer").iter_rows():
            question_text, answer_text = texts[row]["pairs"][question, answer]
            answers.setdefault(answer_text, []).append(texts[row]["id"])
        image = ", ".join(texts[group["row"][0]]["images"])
        yield {"image": image, "question": question_text, "answers": dict(sorted(answers.items()))}
