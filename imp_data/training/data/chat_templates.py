"""Chat templates: the text of a conversation, and the parts of it that a model learns.

The wording is Imp's, to the character (MILVLG/imp, imp_llava/conversation.py: phi2, qwen2, phi3,
plain). A model learns answers and their terminators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from imp_data.sample import IMAGE_TOKEN

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

Turn = Mapping[str, str]


class Segment(NamedTuple):
    """A segment of a conversation's text."""

    text: str
    learned: bool


@dataclass(frozen=True)
class Template:
    """The text around the system message, questions and answers.

    A model learns `before_answer` with the answer and its `stop`: in phi2's `ASSISTANT: word</s>`
    it reads `ASSISTANT:` and learns ` word</s>`.
    """

    name: str
    system: str
    before_question: str
    after_question: str
    before_answer: str
    stop: str
    before_system: str = ""
    after_system: str = ""
    assistant: str = ""
    special: tuple[str, ...] = ()
    keeps_questions: bool = True

    def segments(self, conversation: Sequence[Turn]) -> list[Segment]:
        """Return prompts and answers in turn; concatenated, they are the text of a Sample.

        A system turn at the beginning replaces the template's own system message.
        """
        system, turns = split_system(conversation)
        values = [turn["value"] for turn in turns]
        segments: list[Segment] = []
        before = self._prefix if system is None else self._system_prefix(system)
        for question, answer in zip(values[::2], values[1::2], strict=True):
            segments.append(Segment(before + self._prompt(question), learned=False))
            segments.append(Segment(self.before_answer + answer + self.stop, learned=True))
            before = ""
        return segments

    def with_marks(self, marks: Mapping[str, str]) -> "Template":
        """Return the template with its special tokens replaced by `marks`."""
        words = {}
        for name in _TEXT_FIELDS:
            words[name] = getattr(self, name)
            for token, mark in marks.items():
                words[name] = words[name].replace(token, mark)
        return replace(self, **words)

    def prompt(self, question: str) -> str:
        """Return the prompt of a question, which contains `<image>` if there is an image."""
        return self._prefix + self._prompt(question)

    @property
    def jinja(self) -> str:
        """The same template in Jinja, as a tokenizer's chat template.

        Images precede their question's text, which is then stripped of blanks, as in the original.
        The learned text is between `{% generation %}` tags, from which transformers computes the
        assistant mask (TRL's assistant_only_loss).
        """
        text = _JINJA
        for field in fields(self):
            text = text.replace(f"<<{field.name}>>", repr(getattr(self, field.name)))
        question = "text_of(content)" if self.keeps_questions else repr(IMAGE_TOKEN)
        return text.replace("<<question>>", question)

    @property
    def _prefix(self) -> str:
        return self._system_prefix(self.system)

    def _system_prefix(self, system: str) -> str:
        return self.before_system + system + self.after_system

    @property
    def takes_system(self) -> bool:
        """Whether a Sample may state its own system message."""
        return bool(self.before_system + self.system + self.after_system)

    def _prompt(self, question: str) -> str:
        kept = question if self.keeps_questions else IMAGE_TOKEN
        return self.before_question + kept + self.after_question + self.assistant


def split_system(conversation: Sequence[Turn]) -> tuple[str | None, Sequence[Turn]]:
    """Return the text of a system turn at the beginning, or None, and the other turns."""
    if conversation and conversation[0]["from"] == "system":
        return conversation[0]["value"], conversation[1:]
    return None, conversation


# The fields that contain special tokens.
_TEXT_FIELDS = (
    *("before_system", "after_system", "before_question", "after_question"),
    *("assistant", "before_answer", "stop"),
)

_JINJA = """\
{%- macro text_of(content) -%}
{%- if content is string -%}
{{- content -}}
{%- else -%}
{%- set parts = namespace(images='', text='') -%}
{%- for part in content -%}
{%- if part['type'] == 'image' -%}{%- set parts.images = parts.images + '<image>\\n' -%}
{%- elif part['type'] == 'text' -%}{%- set parts.text = parts.text + part['text'] -%}
{%- endif -%}
{%- endfor -%}
{{- (parts.images + parts.text | trim) | trim if parts.images else parts.text -}}
{%- endif -%}
{%- endmacro -%}
{%- set system = <<system>> -%}
{%- if messages[0]['role'] == 'system' -%}
{%- set system = text_of(messages[0]['content']) -%}
{%- endif -%}
{{- <<before_system>> + system + <<after_system>> -}}
{%- for message in messages -%}
{%- set content = message['content'] -%}
{%- if message['role'] == 'user' -%}
{{- <<before_question>> + <<question>> + <<after_question>> -}}
{%- elif message['role'] == 'assistant' -%}
{{- <<assistant>> -}}
{%- generation -%}
{{- <<before_answer>> + text_of(content) + <<stop>> -}}
{%- endgeneration -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- <<assistant>> -}}{%- endif -%}
"""

TEMPLATES: dict[str, Template] = {
    "phi2": Template(
        name="phi2",
        system=SYSTEM,
        after_system=" ",
        before_question="USER: ",
        after_question=" ",
        assistant="ASSISTANT:",
        before_answer=" ",
        stop="</s>",
        special=("</s>",),
    ),
    "qwen": Template(
        name="qwen",
        before_system="<|im_start|>system\n",
        system=SYSTEM,
        after_system="<|im_end|>",
        before_question="\n<|im_start|>user\n",
        after_question="<|im_end|>",
        assistant="\n<|im_start|>assistant\n",
        before_answer="",
        stop="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
    ),
    "phi3": Template(
        name="phi3",
        before_system="<|system|>\n",
        system=SYSTEM,
        after_system="<|end|>",
        before_question="\n<|user|>\n",
        after_question="<|end|>",
        assistant="\n<|assistant|>\n",
        before_answer="",
        stop="<|end|>",
        special=("<|system|>", "<|end|>", "<|user|>", "<|assistant|>"),
    ),
    # Stage 1: the caption alone, without its question.
    "plain": Template(
        name="plain",
        system="",
        before_question="",
        after_question="",
        before_answer="",
        stop="\n",
        keeps_questions=False,
    ),
}
