"""The YAML manifests and their models: sources, image collections, benchmarks, mixtures, models."""

from imp_data.manifests.base import StrictModel, field_position, load_manifest, model_digest
from imp_data.manifests.benchmark import Benchmark, ImageIdKind
from imp_data.manifests.exclusion_rules import Exclusion, ExclusionRule
from imp_data.manifests.fields import Name, Positive
from imp_data.manifests.image_urls import ImageUrls
from imp_data.manifests.layout_names import FORM_NAMES, LayoutName
from imp_data.manifests.mixture import (
    MANIFEST_KINDS,
    Decontamination,
    Limits,
    Mixture,
    NearDuplicates,
    Recipe,
    benchmark_recipe,
    load_recipe,
)
from imp_data.manifests.mixture_part import MixturePart
from imp_data.manifests.quotas import Amount, SourceQuota
from imp_data.manifests.sources import (
    ExpectedCounts,
    ImageCollection,
    ImageFolder,
    Publication,
    Source,
    SubsetRule,
    UpstreamFile,
)

__all__ = [
    "FORM_NAMES",
    "MANIFEST_KINDS",
    "Amount",
    "Benchmark",
    "Decontamination",
    "Exclusion",
    "ExclusionRule",
    "ExpectedCounts",
    "ImageCollection",
    "ImageFolder",
    "ImageIdKind",
    "ImageUrls",
    "LayoutName",
    "Limits",
    "Mixture",
    "MixturePart",
    "Name",
    "NearDuplicates",
    "Positive",
    "Publication",
    "Recipe",
    "Source",
    "SourceQuota",
    "StrictModel",
    "SubsetRule",
    "UpstreamFile",
    "benchmark_recipe",
    "field_position",
    "load_manifest",
    "load_recipe",
    "model_digest",
]
