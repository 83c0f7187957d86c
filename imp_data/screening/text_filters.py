"""Filter Samples by text and paths, and order the others for sampling."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.fingerprint_cache import HashKeys, hash_image_paths
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Exclusion, Mixture
from imp_data.parallel import map_ordered
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.exclusion_rules import RULE_COLUMNS, PreparedRule
from imp_data.screening.image_filters import BenchmarkMatcher
from imp_data.screening.rule_matches import RuleMatches, RuleTally, is_refused, join_matches
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.tables import arrow_batch_count, read_batches

Rows = npt.NDArray[np.int32]
# Batches of a records file in one piece of work; most have some two thousand rows.
_PIECE_BATCHES = 16
_NO_HASHES = np.zeros(0, np.uint64)


class Candidates(NamedTuple):
    """A source's Samples before sampling.

    `images` has the path hash of each Sample's image (see hash_image_paths); `refused` the verdicts
    that need no image; `order` the other rows in sampling order. `excluded` has what exclusion
    rules refuse of the rows that are not in `refused`.
    """

    images: HashKeys
    refused: dict[int, Verdict]
    order: Rows
    excluded: RuleMatches


def find_candidates(
    mixture: Mixture,
    source: str,
    records: Path,
    benchmarks: Sequence[BenchmarkMatcher],
    exclusion_rules: Sequence[PreparedRule] = (),
) -> Candidates:
    """Screen a source's Samples by text and path, and sort the rest into sampling order.

    Memory: 12 bytes a Sample, and 16 more during the sort; the evidence of the refusals.
    """
    exclusions = tuple(e for e in mixture.kind_exclusions if e.source == source)
    bare = tuple(b.pack._replace(sha256s={}, hashes=_NO_HASHES, hash_ids=[]) for b in benchmarks)
    drop_repeats = mixture.exact_repeats == "drop"
    by_text = tuple(rule for rule in exclusion_rules if not rule.has_file)
    rules = _Rules(records, mixture.seed, exclusions, bare, drop_repeats, by_text)
    refused: dict[int, Verdict] = {}
    excluded: list[RuleMatches] = []
    names, keys, first = bytearray(), bytearray(), 0
    count = arrow_batch_count(records)
    spans = ((n, min(n + _PIECE_BATCHES, count)) for n in range(0, count, _PIECE_BATCHES))
    for screened in map_ordered(partial(_screen_batches, rules=rules), spans):
        refused.update((first + row, verdict) for row, verdict in screened.refused.items())
        excluded.append(screened.excluded.shifted(first))
        names += screened.names.tobytes()
        keys += screened.keys.tobytes()
        first += len(screened.names)
    order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable").astype(np.int32)
    gone = is_refused(join_matches(excluded).refused, first)
    gone[np.fromiter(refused, np.int64)] = True
    by_file = [rule for rule in exclusion_rules if rule.has_file]
    if by_file:
        excluded.append(_match_files(records, by_file, gone))
    matches = join_matches(excluded)
    order = order[~(gone | is_refused(matches.refused, first))[order]]
    return Candidates(np.frombuffer(names, np.uint64), refused, order, matches)


def _match_files(
    records: Path, rules: Sequence[PreparedRule], gone: npt.NDArray[np.bool_]
) -> RuleMatches:
    """Apply the rules that join a file, whose values no other process has."""
    tally = RuleTally(rules)
    for batch in read_batches(records, RULE_COLUMNS):
        tally.add(batch, gone.item)
    return tally.matches()


class _Rules(NamedTuple):
    """The rules of text screening; a benchmark's pack has its ids alone."""

    records: Path
    seed: int
    exclusions: tuple[Exclusion, ...]
    packs: tuple[BenchmarkIndex, ...]
    drop_repeats: bool
    by_text: tuple[PreparedRule, ...]


class _ScreenedBatches(NamedTuple):
    """Some batches of Samples: path hashes of images, sampling keys, and {row: verdict}."""

    names: HashKeys
    keys: npt.NDArray[np.uint64]
    refused: dict[int, Verdict]
    excluded: RuleMatches


def _screen_batches(span: tuple[int, int], rules: _Rules) -> _ScreenedBatches:
    columns = ["id", "image", "conversations"][: 3 if rules.exclusions else 2]
    columns = RULE_COLUMNS if rules.by_text else columns
    tally = RuleTally(rules.by_text)
    refused: dict[int, Verdict] = {}
    names, keys, first = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], 0
    for batch in read_batches(rules.records, columns, span):
        ids, images = batch.column("id").to_pylist(), batch.column("image").to_pylist()
        for row, verdict in _text_verdicts(batch, ids, images, rules):
            refused.setdefault(first + row, verdict)
        tally.add(batch, refused.__contains__)
        names.append(hash_image_paths(images))
        keys.append(np.array(xxh3_keys(rules.seed, ids), np.uint64))
        first += len(batch)
    return _ScreenedBatches(np.concatenate(names), np.concatenate(keys), refused, tally.matches())


def _text_verdicts(
    batch: pa.RecordBatch,
    ids: Sequence[str],
    images: Sequence[str | None],
    rules: _Rules,
) -> Iterator[tuple[int, Verdict]]:
    """Yield (row of the batch, verdict); the first verdict on a row counts."""
    for exclusion in rules.exclusions:
        for row, signs in match_exclusion(batch, exclusion).items():
            yield row, _exclusion_verdict(exclusion.name, **signs)
    for pack in rules.packs:
        for row, image in enumerate(images):
            verdict = find_benchmark_id(image, pack)
            if verdict:
                yield row, verdict
    if rules.drop_repeats:
        for row, sample in enumerate(ids):
            if "~" in sample:
                yield row, Verdict(Reason.EXACT_REPEAT, {"of": sample.split("~")[0]})


@cache
def _exclusion_verdict(exclusion: str, image_prefix: bool, prompt: bool) -> Verdict:
    """Return the one verdict that the many records of equal signs share."""
    signs = {"image_prefix": image_prefix, "prompt": prompt}
    return Verdict(Reason.EXCLUDED, {"exclusion": exclusion, **signs})


def match_exclusion(batch: pa.RecordBatch, exclusion: Exclusion) -> dict[int, dict[str, bool]]:
    """Return {row: which of the two conditions it meets} for the excluded records."""
    by_image = pc.fill_null(pc.starts_with(batch.column("image"), exclusion.image_prefix), False)
    first = pc.list_element(batch.column("conversations"), 0)
    by_prompt = pc.match_substring(pc.struct_field(first, "value"), exclusion.prompt)
    either = pc.or_(by_image, by_prompt).to_numpy(zero_copy_only=False)
    return {
        row: {"image_prefix": by_image[row].as_py(), "prompt": by_prompt[row].as_py()}
        for row in np.flatnonzero(either).tolist()
    }


def find_benchmark_id(image: str | None, pack: BenchmarkIndex) -> Verdict | None:
    """Return the verdict if an image's file name contains an id of the benchmark."""
    if image is None:
        return None
    for found in pack.id_pattern.findall(image.rsplit("/", 1)[-1]):
        if found in pack.ids:
            return Verdict(Reason.BENCHMARK_ID, {"benchmark": pack.name, "id": found})
    return None
