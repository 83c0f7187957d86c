"""The checks after each stage; a blocking check that fails stops the graph."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow.compute as pc

from imp_data.ledger import Outcome
from imp_data.mixture.mixture_json import check_files
from imp_data.mixture.reconciliation import reconcile_records, reconciliation_problems
from imp_data.pipeline.build import Build
from imp_data.pipeline.required_inputs import manual_downloads
from imp_data.raw.fetch import format_manual_downloads
from imp_data.screening.decontamination.recall import recall_within
from imp_data.storage.tables import read_batches


class Finding(NamedTuple):
    """The result of a check: whether it passed, the figures it compared, the problems."""

    passed: bool
    figures: dict[str, Any]
    problems: list[str]


class Check(NamedTuple):
    """A named condition on one asset's result."""

    name: str
    description: str
    find: Callable[[], Finding]
    blocking: bool = True


def inputs_checks(build: Build) -> list[Check]:
    """Return the checks of inputs."""
    return [
        Check(
            "manual_downloads",
            "Every file without a URL has been downloaded manually.",
            lambda: _manual_downloads(build),
            blocking=False,
        )
    ]


def _manual_downloads(build: Build) -> Finding:
    missing = manual_downloads(build)
    return Finding(not missing, {}, [format_manual_downloads(missing)] if missing else [])


def records_checks(build: Build, source: str) -> list[Check]:
    """Return the checks of records/<source>."""
    return [
        Check(
            "conserved",
            "Every upstream row has one ledger row: dropped for a reason, or part of a Sample.",
            lambda: _records_conserved(build, source),
        ),
        Check(
            "as_published",
            "The counts of rows and subsets are those of the pinned revision.",
            lambda: _as_published(build, source),
        ),
    ]


def _records_conserved(build: Build, source: str) -> Finding:
    figures = build.figures(f"records/{source}")
    rows, samples = figures["rows"], figures["samples"]
    return _compare(reconcile_records(build.data.ledger(source), rows, samples))


def _as_published(build: Build, source: str) -> Finding:
    expect, figures = build.recipe.expect(source), build.figures(f"records/{source}")
    wanted: dict[str, tuple[int, int]] = {}
    if expect.rows is not None:
        wanted["rows"] = (figures["rows"], expect.rows)
    for subset, count in expect.subsets.items():
        wanted[f"subset {subset}"] = (figures["subsets"].get(subset, 0), count)
    return _compare(wanted)


def benchmark_checks(build: Build, name: str) -> list[Check]:
    """Return the checks of benchmarks/<name>."""
    return [
        Check(
            "complete",
            "All ids of the benchmark are known, and the image of each unless images are deferred.",
            lambda: _benchmark_complete(build, name),
        ),
        Check(
            "recall",
            "The recall of slightly altered copies of its images is as high as required.",
            lambda: _recall(build, name),
            blocking=False,
        ),
    ]


def _recall(build: Build, name: str) -> Finding:
    stated = build.recipe.decontamination(name)
    altered = build.figures(f"benchmarks/{name}").get("altered")
    if altered is None:
        return Finding(True, {"measured": "no"}, [])
    recall = recall_within(altered, stated.max_distance_bits)
    problems = []
    if recall["near"] < stated.min_recall:
        problems = [f"recall on slight alterations: {recall['near']}, {stated.min_recall} required"]
    return Finding(not problems, {"recall": recall["near"], **recall["recall"]}, problems)


def _benchmark_complete(build: Build, name: str) -> Finding:
    figures = build.figures(f"benchmarks/{name}")
    stated = build.recipe.decontamination(name)
    expected = stated.expect_ids or build.recipe.benchmarks[name].expect_ids
    wanted: dict[str, tuple[int, int]] = {}
    if expected is not None:
        wanted["ids"] = (figures["ids"], expected)
    if not build.deferred:
        wanted["fingerprinted images"] = (figures["fingerprinted"], figures["ids"])
    return _compare(wanted)


def screened_checks(build: Build, source: str) -> list[Check]:
    """Return the checks of screened/<source>."""
    checks = [
        Check(
            "conserved",
            "The Samples read are the Samples passed, dropped and held.",
            lambda: _screened_conserved(build, source),
        )
    ]
    if any(e.source == source for e in build.recipe.mixture.kind_exclusions):
        checks.append(
            Check(
                "exclusions_hold",
                "Excluded records are dropped; two signs agree on them; their count is as stated.",
                lambda: _exclusions_hold(build, source),
            )
        )
    return checks


def _screened_conserved(build: Build, source: str) -> Finding:
    figures = build.figures(f"screened/{source}")
    outcomes: dict[str | None, int] = {}
    for batch in read_batches(build.data.screened(build.name, source), ["outcome"]):
        for entry in pc.value_counts(batch.column("outcome")).to_pylist():
            outcomes[entry["values"]] = outcomes.get(entry["values"], 0) + entry["counts"]
    samples = build.figures(f"records/{source}")["samples"]
    return _compare(
        {
            "Samples": (sum(outcomes.values()), samples),
            "passed": (outcomes.get(Outcome.KEPT, 0), figures["passed"]),
            "held": (outcomes.get(Outcome.HELD, 0), figures["held"]),
            "dropped": (outcomes.get(Outcome.DROPPED, 0), sum(figures["dropped"].values())),
        }
    )


def _exclusions_hold(build: Build, source: str) -> Finding:
    figures = build.figures(f"screened/{source}")
    wanted: dict[str, tuple[int, int]] = {}
    for exclusion in build.recipe.mixture.kind_exclusions:
        if exclusion.source != source:
            continue
        taken = figures["excluded"].get(exclusion.name, {"records": 0, "disagreeing": 0})
        if exclusion.expect is not None:
            wanted[f"{exclusion.name} excluded"] = (taken["records"], exclusion.expect)
        wanted[f"{exclusion.name} with one sign alone"] = (taken["disagreeing"], 0)
        left = figures["subsets"].get(exclusion.subset, 0)
        wanted[f"{exclusion.subset} kept"] = (left, 0)
    return _compare(wanted)


def mixture_checks(build: Build) -> list[Check]:
    """Return the checks of the mixture."""
    return [
        Check(
            "conserved",
            "The rows read are the rows kept, held and dropped; the kept ids are in the shards.",
            lambda: _mixture_conserved(build),
        ),
        Check(
            "quotas_filled",
            "Each source gave as many Samples as its quota.",
            lambda: _quotas_filled(build),
            blocking=False,
        ),
        *_rule_checks(build),
    ]


def _rule_checks(build: Build) -> list[Check]:
    if all(rule.expect is None for rule in build.recipe.mixture.exclusion_rules):
        return []
    description = "Each exclusion rule matches as many Samples as its `expect` states."
    return [Check("exclusion_rules_hold", description, lambda: _exclusion_rules_hold(build))]


def _exclusion_rules_hold(build: Build) -> Finding:
    wanted: dict[str, tuple[int, int]] = {}
    for rule in build.recipe.mixture.exclusion_rules:
        if rule.expect is None or (rule.needs_image and build.deferred):
            continue
        sources = [source for source in build.recipe.sources if rule in build.recipe.rules(source)]
        matched = (build.figures(f"screened/{s}")["matched"].get(rule.name, 0) for s in sources)
        wanted[f"{rule.name} matched"] = (sum(matched), rule.expect)
    return _compare(wanted)


def _mixture_conserved(build: Build) -> Finding:
    figures = build.figures("mixture")
    folder = build.data.mixture(build.recipe.mixture.name)
    if "mixture" not in build.just_built:
        check_files(folder)
    problems = reconciliation_problems(folder)
    return Finding(not problems, {"rows": figures["rows"]}, problems)


def _quotas_filled(build: Build) -> Finding:
    return _compare(dict(_filled(build.figures("mixture")["parts"])))


def _filled(parts: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the Samples and the number that a quota asks for; `all` and multiples ask for none."""
    for part in parts:
        if isinstance(part["quota"], int):
            yield part["source"], (part["samples"], part["quota"])
        elif isinstance(part["quota"], dict):
            for subset, quota in part["quota"].items():
                found = part["subsets"].get(subset, 0)
                if isinstance(quota, int):
                    yield f"{part['source']}/{subset}", (found, quota)
                elif not found:  # a subset that does not exist
                    yield f"{part['source']}/{subset}", (0, 1)


def _compare(wanted: dict[str, tuple[int, int]]) -> Finding:
    """Compare found with expected figures; each difference is a problem."""
    problems = [
        f"{what}: {found:,} found, {expected:,} expected"
        for what, (found, expected) in wanted.items()
        if found != expected
    ]
    figures = {what: f"{found:,} of {expected:,}" for what, (found, expected) in wanted.items()}
    return Finding(not problems, figures, problems)
