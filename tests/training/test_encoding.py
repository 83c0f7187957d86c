"""Encoding of conversations: equal to Imp's own preprocessing, for any text."""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from training_reference import SYS, conversation, expected
from transformers import PreTrainedTokenizerFast

from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import EncodedSample, RefusedSample, encode, encode_prompt
from imp_data.training.data.special_tokens import MARK
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer

TEXTS = [
    f"{SYS} USER: What is it? ASSISTANT: It is a red bus, a blue bus and two words.\n\n\n",
    "user\nassistant\nsystem\n  \n \n  The answer is   spaced.\n\n- one\n- two\t\n",
    "a\n\n\nb\n\n\nc",
    "Größe, café, 漢字, 😀 <image> </s> <|im_end|> <|end|> USER: ASSISTANT:",
] * 3
# Qwen2's tokenizer.json splits text so: consecutive newlines are one piece.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@lru_cache
def tokenizer(name: str) -> Any:
    """Return a tokenizer like the template's model's: GPT-2's, Qwen2's, or one with bos_token."""
    template = TEMPLATES[name]
    if name in {"phi2", "plain"}:
        return prepare_tokenizer(byte_level_bpe(TEXTS, 600), template)
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    if name == "phi3":
        bpe.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    begin = {"bos_token": "<s>"} if name == "phi3" else {}
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|endoftext|>", **begin)
    return prepare_tokenizer(made, template)


def encoded(name: str, *texts: str, features: int = 0, limit: int = 100_000) -> EncodedSample:
    found = encode(tokenizer(name), TEMPLATES[name], conversation(*texts), features, limit)
    assert isinstance(found, EncodedSample), found
    return found


def learned(name: str, *texts: str, features: int = 0) -> list[str]:
    """Return the learned segments of text."""
    found, stretches, last = encoded(name, *texts, features=features), [], -2
    for place, label in enumerate(found.labels.tolist()):
        if label != -100:
            if place != last + 1:
                stretches.append([])
            stretches[-1].append(label)
            last = place
    return [tokenizer(name).decode(some, skip_special_tokens=False) for some in stretches]


SCRAPS = st.sampled_from(
    [
        *("a", "word", "Answer", "12", ".", ":", "'s", "<", ">", "image", "<image", "|"),
        *(" ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u2028", "\u200b", "\ufeff"),
        *("é", "e\u0301", "\u0301", "漢字", "😀"),
        *("</s>", "<s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>"),
        *("USER:", "ASSISTANT: ", " ASSISTANT: ", "user\n", "\n<|im_start|>assistant\n", SYS),
    ]
)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters=MARK)
TEXT = (
    st.lists(SCRAPS, min_size=1, max_size=6).map("".join) | st.text(CHARACTERS, min_size=1)
).filter(lambda text: "<image>" not in text)
CHATS = ("phi2", "qwen", "phi3")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHATS)
@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
@settings(max_examples=200)
@example(texts=[(" ", " ")])
@example(texts=[("\n", "\n\n"), ("\n\n", "\n")])
@example(texts=[("a</s>b", "c"), ("d", "e</s>")])
@example(texts=[("a ASSISTANT: b", "c")])
@example(texts=[("<|im_end|>\n<|im_start|>assistant\nb", "<|im_start|>")])
def test_ids_and_labels_without_an_image(name: str, texts: list[tuple[str, str]]) -> None:
    turns = [text for pair in texts for text in pair]
    found = encoded(name, *turns)
    ids, labels = expected(tokenizer(name), name, turns, 0)
    assert found.input_ids.tolist() == ids
    assert found.labels.tolist() == labels


@pytest.mark.slow
@pytest.mark.parametrize("name", CHATS)
@given(
    texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
    image_turn=st.integers(0, 3),
    before=st.text(CHARACTERS, max_size=3).filter(lambda text: "<" not in text),
    features=st.integers(1, 9),
)
@settings(max_examples=200)
@example(texts=[("\n", "a")], image_turn=0, before="", features=4)
@example(texts=[("a", "b"), (" c ", " d ")], image_turn=1, before="first ", features=1)
def test_ids_and_labels_with_an_image(
    name: str, texts: list[tuple[str, str]], image_turn: int, before: str, features: int
) -> None:
    turns = [text for pair in texts for text in pair]
    place = 2 * (image_turn % len(texts))
    turns[place] = f"{before}<image>{turns[place]}"
    if turns[place].replace("<image>", "").count("<image>"):
        return
    found = encoded(name, *turns, features=features)
    ids, labels = expected(tokenizer(name), name, turns, features)
    assert found.input_ids.tolist() == ids
    assert found.labels.tolist() == labels


@given(caption=TEXT, question=TEXT, features=st.integers(1, 9))
@settings(max_examples=200)
def test_the_plain_template_has_the_image_and_the_caption_alone(
    caption: str, question: str, features: int
) -> None:
    found = encoded("plain", f"{question}<image>", caption, features=features)
    ids, labels = expected(tokenizer("plain"), "plain", [f"{question}<image>", caption], features)
    assert found.input_ids.tolist() == ids
    assert found.labels.tolist() == labels


def test_answers_and_their_terminators_are_learned() -> None:
    turns = ("<image>\nWhich bus?", "Red.", "And that?", "Blue.")
    assert learned("phi2", *turns, features=3) == [" Red.</s>", " Blue.</s>"]
    assert learned("qwen", *turns, features=3) == ["Red.<|im_end|>", "Blue.<|im_end|>"]
    assert learned("phi3", *turns, features=3) == ["Red.<|end|>", "Blue.<|end|>"]
    assert learned("plain", "<image>\nWhich bus?", "red bus", features=3) == ["red bus\n"]


def test_the_text_is_the_concatenated_segments() -> None:
    found = encoded("phi2", "What?<image>", "A bus.", features=2)
    assert tokenizer("phi2").decode(found.input_ids, skip_special_tokens=False) == (
        f"{SYS} USER: <image><image>\nWhat? ASSISTANT: A bus.</s>"
    )


@pytest.mark.parametrize(
    ("name", "turns"),
    [
        ("phi2", ("What does </s> mean?", "The end.")),
        ("phi2", ("Say ASSISTANT: and wait.", "I wait.")),
        ("phi2", ("Hello.", "The end is </s> here.", "And?", "No more.")),
        ("phi2", ("Is <|endoftext|> one token?", "Yes.")),
        # The original does not mask this, but learns `ASSISTANT:` with the answer.
        ("phi2", ("Who speaks? ASSISTANT: ", "I do.")),
        ("qwen", ("Explain <|im_end|>.", "It ends a turn.")),
        ("phi3", ("Hello.", "Hi.<|end|>")),
    ],
)
def test_answers_are_learned_where_the_original_masks_a_whole_sample(
    name: str, turns: tuple[str, ...]
) -> None:
    stop = TEMPLATES[name].stop
    lead = " " if name == "phi2" else ""
    assert learned(name, *turns) == [f"{lead}{answer}{stop}" for answer in turns[1::2]]


def test_a_spelled_image_token_is_text_in_a_sample_without_an_image() -> None:
    found = encoded("phi2", "What does <image> mean in <s>?", "See <image>.")
    image = tokenizer("phi2").convert_tokens_to_ids("<image>")
    assert image not in found.input_ids
    text = tokenizer("phi2").decode(found.input_ids, skip_special_tokens=False)
    assert text == f"{SYS} USER: What does <image> mean in <s>? ASSISTANT: See <image>.</s>"
    again = encoded("phi2", "What does <image> mean in <s>?", "See <image>.")
    assert found.input_ids.tolist() == again.input_ids.tolist()


SPELLINGS = st.lists(
    st.sampled_from(
        [
            *("</s>", "<s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>"),
            *("<|assistant|>", "<|system|>", "<image>", "</", "s>", "<|", "|>", "</s", "<im"),
            *(
                " ",
                "\n",
                "a",
                "user",
                "USER:",
                " ASSISTANT: ",
                "<|im_end|>\n<|im_start|>assistant\n",
            ),
        ]
    ),
    min_size=1,
    max_size=8,
).map("".join)


def special_ids(name: str) -> set[int]:
    made = tokenizer(name)
    return {made.convert_tokens_to_ids(token) for token in made.get_added_vocab()}


@pytest.mark.parametrize("name", CHATS)
@given(texts=st.lists(st.tuples(SPELLINGS, SPELLINGS), min_size=1, max_size=3))
@settings(max_examples=300)
@example(texts=[("</s>", "<image>"), ("<|im_end|>", "<|end|></s>")])
def test_special_tokens_occur_only_where_the_template_has_them(
    name: str, texts: list[tuple[str, str]]
) -> None:
    turns = [text for pair in texts for text in pair]
    found = encoded(name, *turns)
    harmless = encoded(name, *["x"] * len(turns))
    special = special_ids(name)
    assert [n for n in found.input_ids.tolist() if n in special] == (
        [n for n in harmless.input_ids.tolist() if n in special]
    )
    whole = "".join(s.text for s in TEMPLATES[name].segments(conversation(*turns)))
    begin = tokenizer(name).bos_token if name == "phi3" else ""
    assert tokenizer(name).decode(found.input_ids, skip_special_tokens=False) == begin + whole
    stop, lead = TEMPLATES[name].stop, TEMPLATES[name].before_answer
    answers = [f"{lead}{answer}{stop}" for answer in turns[1::2]]
    # Fewer if a tokenizer merges the end of a prompt with the beginning of an answer.
    if not any(re.match(r"\s*\n", answer) for answer in turns[1::2]):
        assert learned(name, *turns) == answers


@given(caption=SPELLINGS.filter(lambda text: "<image>" not in text))
def test_a_caption_may_spell_out_special_tokens(caption: str) -> None:
    found = encoded("plain", "<image>", caption, features=2)
    image = tokenizer("plain").convert_tokens_to_ids("<image>")
    assert found.input_ids[:2].tolist() == [image, image]
    assert not special_ids("plain") & set(found.input_ids[2:].tolist())
    assert tokenizer("plain").decode(found.input_ids[2:]) == f"{caption}\n"


@pytest.mark.parametrize("name", CHATS)
def test_spelled_special_tokens_of_a_sample_with_an_image_are_text(name: str) -> None:
    stop = TEMPLATES[name].stop
    found = encoded(name, f"<image>\nIs {stop} read?", f"{stop} is.", features=3)
    assert found.spelled == (stop, stop)
    ids = found.input_ids.tolist()
    image, end = (tokenizer(name).convert_tokens_to_ids(token) for token in ("<image>", stop))
    assert (ids.count(image), ids.count(end)) == (3, {"phi2": 1, "qwen": 3, "phi3": 3}[name])


def test_a_question_may_spell_out_special_tokens() -> None:
    prompt = encode_prompt(tokenizer("phi2"), TEMPLATES["phi2"], "What is </s>?", 0)
    assert isinstance(prompt, EncodedSample)
    assert not special_ids("phi2") & set(prompt.input_ids.tolist())
    text = f"{SYS} USER: What is </s>? ASSISTANT:"
    assert tokenizer("phi2").decode(prompt.input_ids, skip_special_tokens=False) == text


def test_spelled_special_tokens_are_text_for_a_tokenizer_like_phi_3s() -> None:
    """Texts start with ▁, special tokens strip the following blank, and </s> is not special."""
    from models import piece_tokenizer
    from tokenizers import AddedToken

    made = piece_tokenizer()
    made.add_tokens([AddedToken("</s>", special=False, normalized=False, rstrip=True)])
    made = prepare_tokenizer(made, TEMPLATES["phi3"])
    turns = conversation("Is <|end|> or </s> the end? <s>", "<|assistant|>\n no </s> <unk>")
    found = encode(made, TEMPLATES["phi3"], turns, 0, 9999)
    assert isinstance(found, EncodedSample)
    special = {made.convert_tokens_to_ids(token): token for token in made.get_added_vocab()}
    assert [special[n] for n in found.input_ids.tolist() if n in special] == [
        *("<s>", "<|system|>", "<|end|>", "<|user|>", "<|end|>", "<|assistant|>", "<|end|>")
    ]
    kept = found.input_ids[found.labels != -100]
    # The blank is the ▁ at the beginning of a text.
    assert made.decode(kept) == " <|assistant|>\n no </s> <unk><|end|>"


def test_a_noncharacter_with_a_spelled_special_token_is_refused() -> None:
    assert refusal("What is </s>?", "\U0010ffff") == (
        "it has </s> and U+10FFFF, a noncharacter used as a mark"
    )
    assert encoded("phi2", "What?", "\U0010ffff").spelled == ()


def test_a_token_that_spans_prompt_and_answer_is_not_learned() -> None:
    found = encoded("qwen", "a", "\n\nb")
    pieces = tokenizer("qwen").convert_ids_to_tokens(found.input_ids.tolist())
    assert pieces[-3:] == ["ĊĊĊ", "b", "<|im_end|>"]
    assert (found.labels[-3:] != -100).tolist() == [False, True, True]


def test_a_tokenizer_that_strips_blanks_after_special_tokens() -> None:
    """Phi-3's tokenizer encodes `<|assistant|>` and a newline as one token."""
    from tokenizers import AddedToken

    greedy = prepare_tokenizer(byte_level_bpe(TEXTS, 400), TEMPLATES["plain"])
    special = [
        AddedToken(text, special=True, normalized=False, rstrip=True)
        for text in ("<|system|>", "<|end|>", "<|user|>", "<|assistant|>")
    ]
    greedy.add_tokens(special, special_tokens=True)
    found = encode(greedy, TEMPLATES["phi3"], conversation("a", " b", "c", "d"), 0, 999)
    assert isinstance(found, EncodedSample)
    kept = [i for i, label in enumerate(found.labels) if label != -100]
    assert greedy.convert_ids_to_tokens(found.input_ids[kept].tolist()) == (
        ["b", "<|end|>", "d", "<|end|>"]
    )


@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5), data=st.data())
@settings(max_examples=300)
def test_a_long_conversation_ends_after_the_last_answer_that_fits(
    texts: list[tuple[str, str]], data: st.DataObject
) -> None:
    turns = [text for pair in texts for text in pair]
    sizes = [len(encoded("phi2", *turns[: 2 * n + 2]).input_ids) for n in range(len(texts))]
    limit = data.draw(st.integers(sizes[0], sizes[-1] + 1))
    fitting = sum(size <= limit for size in sizes)
    found, whole = encoded("phi2", *turns, limit=limit), encoded("phi2", *turns[: 2 * fitting])
    assert found.input_ids.tolist() == whole.input_ids.tolist()
    assert found.labels.tolist() == whole.labels.tolist()
    assert found.truncated == (fitting < len(texts))


def refusal(*texts: str, features: int = 0, limit: int = 999, name: str = "phi2") -> str:
    turns = conversation(*texts)
    found = encode(tokenizer(name), TEMPLATES[name], turns, features, limit)
    assert isinstance(found, RefusedSample)
    return found.reason


def test_an_unusable_sample_is_refused_with_its_reason() -> None:
    size = len(encoded("phi2", "a", "b").input_ids)
    assert refusal("a", "b", limit=size - 1) == (
        f"its first answer ends at token {size}, beyond {size - 1}"
    )
    once = "a sample with an image must have <image> once, in one question"
    assert refusal("a", "b", features=3) == once
    assert refusal("<image>a", "b", "<image>", "c", features=3) == once
    assert refusal("a", "<image>", features=3) == once
    assert refusal("<ima<image>ge>", "c", features=3) == once
    turns = "its turns do not alternate between human and gpt, ending with gpt"
    assert refusal("a", "b", "c") == turns
    assert refusal() == turns
    assert refusal("a", "") == "turn 1 is empty"
    plain = "the template plain takes one caption of one image"
    assert refusal("a", "b", name="plain") == plain
    assert refusal("<image>", "b", "c", "d", features=2, name="plain") == plain


def test_a_prompt_is_the_text_before_the_answer() -> None:
    for name in CHATS:
        prompt = encode_prompt(tokenizer(name), TEMPLATES[name], "<image>\nWhich bus?", 3)
        whole = encoded(name, "<image>\nWhich bus?", "Red.", features=3)
        assert isinstance(prompt, EncodedSample)
        count = len(prompt.input_ids)
        assert prompt.input_ids.tolist() == whole.input_ids[:count].tolist()
        assert (whole.labels[:count] == -100).all() and whole.labels[count] != -100


@pytest.mark.parametrize("name", CHATS)
def test_the_chat_template_gives_the_same_text(name: str) -> None:
    turns = ("<image>\nWhich bus?", "Red.", "And that?", "Blue.")
    content = {"type": "image"}, {"type": "text", "text": "Which bus?"}
    messages: list[dict[str, Any]] = [{"role": "user", "content": list(content)}]
    messages += [{"role": "assistant", "content": "Red."}, {"role": "user", "content": "And that?"}]
    render = tokenizer(name).apply_chat_template
    begin = "<s>" if name == "phi3" else ""
    text = begin + "".join(s.text for s in TEMPLATES[name].segments(conversation(*turns)))
    answered = [*messages, {"role": "assistant", "content": "Blue."}]
    assert render(answered, tokenize=False) == text
    prompt = render(messages, tokenize=False, add_generation_prompt=True)
    assert text == f"{prompt}{TEMPLATES[name].before_answer}Blue.{TEMPLATES[name].stop}"
    first = render(messages[:1], tokenize=False, add_generation_prompt=True)
    assert first == begin + TEMPLATES[name].prompt("<image>\nWhich bus?")
    system = [{"role": "system", "content": "Be brief."}, *messages]
    assert render(system, tokenize=False).replace("Be brief.", SYS) == render(
        messages, tokenize=False
    )


def test_preparing_a_tokenizer_twice_adds_nothing() -> None:
    made = byte_level_bpe(TEXTS, 300)
    assert len(made) == 300
    phi2 = prepare_tokenizer(made, TEMPLATES["phi2"])
    assert (phi2.convert_tokens_to_ids("</s>"), phi2.convert_tokens_to_ids("<image>")) == (300, 301)
    assert (phi2.eos_token, phi2.pad_token) == ("</s>", "<|endoftext|>")
    assert len(prepare_tokenizer(phi2, TEMPLATES["phi2"])) == 302


PAIR = ("Left <image> and\n<image> right: what differs?", "The sign.", "And <image>?", "A tram.")


@pytest.mark.parametrize("name", ["phi2", "qwen", "phi3"])
def test_each_of_several_images_has_its_features_where_its_token_stands(name: str) -> None:
    found = encode(tokenizer(name), TEMPLATES[name], conversation(*PAIR), 5, 9999, 3)
    assert isinstance(found, EncodedSample)
    image_id = tokenizer(name).convert_tokens_to_ids("<image>")
    places = np.flatnonzero(found.input_ids == image_id)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    assert [len(run) for run in runs] == [5, 5, 5]
    assert (found.images, found.spelled) == (3, ())
    assert (found.labels[places] == -100).all()
    before = tokenizer(name).decode(found.input_ids[: runs[0][0]])
    between = tokenizer(name).decode(found.input_ids[runs[0][-1] + 1 : runs[1][0]])
    assert before.endswith("Left ") and between == " and\n"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(1, 4))
def test_a_sample_of_k_images_has_k_times_their_features(counts: list[int], features: int) -> None:
    images = sum(counts)
    texts = [text for count in counts for text in ("<image>" * count + "What?", "A bus.")]
    given_features = features if images else 0
    found = encode(
        *(tokenizer("phi2"), TEMPLATES["phi2"], conversation(*texts), given_features, 9999, images)
    )
    assert isinstance(found, EncodedSample)
    image_id = tokenizer("phi2").convert_tokens_to_ids("<image>")
    assert (found.input_ids == image_id).sum() == images * features
    assert found.images == images


def test_images_of_turns_that_are_left_out_are_not_counted() -> None:
    whole = encode(tokenizer("phi2"), TEMPLATES["phi2"], conversation(*PAIR), 5, 9999, 3)
    assert isinstance(whole, EncodedSample)
    limit = len(whole.input_ids) - 1
    cut = encode(tokenizer("phi2"), TEMPLATES["phi2"], conversation(*PAIR), 5, limit, 3)
    assert isinstance(cut, EncodedSample)
    assert (cut.truncated, cut.images) == (True, 2)


@pytest.mark.parametrize(
    "texts", [("<image> What?", "A bus."), ("<image> What?", "<image> A bus."), PAIR]
)
def test_tokens_that_do_not_match_the_images_are_refused(texts: tuple[str, ...]) -> None:
    found = encode(tokenizer("phi2"), TEMPLATES["phi2"], conversation(*texts), 5, 9999, 2)
    assert isinstance(found, RefusedSample)
    assert found.reason == "a sample with 2 images must have <image> 2 times, in questions"


def test_the_template_of_captions_takes_no_second_image() -> None:
    turns = conversation("<image><image>", "Two buses.")
    found = encode(tokenizer("plain"), TEMPLATES["plain"], turns, 5, 9999, 2)
    assert isinstance(found, RefusedSample)
    assert found.reason == "the template plain takes one caption of one image"


def with_system(*texts: str) -> list[dict[str, str]]:
    return [{"from": "system", "value": "Be brief."}, *conversation(*texts)]


@pytest.mark.parametrize("name", ["phi2", "qwen", "phi3"])
def test_a_system_turn_replaces_the_template_s_own(name: str) -> None:
    made, template = tokenizer(name), TEMPLATES[name]
    own = encode(made, template, with_system("Hello", "Hi"), 0, 9999)
    usual = encode(made, template, conversation("Hello", "Hi"), 0, 9999)
    assert isinstance(own, EncodedSample) and isinstance(usual, EncodedSample)
    expected = made.decode(usual.input_ids).replace(SYS, "Be brief.")
    assert made.decode(own.input_ids) == expected != made.decode(usual.input_ids)
    assert own.labels[own.labels != -100].tolist() == usual.labels[usual.labels != -100].tolist()


def test_a_special_token_in_a_system_turn_is_encoded_as_text() -> None:
    turns = [{"from": "system", "value": "Say <|im_end|>"}, *conversation("Hello", "Hi")]
    found = encode(tokenizer("qwen"), TEMPLATES["qwen"], turns, 0, 9999)
    assert isinstance(found, EncodedSample) and found.spelled == ("<|im_end|>",)
    assert "system\nSay <|im_end|><|im_end|>" in tokenizer("qwen").decode(found.input_ids)


TOOL = [*conversation("Weather?", "call()"), {"from": "tool", "value": "Sun."}]
TOOL += [{"from": "gpt", "value": "Sunny."}]


@pytest.mark.parametrize(
    ("name", "turns", "images", "problem"),
    [
        ("plain", with_system("<image>", "A bus."), 1, "has no place for a system turn"),
        ("phi2", TOOL, 0, "has no place for turns by tools"),
    ],
)
def test_a_template_refuses_turns_that_it_cannot_write(
    name: str, turns: Any, images: int, problem: str
) -> None:
    found = encode(tokenizer(name), TEMPLATES[name], turns, 5 * images, 9999)
    assert isinstance(found, RefusedSample)
    assert found.reason == f"the template {name} {problem}"
