"""Filter Samples by text and paths, and order the others for sampling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.fingerprint_cache import hash_image_paths
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Exclusion, Mixture
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.parallel import map_ordered
from imp_data.sample import image_column, image_lists
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.decontamination.questions.matcher import Found, find_questions
from imp_data.screening.decontamination.questions.matches import QuestionTally
from imp_data.screening.decontamination.questions.question_stage import QuestionPacks, load_index
from imp_data.screening.exclusion_rules import PreparedRule, rule_columns
from imp_data.screening.image_filters import BenchmarkMatcher
from imp_data.screening.question_filters import QuestionScreen
from imp_data.screening.rule_matches import RuleMatches, RuleTally, is_refused, join_matches
from imp_data.screening.sample_images import SampleImages, join_images
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.tables import arrow_batch_count, arrow_names, read_batches

Rows = npt.NDArray[np.int32]
# Batches of a records file in one piece of work; most have some two thousand rows.
_PIECE_BATCHES = 16
_NO_HASHES = np.zeros(0, np.uint64)


class Candidates(NamedTuple):
    """A source's Samples before sampling.

    `images` has the path hashes of each Sample's images; `refused` the verdicts that need no image;
    `order` the other rows in sampling order. `excluded` has what exclusion rules refuse of the rows
    that are not in `refused`. `questions` has what they ask of benchmarks, if any has questions.
    """

    images: SampleImages
    refused: dict[int, Verdict]
    order: Rows
    excluded: RuleMatches
    questions: QuestionScreen | None = None


class BenchmarkQuestions(NamedTuple):
    """The question packs of benchmarks, and the policy on each."""

    packs: QuestionPacks
    policies: Mapping[str, ContaminationPolicy]


# Above 40 lines: it joins in one order what workers find in pieces.
def find_candidates(
    mixture: Mixture,
    source: str,
    records: Path,
    benchmarks: Sequence[BenchmarkMatcher],
    exclusion_rules: Sequence[PreparedRule] = (),
    questions: BenchmarkQuestions | None = None,
) -> Candidates:
    """Screen a source's Samples by text and path, and sort the rest into sampling order.

    Memory: 8 bytes a Sample, 8 an image, and 16 more a Sample during the sort; the evidence of the
    refusals; and what `QuestionTally` states.
    """
    exclusions = tuple(e for e in mixture.kind_exclusions if e.source == source)
    bare = tuple(replace(b.pack, sha256s={}, hashes=_NO_HASHES, hash_ids=[]) for b in benchmarks)
    drop_repeats = mixture.exact_repeats == "drop"
    by_text = tuple(rule for rule in exclusion_rules if not rule.has_file)
    column = image_column(arrow_names(records))
    packs = questions.packs if questions else None
    rules = _Rules(records, column, mixture.seed, exclusions, bare, drop_repeats, by_text, packs)
    tally = QuestionTally(load_index(packs)) if packs else None
    refused: dict[int, Verdict] = {}
    excluded: list[RuleMatches] = []
    names, counts, keys, first = bytearray(), bytearray(), bytearray(), 0
    count = arrow_batch_count(records)
    spans = ((n, min(n + _PIECE_BATCHES, count)) for n in range(0, count, _PIECE_BATCHES))
    for screened in map_ordered(partial(_screen_batches, rules=rules), spans):
        refused.update((first + row, verdict) for row, verdict in screened.refused.items())
        excluded.append(screened.excluded.shifted(first))
        names += screened.images.keys.tobytes()
        counts += screened.images.counts.tobytes()
        keys += screened.keys.tobytes()
        if tally:
            for asked in screened.questions:
                tally.add(asked.questions, first + asked.first, asked.images)
        first += len(screened.keys)
    order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable").astype(np.int32)
    gone = is_refused(join_matches(excluded).refused, first)
    gone[np.fromiter(refused, np.int64)] = True
    by_file = [rule for rule in exclusion_rules if rule.has_file]
    if by_file:
        excluded.append(_match_files(records, column, by_file, gone))
    matches = join_matches(excluded)
    gone |= is_refused(matches.refused, first)
    screen = QuestionScreen(tally.matches(), questions.policies) if tally and questions else None
    if screen:
        refused.update(screen.drops(refused, gone))
        gone[np.fromiter(refused, np.int64)] = True
    order = order[~gone[order]]
    images = join_images(np.frombuffer(names, np.uint64), np.frombuffer(counts, np.int32))
    return Candidates(images, refused, order, matches, screen)


def _match_files(
    records: Path, column: str, rules: Sequence[PreparedRule], gone: npt.NDArray[np.bool_]
) -> RuleMatches:
    """Apply the rules that join a file, whose values no other process has."""
    tally = RuleTally(rules)
    for batch in read_batches(records, rule_columns(column)):
        tally.add(batch, gone.item)
    return tally.matches()


class _Rules(NamedTuple):
    """The rules of text screening; a benchmark's pack has its ids alone."""

    records: Path
    image_column: str
    seed: int
    exclusions: tuple[Exclusion, ...]
    packs: tuple[BenchmarkIndex, ...]
    drop_repeats: bool
    by_text: tuple[PreparedRule, ...]
    question_packs: QuestionPacks | None


class _FoundQuestions(NamedTuple):
    """What a batch from row `first` on asks of benchmarks, and what tells its rows' images apart.

    A Sample without an image counts as one of its own.
    """

    first: int
    questions: Found
    images: npt.NDArray[np.uint64]


class _ScreenedBatches(NamedTuple):
    """Some batches of Samples: their images, sampling keys, and {row: verdict}."""

    images: SampleImages
    keys: npt.NDArray[np.uint64]
    refused: dict[int, Verdict]
    excluded: RuleMatches
    questions: list[_FoundQuestions]


def _screen_batches(span: tuple[int, int], rules: _Rules) -> _ScreenedBatches:
    reads_text = rules.exclusions or rules.question_packs
    columns = ["id", rules.image_column, "conversations"][: 3 if reads_text else 2]
    columns = rule_columns(rules.image_column) if rules.by_text else columns
    tally = RuleTally(rules.by_text)
    refused: dict[int, Verdict] = {}
    names, keys, first = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], 0
    counts = [np.zeros(0, np.int32)]
    questions: list[_FoundQuestions] = []
    for batch in read_batches(rules.records, columns, span):
        ids, images = batch.column("id").to_pylist(), image_lists(batch.column(rules.image_column))
        paths = images.flatten().to_pylist()
        counts.append(images.value_lengths().to_numpy())
        for row, verdict in _text_verdicts(batch, ids, paths, counts[-1], rules):
            refused.setdefault(first + row, verdict)
        tally.add(batch, refused.__contains__)
        names.append(hash_image_paths(paths))
        keys.append(np.array(xxh3_keys(rules.seed, ids), np.uint64))
        if rules.question_packs:
            asked = find_questions(batch.column("conversations"), load_index(rules.question_packs))
            own = _first_images(names[-1], counts[-1], keys[-1])
            questions.append(_FoundQuestions(first, asked, own))
        first += len(batch)
    found = join_images(np.concatenate(names), np.concatenate(counts))
    return _ScreenedBatches(found, np.concatenate(keys), refused, tally.matches(), questions)


def _first_images(
    names: npt.NDArray[np.uint64], counts: Rows, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Return the path hash of each row's first image, the row's own key where it has none."""
    begins = np.cumsum(counts, dtype=np.int64) - counts
    return np.where(counts > 0, np.append(names, np.uint64(0))[begins], keys)


def _text_verdicts(
    batch: pa.RecordBatch,
    ids: Sequence[str],
    paths: Sequence[str],
    counts: Rows,
    rules: _Rules,
) -> Iterator[tuple[int, Verdict]]:
    """Yield (row of the batch, verdict); the first verdict on a row counts.

    `paths` are the images of all rows, of each row as many as `counts` has.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    for exclusion in rules.exclusions:
        for row, signs in match_exclusion(batch, exclusion).items():
            yield row, _exclusion_verdict(exclusion.name, **signs)
    for pack in rules.packs:
        for place, image in enumerate(paths):
            verdict = find_benchmark_id(image, pack)
            if verdict:
                yield _locate(place, image, verdict, ends)
    if rules.drop_repeats:
        for row, sample in enumerate(ids):
            if "~" in sample:
                yield row, Verdict(Reason.EXACT_REPEAT, {"of": sample.split("~")[0]})


def _locate(
    place: int, image: str, verdict: Verdict, ends: npt.NDArray[np.int64]
) -> tuple[int, Verdict]:
    """Return the row that has the image, and the verdict; among several images it names this one.

    Row n has the images before place `ends[n]`, and after those of row n - 1.
    """
    row = int(np.searchsorted(ends, place, side="right"))
    begin = int(ends[row - 1]) if row else 0
    if ends[row] - begin == 1:
        return row, verdict
    evidence = {**verdict.evidence, "image": image, "position": place - begin}
    return row, verdict._replace(evidence=evidence)


@cache
def _exclusion_verdict(exclusion: str, image_prefix: bool, prompt: bool) -> Verdict:
    """Return the one verdict that the many records of equal signs share."""
    signs = {"image_prefix": image_prefix, "prompt": prompt}
    return Verdict(Reason.EXCLUDED, {"exclusion": exclusion, **signs})


def match_exclusion(batch: pa.RecordBatch, exclusion: Exclusion) -> dict[int, dict[str, bool]]:
    """Return {row: which of the two conditions it meets} for the excluded records."""
    images = image_lists(batch.column(image_column(batch.schema.names)))
    begins = pc.starts_with(images.flatten(), exclusion.image_prefix)
    rows = pc.list_parent_indices(images).filter(begins)
    by_image = pc.is_in(pa.array(range(len(batch)), rows.type), value_set=rows)
    first = pc.list_element(batch.column("conversations"), 0)
    # A kept system turn precedes the first question.
    second = pc.list_element(batch.column("conversations"), 1)
    begins_later = pc.equal(pc.struct_field(first, "from"), "system")
    asked = pc.if_else(begins_later, *(pc.struct_field(one, "value") for one in (second, first)))
    by_prompt = pc.match_substring(asked, exclusion.prompt)
    either = pc.or_(by_image, by_prompt).to_numpy(zero_copy_only=False)
    return {
        row: {"image_prefix": by_image[row].as_py(), "prompt": by_prompt[row].as_py()}
        for row in np.flatnonzero(either).tolist()
    }


def find_benchmark_id(image: str, pack: BenchmarkIndex) -> Verdict | None:
    """Return the verdict if an image's path states an id of the benchmark."""
    if (found := pack.find_id(image)) is None:
        return None
    identity = {} if found[1] is None else {"identity": found[1]}
    return Verdict(Reason.BENCHMARK_ID, {"benchmark": pack.name, "id": found[0], **identity})
