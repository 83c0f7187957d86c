"""Turn records of Hub datasets and trainers' files into conversations: one module per form."""

from collections.abc import Sequence
from typing import Any

from imp_data.records.forms import captions, conversations, messages, questions, texts
from imp_data.records.forms.base import Form

# In the order in which they are tried: the more of a conversation a form states, the earlier.
FORMS: dict[str, Form] = {
    "conversations": conversations.FORM,
    "messages": messages.FORM,
    "texts": texts.FORM,
    "questions": questions.FORM,
    "captions": captions.FORM,
}


def find_form(records: Sequence[Any]) -> str | None:
    """Return the name of the form that most of these records have; None if none has one.

    A few damaged records among a file's first therefore do not change its form.
    """
    objects = [record for record in records if isinstance(record, dict)]
    counts = {name: sum(map(form.recognises, objects)) for name, form in FORMS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None
