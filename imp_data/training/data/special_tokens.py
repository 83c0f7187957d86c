"""Find special tokens that a sample's text spells out, and encode them as plain text."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import Template, Turn

# A Unicode noncharacter, reserved for internal use: interchanged text does not contain it.
MARK = "\U0010ffff"


def find_spelled_tokens(tokenizer: Any, texts: Sequence[str], images: int) -> tuple[str, ...]:
    """Return the special tokens that texts spell out, with repetitions.

    The first `<image>` of a sample with an image is not one: the image's features replace it. So it
    is with as many as the sample has images.
    """
    pattern = _special_token_pattern(tokenizer)
    found = [token for text in texts for token in pattern.findall(text)]
    for _ in range(min(images, found.count(IMAGE_TOKEN))):
        found.remove(IMAGE_TOKEN)
    return tuple(found)


def kept_texts(template: Template, conversation: Sequence[Turn]) -> list[str]:
    """Return the texts of a conversation that the template keeps."""
    kept = conversation if template.keeps_questions else conversation[1::2]
    return [turn["value"] for turn in kept]


class GuardedTokenizer(NamedTuple):
    """A tokenizer that recognizes special tokens of the template, and none in a sample's text.

    `template` has a mark around each of its special tokens. The backend has separate ids for the
    marked tokens and does not recognize unmarked ones, so it splits those into ordinary tokens.
    """

    template: Template
    backend: Any
    ids: dict[int, int]
    """Ids of the marked tokens, and the ids of the special tokens that they replace."""

    @property
    def image_id(self) -> int:
        """The id of `<image>`, which the backend shares."""
        return int(self.backend.token_to_id(IMAGE_TOKEN))

    def encode(self, text: str, add_special_tokens: bool) -> tuple[list[int], list[int]]:
        """Return ids, and the offset in the text at which each token begins."""
        found = self.backend.encode(text, add_special_tokens=add_special_tokens)
        return [self.ids.get(n, n) for n in found.ids], [begin for begin, _ in found.offsets]


@lru_cache(maxsize=4)
def guard_tokenizer(tokenizer: Any, template: Template) -> GuardedTokenizer:
    """Return the tokenizer's guarded copy, cached per process."""
    from tokenizers import AddedToken, Tokenizer

    stated = orjson.loads(tokenizer.backend_tokenizer.to_str())
    for token in stated["added_tokens"]:
        # Phi-3's own </s> is not flagged as special.
        token["special"] = not token["content"].isspace()
    backend: Any = Tokenizer.from_str(orjson.dumps(stated).decode())
    backend.encode_special_tokens = True
    marks = {token: f"{MARK}{token}{MARK}" for token in template.special}
    known = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    for token, mark in marks.items():
        like = known[token]
        strips = {"lstrip": like.lstrip, "rstrip": like.rstrip}
        backend.add_tokens([AddedToken(mark, normalized=False, special=False, **strips)])
    ids = {
        backend.token_to_id(mark): tokenizer.convert_tokens_to_ids(token)
        for token, mark in marks.items()
    }
    return GuardedTokenizer(template.with_marks(marks), backend, ids)


@lru_cache(maxsize=4)
def _special_token_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Match any added token, longest first, except runs of blanks, which are text."""
    special = [token for token in tokenizer.get_added_vocab() if not token.isspace()]
    return re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)")
