"""The saved chat template: what transformers alone makes of it is what was trained."""

import random
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from training_reference import SYS, conversation
from training_world import COLOURS, shape
from transformers import AutoProcessor

from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import Encoded, encode, encode_prompt
from imp_data.training.model.model_folder import processor_of
from imp_data.training.model.tokenizers import byte_level_bpe, prepared
from tests.training.test_architecture import ARCHITECTURES, tiny
from tests.training.test_encoding import TEXTS, tokenizer

ROWS: list[tuple[bool, tuple[str, ...]]] = [
    (True, ("<image>\nWhich bus?", "Red.")),
    (True, ("<image>\nWhich bus?", "A red bus,\n\nand a blue one.", "And that?", "Blue.")),
    (False, ("What is it?", "It is   spaced, 漢字 😀.")),
    (False, ("One?", "Two.", " Three? ", "- four\n- five\n", "Six?", "7")),
]


def messages(shown: bool, turns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The same turns as transformers takes them."""
    found = []
    for number, turn in enumerate(turns):
        parts = [{"type": "text", "text": turn.removeprefix("<image>\n")}]
        if turn.startswith("<image>"):
            parts.insert(0, {"type": "image", "image": shape(COLOURS["red"], 1)})
        found.append({"role": ("user", "assistant")[number % 2], "content": parts})
    return found


def processor(architecture: str, world: World, folder: Path, words: Any = None) -> Any:
    """As a merged model's folder has it: saved, and loaded again."""
    model = tiny(world, architecture)
    words = words or tokenizer(model.template)
    processor_of(model, words, TEMPLATES[model.template].jinja).save_pretrained(folder)
    return AutoProcessor.from_pretrained(folder)


def strips(template: str) -> Any:
    """A tokenizer like Phi-3's: a special token takes the newline behind it along."""
    from tokenizers import AddedToken

    made = byte_level_bpe(TEXTS, 400)
    special = [
        AddedToken(text, special=True, normalized=False, rstrip=True)
        for text in TEMPLATES[template].special
    ]
    made.add_tokens(special, special_tokens=True)
    return prepared(made, TEMPLATES[template])


@pytest.mark.parametrize("stripping", [False, True], ids=["plain", "rstrip"])
@pytest.mark.parametrize("row", ROWS, ids=["image", "image-turns", "text", "text-turns"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_labels_by_transformers_mask_of_answers_are_ours(
    architecture: str,
    row: tuple[bool, tuple[str, ...]],
    stripping: bool,
    world: World,
    tmp_path: Path,
) -> None:
    name = tiny(world, architecture).template
    words = strips(name) if stripping else tokenizer(name)
    given = processor(architecture, world, tmp_path, words).apply_chat_template(
        messages(*row), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    shown, turns = row
    ours = encode(words, TEMPLATES[name], conversation(*turns), 4 if shown else 0, 999)
    assert isinstance(ours, Encoded)
    ids, mask = (np.array(given[key])[0] for key in ("input_ids", "assistant_masks"))
    assert ids.tolist() == ours.input_ids.tolist()
    assert np.where(mask == 1, ids, -100).tolist() == ours.labels.tolist()
    assert (mask == 1).any()


SCRAPS = (
    *("a", "word", "Answer", "12", ".", ":", "'s", "<", ">", "image", "|", "{{ x }}", "{% if %}"),
    *(" ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u2028", "\u200b", "\ufeff"),
    *("é", "e\u0301", "\u0301", "漢字", "😀", "USER:", "ASSISTANT: ", "user\n", SYS),
)


def drawn(chance: random.Random) -> tuple[str, ...]:
    """One to four exchanges, the first with an image or without one."""
    texts = ["".join(chance.choices(SCRAPS, k=chance.randint(1, 6))) for _ in range(8)]
    turns = tuple(texts[: 2 * chance.randint(1, 4)])
    return ("<image>\n" + turns[0], *turns[1:]) if chance.random() < 0.5 else turns


@pytest.mark.parametrize("stripping", [False, True], ids=["plain", "rstrip"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_labels_of_many_conversations_are_transformers_masks(
    architecture: str, stripping: bool, world: World, tmp_path: Path
) -> None:
    name = tiny(world, architecture).template
    words = strips(name) if stripping else tokenizer(name)
    saved, chance = processor(architecture, world, tmp_path, words), random.Random(architecture)
    for turns in (drawn(chance) for _ in range(200)):
        shown = turns[0].startswith("<image>")
        given = saved.apply_chat_template(
            messages(shown, turns),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ours = encode(words, TEMPLATES[name], conversation(*turns), 4 if shown else 0, 9999)
        assert isinstance(ours, Encoded)
        ids, mask = (np.array(given[key])[0] for key in ("input_ids", "assistant_masks"))
        assert ids.tolist() == ours.input_ids.tolist(), turns
        more = np.flatnonzero((mask == 1) != (ours.labels != -100)).tolist()
        # An answer that begins with blanks may share its first token with the end of the prompt:
        # transformers counts that token to the answer, the original and we to the prompt.
        merging = [answer for answer in turns[1::2] if answer[0].isspace()]
        assert len(more) <= len(merging), turns
        assert all(mask[n] == 1 and ours.labels[n + 1] != -100 for n in more)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_trls_loss_on_answers_alone_is_of_the_same_labels(
    architecture: str, world: World, tmp_path: Path
) -> None:
    sft = pytest.importorskip("trl.trainer.sft_trainer", reason="pip install trl")
    name = tiny(world, architecture).template
    saved, chance = processor(architecture, world, tmp_path), random.Random(architecture)
    collate = sft.DataCollatorForVisionLanguageModeling(saved, assistant_only_loss=True)
    for turns in (drawn(chance) for _ in range(100)):
        if any(answer[0].isspace() for answer in turns[1::2]):
            continue
        shown = turns[0].startswith("<image>")
        roles = [("user", "assistant")[n % 2] for n in range(len(turns))]
        texts = [turn.removeprefix("<image>\n") for turn in turns]
        said = [{"role": r, "content": text} for r, text in zip(roles, texts, strict=True)]
        images = [shape(COLOURS["red"], 1)] if shown else []
        given = collate([{"images": images, "messages": said}])
        ours = encode(
            tokenizer(name), TEMPLATES[name], conversation(*turns), 4 if shown else 0, 9999
        )
        assert isinstance(ours, Encoded)
        assert given["input_ids"][0].tolist() == ours.input_ids.tolist(), turns
        assert given["labels"][0].tolist() == ours.labels.tolist(), turns


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_reads_spelled_special_tokens_as_text_where_it_is_told_to(
    architecture: str, world: World, tmp_path: Path
) -> None:
    saved = processor(architecture, world, tmp_path)
    name = tiny(world, architecture).template
    question = f"Is {TEMPLATES[name].stop} the end?"
    # A processor refuses where its tokenizer begins a text with a token of its own, as Phi-3's.
    given = saved.tokenizer.apply_chat_template(
        messages(False, (question,)),
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        sanitize_control_tokens=True,
    )
    words = tokenizer(name)
    special = {words.convert_tokens_to_ids(token) for token in words.get_added_vocab()}
    ours = encode_prompt(words, TEMPLATES[name], question, 0)
    assert isinstance(ours, Encoded)
    # It cuts the text at what is spelled out, so the tokens around may be others than ours.
    assert words.decode(given["input_ids"]) == words.decode(ours.input_ids)
    assert [n for n in given["input_ids"] if n in special] == (
        [n for n in ours.input_ids.tolist() if n in special]
    )


@pytest.mark.parametrize("name", ["phi2", "qwen", "phi3"])
def test_llama_cpp_is_given_the_template_without_tags_that_it_does_not_know(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip("gguf", reason="pip install 'imp-data[mobile]'")
    from imp_data.mobile.gguf.chat_template import chat_template

    (tmp_path / "chat_template.jinja").write_text(tokenizer(name).chat_template)
    plain = chat_template(tmp_path)
    assert "generation -%}" in TEMPLATES[name].jinja
    assert "generation -%}" not in plain and "bos_token" not in plain
    turns = ("Which bus?", "Red.", "And that?", "Blue.")
    said = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]
    rendered = jinja2.Template(plain).render(messages=said, add_generation_prompt=False)
    segments = TEMPLATES[name].segments(conversation(*turns))
    assert rendered == "".join(segment.text for segment in segments)


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("a {%- generation -%} b {%- endgeneration -%} c", "abc"),
        ("a {% generation %} b {% endgeneration %} c", "a  b  c"),
        ("a\n{% generation %}\nb\n{%- endgeneration %}\nc", "a\nbc"),
        (
            "{% if add_generation_prompt %}x{% endif %}",
            "{% if add_generation_prompt %}x{% endif %}",
        ),
    ],
)
def test_what_goes_with_a_tag_is_what_jinja_strips_beside_it(
    written: str, left: str, tmp_path: Path
) -> None:
    pytest.importorskip("gguf", reason="pip install 'imp-data[mobile]'")
    from imp_data.mobile.gguf.chat_template import chat_template

    (tmp_path / "chat_template.jinja").write_text(written)
    assert chat_template(tmp_path) == left
