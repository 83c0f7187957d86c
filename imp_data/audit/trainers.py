"""What trainers do with the records that the rules reject, from their source code.

Versions and places: LLaMA-Factory 0.9.5 (data/converter.py, data/mm_plugin.py), ms-swift 4.6
(dataset/preprocessor/core.py, template/base.py, dataset/utils.py), TRL 1.16 (data_utils.py,
sft_trainer.py), Axolotl 0.19 (processing_strategies.py), Unsloth zoo 2026.10 (vision_utils.py),
NeMo AutoModel 0.7 (vlm/datasets.py), Qwen3-VL (qwen-vl-finetune/qwenvl/data), InternVL
(internvl_chat finetune.py).
"""

from collections.abc import Mapping
from typing import Any

from imp_data.ledger import Reason

_ROLES = (Reason.WRONG_ROLES, Reason.UNANSWERED, Reason.NO_TURNS)
_FEWER = (Reason.TOKEN_MISSING,)
_MORE = (Reason.TOKEN_WITHOUT_IMAGE, Reason.TOKEN_REPEATED, Reason.TOKEN_IN_ANSWER)
_UNEQUAL = (Reason.TOKEN_COUNT,)
_ABSENT = (Reason.IMAGE_MISSING, Reason.DOWNLOAD_FAILED)
_BROKEN = (Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TRUNCATED, Reason.IMAGE_EMPTY)
_FIELDS = (Reason.UNREAD_FIELD,)

_EFFECTS: dict[str, dict[tuple[Reason, ...], str]] = {
    "LLaMA-Factory": {
        _ROLES: "drops the record with a line in the log",
        (*_FEWER, *_MORE, *_UNEQUAL): "stops with ValueError",
        _ABSENT: "warns, and fails in training",
        _BROKEN: "fails in training",
    },
    "ms-swift": {
        _ROLES: "drops the record",
        _FIELDS: "trains without the field",
        _FEWER: "puts the image before the first message",
        _MORE: "trains on <image> as text",
        (*_ABSENT, *_BROKEN): "trains on another record in its place",
    },
    "TRL": {
        _ROLES: "trains on it as it is",
        (*_FEWER, *_UNEQUAL): "stops with ValueError where the counts differ",
        _MORE: "trains on <image> as text",
        (*_ABSENT, *_BROKEN): "fails in training",
    },
    "Axolotl": {_MORE: "trains on <image> as text"},
    "Unsloth": {(*_ABSENT, *_BROKEN): "stops with an error"},
    "NeMo AutoModel": {
        (*_FEWER, *_MORE, *_UNEQUAL): "ignores the surplus image or <image>",
        (*_ABSENT, *_BROKEN): "trains on a random record in its place",
    },
    "Qwen-VL finetune": {
        _ROLES: "takes every speaker but human for the assistant",
        (*_FEWER, *_MORE, *_UNEQUAL, *_ABSENT, *_BROKEN): "trains on the next record in its place",
    },
    "InternVL": {
        _FEWER: "puts the image before the first question",
        (*_MORE, *_UNEQUAL, *_ABSENT, *_BROKEN): "trains on a random record in its place",
    },
}
# What trainers do with records that have no fault.
_OF_SEVERAL_IMAGES = {"Axolotl": "uses the first of several images alone"}
_OF_SYSTEM_TURNS = {"Qwen-VL finetune": _EFFECTS["Qwen-VL finetune"][_ROLES]}


def trainer_effects(
    reasons: Mapping[str, int], several_images: int = 0, with_system: int = 0
) -> list[dict[str, Any]]:
    """Return what each trainer does with how many of the records.

    `reasons` counts the dropped records; `several_images` those that have more than one image, and
    `with_system` those that begin with a system turn.
    """
    found = []
    for trainer, effects in _EFFECTS.items():
        counts: dict[str, int] = {}
        for some, effect in effects.items():
            if records := sum(reasons.get(reason, 0) for reason in some):
                counts[effect] = counts.get(effect, 0) + records
        faultless = ((several_images, _OF_SEVERAL_IMAGES), (with_system, _OF_SYSTEM_TURNS))
        for records, others in faultless:
            if records and trainer in others:
                counts[others[trainer]] = counts.get(others[trainer], 0) + records
        found += [
            {"trainer": trainer, "records": records, "effect": effect}
            for effect, records in counts.items()
        ]
    return found
