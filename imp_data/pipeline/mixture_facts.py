"""The part of mixture.json that describes the recipe and the inputs, without times and paths."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imp_data.manifests import (
    Decontamination,
    Exclusion,
    Mixture,
    MixturePart,
    Publication,
    Recipe,
    model_digest,
)
from imp_data.redaction import redact
from imp_data.screening.decontamination.recall import recall_within
from imp_data.storage.digests import library_versions

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
        "not_checked": _NOT_CHECKED if mixture.images == "deferred" else [],
        "parts": [_part(recipe, part, figures) for part in mixture.parts],
        "exclusions": [_exclusion(exclusion, figures) for exclusion in mixture.exclusions],
        "benchmarks": [_benchmark(d, figures) for d in mixture.decontaminate],
        "near_duplicates": _near_duplicate_policy(mixture),
        "inputs": {
            "manifests": {name: model_digest(*some) for name, some in published.items()},
            "mixture": model_digest(mixture),
            "files": {name: figures(f"raw/{name}")["files"] for name in published},
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
        "quota": part.quota,
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


def _benchmark(stated: Decontamination, figures: Figures) -> dict[str, Any]:
    counted = dict(figures(f"benchmarks/{stated.benchmark}"))
    altered = counted.pop("altered", None)
    recall = altered and recall_within(altered, stated.max_distance_bits)
    return {**stated.model_dump(), **counted, "altered": recall}


def _exclusion(exclusion: Exclusion, figures: Figures) -> dict[str, Any]:
    counts = figures(f"screened/{exclusion.source}")["excluded"].get(exclusion.name, {})
    return {
        "name": exclusion.name,
        "source": exclusion.source,
        "because": exclusion.because,
        "records": counts.get("records", 0),
    }
