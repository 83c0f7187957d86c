"""The duplicates stage: report near-duplicates and conflicting answers of a finished mixture."""

from typing import Any

from imp_data.manifests import model_digest
from imp_data.mixture.duplicates.analysis import find_duplicates
from imp_data.mixture.duplicates.report import report_figures, report_files, write_report
from imp_data.pipeline.mixture_facts import LIBRARIES
from imp_data.pipeline.stages import StageContext, stage_code_version
from imp_data.storage.digests import library_versions
from imp_data.storage.stage_cache import StageResult


def write_duplicates_report(build: StageContext) -> StageResult:
    """Write the report; make a new one when the mixture, its images or the policy has changed."""
    policy, folder = build.recipe.mixture.near_duplicates, build.data.mixture(build.name)
    out = build.data.reports(build.name)

    def write() -> dict[str, Any]:
        files = [build.data.fingerprints(build.name, source) for source in build.recipe.sources]
        limits = (policy.max_distance_bits, policy.max_answer_words, policy.listed)
        found = find_duplicates(folder, [] if build.deferred else files, *limits)
        write_report(out, found)
        return report_figures(found)

    inputs = {
        "code": stage_code_version("duplicates"),
        "libraries": str(library_versions(*LIBRARIES)),
        "mixture": build.digest_of("mixture"),
        "policy": model_digest(policy),
        **{f"images/{s}": build.digest_of(f"images/{s}") for s in build.recipe.sources},
    }
    return build.stage("duplicates", inputs, report_files(out), write)
