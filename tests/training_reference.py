"""What ids and labels must be, written from the templates' words and nothing else of the library.

The method is another one on purpose: an answer's labels begin after as many tokens as the text
before it has when tokenized by itself, and the picture is -200 until the very end.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

SYS = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
# What comes first, what surrounds a question, what surrounds its answer.
WORDS = {
    "phi2": (f"{SYS} ", "USER: {} ASSISTANT:", " {}</s>"),
    "qwen": (
        f"<|im_start|>system\n{SYS}<|im_end|>",
        "\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "{}<|im_end|>",
    ),
    "phi3": (
        f"<|system|>\n{SYS}<|end|>",
        "\n<|user|>\n{}<|end|>\n<|assistant|>\n",
        "{}<|end|>",
    ),
    "plain": ("", "<image>", "{}\n"),
}
PICTURE = -200


def conversation(*texts: str) -> list[dict[str, str]]:
    """LLaVA's form of questions and answers in turn."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def expected(
    tokenizer: Any, name: str, texts: Sequence[str], features: int
) -> tuple[list[int], list[int]]:
    """Ids and labels of questions and answers in turn, with so many tokens for a picture."""

    def tokens(text: str) -> list[int]:
        if not features:
            assert "<image>" not in text
            return list(tokenizer(text)["input_ids"])
        chunks = [list(tokenizer(chunk)["input_ids"]) for chunk in text.split("<image>")]
        # A tokenizer that begins each text with a token of its own begins the whole with one.
        extra = int(chunks[0][:1] == [tokenizer.bos_token_id])
        for chunk in chunks[1:]:
            chunks[0] += [PICTURE, *chunk[extra:]]
        return chunks[0]

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
    repeats = [features if token == PICTURE else 1 for token in ids]
    whole = np.repeat([image_id if token == PICTURE else token for token in ids], repeats)
    return whole.tolist(), np.repeat(labels, repeats).tolist()
