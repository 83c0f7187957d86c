"""The stage that reports what a finished mixture says twice."""

from typing import Any

from imp_data.manifests import model_digest
from imp_data.mixture.duplicates.analysis import report
from imp_data.mixture.duplicates.report import figures, report_files, write_report
from imp_data.pipeline.mixture_facts import LIBRARIES
from imp_data.pipeline.stages import Stamps, code_of
from imp_data.storage.digests import library_versions
from imp_data.storage.stage_cache import StageResult


def write_neighbours(build: Stamps) -> StageResult:
    """The report on a finished mixture; made anew when it, its images or the policy changed."""
    policy, folder = build.recipe.mixture.near_duplicates, build.data.mixture(build.name)
    out = build.data.reports(build.name)

    def write() -> dict[str, Any]:
        files = [build.data.fingerprints(build.name, source) for source in build.recipe.sources]
        limits = (policy.max_distance_bits, policy.max_answer_words, policy.listed)
        found = report(folder, [] if build.deferred else files, *limits)
        write_report(out, found)
        return figures(found)

    inputs = {
        "code": code_of("neighbours"),
        "libraries": str(library_versions(*LIBRARIES)),
        "mixture": build.digest_of("mixture"),
        "policy": model_digest(policy),
        **{f"images/{s}": build.digest_of(f"images/{s}") for s in build.recipe.sources},
    }
    return build.stage("neighbours", inputs, report_files(out), write)
