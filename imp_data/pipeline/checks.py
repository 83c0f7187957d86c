"""What must hold after each stage; a graph stops where a blocking check fails."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow.compute as pc

from imp_data.ledger import Outcome
from imp_data.mixture.mixture_json import check_files
from imp_data.mixture.reconciliation import conservation_problems, records_account
from imp_data.pipeline.build import Build
from imp_data.pipeline.required_inputs import manual_downloads
from imp_data.raw.fetch import asks_for
from imp_data.screening.decontamination.recall import recall_within
from imp_data.storage.tables import arrow_batches


class Finding(NamedTuple):
    """What a check found: whether it holds, the figures it compared, what is wrong."""

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
    """Of inputs."""
    return [
        Check(
            "manual_downloads",
            "Every file that no address serves has been put in its place.",
            lambda: _manual_downloads(build),
            blocking=False,
        )
    ]


def _manual_downloads(build: Build) -> Finding:
    missing = manual_downloads(build)
    return Finding(not missing, {}, [asks_for(missing)] if missing else [])


def records_checks(build: Build, source: str) -> list[Check]:
    """Of records/<source>."""
    return [
        Check(
            "conserved",
            "Every upstream row has one ledger row: dropped for a reason, or part of a Sample.",
            lambda: _records_conserved(build, source),
        ),
        Check(
            "as_published",
            "Rows and sub-sources are as many as the pinned revision has.",
            lambda: _as_published(build, source),
        ),
    ]


def _records_conserved(build: Build, source: str) -> Finding:
    figures = build.figures(f"records/{source}")
    rows, samples = figures["rows"], figures["samples"]
    return _compared(records_account(build.data.ledger(source), rows, samples))


def _as_published(build: Build, source: str) -> Finding:
    expect, figures = build.recipe.expect(source), build.figures(f"records/{source}")
    wanted: dict[str, tuple[int, int]] = {}
    if expect.rows is not None:
        wanted["rows"] = (figures["rows"], expect.rows)
    for subset, count in expect.subsets.items():
        wanted[f"subset {subset}"] = (figures["subsets"].get(subset, 0), count)
    return _compared(wanted)


def benchmark_checks(build: Build, name: str) -> list[Check]:
    """Of benchmarks/<name>."""
    return [
        Check(
            "complete",
            "All ids of the benchmark are known, and each one's image unless deferred.",
            lambda: _benchmark_complete(build, name),
        ),
        Check(
            "recall",
            "Slightly altered copies of its images are known again as often as the mixture asks.",
            lambda: _recall(build, name),
            blocking=False,
        ),
    ]


def _recall(build: Build, name: str) -> Finding:
    stated = build.recipe.decontamination(name)
    altered = build.figures(f"benchmarks/{name}").get("altered")
    if altered is None:
        return Finding(True, {"measured": "no"}, [])
    told = recall_within(altered, stated.max_distance_bits)
    problems = []
    if told["near"] < stated.min_recall:
        problems = [f"recall on slight alterations: {told['near']}, {stated.min_recall} asked"]
    return Finding(not problems, {"recall": told["near"], **told["recall"]}, problems)


def _benchmark_complete(build: Build, name: str) -> Finding:
    figures = build.figures(f"benchmarks/{name}")
    stated = build.recipe.decontamination(name)
    expected = stated.expect_ids or build.recipe.benchmarks[name].expect_ids
    wanted: dict[str, tuple[int, int]] = {}
    if expected is not None:
        wanted["ids"] = (figures["ids"], expected)
    if not build.deferred:
        wanted["fingerprinted images"] = (figures["fingerprinted"], figures["ids"])
    return _compared(wanted)


def screened_checks(build: Build, source: str) -> list[Check]:
    """Of screened/<source>."""
    checks = [
        Check(
            "conserved",
            "Samples in are Samples passed, dropped and held.",
            lambda: _screened_conserved(build, source),
        )
    ]
    if any(e.source == source for e in build.recipe.mixture.exclusions):
        checks.append(
            Check(
                "exclusions_hold",
                "What the mixture excludes is out, told by two signs that agree, and as counted.",
                lambda: _exclusions_hold(build, source),
            )
        )
    return checks


def _screened_conserved(build: Build, source: str) -> Finding:
    figures = build.figures(f"screened/{source}")
    outcomes: dict[str | None, int] = {}
    for batch in arrow_batches(build.data.screened(build.name, source), ["outcome"]):
        for entry in pc.value_counts(batch.column("outcome")).to_pylist():
            outcomes[entry["values"]] = outcomes.get(entry["values"], 0) + entry["counts"]
    samples = build.figures(f"records/{source}")["samples"]
    return _compared(
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
    for exclusion in build.recipe.mixture.exclusions:
        if exclusion.source != source:
            continue
        taken = figures["excluded"].get(exclusion.name, {"records": 0, "disagreeing": 0})
        if exclusion.expect is not None:
            wanted[f"{exclusion.name} excluded"] = (taken["records"], exclusion.expect)
        wanted[f"{exclusion.name} told by one sign alone"] = (taken["disagreeing"], 0)
        left = figures["subsets"].get(exclusion.subset, 0)
        wanted[f"{exclusion.subset} let through"] = (left, 0)
    return _compared(wanted)


def mixture_checks(build: Build) -> list[Check]:
    """Of the mixture."""
    return [
        Check(
            "conserved",
            "Rows read are rows kept, held and dropped, and the kept ids are the mixture's ids.",
            lambda: _mixture_conserved(build),
        ),
        Check(
            "quotas_filled",
            "Each source gave as many Samples as the recipe asks.",
            lambda: _quotas_filled(build),
            blocking=False,
        ),
    ]


def _mixture_conserved(build: Build) -> Finding:
    figures = build.figures("mixture")
    folder = build.data.mixture(build.recipe.mixture.name)
    if "mixture" not in build.fresh:
        check_files(folder)
    problems = conservation_problems(folder)
    return Finding(not problems, {"rows": figures["rows"]}, problems)


def _quotas_filled(build: Build) -> Finding:
    parts = build.figures("mixture")["parts"]
    return _compared({part["source"]: (part["samples"], part["quota"]) for part in parts})


def _compared(wanted: dict[str, tuple[int, int]]) -> Finding:
    """Found against expected figures; each that differs is a problem."""
    problems = [
        f"{what}: {found:,} found, {expected:,} expected"
        for what, (found, expected) in wanted.items()
        if found != expected
    ]
    figures = {what: f"{found:,} of {expected:,}" for what, (found, expected) in wanted.items()}
    return Finding(not problems, figures, problems)
