"""What trainers do with the records that the rules reject, from their source code.

Versions and places: LLaMA-Factory 0.9.5 (data/converter.py, data/mm_plugin.py), ms-swift 4.6
(dataset/preprocessor/core.py, template/base.py, dataset/utils.py), TRL 1.16 (data_utils.py,
sft_trainer.py), Qwen3-VL (qwen-vl-finetune/qwenvl/data), InternVL (internvl_chat finetune.py).
"""

from collections.abc import Mapping
from typing import Any

from imp_data.ledger import Reason

_ROLES = (Reason.WRONG_ROLES, Reason.UNANSWERED, Reason.NO_TURNS)
_FEWER = (Reason.TOKEN_MISSING,)
_MORE = (Reason.TOKEN_WITHOUT_IMAGE, Reason.TOKEN_REPEATED, Reason.TOKEN_IN_ANSWER)
_ABSENT = (Reason.IMAGE_MISSING, Reason.DOWNLOAD_FAILED)
_BROKEN = (Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TRUNCATED, Reason.IMAGE_EMPTY)

_EFFECTS: dict[str, dict[tuple[Reason, ...], str]] = {
    "LLaMA-Factory": {
        _ROLES: "drops the record with a line in the log",
        _FEWER: "stops with ValueError",
        _MORE: "stops with ValueError",
        _ABSENT: "warns, and fails in training",
        _BROKEN: "fails in training",
    },
    "ms-swift": {
        _ROLES: "drops the record",
        _FEWER: "puts the image before the first message",
        _MORE: "trains on <image> as text",
        _ABSENT: "trains on another record in its place",
        _BROKEN: "trains on another record in its place",
    },
    "TRL": {
        _ROLES: "trains on it as it is",
        _FEWER: "stops with ValueError where the counts differ",
        _MORE: "trains on <image> as text",
        _ABSENT: "fails in training",
        _BROKEN: "fails in training",
    },
    "Qwen-VL finetune": {
        _ROLES: "takes every speaker but human for the assistant",
        _FEWER: "trains on the next record in its place",
        _MORE: "trains on the next record in its place",
        _ABSENT: "trains on the next record in its place",
        _BROKEN: "trains on the next record in its place",
    },
    "InternVL": {
        _FEWER: "puts the image before the first question",
        _MORE: "trains on a random record in its place",
        _ABSENT: "trains on a random record in its place",
        _BROKEN: "trains on a random record in its place",
    },
}


def trainer_effects(reasons: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what each trainer does with how many of the records; `reasons` counts records."""
    found = []
    for trainer, effects in _EFFECTS.items():
        counts: dict[str, int] = {}
        for some, effect in effects.items():
            if records := sum(reasons.get(reason, 0) for reason in some):
                counts[effect] = counts.get(effect, 0) + records
        found += [
            {"trainer": trainer, "records": records, "effect": effect}
            for effect, records in counts.items()
        ]
    return found
