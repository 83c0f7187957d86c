"""What a built mixture says twice: pictures that look alike, and questions answered in two ways.

A report and never a removal: one COCO picture rightly stands under many sources. Texts are compared
after `normalised_question` and `normalised_answer`, a conversation exchange by exchange.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from imp_data.contradictions import contradictions, told_in_full
from imp_data.exchanges import Rows, read_mixture, texts_of
from imp_data.images.match import Places
from imp_data.likeness import alike_pictures, same_pictures

_MOST_IMAGES_SHOWN = 10
_DEFERRED = "Pictures were deferred, so the same picture is told by its path alone."
_LOOKS_UNKNOWN = "Which pictures look alike is not known, for want of their fingerprints."


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
    manifest = orjson.loads((folder / "mixture.json").read_bytes())
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
        "mixture": manifest["name"],
        "digest": manifest["digest"],
        "not_checked": _not_checked(manifest, fingerprints),
        "samples": len(picture),
        "pictures": len(np.unique(picture[picture >= 0])),
        "same_picture": _same_figures(mixture.rows, picture),
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
            "listed": list(told_in_full(conflicts, texts)),
        },
    }


def _not_checked(manifest: dict[str, Any], fingerprints: Sequence[Path]) -> list[str]:
    deferred = [_DEFERRED] if manifest["pictures"] == "deferred" else []
    return deferred + ([] if fingerprints else [_LOOKS_UNKNOWN])


def _same_figures(rows: Rows, picture: Places) -> dict[str, Any]:
    """How many pictures two sources share; of one source, how many it holds under several paths."""
    held = pl.DataFrame({"group": picture, "source": _sources(rows), "member": rows.image})
    held = held.filter(pl.col("group") >= 0)
    return {"shared": _shared(held), "by_sources": _by_pair(held, "sources", "pictures")}


def _shared(held: pl.DataFrame) -> int:
    """How many groups have members of two sources or more."""
    sources = held.group_by("group").agg(pl.col("source").n_unique())
    return int((sources["source"] > 1).sum())


def _alike_figures(rows: Rows, picture: Places, cluster: Places) -> dict[str, Any]:
    held = pl.DataFrame({"group": cluster, "source": _sources(rows), "member": picture})
    held = held.filter(pl.col("group") >= 0).unique()
    sizes = held.group_by("group").agg(pl.col("member").n_unique()).filter(pl.col("member") > 1)
    by_size = sizes.group_by("member").len().sort("member")
    several = held.join(sizes, on="group", how="semi")
    return {
        "clusters": len(sizes),
        "pictures": int(sizes["member"].sum()),
        "by_size": [{"pictures": size, "clusters": count} for size, count in by_size.iter_rows()],
        "shared": _shared(several),
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
    shown = [texts[row] for row in cluster["rows"]]
    told = {"images": [one["image"] for one in shown], "ids": [one["id"] for one in shown]}
    return {"pictures": cluster["pictures"], **told}
