"""Find near-duplicate images, and questions with conflicting answers, in a built mixture.

The analysis reports and removes nothing: one COCO image rightly occurs in many sources. It compares
texts after `normalised_question` and `normalised_answer`, one question and answer at a time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from imp_data.mixture.duplicates.conflicting_answers import find_conflicts, list_conflicts
from imp_data.mixture.duplicates.image_clusters import (
    cluster_images,
    number_images,
    read_hashes,
)
from imp_data.mixture.duplicates.qa_pairs import Groups, Rows, read_mixture, read_texts
from imp_data.mixture.mixture_json import check_files
from imp_data.storage.heap import trim_heap

_NO_NAMES = np.zeros(0, np.uint64)
_MAX_IMAGES_LISTED = 10
_ROWS_AT_ONCE = 1 << 16
_DEFERRED = "Images were deferred, so identical images are recognized by their paths alone."
_NO_FINGERPRINTS = "Near-duplicate images are not known: there are no fingerprints."


# Above 40 lines: it releases each array before the step that needs its memory.
def find_duplicates(
    folder: Path,
    fingerprints: Sequence[Path],
    max_bits: int = 4,
    max_answer_words: int | None = 5,
    listed: int = 100,
) -> dict[str, Any]:
    """Return counts by pair of sources, and the first `listed` findings of each kind in full.

    `fingerprints` are the files of the mixture's sources; images without a fingerprint are compared
    by path and bytes alone. Answers of more words than `max_answer_words` are not compared.
    """
    manifest = check_files(folder, ["state.json"])
    rows, pairs = read_mixture(folder, manifest["files"], max_answer_words)
    image, compared, samples = number_images(rows), len(pairs.row), len(rows.firsts)
    # Release each array before the next step, which allocates as much.
    rows = rows._replace(sha256=_NO_NAMES)
    found = find_conflicts(pairs, rows, image)
    del pairs
    identical = _identical_figures(rows, image)
    trim_heap()
    hashed = read_hashes(rows, image, fingerprints)
    rows = rows._replace(image=_NO_NAMES)
    trim_heap()
    cluster = cluster_images(image, hashed, max_bits)
    del hashed
    trim_heap()
    largest = _largest_clusters(rows, image, cluster, listed)
    first_groups = found.select("group").unique().sort("group").head(listed)
    conflicts = found.join(first_groups, on="group", how="semi")
    needed = {int(rows.sample[row]) for some in largest for row in some["rows"]}
    needed |= set(conflicts["row"].to_list())
    texts = read_texts(folder, needed, max_answer_words)
    return {
        "mixture": manifest["name"],
        "digest": manifest["digest"],
        "not_checked": _not_checked(manifest, fingerprints),
        "samples": samples,
        "images": len(np.unique(image[image >= 0])),
        "same_image": identical,
        "alike": {
            "max_distance_bits": max_bits,
            **_cluster_figures(rows, image, cluster),
            "listed": [_cluster_in_full(some, texts, rows) for some in largest],
        },
        "contradictions": {
            "max_answer_words": max_answer_words,
            "exchanges": compared,
            "questions": found["group"].n_unique(),
            "by_subsets": _conflicts_by_subset(found, rows.origins),
            "listed": list(list_conflicts(conflicts, texts)),
        },
    }


def _not_checked(manifest: dict[str, Any], fingerprints: Sequence[Path]) -> list[str]:
    deferred = [_DEFERRED] if manifest["images"] == "deferred" else []
    return deferred + ([] if fingerprints else [_NO_FINGERPRINTS])


def _identical_figures(rows: Rows, image: Groups) -> dict[str, Any]:
    """Count the images that two sources share, and those with several paths in one source."""
    shared, pairs = 0, [_NO_PAIRS]
    for members in _members_by_group(image, rows.image, rows):
        shared += _count_shared(members)
        pairs.append(_count_source_pairs(members))
    return {"shared": shared, "by_sources": _sum_pairs(pairs, "sources", "images")}


def _cluster_figures(rows: Rows, image: Groups, cluster: Groups) -> dict[str, Any]:
    shared, pairs, by_size = 0, [_NO_PAIRS], Counter[int]()
    for members in _members_by_group(cluster, image, rows):
        sizes = members.group_by("group").agg(pl.col("member").n_unique())
        sizes = sizes.filter(pl.col("member") > 1)
        by_size.update(sizes["member"].to_list())
        several = members.join(sizes, on="group", how="semi")
        shared += _count_shared(several)
        pairs.append(_count_source_pairs(several))
    return {
        "clusters": by_size.total(),
        "images": sum(size * count for size, count in by_size.items()),
        "by_size": [{"images": size, "clusters": by_size[size]} for size in sorted(by_size)],
        "shared": shared,
        "by_sources": _sum_pairs(pairs, "sources", "clusters"),
    }


def _members_by_group(
    group: Groups, member: npt.NDArray[Any], rows: Rows
) -> Iterator[pl.DataFrame]:
    """Yield frames of group, member, source and row of the Samples, some whole groups at a time.

    Samples in group -1 are left out.
    """
    names = pl.Series([source for source, _ in rows.origins], dtype=pl.String)
    order = np.argsort(group, kind="stable")
    begin = int(np.searchsorted(group, 0, sorter=order))
    while begin < len(order):
        last = group[order[min(begin + _ROWS_AT_ONCE, len(order)) - 1]]
        until = int(np.searchsorted(group, last, "right", sorter=order))
        some = order[begin:until]
        columns = {"group": group[some], "member": member[some], "row": some.astype(np.int32)}
        yield pl.DataFrame({**columns, "source": names.gather(rows.origin[some])})
        begin = until


def _count_shared(members: pl.DataFrame) -> int:
    """Return how many groups have members of two or more sources."""
    sources = members.group_by("group").agg(pl.col("source").n_unique())
    return int((sources["source"] > 1).sum())


def _count_source_pairs(members: pl.DataFrame) -> pl.DataFrame:
    """Count the groups by pair of sources; a source with several members pairs with itself."""
    each = members.group_by("group", "source").agg(pl.col("member").n_unique())
    pairs = each.join(each, on="group").filter(
        (pl.col("source") < pl.col("source_right"))
        | ((pl.col("source") == pl.col("source_right")) & (pl.col("member") > 1))
    )
    return pairs.group_by("source", "source_right").agg(pl.len().cast(pl.Int64).alias("count"))


_NO_PAIRS = pl.DataFrame(schema={"source": pl.String, "source_right": pl.String, "count": pl.Int64})


def _sum_pairs(pairs: Sequence[pl.DataFrame], pair: str, counted: str) -> list[dict[str, Any]]:
    counts = pl.concat(pairs).group_by("source", "source_right").agg(pl.sum("count"))
    return _rank_pairs(counts, pair, counted)


def _conflicts_by_subset(
    found: pl.DataFrame, origins: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Count the questions by pair of subsets whose answers differ, or by one subset."""
    names = pl.Series(["/".join(filter(None, origin)) for origin in origins], dtype=pl.String)
    answers = found.select(
        "group", "answer", names.gather(found["origin"]).alias("source")
    ).unique()
    differing = answers.join(answers, on="group").filter(
        pl.col("answer") != pl.col("answer_right"), pl.col("source") <= pl.col("source_right")
    )
    pairs = differing.select("group", "source", "source_right").unique()
    counts = pairs.group_by("source", "source_right").agg(pl.len().alias("count"))
    return _rank_pairs(counts, "subsets", "questions")


def _rank_pairs(counts: pl.DataFrame, pair: str, counted: str) -> list[dict[str, Any]]:
    columns = ["count", "source", "source_right"]
    ranked = counts.select(columns).sort(columns, descending=[True, False, False])
    return [{pair: [a, b], counted: count} for count, a, b in ranked.iter_rows()]


def _largest_clusters(
    rows: Rows, image: Groups, cluster: Groups, listed: int
) -> list[dict[str, Any]]:
    """Return the largest clusters: their size, and one row for each of the first images."""
    largest = pl.DataFrame(schema={"images": pl.UInt32, "rows": pl.List(pl.Int32)})
    for members in _members_by_group(cluster, image, rows):
        first = members.group_by("group", "member").agg(pl.min("row"))
        sizes = first.group_by("group").agg(
            pl.len().alias("images"), pl.col("row").sort().head(_MAX_IMAGES_LISTED).alias("rows")
        )
        several = sizes.filter(pl.col("images") > 1).select("images", "rows")
        largest = (
            pl.concat([largest, several.cast(largest.schema)])
            .sort(pl.col("images"), pl.col("rows").list.first(), descending=[True, False])
            .head(listed)
        )
    return largest.to_dicts()


def _cluster_in_full(
    cluster: Mapping[str, Any], texts: Mapping[int, Any], rows: Rows
) -> dict[str, Any]:
    samples = rows.sample[cluster["rows"]]
    positions = cluster["rows"] - np.searchsorted(rows.sample, samples)
    places = list(zip(samples.tolist(), positions.tolist(), strict=True))
    return {
        "size": cluster["images"],
        "images": [texts[sample]["images"][position] for sample, position in places],
        "ids": [texts[sample]["id"] for sample, _ in places],
    }
