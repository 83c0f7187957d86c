"""What a built mixture says twice: images that look alike, and questions answered in two ways.

A report and never a removal: one COCO image rightly stands under many sources. Texts are compared
after `normalised_question` and `normalised_answer`, a conversation exchange by exchange.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from imp_data.mixture.duplicates.conflicting_answers import contradictions, told_in_full
from imp_data.mixture.duplicates.image_clusters import alike_images, hashes_of, same_images
from imp_data.mixture.duplicates.qa_pairs import Groups, Rows, read_mixture, texts_of
from imp_data.mixture.mixture_json import check_files
from imp_data.storage.heap import trim_heap

_NO_NAMES = np.zeros(0, np.uint64)
_MOST_IMAGES_SHOWN = 10
_ROWS_AT_ONCE = 1 << 16
_DEFERRED = "Images were deferred, so the same image is told by its path alone."
_LOOKS_UNKNOWN = "Which images look alike is not known, for want of their fingerprints."


def report(
    folder: Path,
    fingerprints: Sequence[Path],
    max_bits: int = 4,
    max_answer_words: int | None = 5,
    listed: int = 100,
) -> dict[str, Any]:
    """Counts by pair of sources, and the first `listed` findings of each kind in full.

    `fingerprints` are the files of the mixture's sources; images that none of them knows are
    compared by path and bytes alone. Answers of more words than `max_answer_words` are passed over.
    """
    manifest = check_files(folder, ["state.json"])
    rows, exchanges = read_mixture(folder, manifest["files"], max_answer_words)
    image, compared = same_images(rows), len(exchanges.row)
    # What is no longer needed goes before the next that takes memory.
    rows = rows._replace(sha256=_NO_NAMES)
    found = contradictions(exchanges, rows, image)
    del exchanges
    same = _same_figures(rows, image)
    trim_heap()
    hashed = hashes_of(rows, image, fingerprints)
    rows = rows._replace(image=_NO_NAMES)
    trim_heap()
    cluster = alike_images(image, hashed, max_bits)
    del hashed
    trim_heap()
    shown = _largest(rows, image, cluster, listed)
    told = found.select("group").unique().sort("group").head(listed)
    conflicts = found.join(told, on="group", how="semi")
    needed = {row for some in shown for row in some["rows"]} | set(conflicts["row"].to_list())
    texts = texts_of(folder, needed, max_answer_words)
    return {
        "mixture": manifest["name"],
        "digest": manifest["digest"],
        "not_checked": _not_checked(manifest, fingerprints),
        "samples": len(image),
        "images": len(np.unique(image[image >= 0])),
        "same_image": same,
        "alike": {
            "max_distance_bits": max_bits,
            **_alike_figures(rows, image, cluster),
            "listed": [_shown(some, texts) for some in shown],
        },
        "contradictions": {
            "max_answer_words": max_answer_words,
            "exchanges": compared,
            "questions": found["group"].n_unique(),
            "by_subsets": _disagreeing(found, rows.origins),
            "listed": list(told_in_full(conflicts, texts)),
        },
    }


def _not_checked(manifest: dict[str, Any], fingerprints: Sequence[Path]) -> list[str]:
    deferred = [_DEFERRED] if manifest["images"] == "deferred" else []
    return deferred + ([] if fingerprints else [_LOOKS_UNKNOWN])


def _same_figures(rows: Rows, image: Groups) -> dict[str, Any]:
    """How many images two sources share; of one source, how many it holds under several paths."""
    shared, pairs = 0, [_NO_PAIRS]
    for held in _by_group(image, rows.image, rows):
        shared += _shared(held)
        pairs.append(_meeting(held))
    return {"shared": shared, "by_sources": _by_pair(pairs, "sources", "images")}


def _alike_figures(rows: Rows, image: Groups, cluster: Groups) -> dict[str, Any]:
    shared, pairs, by_size = 0, [_NO_PAIRS], Counter[int]()
    for held in _by_group(cluster, image, rows):
        sizes = held.group_by("group").agg(pl.col("member").n_unique())
        sizes = sizes.filter(pl.col("member") > 1)
        by_size.update(sizes["member"].to_list())
        several = held.join(sizes, on="group", how="semi")
        shared += _shared(several)
        pairs.append(_meeting(several))
    return {
        "clusters": by_size.total(),
        "images": sum(size * count for size, count in by_size.items()),
        "by_size": [{"images": size, "clusters": by_size[size]} for size in sorted(by_size)],
        "shared": shared,
        "by_sources": _by_pair(pairs, "sources", "clusters"),
    }


def _by_group(group: Groups, member: npt.NDArray[Any], rows: Rows) -> Iterator[pl.DataFrame]:
    """group, member, source and row of Samples, all of a group together, some groups at a time.

    Without those in group -1.
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


def _shared(held: pl.DataFrame) -> int:
    """How many groups have members of two sources or more."""
    sources = held.group_by("group").agg(pl.col("source").n_unique())
    return int((sources["source"] > 1).sum())


def _meeting(held: pl.DataFrame) -> pl.DataFrame:
    """How often two sources meet in a group; or one source, if it has several members there."""
    each = held.group_by("group", "source").agg(pl.col("member").n_unique())
    meeting = each.join(each, on="group").filter(
        (pl.col("source") < pl.col("source_right"))
        | ((pl.col("source") == pl.col("source_right")) & (pl.col("member") > 1))
    )
    return meeting.group_by("source", "source_right").agg(pl.len().cast(pl.Int64).alias("count"))


_NO_PAIRS = pl.DataFrame(schema={"source": pl.String, "source_right": pl.String, "count": pl.Int64})


def _by_pair(pairs: Sequence[pl.DataFrame], pair: str, counted: str) -> list[dict[str, Any]]:
    counts = pl.concat(pairs).group_by("source", "source_right").agg(pl.sum("count"))
    return _ranked(counts, pair, counted)


def _disagreeing(found: pl.DataFrame, origins: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """In how many questions an answer of one subset differs from one of another, or of its own."""
    names = pl.Series(["/".join(filter(None, origin)) for origin in origins], dtype=pl.String)
    said = found.select("group", "answer", names.gather(found["origin"]).alias("source")).unique()
    against = said.join(said, on="group").filter(
        pl.col("answer") != pl.col("answer_right"), pl.col("source") <= pl.col("source_right")
    )
    pairs = against.select("group", "source", "source_right").unique()
    counts = pairs.group_by("source", "source_right").agg(pl.len().alias("count"))
    return _ranked(counts, "subsets", "questions")


def _ranked(counts: pl.DataFrame, pair: str, counted: str) -> list[dict[str, Any]]:
    columns = ["count", "source", "source_right"]
    ranked = counts.select(columns).sort(columns, descending=[True, False, False])
    return [{pair: [a, b], counted: count} for count, a, b in ranked.iter_rows()]


def _largest(rows: Rows, image: Groups, cluster: Groups, listed: int) -> list[dict[str, Any]]:
    """The clusters with most images: how many, and a Sample of each of the first few."""
    largest = pl.DataFrame(schema={"images": pl.UInt32, "rows": pl.List(pl.Int32)})
    for held in _by_group(cluster, image, rows):
        first = held.group_by("group", "member").agg(pl.min("row"))
        sizes = first.group_by("group").agg(
            pl.len().alias("images"), pl.col("row").sort().head(_MOST_IMAGES_SHOWN).alias("rows")
        )
        several = sizes.filter(pl.col("images") > 1).select("images", "rows")
        largest = (
            pl.concat([largest, several.cast(largest.schema)])
            .sort(pl.col("images"), pl.col("rows").list.first(), descending=[True, False])
            .head(listed)
        )
    return largest.to_dicts()


def _shown(cluster: Mapping[str, Any], texts: Mapping[int, Any]) -> dict[str, Any]:
    shown = [texts[row] for row in cluster["rows"]]
    told = {"images": [one["image"] for one in shown], "ids": [one["id"] for one in shown]}
    return {"size": cluster["images"], **told}
