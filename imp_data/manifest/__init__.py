"""What a manifest may say: sources, collections of pictures, benchmarks, mixtures."""

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
from imp_data.manifest.strict import Name, Strict, line_of, load, model_digest

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
    "Published",
    "Recipe",
    "Source",
    "Strict",
    "SubsetRule",
    "line_of",
    "load",
    "load_recipe",
    "model_digest",
]
