"""The rules every record meets: what is mended, and what makes it go.

A mend changes a Draft and says what stood there; a rule looks at a Draft and answers None, or the
reason why it goes, with its evidence.
"""

import re
from collections.abc import Callable

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Limits
from imp_data.records.layouts.llava import REGION_SUBSETS
from imp_data.sample import IMAGE_TOKEN, Draft, says_something
from imp_data.storage.image_paths import leads_outside, normal_path

# C0 and C1 but for tab, newline and carriage return. They carry no meaning in text, so they go.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUMBER = r"\s*-?\d+(?:\.\d+)?\s*"
_BOX = re.compile(rf"\[({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})\]")


def normalise_image_path(draft: Draft) -> AppliedRepair | None:
    """The image's path in its normal form; one that leads outside stays as it is, as evidence."""
    before = draft.image
    if before is None or (path := normal_path(before)) == before or leads_outside(path):
        return None
    draft.image = path
    return AppliedRepair(Repair.IMAGE_PATH_NORMALISED, before)


def remove_leading_gpt(draft: Draft) -> AppliedRepair | None:
    """LLaVA's train.py skips a first turn that is not from human (llava/train/train.py, v1)."""
    if len(draft.turns) > 1 and draft.turns[0][0] == "gpt":
        return AppliedRepair(Repair.LEADING_GPT_REMOVED, draft.turns.pop(0)[1])
    return None


def remove_control_characters(draft: Draft) -> AppliedRepair | None:
    """Text without control characters; the first turn that had one is what is noted."""
    before = None
    for number, (speaker, value) in enumerate(draft.turns):
        if not value.isprintable() and _CONTROL.search(value):
            before = value if before is None else before
            draft.turns[number] = (speaker, _CONTROL.sub("", value))
    return None if before is None else AppliedRepair(Repair.CONTROL_REMOVED, before)


def move_token_to_front(draft: Draft) -> AppliedRepair | None:
    """`<image>` to the front of its turn, once, as LLaVA's loader does (preprocess_multimodal)."""
    if draft.image is None:
        return None
    for number, (speaker, value) in enumerate(draft.turns):
        if speaker == "human" and IMAGE_TOKEN in value:
            if value.startswith(f"{IMAGE_TOKEN}\n") and value.count(IMAGE_TOKEN) == 1:
                return None
            draft.turns[number] = (speaker, with_token_first(value))
            return AppliedRepair(Repair.TOKEN_MOVED, value)
    return None


def with_token_first(value: str) -> str:
    """The text with `<image>` in front, once."""
    return f"{IMAGE_TOKEN}\n{value.replace(IMAGE_TOKEN, '').strip()}"


MENDS: tuple[Callable[[Draft], AppliedRepair | None], ...] = (
    normalise_image_path,
    remove_leading_gpt,
    remove_control_characters,
    move_token_to_front,
)


def image_path_stays_inside(draft: Draft, limits: Limits) -> Verdict | None:
    """A path that is empty, absolute or climbs could read any file of the machine."""
    if draft.image is not None and leads_outside(draft.image):
        return Verdict(Reason.BAD_IMAGE_PATH, {"image": draft.image[:200]})
    return None


def roles_alternate(draft: Draft, limits: Limits) -> Verdict | None:
    """human, gpt, human, gpt…, ending with gpt."""
    if not draft.turns:
        return Verdict(Reason.NO_TURNS, {})
    for number, (speaker, _) in enumerate(draft.turns):
        if speaker != ("gpt" if number % 2 else "human"):
            return Verdict(Reason.WRONG_ROLES, {"turn": number, "from": speaker[:40]})
    if len(draft.turns) % 2:
        return Verdict(Reason.UNANSWERED, {"turn": len(draft.turns) - 1})
    return None


def values_say_something(draft: Draft, limits: Limits) -> Verdict | None:
    """No value in which nothing can be seen but the image's token."""
    for number, (_, value) in enumerate(draft.turns):
        if says_nothing(value):
            return Verdict(Reason.EMPTY_VALUE, {"turn": number})
    return None


def says_nothing(value: str) -> bool:
    """Whether there is nothing to see but the image's token."""
    return not says_something(value.replace(IMAGE_TOKEN, ""))


def token_matches_image(draft: Draft, limits: Limits) -> Verdict | None:
    """`<image>` once, in a question, where there is an image; nowhere where there is none."""
    holders = [n for n, (_, value) in enumerate(draft.turns) if IMAGE_TOKEN in value]
    if draft.image is None:
        return Verdict(Reason.TOKEN_WITHOUT_IMAGE, {"turn": holders[0]}) if holders else None
    if not holders:
        return Verdict(Reason.TOKEN_MISSING, {})
    if len(holders) > 1:
        return Verdict(Reason.TOKEN_REPEATED, {"turns": holders[:10]})
    if draft.turns[holders[0]][0] == "gpt":
        return Verdict(Reason.TOKEN_IN_ANSWER, {"turn": holders[0]})
    return None


def boxes_lie_inside(draft: Draft, limits: Limits) -> Verdict | None:
    """[x1, y1, x2, y2] within [0,1] with x1 < x2 and y1 < y2, where a record is about regions."""
    if draft.subset not in REGION_SUBSETS:
        return None
    for number, (_, value) in enumerate(draft.turns):
        for match in _BOX.finditer(value):
            x1, y1, x2, y2 = map(float, match.groups())
            if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
                return Verdict(Reason.BOX_OUT_OF_RANGE, {"turn": number, "box": match.group()})
    return None


def length_within_limits(draft: Draft, limits: Limits) -> Verdict | None:
    """Beyond these bounds a record is an accident, not a conversation."""
    characters = sum(len(value) for _, value in draft.turns)
    if len(draft.turns) > limits.max_turns or characters > limits.max_characters:
        return Verdict(Reason.TOO_LONG, {"turns": len(draft.turns), "characters": characters})
    return None


RULES: tuple[Callable[[Draft, Limits], Verdict | None], ...] = (
    image_path_stays_inside,
    roles_alternate,
    values_say_something,
    token_matches_image,
    boxes_lie_inside,
    length_within_limits,
)


def judge(draft: Draft, limits: Limits) -> Verdict | None:
    """Mend the Draft, then None if every rule lets it pass, or the first verdict against it."""
    for mend in MENDS:
        done = mend(draft)
        if done is not None:
            draft.mends.append(done)
    for rule in RULES:
        verdict = rule(draft, limits)
        if verdict is not None:
            return verdict
    return None
