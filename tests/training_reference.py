"""What ids and labels must be, written from the templates' words and nothing else of the library.

The method is another one on purpose: an answer's labels begin after as many tokens as the text
before it has when tokenized by itself, the image is -200 until the very end, and text is cut at
the template's special tokens, so that what is tokenized has none.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

SYS = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
# What comes first, what surrounds a question, what surrounds its answer; special tokens stand
# between two characters that no text here has.
WORDS = {
    "phi2": (f"{SYS} ", "USER: {} ASSISTANT:", " {}\ufdd0</s>\ufdd1"),
    "qwen": (
        f"\ufdd0<|im_start|>\ufdd1system\n{SYS}\ufdd0<|im_end|>\ufdd1",
        "\n\ufdd0<|im_start|>\ufdd1user\n{}\ufdd0<|im_end|>\ufdd1\n\ufdd0<|im_start|>\ufdd1assistant\n",
        "{}\ufdd0<|im_end|>\ufdd1",
    ),
    "phi3": (
        f"\ufdd0<|system|>\ufdd1\n{SYS}\ufdd0<|end|>\ufdd1",
        "\n\ufdd0<|user|>\ufdd1\n{}\ufdd0<|end|>\ufdd1\n\ufdd0<|assistant|>\ufdd1\n",
        "{}\ufdd0<|end|>\ufdd1",
    ),
    "plain": ("", "<image>", "{}\n"),
}
IMAGE = -200


def conversation(*texts: str) -> list[dict[str, str]]:
    """LLaVA's form of questions and answers in turn."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def expected(
    tokenizer: Any, name: str, texts: Sequence[str], features: int
) -> tuple[list[int], list[int]]:
    """Ids and labels of questions and answers in turn, with so many tokens for an image."""

    def tokens(text: str) -> list[int]:
        found = list(tokenizer("")["input_ids"])  # a token that begins each text, if there is one
        for number, chunk in enumerate(text.split("<image>") if features else [text]):
            found += [IMAGE] * (number > 0)
            for piece in re.split("(\ufdd0.*?\ufdd1)", chunk):
                if piece.startswith("\ufdd0"):
                    found.append(tokenizer.convert_tokens_to_ids(piece[1:-1]))
                else:
                    plain = {"add_special_tokens": False, "split_special_tokens": True}
                    found += tokenizer(piece, **plain)["input_ids"]
        return found

    first, asked, answered = WORDS[name]
    text, spans = first, []
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
        if features and "<image>" in question:
            question = ("<image>\n" + question.replace("<image>", "").strip()).strip()
        text += asked.format(question) if name != "plain" else asked
        begin = len(tokens(text))
        text += answered.format(answer)
        spans.append((begin, len(tokens(text))))
    ids = tokens(text)
    labels = [-100] * len(ids)
    for begin, end in spans:
        labels[begin:end] = ids[begin:end]
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    repeats = [features if token == IMAGE else 1 for token in ids]
    whole = np.repeat([image_id if token == IMAGE else token for token in ids], repeats)
    return whole.tolist(), np.repeat(labels, repeats).tolist()
