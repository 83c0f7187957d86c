"""The names of layouts and forms of records, and the roles that the columns of a form may have."""

from typing import Literal, get_args

# The layouts of single publications, and the forms that many datasets share.
UpstreamLayout = Literal[
    "llava", "dvqa", "chartqa", "docvqa", "infographicvqa", "ai2d", "laion_gpt4v"
]
FormName = Literal["conversations", "messages", "texts", "questions", "captions"]
FORM_NAMES: frozenset[str] = frozenset(get_args(FormName))
LayoutName = UpstreamLayout | FormName
_RecordRole = Literal["id", "subset", "split", "image", "images", "system"]
_ChatRole = Literal["conversations", "messages", "texts", "query", "response", "history"]
_TextRole = Literal["instruction", "input", "output", "prompt", "completion", "caption"]
_QuestionRole = Literal["question", "answer", "answers", "answer_index", "options", "hint"]
ColumnRole = _RecordRole | _ChatRole | _TextRole | _QuestionRole
COLUMN_ROLES: tuple[str, ...] = tuple(
    role for roles in get_args(ColumnRole) for role in get_args(roles)
)
