"""Special tokens that a text spells out: found, and read as the text that they are there."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import Template, Turn

# Unicode reserves it for a program's own use: no text that is interchanged has it.
MARK = "\U0010ffff"


def spelled(tokenizer: Any, texts: Sequence[str], image_tokens: int) -> tuple[str, ...]:
    """The special tokens that texts spell out, each as often as it stands there.

    `<image>` in a question that has an image is none of them: the image's features go there.
    """
    pattern = _pattern(tokenizer)
    found = [token for text in texts for token in pattern.findall(text)]
    if image_tokens and IMAGE_TOKEN in found:
        found.remove(IMAGE_TOKEN)
    return tuple(found)


def texts_of(template: Template, conversation: Sequence[Turn]) -> list[str]:
    """The texts of a conversation that the template keeps."""
    kept = conversation if template.keeps_questions else conversation[1::2]
    return [turn["value"] for turn in kept]


class Guarded(NamedTuple):
    """A tokenizer that reads special tokens where the template puts them, and nowhere else.

    `template` has a mark around each of its special tokens. The backend knows the marked ones by
    ids of their own; those that a text spells out it does not know, so they become the tokens that
    any other text of their letters would.
    """

    template: Template
    backend: Any
    ids: dict[int, int]
    """The marked tokens' ids, and those that they stand for."""

    @property
    def image_id(self) -> int:
        """That of `<image>`, which the backend has as well."""
        return int(self.backend.token_to_id(IMAGE_TOKEN))

    def encode(self, text: str, add_special_tokens: bool) -> tuple[list[int], list[int]]:
        """Ids, and at which character of the text each begins."""
        read = self.backend.encode(text, add_special_tokens=add_special_tokens)
        return [self.ids.get(n, n) for n in read.ids], [begin for begin, _ in read.offsets]


@lru_cache(maxsize=4)
def guarded(tokenizer: Any, template: Template) -> Guarded:
    """The tokenizer's guarded copy; made once a process, if at all."""
    from tokenizers import AddedToken, Tokenizer

    stated = orjson.loads(tokenizer.backend_tokenizer.to_str())
    for token in stated["added_tokens"]:
        # Phi-3's own </s> is not marked as special.
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
    return Guarded(template.marked(marks), backend, ids)


@lru_cache(maxsize=4)
def _pattern(tokenizer: Any) -> re.Pattern[str]:
    """Any added token but runs of blanks, which are text; the longest first."""
    special = [token for token in tokenizer.get_added_vocab() if not token.isspace()]
    return re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)")
