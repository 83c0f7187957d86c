"""Apply the exclusion rules on the size, shape and score of images to their fingerprints."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from imp_data.ledger import Reason, Verdict
from imp_data.manifests.exclusion_rules import ImageSize
from imp_data.screening.exclusion_rules import Found, PreparedRule, match_scores

IMAGE_RULE_REASONS = (Reason.EXCLUDED_BY_IMAGE, Reason.EXCLUDED_BY_SCORE)


def image_rule_verdicts(
    fingerprints: pa.Table, rules: Sequence[PreparedRule]
) -> dict[int, Verdict]:
    """Return {row: verdict of the first matching rule} for fingerprints of whole images."""
    verdicts: dict[int, Verdict] = {}
    for prepared in rules:
        for row, evidence in match_image_rule(fingerprints, prepared).items():
            image = {"image": fingerprints["image"][row].as_py()}
            verdicts.setdefault(row, prepared.verdict({**image, **evidence}))
    return verdicts


def match_image_rule(fingerprints: pa.Table, prepared: PreparedRule) -> Found:
    """Return {row: evidence} for the images that a rule excludes."""
    rule = prepared.rule
    if rule.image_size is not None:
        return _match_size(fingerprints, rule.image_size)
    if rule.score is not None and prepared.scores is not None:
        return match_scores(fingerprints["sha256"], rule.score, prepared.scores)
    return {}


def _match_size(fingerprints: pa.Table, rule: ImageSize) -> Found:
    width, height = (fingerprints[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    pixels = width * height
    limits = {
        "min_side": shorter < (rule.min_side or 0),
        "max_side": longer > (rule.max_side or np.inf),
        "min_pixels": pixels < (rule.min_pixels or 0),
        "max_pixels": pixels > (rule.max_pixels or np.inf),
        "max_aspect": longer > (rule.max_aspect or np.inf) * shorter,
    }
    found: Found = {}
    for name, outside in limits.items():
        for row in np.flatnonzero(outside).tolist():
            size: dict[str, Any] = {"size": [int(width[row]), int(height[row])]}
            found.setdefault(row, {**size, name: getattr(rule, name)})
    return dict(sorted(found.items()))
