"""Reference of ids and labels, which shares nothing with the library but the template names.

It deliberately uses another method: an answer's labels begin after the number of tokens of the
text before it, the image is -200 until the end, and text is split at the template's special
tokens, so that the tokenized pieces have none.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

SYS = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
# The prefix, the format of a question, and the format of its answer; special tokens are enclosed
# in two noncharacters.
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
    """Return alternating questions and answers as a conversation in LLaVA's format."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def expected(
    tokenizer: Any, name: str, texts: Sequence[str], features: int
) -> tuple[list[int], list[int]]:
    """Return ids and labels of alternating questions and answers, with `features` image tokens."""

    def tokens(text: str) -> list[int]:
        found = list(tokenizer("")["input_ids"])  # bos_token, if the tokenizer adds one
        for number, chunk in enumerate(text.split("<image>") if features else [text]):
            found += [IMAGE] * (number > 0)
            for piece in re.split("(\ufdd0.*?\ufdd1)", chunk):
                if piece.startswith("\ufdd0"):
                    found.append(tokenizer.convert_tokens_to_ids(piece[1:-1]))
                else:
                    plain = {"add_special_tokens": False, "split_special_tokens": True}
                    found += tokenizer(piece, **plain)["input_ids"]
        return found

    prefix, question_format, answer_format = WORDS[name]
    text, spans = prefix, []
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
        if features and "<image>" in question:
            question = ("<image>\n" + question.replace("<image>", "").strip()).strip()
        text += question_format.format(question) if name != "plain" else question_format
        begin = len(tokens(text))
        text += answer_format.format(answer)
        spans.append((begin, len(tokens(text))))
    ids = tokens(text)
    labels = [-100] * len(ids)
    for begin, end in spans:
        labels[begin:end] = ids[begin:end]
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    repeats = [features if token == IMAGE else 1 for token in ids]
    whole = np.repeat([image_id if token == IMAGE else token for token in ids], repeats)
    return whole.tolist(), np.repeat(labels, repeats).tolist()
