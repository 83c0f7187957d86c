"""A Sample as tokens: ids, and labels that are -100 wherever nothing is to be learned."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.templates import Segment, Template, Turn

IGNORED = -100

Ids = npt.NDArray[np.int64]


class Encoded(NamedTuple):
    """A Sample's tokens. The picture's place is held by as many `<image>` as it has features."""

    input_ids: Ids
    labels: Ids
    truncated: bool


class Refused(NamedTuple):
    """Why a Sample cannot be trained on."""

    reason: str


def encode(
    tokenizer: Any,
    template: Template,
    conversation: Sequence[Turn],
    image_tokens: int,
    max_length: int,
) -> Encoded | Refused:
    """Ids and labels as Imp's preprocessing gives them (imp_llava/train/train.py), token for token.

    `image_tokens` is the number of the picture's features, 0 for text alone. The text is tokenized
    as a whole, as there; what is learned is told by where each token begins, so that no text can
    shift the labels. A conversation that is too long ends after the last answer that fits.
    """
    if problem := _problem(template, conversation, image_tokens):
        return Refused(problem)
    turns = [_in_front(turn) for turn in conversation] if image_tokens else conversation
    segments = template.segments(turns)
    ids, begins = _tokens(tokenizer, "".join(s.text for s in segments), image_tokens)
    labels, ends = _labels(ids, begins, segments)
    if len(ids) <= max_length:
        return Encoded(ids, labels, truncated=False)
    fitting = ends[ends <= max_length]
    if not len(fitting):
        return Refused(f"its first answer ends at token {ends[0]:,}, beyond {max_length:,}")
    end = int(fitting[-1])
    return Encoded(ids[:end], labels[:end], truncated=True)


def encode_prompt(
    tokenizer: Any, template: Template, question: str, image_tokens: int
) -> Encoded | Refused:
    """The ids of a question as `encode` gives them, up to where the answer begins."""
    asked = [{"from": "human", "value": question}, {"from": "gpt", "value": "."}]
    if problem := _problem(template, asked, image_tokens):
        return Refused(problem)
    turn = _in_front(asked[0]) if image_tokens else asked[0]
    ids, _ = _tokens(tokenizer, template.prompt(turn["value"]), image_tokens)
    return Encoded(ids, np.full_like(ids, IGNORED), truncated=False)


def _problem(template: Template, conversation: Sequence[Turn], image_tokens: int) -> str | None:
    speakers = [turn["from"] for turn in conversation]
    if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
        return "its turns do not alternate between human and gpt, ending with gpt"
    if not template.keeps_questions and (len(speakers) != 2 or not image_tokens):
        return f"the template {template.name} takes one caption of one picture"
    if empty := [n for n, turn in enumerate(conversation) if not turn["value"]]:
        return f"turn {empty[0]} says nothing"
    holders = [n for n, turn in enumerate(conversation) if IMAGE_TOKEN in turn["value"]]
    if image_tokens and not (
        len(holders) == 1
        and holders[0] % 2 == 0
        and _in_front(conversation[holders[0]])["value"].count(IMAGE_TOKEN) == 1
    ):
        return f"{IMAGE_TOKEN} must stand in one question, once, where there is a picture"
    return None


def _in_front(turn: Turn) -> Turn:
    """`<image>` and a newline in front of the rest, as train.py's preprocess_multimodal has it."""
    if IMAGE_TOKEN not in turn["value"]:
        return turn
    rest = turn["value"].replace(IMAGE_TOKEN, "").strip()
    return {**turn, "value": f"{IMAGE_TOKEN}\n{rest}".strip()}


def _tokens(tokenizer: Any, text: str, image_tokens: int) -> tuple[Ids, Ids]:
    """Ids, and at which character of the text each begins."""
    if not image_tokens:
        # Where there is no picture these characters are text like any other.
        plain = _without_picture(tokenizer) if IMAGE_TOKEN in text else tokenizer
        return _piece(plain, text, first=True)
    before, after = text.split(IMAGE_TOKEN)
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    left, left_begins = _piece(tokenizer, before, first=True)
    right, right_begins = _piece(tokenizer, after, first=False)
    ids = np.concatenate([left, np.full(image_tokens, image_id, np.int64), right])
    place = np.full(image_tokens, len(before), np.int64)
    return ids, np.concatenate([left_begins, place, right_begins + len(before) + len(IMAGE_TOKEN)])


def _piece(tokenizer: Any, text: str, first: bool) -> tuple[Ids, Ids]:
    """A beginning-of-text token, where the tokenizer has one, stands before the first piece."""
    tokens = tokenizer(
        text,
        add_special_tokens=first,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    begins = np.array([begin for begin, _ in tokens["offset_mapping"]], np.int64)
    return np.array(tokens["input_ids"], np.int64), begins


def _labels(ids: Ids, begins: Ids, segments: Sequence[Segment]) -> tuple[Ids, Ids]:
    """Labels, and the number of tokens up to the end of each answer.

    A token belongs to the segment that its first character is in. Where a tokenizer merges the end
    of a prompt with the beginning of an answer (two newlines), the merged token is not learned.
    """
    bounds = np.cumsum([len(segment.text) for segment in segments])
    until = np.searchsorted(begins, bounds)
    labels = np.full_like(ids, IGNORED)
    first = 0
    for segment, end in zip(segments, until.tolist(), strict=True):
        if segment.learned:
            labels[first:end] = ids[first:end]
        first = end
    return labels, until[[segment.learned for segment in segments]]


@lru_cache(maxsize=4)
def _without_picture(tokenizer: Any) -> Any:
    """A copy that reads `<image>` as plain text; made once a process, if at all."""
    import copy

    import orjson
    from tokenizers import Tokenizer

    said = orjson.loads(tokenizer.backend_tokenizer.to_str())
    said["added_tokens"] = [t for t in said["added_tokens"] if t["content"] != IMAGE_TOKEN]
    plain = copy.copy(tokenizer)
    plain._tokenizer = Tokenizer.from_str(orjson.dumps(said).decode())
    return plain
