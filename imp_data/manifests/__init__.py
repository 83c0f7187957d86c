"""The YAML manifests and their models: sources, image collections, benchmarks, mixtures, models."""

from imp_data.manifests.base import Strict, load, model_digest, spot_of
from imp_data.manifests.fields import Name, Positive
from imp_data.manifests.mixture import (
    ROOMS,
    Decontamination,
    Exclusion,
    Limits,
    Mixture,
    NearDuplicates,
    Part,
    Recipe,
    load_recipe,
)
from imp_data.manifests.sources import (
    Benchmark,
    Expect,
    File,
    Folder,
    ImageCollection,
    LayoutName,
    Published,
    Source,
    SubsetRule,
)

__all__ = [
    "ROOMS",
    "Benchmark",
    "Decontamination",
    "Exclusion",
    "Expect",
    "File",
    "Folder",
    "ImageCollection",
    "LayoutName",
    "Limits",
    "Mixture",
    "Name",
    "NearDuplicates",
    "Part",
    "Positive",
    "Published",
    "Recipe",
    "Source",
    "Strict",
    "SubsetRule",
    "load",
    "load_recipe",
    "model_digest",
    "spot_of",
]
