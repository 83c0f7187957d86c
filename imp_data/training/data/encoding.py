"""Encode a Sample as token ids, and labels that are -100 wherever nothing is learned."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import Segment, Template, Turn, split_system
from imp_data.training.data.special_tokens import (
    MARK,
    GuardedTokenizer,
    find_spelled_tokens,
    guard_tokenizer,
    kept_texts,
)

IGNORED = -100

Ids = npt.NDArray[np.int64]


class EncodedSample(NamedTuple):
    """A Sample's tokens, with one `<image>` token for each feature of each of its images.

    `spelled` are the special tokens that its texts spell out, which `input_ids` has as text;
    `images` is the number of its first images that `input_ids` has: those of turns that are left
    out are missing.
    """

    input_ids: Ids
    labels: Ids
    lost: "LostTokens"
    spelled: tuple[str, ...]
    images: int

    @property
    def truncated(self) -> bool:
        """Whether the last turns are left out."""
        return self.lost.tokens > 0


class LostTokens(NamedTuple):
    """The number of tokens beyond the maximum length, and how many of them would be learned."""

    tokens: int = 0
    learned: int = 0


class RefusedSample(NamedTuple):
    """The reason why a Sample cannot be trained on."""

    reason: str
    lost: LostTokens = LostTokens()


def encode(
    tokenizer: Any,
    template: Template,
    conversation: Sequence[Turn],
    image_tokens: int,
    max_length: int,
    images: int = 1,
) -> EncodedSample | RefusedSample:
    """Return the ids and labels of Imp's preprocessing (imp_llava/train/train.py), token for token.

    `image_tokens` is the number of features of each of the `images`, 0 without an image. Of several
    images each has its features where its `<image>` stands; a single one has them at the front of
    its question. The text is tokenized
    as a whole, as in the original. Labels follow from the offset of each token, so no text can
    shift them. Unlike the original, a special token that a text spells out is encoded as text. A
    conversation that is too long ends after the last answer that fits.
    """
    images = images if image_tokens else 0
    if problem := _find_problem(template, conversation, images):
        return RefusedSample(problem)
    turns = [_move_image_token(turn) for turn in conversation] if images == 1 else conversation
    reader, found = _choose_reader(tokenizer, template, turns, images)
    if isinstance(reader, RefusedSample):
        return reader
    segments = reader.template.segments(turns)
    ids, begins = _encode_text(reader, "".join(s.text for s in segments), image_tokens)
    labels, ends = _make_labels(ids, begins, segments)
    if len(ids) <= max_length:
        return EncodedSample(ids, labels, LostTokens(), found, images)
    fitting = ends[ends <= max_length]
    end = int(fitting[-1]) if len(fitting) else 0
    lost = LostTokens(len(ids) - end, int((labels[end:] != IGNORED).sum()))
    if not end:
        return RefusedSample(
            f"its first answer ends at token {ends[0]:,}, beyond {max_length:,}", lost
        )
    left = int((ids[:end] == reader.image_id).sum()) // image_tokens if images else 0
    return EncodedSample(ids[:end], labels[:end], lost, found, left)


def encode_prompt(
    tokenizer: Any, template: Template, question: str, image_tokens: int
) -> EncodedSample | RefusedSample:
    """Return the ids of a question as `encode` does, up to the beginning of the answer."""
    exchange = [{"from": "human", "value": question}, {"from": "gpt", "value": "."}]
    images = int(image_tokens > 0)
    if problem := _find_problem(template, exchange, images):
        return RefusedSample(problem)
    turn = _move_image_token(exchange[0]) if images else exchange[0]
    reader, found = _choose_reader(tokenizer, template, [turn], images)
    if isinstance(reader, RefusedSample):
        return reader
    ids, _ = _encode_text(reader, reader.template.prompt(turn["value"]), image_tokens)
    return EncodedSample(ids, np.full_like(ids, IGNORED), LostTokens(), found, images)


def _find_problem(template: Template, conversation: Sequence[Turn], images: int) -> str | None:
    system, turns = split_system(conversation)
    if system is not None and not template.takes_system:
        return f"the template {template.name} has no place for a system turn"
    speakers = [turn["from"] for turn in turns]
    if "tool" in speakers:
        return f"the template {template.name} has no place for turns by tools"
    if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
        return "its turns do not alternate between human and gpt, ending with gpt"
    if not template.keeps_questions and (len(speakers) != 2 or images != 1):
        return f"the template {template.name} takes one caption of one image"
    if empty := [n for n, turn in enumerate(conversation) if not turn["value"]]:
        return f"turn {empty[0]} is empty"
    if images > 1:
        return _find_token_problem(conversation, images)
    if system is not None and IMAGE_TOKEN in system and images:
        return f"{IMAGE_TOKEN} stands in its system turn"
    holders = [n for n, turn in enumerate(turns) if IMAGE_TOKEN in turn["value"]]
    if images and not (
        len(holders) == 1
        and holders[0] % 2 == 0
        and _move_image_token(turns[holders[0]])["value"].count(IMAGE_TOKEN) == 1
    ):
        return f"a sample with an image must have {IMAGE_TOKEN} once, in one question"
    return None


def _find_token_problem(conversation: Sequence[Turn], images: int) -> str | None:
    counts = [(turn["from"], turn["value"].count(IMAGE_TOKEN)) for turn in conversation]
    asked = sum(count for speaker, count in counts if speaker == "human")
    if asked != images or asked != sum(count for _, count in counts):
        return f"a sample with {images} images must have {IMAGE_TOKEN} {images} times, in questions"
    return None


def _move_image_token(turn: Turn) -> Turn:
    """Move `<image>` and a newline to the front, as preprocess_multimodal of train.py does."""
    if IMAGE_TOKEN not in turn["value"]:
        return turn
    rest = turn["value"].replace(IMAGE_TOKEN, "").strip()
    return {**turn, "value": f"{IMAGE_TOKEN}\n{rest}".strip()}


class _PlainTokenizer(NamedTuple):
    """The unchanged tokenizer, for texts that spell out none of its special tokens."""

    template: Template
    tokenizer: Any

    @property
    def image_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))

    def encode(self, text: str, add_special_tokens: bool) -> tuple[list[int], list[int]]:
        tokens = self.tokenizer(
            text,
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        return tokens["input_ids"], [begin for begin, _ in tokens["offset_mapping"]]


def _choose_reader(
    tokenizer: Any, template: Template, turns: Sequence[Turn], images: int
) -> tuple[_PlainTokenizer | GuardedTokenizer | RefusedSample, tuple[str, ...]]:
    """Return the encoder of these turns, and the special tokens that they spell out."""
    texts = kept_texts(template, turns)
    found = find_spelled_tokens(tokenizer, texts, images)
    if not found:
        return _PlainTokenizer(template, tokenizer), found
    if any(MARK in text for text in texts):
        return RefusedSample(
            f"it has {found[0]} and U+10FFFF, a noncharacter used as a mark"
        ), found
    return guard_tokenizer(tokenizer, template), found


def _encode_text(
    reader: _PlainTokenizer | GuardedTokenizer, text: str, image_tokens: int
) -> tuple[Ids, Ids]:
    """Return ids, and the offset in the text at which each token begins."""
    if not image_tokens:
        return _encode_piece(reader, text, first=True)
    first, *others = text.split(IMAGE_TOKEN)
    parts = [_encode_piece(reader, first, first=True)]
    offset = len(first)
    for piece in others:
        place = np.full(image_tokens, offset, np.int64)
        parts.append((np.full(image_tokens, reader.image_id, np.int64), place))
        offset += len(IMAGE_TOKEN)
        ids, begins = _encode_piece(reader, piece, first=False)
        parts.append((ids, begins + offset))
        offset += len(piece)
    all_ids, all_begins = map(np.concatenate, zip(*parts, strict=True))
    return all_ids, all_begins


def _encode_piece(
    reader: _PlainTokenizer | GuardedTokenizer, text: str, first: bool
) -> tuple[Ids, Ids]:
    """Encode one piece; only the first gets the tokenizer's beginning-of-text token, if any."""
    ids, begins = reader.encode(text, add_special_tokens=first)
    return np.array(ids, np.int64), np.array(begins, np.int64)


def _make_labels(ids: Ids, begins: Ids, segments: Sequence[Segment]) -> tuple[Ids, Ids]:
    """Return labels, and the number of tokens up to the end of each answer.

    A token belongs to the segment of its first character. If a tokenizer merges the end of a prompt
    with the beginning of an answer (two newlines), the merged token is not learned.
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
