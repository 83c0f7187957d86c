"""Name the sub-source of a record in LLaVA's layout, by its image path and its first question."""

import re

from imp_data.manifests import SubsetRule
from imp_data.sample import OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX


def subset_of(rule: SubsetRule, image: str | None, question: str) -> str:
    """Return the sub-source of a record, by its image path and its first question."""
    match rule:
        case "mix665k":
            return _mix665k(image, question)
        case "allava":
            return _allava(image) if image else "text"
        case "image_family":
            return _image_family(image or "")
        case _:
            return ""


# Subsets whose text holds boxes, normalised on the image padded to a square.
REGION_SUBSETS = frozenset({"refcoco", "vg"})
_BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes:"
_REGION_PROMPT = "Please provide a short description for this region:"
_SHORT_ANSWERS = {"coco": "vqav2_okvqa", "gqa": "gqa", "ocr_vqa": "ocr_vqa"}


def _mix665k(image: str | None, question: str) -> str:
    """Return the sub-source of a llava_v1_5_mix665k record, by its path and prompt wording.

    Counts of the pinned revision by these rules: haotian-liu/LLaVA, issues 702 and 657. VQAv2 and
    OKVQA share images and wording, so they cannot be told apart.
    """
    if image is None:
        return "sharegpt"
    family = image.split("/", 1)[0]
    if family == "textvqa":
        return "textcaps"
    text = question.replace("<image>", "").strip()
    if text.startswith((_BOX_PROMPT, _REGION_PROMPT)):
        return "vg" if family == "vg" else "refcoco"
    if text.endswith(OPTION_LETTER_SUFFIX):
        return "a_okvqa"
    if text.endswith(SHORT_ANSWER_SUFFIX) and family in _SHORT_ANSWERS:
        return _SHORT_ANSWERS[family]
    # OCR-VQA, GQA and VG have one form each: the directory decides, whatever the question.
    return {"gqa": "gqa", "ocr_vqa": "ocr_vqa", "vg": "vg"}.get(family, "llava_instruct")


def _allava(image: str) -> str:
    """`laion`, or `vflan:<task>`: Vision-FLAN's files are named <task>_<number>_<original name>.

    Some tasks end in a digit (`visdial+answer_question_9`), some files lack the number.
    """
    if image.startswith("allava_laion/"):
        return "laion"
    task = re.match(r"(.+?(?:_\d(?=_\d+_))?)_(?:\d+_|COCO_)", image.rsplit("/", 1)[-1])
    return f"vflan:{task.group(1) if task else 'other'}"


def _image_family(image: str) -> str:
    """Return the directory of a ShareGPT4V image, as one word."""
    steps = image.split("/")
    family = steps[1] if steps[0] == "llava" and len(steps) > 1 else steps[0]
    return family.replace("-", "_")
