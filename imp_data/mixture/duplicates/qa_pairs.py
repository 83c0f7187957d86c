"""Read the question-and-answer pairs of a built mixture, normalised and hashed for comparison."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.fingerprint_cache import HashKeys, hash_image_paths
from imp_data.mixture.arrow_dataset import mixture_batches, shard_batches, shard_files
from imp_data.mixture.mixture_json import check_file
from imp_data.parallel import map_ordered
from imp_data.sample import IMAGE_TOKEN, SHORT_ANSWER_SUFFIX, image_column, image_lists

_COLUMNS = ["id", "source", "subset", "image_sha256", "conversations"]
# A shard's batches have 1,000 rows; this many are read together.
_BATCHES_AT_ONCE = 8
_KEY_HEX = 16
# Many phrases are right for one region, and no two annotators draw the same box.
_BOX = r"\[\s*\d*\.\d+(\s*,\s*\d*\.\d+){3}\s*\]"
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# For each Sample a number, of its image or of its cluster of images; -1 without one.
Groups = npt.NDArray[np.int32]


class Rows(NamedTuple):
    """One row for each image of each Sample, and one for a Sample without an image.

    Columns: 64-bit hashes of the image's path and bytes, the origin, and the number of the Sample,
    which ascends. 0 stands for no image, and for unknown bytes. `origin` is an index into
    `origins`, which are pairs of source and subset.
    """

    image: HashKeys
    sha256: HashKeys
    origin: npt.NDArray[np.int32]
    sample: npt.NDArray[np.int32]
    origins: tuple[tuple[str, str], ...]

    @property
    def firsts(self) -> npt.NDArray[np.int64]:
        """The first row of each Sample."""
        firsts: npt.NDArray[np.int64] = np.flatnonzero(np.diff(self.sample, prepend=-1))
        return firsts


class QAPairs(NamedTuple):
    """Question-and-answer pairs to compare: number of the Sample, and hashes of both texts."""

    row: npt.NDArray[np.int32]
    question: HashKeys
    answer: HashKeys


class MixtureColumns(NamedTuple):
    """A mixture in memory: 24 bytes for each image of a Sample, and 20 for each pair to compare."""

    rows: Rows
    pairs: QAPairs


def read_mixture(
    folder: Path, stated: Mapping[str, Mapping[str, Any]], max_answer_words: int | None
) -> MixtureColumns:
    """Read all shards once, each in one worker.

    `stated` are the files of mixture.json. Raise UserError if a shard is damaged.
    """
    shards = ((shard, stated[shard.name]) for shard in shard_files(folder))
    parts = map_ordered(partial(_read_shard, max_answer_words=max_answer_words), shards)
    origins: dict[tuple[str, str], int] = {}
    image, sha256, origin, sample = bytearray(), bytearray(), bytearray(), bytearray()
    samples = 0
    row, question, answer = bytearray(), bytearray(), bytearray()
    for rows, pairs in parts:
        number = [origins.setdefault(name, len(origins)) for name in rows.origins]
        image += rows.image.tobytes()
        sha256 += rows.sha256.tobytes()
        origin += np.array(number, np.int32)[rows.origin].tobytes()
        sample += (rows.sample + np.int32(samples)).tobytes()
        row += (pairs.row + np.int32(samples)).tobytes()
        samples += len(rows.firsts)
        question += pairs.question.tobytes()
        answer += pairs.answer.tobytes()
    of_row, of_sample = (np.frombuffer(some, np.int32) for some in (origin, sample))
    columns = Rows(_names(image), _names(sha256), of_row, of_sample, tuple(origins))
    pairs = QAPairs(np.frombuffer(row, np.int32), _names(question), _names(answer))
    return MixtureColumns(columns, pairs)


def _names(data: bytearray) -> HashKeys:
    return np.frombuffer(data, np.uint64)


def _read_shard(
    shard: tuple[Path, Mapping[str, Any]], max_answer_words: int | None
) -> MixtureColumns:
    """Read one shard, its rows counted from 0, some thousands at a time."""
    path, stated = shard
    check_file(path, stated)
    origins: dict[tuple[str, str], int] = {}
    columns: list[tuple[npt.NDArray[Any], ...]] = [
        (*np.zeros((2, 0), np.uint64), *np.zeros((2, 0), np.int32))
    ]
    frames = [_qa_pairs(pl.DataFrame(schema=_FRAME_SCHEMA), max_answer_words).select(_KEYS)]
    for first, table in _tables(shard_batches(path)):
        names = zip(table["source"].to_pylist(), table["subset"].to_pylist(), strict=True)
        origin = [origins.setdefault(name, len(origins)) for name in names]
        image, sha256, within = _image_keys(table)
        sample = (within + first).astype(np.int32)
        columns.append((image, sha256, np.array(origin, np.int32)[within], sample))
        frames.append(_qa_pairs(_frame(table, first), max_answer_words).select(_KEYS))
    image, sha256, code, sample = map(np.concatenate, zip(*columns, strict=True))
    keys = (pl.concat(frames).get_column(name).to_numpy() for name in QAPairs._fields)
    return MixtureColumns(Rows(image, sha256, code, sample, tuple(origins)), QAPairs(*keys))


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (row of the first Sample, table) for some thousands of Samples at a time."""
    batches = iter(batches)
    first = 0
    while some := list(islice(batches, _BATCHES_AT_ONCE)):
        whole = pa.Table.from_batches(some)
        table = whole.select([*_COLUMNS, image_column(whole.column_names)]).combine_chunks()
        yield first, table
        first += table.num_rows


def _image_keys(table: pa.Table) -> tuple[HashKeys, HashKeys, npt.NDArray[np.int64]]:
    """Return for each image of each Sample the path hash, the digest's key, and the table's row.

    A Sample without an image has one entry, whose keys are 0.
    """
    images = _table_images(table)
    counts = images.value_lengths().to_numpy()
    within = np.repeat(np.arange(len(counts)), np.maximum(counts, 1))
    names, digests = np.zeros((2, len(within)), np.uint64)
    shown = np.repeat(counts > 0, np.maximum(counts, 1))
    names[shown] = hash_image_paths(images.flatten().to_pylist())
    digests[shown] = _digest_keys(table["image_sha256"].combine_chunks(), counts)
    return names, digests, within


def _table_images(table: pa.Table) -> pa.ListArray:
    """Return the images of each Sample of a table."""
    return image_lists(table[image_column(table.column_names)].combine_chunks())


def _digest_keys(digests: pa.Array, counts: npt.NDArray[np.int32]) -> HashKeys:
    """Return the first 64 bits of each image's sha256; 0 where it is unknown.

    `digests` are one or a list for each Sample, `counts` the numbers of its images.
    """
    known = digests.is_valid().to_numpy(zero_copy_only=False) & (counts > 0)
    stated = digests.filter(pa.array(known))
    flat = stated.flatten() if pa.types.is_list(stated.type) else stated
    text = "".join(pc.utf8_slice_codeunits(flat, 0, _KEY_HEX).to_pylist())
    keys = np.zeros(counts.sum(), np.uint64)
    keys[np.repeat(known, counts)] = np.frombuffer(bytes.fromhex(text), ">u8")
    return keys


_FRAME_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int32,
    "has_image": pl.Boolean,
    "conversations": pl.List(pl.Struct({"from": pl.String, "value": pl.String})),
}
_KEYS = [
    pl.col("row"),
    pl.col("question").hash(seed=1),
    pl.col("answer").hash(seed=2),
]


def _frame(table: pa.Table, first: int) -> pl.DataFrame:
    rows = pa.array(np.arange(first, first + table.num_rows, dtype=np.int32))
    has_image = pc.greater(pc.list_value_length(_table_images(table)), 0)
    picked = pa.table([rows, has_image, table["conversations"]], list(_FRAME_SCHEMA))
    return pl.DataFrame(pl.from_arrow(picked), schema=_FRAME_SCHEMA)


def _qa_pairs(samples: pl.DataFrame, max_answer_words: int | None) -> pl.DataFrame:
    """Return row, question and answer, normalised, of each comparable pair about an image."""
    turns = (
        samples.filter("has_image")
        .explode("conversations")
        .unnest("conversations")
        .with_columns(pl.col("row", "from", "value").shift(-1).name.prefix("next_"))
        .filter(
            pl.col("from") == "human",
            pl.col("next_from") == "gpt",
            pl.col("row") == pl.col("next_row"),
        )
    )
    words = pl.col("next_value").str.count_matches(r"\S+")
    short = turns if max_answer_words is None else turns.filter(words <= max_answer_words)
    boxed = pl.col("value").str.contains(_BOX) | pl.col("next_value").str.contains(_BOX)
    return (
        short.filter(~boxed)
        .select(
            "row",
            normalised_question(pl.col("value")).alias("question"),
            normalised_answer(pl.col("next_value")).alias("answer"),
        )
        .filter(pl.col("question") != "", pl.col("answer") != "")
    )


def _normalise(text: pl.Expr) -> pl.Expr:
    """Normalise to NFKC, lower case, single spaces, and no punctuation at the end."""
    folded = text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ")
    return folded.str.strip_chars(" ").str.replace(r"[\s.,;:!?]+$", "")


def normalised_question(text: pl.Expr) -> pl.Expr:
    """Normalise a question, without the image token and LLaVA's short-answer suffix."""
    bare = text.str.replace_all(IMAGE_TOKEN, " ", literal=True)
    return _normalise(bare.str.replace(SHORT_ANSWER_SUFFIX.strip(), " ", literal=True))


def normalised_answer(text: pl.Expr) -> pl.Expr:
    """Normalise an answer, without a leading article and with numbers up to ten as digits."""
    bare = _normalise(text).str.replace(r"^(a|an|the) ", "")
    return bare.replace({word: str(number) for number, word in enumerate(_NUMBERS)})


def read_texts(folder: Path, needed: set[int], max_answer_words: int | None) -> dict[int, Any]:
    """Return {Sample: id, images, and its pairs by the hashes of question and answer}."""
    wanted = np.array(sorted(needed), np.int64)
    texts: dict[int, Any] = {}
    for first, table in _tables(mixture_batches(folder)):
        rows = wanted[(wanted >= first) & (wanted < first + table.num_rows)]
        if not len(rows):
            continue
        some = table.take(pa.array(rows - first))
        frame = _frame(some, 0).with_columns(pl.Series("row", rows, dtype=pl.Int32))
        images = _table_images(some).to_pylist()
        for row, identity, own in zip(rows.tolist(), some["id"].to_pylist(), images, strict=True):
            texts[row] = {"id": identity, "images": own, "pairs": {}}
        pairs = _qa_pairs(frame, max_answer_words).select(
            *_KEYS,
            pl.col("question").alias("question_text"),
            pl.col("answer").alias("answer_text"),
        )
        for row, question, answer, *pair_texts in pairs.iter_rows():
            texts[row]["pairs"][question, answer] = tuple(pair_texts)
    return texts
