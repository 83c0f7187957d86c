"""The saved chat template: transformers alone renders the text of training."""

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
from imp_data.training.data.encoding import EncodedSample, encode, encode_prompt
from imp_data.training.model.model_folder import make_processor
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer
from tests.training.test_architecture import ARCHITECTURES, tiny
from tests.training.test_encoding import TEXTS, tokenizer

ROWS: list[tuple[bool, tuple[str, ...]]] = [
    (True, ("<image>\nWhich bus?", "Red.")),
    (True, ("<image>\nWhich bus?", "A red bus,\n\nand a blue one.", "And that?", "Blue.")),
    (False, ("What is it?", "It is   spaced, 漢字 😀.")),
    (False, ("One?", "Two.", " Three? ", "- four\n- five\n", "Six?", "7")),
]


def messages(has_image: bool, turns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the same turns in the format of transformers."""
    found = []
    for number, turn in enumerate(turns):
        parts = [{"type": "text", "text": turn.removeprefix("<image>\n")}]
        if turn.startswith("<image>"):
            parts.insert(0, {"type": "image", "image": shape(COLOURS["red"], 1)})
        found.append({"role": ("user", "assistant")[number % 2], "content": parts})
    return found


def processor(architecture: str, world: World, folder: Path, words: Any = None) -> Any:
    """Save a processor as in a merged model's folder, and load it again."""
    model = tiny(world, architecture)
    words = words or tokenizer(model.template)
    make_processor(model, words, TEMPLATES[model.template].jinja).save_pretrained(folder)
    return AutoProcessor.from_pretrained(folder)


def strips(template: str) -> Any:
    """Return a tokenizer like Phi-3's, whose special tokens absorb a following newline."""
    from tokenizers import AddedToken

    made = byte_level_bpe(TEXTS, 400)
    special = [
        AddedToken(text, special=True, normalized=False, rstrip=True)
        for text in TEMPLATES[template].special
    ]
    made.add_tokens(special, special_tokens=True)
    return prepare_tokenizer(made, TEMPLATES[template])


@pytest.mark.parametrize("stripping", [False, True], ids=["plain", "rstrip"])
@pytest.mark.parametrize("row", ROWS, ids=["image", "image-turns", "text", "text-turns"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_assistant_mask_gives_our_labels(
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
    has_image, turns = row
    ours = encode(words, TEMPLATES[name], conversation(*turns), 4 if has_image else 0, 999)
    assert isinstance(ours, EncodedSample)
    ids, mask = (np.array(given[key])[0] for key in ("input_ids", "assistant_masks"))
    assert ids.tolist() == ours.input_ids.tolist()
    assert np.where(mask == 1, ids, -100).tolist() == ours.labels.tolist()
    assert (mask == 1).any()


SCRAPS = (
    *("a", "word", "Answer", "12", ".", ":", "'s", "<", ">", "image", "|", "{{ x }}", "{% if %}"),
    *(" ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u2028", "\u200b", "\ufeff"),
    *("é", "e\u0301", "\u0301", "漢字", "😀", "USER:", "ASSISTANT: ", "user\n", SYS),
)


def random_turns(chance: random.Random) -> tuple[str, ...]:
    """Return one to four random exchanges; the first may have an image."""
    texts = ["".join(chance.choices(SCRAPS, k=chance.randint(1, 6))) for _ in range(8)]
    turns = tuple(texts[: 2 * chance.randint(1, 4)])
    return ("<image>\n" + turns[0], *turns[1:]) if chance.random() < 0.5 else turns


@pytest.mark.parametrize("stripping", [False, True], ids=["plain", "rstrip"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_conversations_have_the_labels_of_transformers_mask(
    architecture: str, stripping: bool, world: World, tmp_path: Path
) -> None:
    name = tiny(world, architecture).template
    words = strips(name) if stripping else tokenizer(name)
    saved, chance = processor(architecture, world, tmp_path, words), random.Random(architecture)
    for turns in (random_turns(chance) for _ in range(200)):
        has_image = turns[0].startswith("<image>")
        given = saved.apply_chat_template(
            messages(has_image, turns),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ours = encode(words, TEMPLATES[name], conversation(*turns), 4 if has_image else 0, 9999)
        assert isinstance(ours, EncodedSample)
        ids, mask = (np.array(given[key])[0] for key in ("input_ids", "assistant_masks"))
        assert ids.tolist() == ours.input_ids.tolist(), turns
        more = np.flatnonzero((mask == 1) != (ours.labels != -100)).tolist()
        # An answer that begins with blanks may share its first token with the end of the prompt;
        # transformers assigns that token to the answer, the original and we to the prompt.
        merging = [answer for answer in turns[1::2] if answer[0].isspace()]
        assert len(more) <= len(merging), turns
        assert all(mask[n] == 1 and ours.labels[n + 1] != -100 for n in more)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_trls_assistant_only_loss_uses_the_same_labels(
    architecture: str, world: World, tmp_path: Path
) -> None:
    sft = pytest.importorskip("trl.trainer.sft_trainer", reason="pip install trl")
    name = tiny(world, architecture).template
    saved, chance = processor(architecture, world, tmp_path), random.Random(architecture)
    collate = sft.DataCollatorForVisionLanguageModeling(saved, assistant_only_loss=True)
    for turns in (random_turns(chance) for _ in range(100)):
        if any(answer[0].isspace() for answer in turns[1::2]):
            continue
        has_image = turns[0].startswith("<image>")
        roles = [("user", "assistant")[n % 2] for n in range(len(turns))]
        texts = [turn.removeprefix("<image>\n") for turn in turns]
        chat = [{"role": r, "content": text} for r, text in zip(roles, texts, strict=True)]
        images = [shape(COLOURS["red"], 1)] if has_image else []
        given = collate([{"images": images, "messages": chat}])
        ours = encode(
            tokenizer(name), TEMPLATES[name], conversation(*turns), 4 if has_image else 0, 9999
        )
        assert isinstance(ours, EncodedSample)
        assert given["input_ids"][0].tolist() == ours.input_ids.tolist(), turns
        assert given["labels"][0].tolist() == ours.labels.tolist(), turns


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_with_split_special_tokens_reads_spelled_tokens_as_text(
    architecture: str, world: World, tmp_path: Path
) -> None:
    saved = processor(architecture, world, tmp_path)
    name = tiny(world, architecture).template
    question = f"Is {TEMPLATES[name].stop} the end?"
    # A processor raises an error if its tokenizer adds a bos_token, as Phi-3's does.
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
    assert isinstance(ours, EncodedSample)
    # It splits the text at spelled tokens, so the tokens around them may differ from ours.
    assert words.decode(given["input_ids"]) == words.decode(ours.input_ids)
    assert [n for n in given["input_ids"] if n in special] == (
        [n for n in ours.input_ids.tolist() if n in special]
    )


@pytest.mark.parametrize("name", ["phi2", "qwen", "phi3"])
def test_llama_cpp_gets_the_template_without_generation_tags(name: str, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="pip install 'imp-data[mobile]'")
    from imp_data.mobile.gguf.chat_template import read_chat_template

    (tmp_path / "chat_template.jinja").write_text(tokenizer(name).chat_template)
    plain = read_chat_template(tmp_path)
    assert "generation -%}" in TEMPLATES[name].jinja
    assert "generation -%}" not in plain and "bos_token" not in plain
    turns = ("Which bus?", "Red.", "And that?", "Blue.")
    chat = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]
    rendered = jinja2.Template(plain).render(messages=chat, add_generation_prompt=False)
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
def test_a_removed_tag_strips_the_same_blanks_as_jinja(
    written: str, left: str, tmp_path: Path
) -> None:
    pytest.importorskip("gguf", reason="pip install 'imp-data[mobile]'")
    from imp_data.mobile.gguf.chat_template import read_chat_template

    (tmp_path / "chat_template.jinja").write_text(written)
    assert read_chat_template(tmp_path) == left
