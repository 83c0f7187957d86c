"""Show what the exclusion rules of a mixture match, without a build: `imp-data plan X --dry`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from heapq import nsmallest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.images.fingerprint_cache import hash_image_paths
from imp_data.manifests import Exclusion, ExclusionRule, model_digest
from imp_data.pipeline.build import Build
from imp_data.pipeline.rule_excerpts import excerpt
from imp_data.records.build import build_records
from imp_data.sample import image_column, image_lists
from imp_data.screening.exclusion_rules import Found, PreparedRule, match_rule, rule_columns
from imp_data.screening.image_rules import match_image_rule
from imp_data.screening.text_filters import match_exclusion
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import read_stamp
from imp_data.storage.tables import arrow_names, open_parquet, read_batches

MAX_EXAMPLES = 20
_IMAGE_COLUMNS = ["image", "status", "width", "height", "sha256"]


class Example(NamedTuple):
    """A record that a rule matches; `excerpt` shows a text, with the match between « and »."""

    key: int
    id: str
    source: str
    subset: str
    excerpt: str
    evidence: dict[str, Any]


class RulePreview:
    """What one rule matches: counts by (source, subset), and the first examples in sampling order.

    `unknown` counts by source the records whose image has no fingerprint yet.
    """

    def __init__(self, rule: Exclusion | ExclusionRule) -> None:
        self.rule = rule
        self.counts: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[str] = Counter()
        self.examples: list[Example] = []

    def add(self, source: str, batch: pa.RecordBatch, found: Found, seed: int) -> None:
        """Count the matching rows of a batch, and keep the examples that come first."""
        rows = batch.take(pa.array(list(found), pa.int64()))
        subsets, ids = (rows.column(name).to_pylist() for name in ("subset", "id"))
        self.counts.update((source, subset) for subset in subsets)
        ranked = nsmallest(MAX_EXAMPLES, zip(xxh3_keys(seed, ids), range(len(ids)), strict=True))
        evidence = list(found.values())
        new = [
            Example(
                key,
                ids[n],
                source,
                subsets[n],
                excerpt(rows.slice(n, 1).to_pylist()[0]["conversations"], self.rule),
                evidence[n],
            )
            for key, n in ranked
        ]
        self.examples = sorted([*self.examples, *new], key=lambda e: (e.key, e.id))[:MAX_EXAMPLES]


class Preview(NamedTuple):
    """The previews of all rules; Samples by (source, subset); sources without records, and why.

    `matched` counts the Samples that at least one rule matches.
    """

    rules: list[RulePreview]
    samples: Counter[tuple[str, str]]
    matched: int
    absent: dict[str, str]


def preview_rules(build: Build) -> Preview:
    """Apply the exclusions to the records that are there; download nothing and open no image.

    Rules on images use the fingerprints of the last build. Records that no build has made are
    made in a temporary folder, if their files are there.
    """
    preview = Preview(
        [RulePreview(rule) for rule in build.recipe.mixture.exclusions], Counter(), 0, {}
    )
    matched = 0
    for source in build.recipe.sources:
        with ExitStack() as scratch:
            try:
                records = scratch.enter_context(_records(build, source))
            except UserError as error:
                preview.absent[source] = f"{error.where}: {error.problem}"
                continue
            matched += _preview_source(build, source, records, preview)
    return preview._replace(matched=matched)


def _preview_source(build: Build, source: str, records: Path, preview: Preview) -> int:
    """Add one source to the preview; return how many of its Samples any rule matches."""
    prepared = {
        one.rule.name: one
        for on_images in (False, True)
        for one in build.exclusion_rules(source, on_images)
    }
    images = {
        name: _image_matches(build, source, one)
        for name, one in prepared.items()
        if one.rule.needs_image
    }
    matched = 0
    column = image_column(arrow_names(records))
    for batch in read_batches(records, rule_columns(column)):
        preview.samples.update((source, subset) for subset in batch.column("subset").to_pylist())
        any_rule: set[int] = set()
        for one in preview.rules:
            found = _match(batch, source, one, prepared, images)
            one.add(source, batch, found, build.recipe.mixture.seed)
            any_rule.update(found)
        matched += len(any_rule)
    return matched


def _match(
    batch: pa.RecordBatch,
    source: str,
    one: RulePreview,
    prepared: dict[str, PreparedRule],
    images: dict[str, "_ImageMatches"],
) -> Found:
    """Return what a rule matches in a batch of a source; count what it cannot decide yet."""
    rule = one.rule
    if isinstance(rule, Exclusion):
        return {**match_exclusion(batch, rule)} if rule.source == source else {}
    if rule.name in images:
        found, unknown = _match_known_images(batch, images[rule.name])
        one.unknown[source] += unknown
        return found
    return match_rule(batch, prepared[rule.name]) if rule.name in prepared else {}


@contextmanager
def _records(build: Build, source: str) -> Iterator[Path]:
    """Yield the records of a source: those of a build with the same manifest, or made here."""
    manifest, limits = build.recipe.sources[source], build.recipe.mixture.limits
    wanted = model_digest(manifest, limits)
    for mixture in (build.name, *sorted({*build.data.mixture_names} - {build.name})):
        stamp = read_stamp(build.data.stamp(f"mixtures/{mixture}/records/{source}"))
        path = build.data.of(mixture).records(source)
        if stamp and stamp["inputs"].get("manifest") == wanted and is_file(path):
            yield path
            return
    raw = build.data.raw(source)
    if not raw.is_dir():
        raise UserError(raw, "its files are not there", "run the build, which downloads them")
    with TemporaryDirectory(prefix="imp-data-") as scratch:
        path = Path(scratch) / "records.arrow"
        build_records(manifest, raw, limits, path, Path(scratch) / "ledger.parquet")
        yield path


class _ImageMatches(NamedTuple):
    """The path hashes of the images with a fingerprint, and the evidence on those that match."""

    known: np.ndarray[Any, np.dtype[np.uint64]]
    matching: dict[int, dict[str, Any]]


def _image_matches(build: Build, source: str, prepared: PreparedRule) -> _ImageMatches:
    known = [np.zeros(0, np.uint64)]
    matching: dict[int, dict[str, Any]] = {}
    path = build.data.fingerprints(build.name, source)
    if is_file(path):
        for batch in open_parquet(path).iter_batches(columns=_IMAGE_COLUMNS):
            table = pa.Table.from_batches([batch])
            names = hash_image_paths(table["image"].to_pylist())
            known.append(names)
            whole = np.flatnonzero(table["status"].to_numpy() == "ok")
            found = match_image_rule(table.take(pa.array(whole)), prepared)
            matching |= {int(names[whole[row]]): evidence for row, evidence in found.items()}
    return _ImageMatches(np.concatenate(known), matching)


def _match_known_images(batch: pa.RecordBatch, images: _ImageMatches) -> tuple[Found, int]:
    """Return what a rule on images matches, and the number of rows with an unknown image."""
    lists = image_lists(batch.column(image_column(batch.schema.names)))
    names = hash_image_paths(lists.flatten().to_pylist())
    rows = np.repeat(np.arange(len(batch)), lists.value_lengths().to_numpy())
    found: Found = {}
    for row, name in zip(rows.tolist(), names.tolist(), strict=True):
        if name in images.matching:
            found.setdefault(row, images.matching[name])
    return found, len(np.unique(rows[~np.isin(names, images.known)]))
