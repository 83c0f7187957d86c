"""What a manifest may say: sources, collections of pictures, benchmarks, mixtures."""

from imp_data.manifest.fields import Name, Positive
from imp_data.manifest.mixture import (
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
from imp_data.manifest.published import (
    Benchmark,
    Expect,
    File,
    Folder,
    LayoutName,
    Pictures,
    Published,
    Source,
    SubsetRule,
)
from imp_data.manifest.strict import Strict, load, model_digest, spot_of

__all__ = [
    "ROOMS",
    "Benchmark",
    "Decontamination",
    "Exclusion",
    "Expect",
    "File",
    "Folder",
    "LayoutName",
    "Limits",
    "Mixture",
    "Name",
    "NearDuplicates",
    "Part",
    "Pictures",
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
