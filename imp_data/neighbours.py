"""What a built mixture says twice: pictures that look alike, and questions answered in two ways.

A report and never a removal: one COCO picture rightly stands under many sources. Texts are compared
after `normalised_question` and `normalised_answer`, a conversation exchange by exchange.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc

from imp_data.exchanges import Mixture, Rows, read_mixture, texts_of
from imp_data.fingerprints import Names, check_decoder, picture_names
from imp_data.images.clusters import clusters, united
from imp_data.images.match import Places
from imp_data.store import json_text, parquet_file, write_text

_MOST_IMAGES_SHOWN = 10
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads small numbers


def write_report(
    folder: Path,
    fingerprints: Sequence[Path],
    out: Path,
    max_bits: int = 4,
    max_answer_words: int | None = 5,
) -> dict[str, Any]:
    """Write `report` to `out`, whole or not at all. Not into `folder`, whose files are sealed."""
    found = report(folder, fingerprints, max_bits, max_answer_words)
    write_text(out, json_text(found))
    return found


def report(
    folder: Path,
    fingerprints: Sequence[Path],
    max_bits: int = 4,
    max_answer_words: int | None = 5,
    listed: int = 100,
) -> dict[str, Any]:
    """Counts by pair of sources, and the first `listed` findings of each kind in full.

    `fingerprints` are the files of the mixture's sources; pictures that none of them knows are
    compared by path and bytes alone. Answers of more words than `max_answer_words` are passed over.
    """
    mixture = read_mixture(folder, max_answer_words)
    picture = same_pictures(mixture.rows)
    cluster = alike_pictures(mixture.rows, picture, fingerprints, max_bits)
    found = contradictions(mixture, picture)
    shown = _largest(mixture.rows, picture, cluster, listed)
    told = found.select("group").unique().sort("group").head(listed)
    conflicts = found.join(told, on="group", how="semi")
    needed = {row for some in shown for row in some["rows"]} | set(conflicts["row"].to_list())
    texts = texts_of(folder, needed, max_answer_words)
    return {
        "samples": len(picture),
        "pictures": len(np.unique(picture[picture >= 0])),
        "same_picture": {"by_sources": _shared(mixture.rows, picture)},
        "alike": {
            "max_distance_bits": max_bits,
            **_alike_figures(mixture.rows, picture, cluster),
            "listed": [_shown(some, texts) for some in shown],
        },
        "contradictions": {
            "max_answer_words": max_answer_words,
            "exchanges": len(mixture.exchanges),
            "questions": found["group"].n_unique(),
            "by_subsets": _disagreeing(found, mixture.rows.origins),
            "listed": list(_conflicts(conflicts, texts)),
        },
    }


def same_pictures(rows: Rows) -> Places:
    """A number for each Sample's picture: equal where path or bytes are; -1 without a picture."""
    paths, path = np.unique(rows.image, return_inverse=True)
    digests, digest = np.unique(rows.sha256, return_inverse=True)
    known = np.flatnonzero((rows.image != 0) & (rows.sha256 != 0))
    labels = np.arange(len(paths) + len(digests))
    labels = united(labels, path[known], len(paths) + digest[known])
    return np.where(rows.image == 0, -1, labels[path])


def alike_pictures(
    rows: Rows, picture: Places, fingerprints: Sequence[Path], max_bits: int
) -> Places:
    """A number for each Sample's cluster of pictures within `max_bits`; -1 where no hash is known.

    A picture counts as stored and as its EXIF orientation turns it: a copy may be either.
    """
    paths, row = np.unique(rows.image, return_index=True)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.uint64))]
    for file in fingerprints:
        opened = parquet_file(file)
        check_decoder(file, opened.schema_arrow)
        for batch in opened.iter_batches(columns=["image", "phash", "phash_upright"]):
            names = picture_names(batch["image"].to_pylist())
            place = np.searchsorted(paths, names).clip(max=max(len(paths) - 1, 0))
            for column in (batch["phash"], batch["phash_upright"]):
                hashed = column.is_valid().to_numpy(zero_copy_only=False)
                hashed &= paths[place] == names if len(paths) else False
                hashes = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)[hashed]
                parts.append((picture[row[place[hashed]]], hashes.astype(np.uint64)))
    owner, hashes = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(owner, kind="stable")
    owner, hashes = owner[order], hashes[order]
    same = np.flatnonzero(owner[1:] == owner[:-1])
    labels = united(clusters(hashes, max_bits), same, same + 1)
    if not len(owner):
        return np.full(len(picture), -1)
    entry = np.searchsorted(owner, picture).clip(max=len(owner) - 1)
    return np.where(owner[entry] == picture, labels[entry], -1)


def contradictions(mixture: Mixture, picture: Places) -> pl.DataFrame:
    """row, origin, group, answer of exchanges on one picture and question that answer otherwise.

    Those of one `group` belong together; groups are numbered by their first Samples.
    """
    exchanges = mixture.exchanges
    suspect = _answered_otherwise(
        exchanges["question"].to_numpy(),
        exchanges["answer"].to_numpy(),
        picture[exchanges["row"].to_numpy()],
    )
    few = exchanges[suspect]
    row = few["row"].to_numpy()
    asked = few.with_columns(
        pl.Series("picture", picture[row]), pl.Series("origin", mixture.rows.origin[row])
    )
    key = ["picture", "question"]
    split = asked.group_by(key).agg(pl.col("answer").n_unique().alias("answers"), pl.min("row"))
    groups = (
        split.filter(pl.col("answers") > 1)
        .sort("row", "picture", "question")
        .select(*key)
        .with_row_index("group")
    )
    found = asked.join(groups, on=key).sort("group", "row", "answer")
    return found.select("row", "origin", "group", "question", "answer")


def _answered_otherwise(question: Names, answer: Names, picture: Places) -> Places:
    """Exchanges that share picture and question with one of another answer, and hardly any more.

    One sort of 64-bit names instead of groups of all exchanges, which take ten times the memory.
    """
    with np.errstate(over="ignore"):
        key = question ^ (picture.astype(np.uint64) * _SCATTER)
    order = np.lexsort((answer, key))
    ranked, said = key[order], answer[order]
    differs = (ranked[1:] == ranked[:-1]) & (said[1:] != said[:-1])
    return np.flatnonzero(np.isin(key, np.unique(ranked[1:][differs])))


def _shared(rows: Rows, picture: Places) -> list[dict[str, Any]]:
    """How many pictures two sources share; of one source, how many it holds under several paths."""
    held = pl.DataFrame({"group": picture, "source": _sources(rows), "member": rows.image})
    return _by_pair(held.filter(pl.col("group") >= 0), "sources", "pictures")


def _alike_figures(rows: Rows, picture: Places, cluster: Places) -> dict[str, Any]:
    held = pl.DataFrame({"group": cluster, "source": _sources(rows), "member": picture})
    held = held.filter(pl.col("group") >= 0).unique()
    sizes = held.group_by("group").agg(pl.col("member").n_unique()).filter(pl.col("member") > 1)
    several = held.join(sizes, on="group", how="semi")
    return {
        "clusters": len(sizes),
        "pictures": int(sizes["member"].sum()),
        "by_sources": _by_pair(several, "sources", "clusters"),
    }


def _sources(rows: Rows) -> pl.Series:
    names = pl.Series([source for source, _ in rows.origins] or [""], dtype=pl.Categorical)
    return names.gather(rows.origin)


def _by_pair(held: pl.DataFrame, pair: str, counted: str) -> list[dict[str, Any]]:
    """In how many groups two sources meet; of one source, in how many it has several members."""
    members = held.unique().with_columns(pl.col("source").cast(pl.String))
    each = members.group_by("group", "source").agg(pl.len().alias("members"))
    meeting = each.join(each, on="group").filter(
        (pl.col("source") < pl.col("source_right"))
        | ((pl.col("source") == pl.col("source_right")) & (pl.col("members") > 1))
    )
    return _counted(meeting, "source", "source_right", pair, counted)


def _disagreeing(found: pl.DataFrame, origins: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """In how many questions an answer of one subset differs from one of another, or of its own."""
    names = pl.Series(["/".join(filter(None, origin)) for origin in origins], dtype=pl.String)
    said = found.select("group", "answer", names.gather(found["origin"]).alias("source")).unique()
    against = said.join(said, on="group").filter(
        pl.col("answer") != pl.col("answer_right"), pl.col("source") <= pl.col("source_right")
    )
    pairs = against.select("group", "source", "source_right").unique()
    return _counted(pairs, "source", "source_right", "subsets", "questions")


def _counted(
    meeting: pl.DataFrame, one: str, other: str, pair: str, counted: str
) -> list[dict[str, Any]]:
    counts = meeting.group_by(one, other).agg(pl.len().alias("count"))
    ranked = counts.sort("count", one, other, descending=[True, False, False])
    return [{pair: [a, b], counted: count} for a, b, count in ranked.iter_rows()]


def _largest(rows: Rows, picture: Places, cluster: Places, listed: int) -> list[dict[str, Any]]:
    """The clusters with most pictures: how many, and a Sample of each of the first few."""
    samples = pl.DataFrame({"cluster": cluster, "picture": picture}).with_row_index("row")
    first = samples.filter(pl.col("cluster") >= 0).group_by("cluster", "picture").agg(pl.min("row"))
    sizes = first.group_by("cluster").agg(
        pl.len().alias("pictures"), pl.col("row").sort().head(_MOST_IMAGES_SHOWN).alias("rows")
    )
    ranked = sizes.filter(pl.col("pictures") > 1).sort(
        pl.col("pictures"), pl.col("rows").list.first(), descending=[True, False]
    )
    return ranked.head(listed).select("pictures", "rows").to_dicts()


def _shown(cluster: Mapping[str, Any], texts: Mapping[int, Any]) -> dict[str, Any]:
    images = [texts[row]["image"] for row in cluster["rows"]]
    return {"pictures": cluster["pictures"], "images": images}


def _conflicts(found: pl.DataFrame, texts: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    """Each contradicted question with its picture, and the ids behind each of its answers."""
    for group in found.partition_by("group", maintain_order=True):
        answers: dict[str, list[str]] = {}
        for row, question, answer in group.select("row", "question", "answer").iter_rows():
            asked, told = texts[row]["exchanges"][question, answer]
            answers.setdefault(told, []).append(texts[row]["id"])
        image = texts[group["row"][0]]["image"]
        yield {"image": image, "question": asked, "answers": dict(sorted(answers.items()))}
