"""The YAML manifests and their models: sources, image collections, benchmarks, mixtures, models."""

from imp_data.manifests.base import StrictModel, field_position, load_manifest, model_digest
from imp_data.manifests.fields import Name, Positive
from imp_data.manifests.image_urls import ImageUrls
from imp_data.manifests.mixture import (
    MANIFEST_KINDS,
    Decontamination,
    Exclusion,
    Limits,
    Mixture,
    MixturePart,
    NearDuplicates,
    Recipe,
    load_recipe,
)
from imp_data.manifests.sources import (
    Benchmark,
    ExpectedCounts,
    ImageCollection,
    ImageFolder,
    LayoutName,
    Publication,
    Source,
    SubsetRule,
    UpstreamFile,
)

__all__ = [
    "MANIFEST_KINDS",
    "Benchmark",
    "Decontamination",
    "Exclusion",
    "ExpectedCounts",
    "ImageCollection",
    "ImageFolder",
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
    "StrictModel",
    "SubsetRule",
    "UpstreamFile",
    "field_position",
    "load_manifest",
    "load_recipe",
    "model_digest",
]
