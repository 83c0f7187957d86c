"""The screened stage of a source: which Samples pass, which go and why, which are held back."""

from typing import Any

import numpy as np

from imp_data.errors import UserError
from imp_data.pipeline.sampling_inputs import Draws
from imp_data.pipeline.stages import FIRST, code_of
from imp_data.screening.image_decisions import read_decisions
from imp_data.screening.quota_sampling import draw, write_screened
from imp_data.screening.without_near_duplicates import WithoutNearDuplicates
from imp_data.storage.stage_cache import StageResult


def screened_stage(draws: Draws, source: str) -> StageResult:
    """One row a Sample: its outcome, with reason and evidence, and what is known of its image."""
    out, limits = draws.data.screened(draws.name, source), draws.recipe.mixture.limits
    fingerprints = draws.data.fingerprints(draws.name, source)

    def build() -> dict[str, Any]:
        offered = draws.candidates(source)
        looks = unlike = None
        if not draws.deferred:
            looks = read_decisions(fingerprints, limits, draws.benchmarked())
        if looks and draws.twin_bits is not None:
            unlike = WithoutNearDuplicates(looks, fingerprints, draws.twin_bits)
        seen = unlike or looks
        passes = seen.passes if seen else lambda names: np.ones(len(names), np.bool_)
        try:
            quota = draws.quota(source)
            drawn = draw(offered.order, quota, lambda rows: passes(offered.images[rows]))
        except KeyError as unseen:
            problem = f"is from before a change: it lacks {unseen.args[0]}"
            raise UserError(f"images/{source}", problem, FIRST) from None
        looks = unlike.looks() if unlike else looks
        return write_screened(out, draws.data.records(source), offered, drawn, looks)

    inputs = {
        **draws.draw_inputs(source),
        "code": code_of("screened"),
        "images": draws.digest_of(f"images/{source}"),
    }
    return draws.stage(f"screened/{source}", inputs, [out], build)
