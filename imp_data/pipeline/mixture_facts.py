"""The part of mixture.json that describes the recipe and the inputs, without times and paths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from imp_data.manifests import (
    Decontamination,
    Exclusion,
    ExclusionRule,
    Mixture,
    MixturePart,
    Publication,
    Recipe,
    model_digest,
)
from imp_data.redaction import redact
from imp_data.screening.decontamination.questions.normalization import VERSION
from imp_data.screening.decontamination.recall import recall_within
from imp_data.storage.digests import file_sha256, library_versions

# Libraries whose version may affect the bytes of a stage.
LIBRARIES = ("numpy", "orjson", "polars", "pyarrow", "pydantic", "xxhash")
_NOT_CHECKED = [
    "Images were deferred: none was opened.",
    "Missing, broken and too small images were not found.",
    "Benchmark images were told by the ids in file names alone, not by bytes or looks.",
    "image_sha256, image_width and image_height are null.",
]

Figures = Callable[[str], dict[str, Any]]


def mixture_facts(
    recipe: Recipe, published: Mapping[str, Sequence[Publication]], figures: Figures
) -> dict[str, Any]:
    """Return the facts, from the manifests and the figures of the stages."""
    mixture = recipe.mixture
    return {
        "format": 1,
        "name": mixture.name,
        "title": mixture.title,
        "paper": mixture.paper,
        "seed": mixture.seed,
        "drawn": mixture.drawn,
        "images": mixture.images,
        **({"max_images": most} if (most := max_images(recipe)) > 1 else {}),
        **({"keep_turns": list(mixture.keep_turns)} if mixture.keep_turns else {}),
        "not_checked": list(_not_checked(mixture)),
        "parts": [_part(recipe, part, figures) for part in mixture.parts],
        "exclusions": [
            _exclusion(one, figures)
            if isinstance(one, Exclusion)
            else _exclusion_rule(recipe, one, figures)
            for one in mixture.exclusions
        ],
        "benchmarks": [_benchmark(recipe, d, figures) for d in mixture.decontaminate],
        "near_duplicates": _near_duplicate_policy(mixture),
        "inputs": {
            "manifests": {name: model_digest(*some) for name, some in published.items()},
            "mixture": model_digest(mixture),
            "files": {name: figures(f"raw/{name}")["files"] for name in published},
            **_rule_files(recipe),
        },
        "libraries": library_versions(*LIBRARIES, "pillow", "simplejpeg", "imagehash"),
    }


def max_images(recipe: Recipe) -> int:
    """Return the most images that a Sample of the mixture may have."""
    return max(source.max_images for source in recipe.sources.values())


def _near_duplicate_policy(mixture: Mixture) -> dict[str, Any] | None:
    """Return the distance within which near-duplicates were dropped; None if none were dropped."""
    policy = mixture.near_duplicates
    return {"within_bits": policy.max_distance_bits} if policy.policy == "drop" else None


def _part(recipe: Recipe, part: MixturePart, figures: Figures) -> dict[str, Any]:
    name, source = part.source, recipe.sources[part.source]
    records, screened = figures(f"records/{name}"), figures(f"screened/{name}")
    return {
        "source": name,
        "title": source.title,
        "group": part.group,
        "paper": part.paper,
        "quota": recipe.mixture.stated_quota(name),
        **({} if part.weight is None else {"weight": part.weight}),
        "license": source.license,
        "license_note": source.license_note and redact(source.license_note),
        "homepage": redact(source.homepage),
        "unverified": list(map(redact, source.unverified)),
        "rows_read": records["rows"],
        "exact_repeats": records["exact_repeats"],
        "fields_passed_over": records["fields_passed_over"],
        "fields_unread": records["fields_unread"],
        "subsets": screened["subsets"],
        "upstream_subsets": records["subsets"],
        # Counts of sources with several images a record.
        **{name: screened[name] for name in ("images", "with_several") if name in screened},
    }


def _benchmark(recipe: Recipe, stated: Decontamination, figures: Figures) -> dict[str, Any]:
    counted = dict(figures(f"benchmarks/{stated.benchmark}"))
    altered = counted.pop("altered", None)
    recall = altered and recall_within(altered, stated.max_distance_bits)
    if "questions" in counted:
        counted["questions"] = _questions(recipe, stated, figures, counted["questions"])
    return {**stated.model_dump(), **counted, "altered": recall}


def _questions(
    recipe: Recipe, stated: Decontamination, figures: Figures, pack: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures of a benchmark's question pack, and what Samples have of the benchmark.

    `seen` counts by class the Samples of all sources, and those in the mixture; `by_source` those
    of each source that are in the mixture.
    """
    by_source = {
        source: figures(f"screened/{source}")["questions"][stated.benchmark]
        for source in recipe.sources
    }
    policy = stated.policy.model_dump()
    seen: dict[str, dict[str, Any]] = {}
    for name, handling in policy.items():
        counts = {source: found[name] for source, found in by_source.items()}
        seen[name] = {
            "policy": handling,
            "samples": sum(one["samples"] for one in counts.values()),
            "kept": sum(one["kept"] for one in counts.values()),
            "by_source": {source: one["kept"] for source, one in counts.items() if one["kept"]},
        }
    return {**pack, "normalization": VERSION, "seen": seen}


def _exclusion(exclusion: Exclusion, figures: Figures) -> dict[str, Any]:
    counts = figures(f"screened/{exclusion.source}")["excluded"].get(exclusion.name, {})
    return {
        "name": exclusion.name,
        "source": exclusion.source,
        "because": exclusion.because,
        "records": counts.get("records", 0),
    }


def _exclusion_rule(recipe: Recipe, rule: ExclusionRule, figures: Figures) -> dict[str, Any]:
    """Return a rule, and the Samples that it matches by source."""
    by_source = {
        source: figures(f"screened/{source}")["matched"].get(rule.name, 0)
        for source in recipe.sources
        if rule in recipe.rules(source)
    }
    return {
        "name": rule.name,
        "source": "all sources" if len(by_source) == len(recipe.sources) else ", ".join(by_source),
        "because": rule.because,
        "records": sum(by_source.values()),
        "by_source": by_source,
        "rule": _stated_fields(rule),
    }


def _stated_fields(rule: ExclusionRule) -> dict[str, Any]:
    """Return where a rule applies and its criterion, as the manifest states them."""
    others = {"name", "because", "expect"}
    return rule.model_dump(mode="json", by_alias=True, exclude=others, exclude_none=True)


def _rule_files(recipe: Recipe) -> dict[str, Any]:
    """Return the sha256 of the files that exclusion rules read; nothing if none reads one."""
    rules = recipe.mixture.exclusion_rules
    files = {r.file: file_sha256(path) for r in rules if (path := recipe.rule_file(r)) and r.file}
    return {"rule_files": dict(sorted(files.items()))} if files else {}


def _not_checked(mixture: Mixture) -> Iterator[str]:
    """Yield what a mixture with deferred images leaves unchecked."""
    if mixture.images != "deferred":
        return
    yield from _NOT_CHECKED
    if names := [rule.name for rule in mixture.exclusion_rules if rule.needs_image]:
        yield f"Exclusion rules on images were not applied: {', '.join(names)}."
