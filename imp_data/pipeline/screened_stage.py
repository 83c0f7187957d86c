"""The screened stage of a source: which Samples pass, which are dropped and why, which are held."""

from typing import Any

import numpy as np

from imp_data.errors import UserError
from imp_data.pipeline.sampling_inputs import SamplingInputs
from imp_data.pipeline.stages import MATERIALIZE_FIRST, stage_code_version
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.quota_sampling import write_screened
from imp_data.screening.quota_shares import sample_source
from imp_data.screening.sample_images import Mask
from imp_data.screening.text_filters import Rows
from imp_data.storage.stage_cache import StageResult


def screened_stage(inputs: SamplingInputs, source: str) -> StageResult:
    """Write one row for each Sample: its outcome with reason and evidence, and its image's facts.

    The images stage has decided every image; this stage reads its decisions.
    """
    out = inputs.data.screened(inputs.name, source)

    def build() -> dict[str, Any]:
        candidates = inputs.candidates(source)
        decisions = None
        if not inputs.deferred:
            decisions = read_decisions(inputs.data.fingerprints(inputs.name, source))
        records = inputs.data.records(source)

        def passes(rows: Rows) -> Mask:
            if decisions is None:
                return np.ones(len(rows), np.bool_)
            images = candidates.images.take(rows)
            return images.all_pass(decisions.passing_images(images))

        try:
            sampled = sample_source(records, candidates.order, inputs.quota(source), passes)
        except KeyError as unseen:
            problem = f"was built before a change: it lacks {unseen.args[0]}"
            raise UserError(f"images/{source}", problem, MATERIALIZE_FIRST) from None
        return write_screened(out, records, candidates, sampled, decisions)

    digests = {
        **inputs.sampling_digests(source),
        "code": stage_code_version("screened"),
        "images": inputs.digest_of(f"images/{source}"),
    }
    return inputs.stage(f"screened/{source}", digests, [out], build)
