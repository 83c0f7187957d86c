"""Repair Drafts, and reject those that break a rule.

A repair changes a Draft and returns the text that it replaced. A rule returns None, or the reason
for rejecting the Draft with its evidence.
"""

import json
import re
from collections.abc import Callable, Sequence

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Limits
from imp_data.records.layouts.subsets import REGION_SUBSETS
from imp_data.sample import IMAGE_TOKEN, Draft, has_visible_text
from imp_data.storage.image_paths import is_url, leads_outside, normalize_path

# C0 and C1 controls except tab, newline and carriage return: they carry no meaning in text.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUMBER = r"\s*-?\d+(?:\.\d+)?\s*"
# The speakers that may follow each speaker, "" at the beginning.
_FOLLOWING = {
    "": ("human", "system"),
    "system": ("human",),
    "human": ("gpt",),
    "gpt": ("human", "tool"),
    "tool": ("gpt", "tool"),
}
# Browsers and servers take no longer ones.
_MAX_URL_CHARACTERS = 8192
_TURN_REASONS = {"system": Reason.SYSTEM_TURN, "tool": Reason.TOOL_TURN}
_BOX = re.compile(rf"\[({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})\]")


def normalise_image_path(draft: Draft) -> AppliedRepair | None:
    """Normalise the images' paths; keep a URL or a path that leads outside, as evidence."""
    before = draft.images
    normal = map(normalize_path, before)
    draft.images = tuple(
        path if leads_outside(new) or is_url(path) else new
        for path, new in zip(before, normal, strict=True)
    )
    if draft.images == before:
        return None
    text = before[0] if len(before) == 1 else json.dumps(before, ensure_ascii=False)
    return AppliedRepair(Repair.IMAGE_PATH_NORMALISED, text)


def remove_leading_gpt(draft: Draft) -> AppliedRepair | None:
    """Remove a first turn by gpt, as LLaVA's train.py skips it (llava/train/train.py, v1)."""
    if len(draft.turns) > 1 and draft.turns[0][0] == "gpt":
        return AppliedRepair(Repair.LEADING_GPT_REMOVED, draft.turns.pop(0)[1])
    return None


def remove_control_characters(draft: Draft) -> AppliedRepair | None:
    """Remove control characters; record the first turn that had one."""
    before = None
    for number, (speaker, value) in enumerate(draft.turns):
        if not value.isprintable() and _CONTROL.search(value):
            before = value if before is None else before
            draft.turns[number] = (speaker, _CONTROL.sub("", value))
    return None if before is None else AppliedRepair(Repair.CONTROL_REMOVED, before)


def move_token_to_front(draft: Draft) -> AppliedRepair | None:
    """Move `<image>` to the front of its turn, once, as LLaVA's preprocess_multimodal does.

    Among several images the position of a token says which image is meant: none is moved.
    """
    if len(draft.images) != 1:
        return None
    for number, (speaker, value) in enumerate(draft.turns):
        if speaker == "human" and IMAGE_TOKEN in value:
            if value.startswith(f"{IMAGE_TOKEN}\n") and value.count(IMAGE_TOKEN) == 1:
                return None
            draft.turns[number] = (speaker, put_token_first(value))
            return AppliedRepair(Repair.TOKEN_MOVED, value)
    return None


def put_token_first(value: str) -> str:
    """Return the text with one `<image>`, at the front."""
    return f"{IMAGE_TOKEN}\n{value.replace(IMAGE_TOKEN, '').strip()}"


REPAIRS: tuple[Callable[[Draft], AppliedRepair | None], ...] = (
    normalise_image_path,
    remove_leading_gpt,
    remove_control_characters,
    move_token_to_front,
)


def image_is_a_path(draft: Draft, limits: Limits) -> Verdict | None:
    """Reject an image that is named by its URL: a build downloads only lists of URLs."""
    for position, image in enumerate(draft.images):
        if is_url(image):
            where = {"position": position} if len(draft.images) > 1 else {}
            return Verdict(Reason.IMAGE_IS_URL, {"image": image[:_MAX_URL_CHARACTERS], **where})
    return None


def image_path_stays_inside(draft: Draft, limits: Limits) -> Verdict | None:
    """Reject a path that is empty, absolute or climbs: it could read any file of the machine."""
    for position, image in enumerate(draft.images):
        if leads_outside(image):
            where = {"position": position} if len(draft.images) > 1 else {}
            return Verdict(Reason.BAD_IMAGE_PATH, {"image": image[:200], **where})
    return None


def roles_alternate(draft: Draft, limits: Limits) -> Verdict | None:
    """Reject turns that are not human, gpt, human, gpt…, ending with gpt.

    A system turn may precede them, and turns by tools may stand between two by gpt.
    """
    before = ""
    for number, (speaker, _) in enumerate(draft.turns):
        if speaker not in _FOLLOWING[before]:
            return Verdict(Reason.WRONG_ROLES, {"turn": number, "from": speaker[:40]})
        before = speaker
    if before in ("", "system"):
        return Verdict(Reason.NO_TURNS, {})
    if before != "gpt":
        return Verdict(Reason.UNANSWERED, {"turn": len(draft.turns) - 1})
    return None


def values_are_visible(draft: Draft, limits: Limits) -> Verdict | None:
    """Reject a turn without visible text besides the image token."""
    for number, (_, value) in enumerate(draft.turns):
        if is_blank(value):
            return Verdict(Reason.EMPTY_VALUE, {"turn": number})
    return None


def is_blank(value: str) -> bool:
    """Return whether a text has nothing visible besides the image token."""
    return not has_visible_text(value.replace(IMAGE_TOKEN, ""))


def token_matches_image(draft: Draft, limits: Limits) -> Verdict | None:
    """Require `<image>` in questions alone, as often as there are images.

    Of several images, the first is where the first `<image>` stands, and so on.
    """
    if len(draft.images) > 1:
        return _tokens_match_images(draft)
    holders = [n for n, (_, value) in enumerate(draft.turns) if IMAGE_TOKEN in value]
    if not draft.images:
        return Verdict(Reason.TOKEN_WITHOUT_IMAGE, {"turn": holders[0]}) if holders else None
    if not holders:
        return Verdict(Reason.TOKEN_MISSING, {})
    if len(holders) > 1:
        return Verdict(Reason.TOKEN_REPEATED, {"turns": holders[:10]})
    if draft.turns[holders[0]][0] != "human":
        return Verdict(Reason.TOKEN_IN_ANSWER, {"turn": holders[0]})
    return None


def _tokens_match_images(draft: Draft) -> Verdict | None:
    counts = [(speaker, value.count(IMAGE_TOKEN)) for speaker, value in draft.turns]
    asked = sum(count for speaker, count in counts if speaker == "human")
    others = sum(count for speaker, count in counts if speaker != "human")
    if asked == len(draft.images) and not others:
        return None
    elsewhere = {"tokens_elsewhere": others} if others else {}
    return Verdict(Reason.TOKEN_COUNT, {"tokens": asked, "images": len(draft.images), **elsewhere})


def boxes_lie_inside(draft: Draft, limits: Limits) -> Verdict | None:
    """Require x1 < x2 and y1 < y2 within [0,1] for each box [x1, y1, x2, y2] of a region record."""
    if draft.subset not in REGION_SUBSETS:
        return None
    for number, (_, value) in enumerate(draft.turns):
        for match in _BOX.finditer(value):
            x1, y1, x2, y2 = map(float, match.groups())
            if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
                return Verdict(Reason.BOX_OUT_OF_RANGE, {"turn": number, "box": match.group()})
    return None


def length_within_limits(draft: Draft, limits: Limits) -> Verdict | None:
    """Reject a conversation beyond the limits: at that length it is a fault of the data."""
    characters = sum(len(value) for _, value in draft.turns)
    if len(draft.turns) > limits.max_turns or characters > limits.max_characters:
        return Verdict(Reason.TOO_LONG, {"turns": len(draft.turns), "characters": characters})
    return None


RULES: tuple[Callable[[Draft, Limits], Verdict | None], ...] = (
    image_is_a_path,
    image_path_stays_inside,
    roles_alternate,
    values_are_visible,
    token_matches_image,
    boxes_lie_inside,
    length_within_limits,
)


def repair_and_check(
    draft: Draft, limits: Limits, max_images: int = 1, keep_turns: Sequence[str] = ()
) -> Verdict | None:
    """Repair the Draft in place; return None if it passes all rules, or else the first verdict.

    `max_images` is the number of images that the source's manifest allows a record, `keep_turns`
    the speakers besides human and gpt whose turns the mixture's manifest keeps.
    """
    for number, (speaker, _) in enumerate(draft.turns):
        if speaker in _TURN_REASONS and speaker not in keep_turns:
            return Verdict(_TURN_REASONS[speaker], {"turn": number})
    if len(draft.images) > max_images:
        figures = {"images": len(draft.images), "most": max_images}
        return Verdict(Reason.TOO_MANY_IMAGES, figures)
    for repair in REPAIRS:
        done = repair(draft)
        if done is not None:
            draft.repairs.append(done)
    for rule in RULES:
        verdict = rule(draft, limits)
        if verdict is not None:
            return verdict
    return None
