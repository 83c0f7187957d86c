"""Rules for every field of OpenAI's chat completions request and for llama.cpp's safe fields."""

import json
from collections.abc import Mapping
from typing import Any

from imp_data.mobile.chat.field_rules import (
    FieldRule,
    integer_between,
    is_logit_bias,
    number_between,
    of_type,
    only_values,
)

_TEXT = of_type(str, "a string")
_NO_TOOLS = "this model calls no tools"
_TEXT_ALONE = "this model answers in text only"
_FORMATS = ("text", "json_object", "json_schema")
_STOPS = 16
# The time that llama.cpp needs for a schema grows with the cube of its optional properties.
_SCHEMA_VALUES, _SCHEMA_CHARACTERS = 500, 16 << 10


def _is_stop(value: Any) -> bool:
    words = [value] if isinstance(value, str) else value
    valid = isinstance(words, list) and all(isinstance(word, str) and word for word in words)
    return valid and len(words) <= _STOPS


def _is_format(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.get("type") not in _FORMATS:
        return False
    return _count_values(value) <= _SCHEMA_VALUES and len(json.dumps(value)) <= _SCHEMA_CHARACTERS


def _count_values(value: Any) -> int:
    """Count the JSON values nested in `value`, itself included."""
    children = value.values() if isinstance(value, Mapping) else value
    return 1 + sum(map(_count_values, children)) if isinstance(value, Mapping | list) else 1


def _is_stream_options(value: Any) -> bool:
    """Return whether the value is OpenAI's stream_options.

    `include_obfuscation`, padding against eavesdroppers, is accepted and has no effect.
    """
    known = {"include_usage", "include_obfuscation"}
    return isinstance(value, Mapping) and all(
        name in known and isinstance(flag, bool | None) for name, flag in value.items()
    )


# Fields that llama.cpp implements. No other field reaches it: some of its own read files.
_FORWARDED = {
    "frequency_penalty": number_between(-2, 2),
    "logit_bias": FieldRule(
        is_logit_bias, "an object that maps token ids to -100 to 100", forwarded=True
    ),
    "logprobs": of_type(bool, "true or false", forwarded=True),
    "max_completion_tokens": integer_between(1, 2**31 - 1),
    "max_tokens": integer_between(1, 2**31 - 1),
    "presence_penalty": number_between(-2, 2),
    "response_format": FieldRule(
        _is_format,
        f"an object with a type of {', '.join(_FORMATS)}, of at most {_SCHEMA_VALUES} values and"
        f" {_SCHEMA_CHARACTERS >> 10} KiB",
        forwarded=True,
    ),
    "seed": integer_between(-(2**63), 2**63 - 1),
    "stop": FieldRule(
        _is_stop, f"a string or a list of up to {_STOPS}, none empty", forwarded=True
    ),
    "stream": of_type(bool, "true or false", forwarded=True),
    "stream_options": FieldRule(_is_stream_options, "an object with include_usage", forwarded=True),
    "temperature": number_between(0, 2),
    "top_logprobs": integer_between(0, 20),
    "top_p": number_between(0, 1),
    # Fields of llama.cpp alone.
    "min_p": number_between(0, 1),
    "n_probs": integer_between(0, 100),
    "repeat_penalty": number_between(0, 10),
    "top_k": integer_between(-1, 2**31 - 1),
}
# Fields that change no answer: OpenAI's billing, storage, caching and priority, and the reasoning
# effort of a model that does not reason.
_IGNORED = {
    "metadata": of_type(dict, "an object"),
    "model": _TEXT,
    "parallel_tool_calls": of_type(bool, "true or false"),
    "prediction": of_type(dict, "an object"),
    "prompt_cache_key": _TEXT,
    "prompt_cache_options": of_type(dict, "an object"),
    "prompt_cache_retention": _TEXT,
    "reasoning_effort": _TEXT,
    "safety_identifier": _TEXT,
    "service_tier": _TEXT,
    "store": of_type(bool, "true or false"),
    "user": _TEXT,
}
# Fields that would change the answer, at the values that request nothing.
_UNSUPPORTED = {
    "audio": only_values(because=_TEXT_ALONE),
    "function_call": only_values("none", "auto", because=_NO_TOOLS),
    "functions": only_values([], because=_NO_TOOLS),
    "modalities": only_values(["text"], because=_TEXT_ALONE),
    "moderation": only_values(because="nothing is moderated here"),
    "n": only_values(1, because="a request gets one answer"),
    "tool_choice": only_values("none", "auto", because=_NO_TOOLS),
    "tools": only_values([], because=_NO_TOOLS),
    "verbosity": only_values("medium", because="state the desired length in the question"),
    "web_search_options": only_values(because="this server does not search the web"),
}
REQUEST_FIELDS: Mapping[str, FieldRule] = {**_FORWARDED, **_IGNORED, **_UNSUPPORTED}

# Fields beside `role` and `content`; clients send back the fields of an answer's message.
MESSAGE_FIELDS: Mapping[str, FieldRule] = {
    "annotations": only_values([], because="this model cites no sources"),
    "audio": only_values(because=_TEXT_ALONE),
    "function_call": only_values(because=_NO_TOOLS),
    "name": _TEXT,
    "reasoning_content": _TEXT,
    "refusal": _TEXT,
    "tool_calls": only_values([], because=_NO_TOOLS),
}
# Every image is resized to one size, whatever `detail` is requested.
IMAGE_URL_FIELDS: Mapping[str, FieldRule] = {"url": _TEXT, "detail": _TEXT}
