"""Every field of OpenAI's chat completions request, and those of llama.cpp's own that are safe."""

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
_TEXT_ALONE = "this model answers in text alone"
_FORMATS = ("text", "json_object", "json_schema")
_STOPS = 16
# llama.cpp's time for a schema grows with the cube of its optional properties.
_SCHEMA_VALUES, _SCHEMA_CHARACTERS = 500, 16 << 10


def _is_stop(value: Any) -> bool:
    words = [value] if isinstance(value, str) else value
    right = isinstance(words, list) and all(isinstance(word, str) and word for word in words)
    return right and len(words) <= _STOPS


def _is_format(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.get("type") not in _FORMATS:
        return False
    return _count(value) <= _SCHEMA_VALUES and len(json.dumps(value)) <= _SCHEMA_CHARACTERS


def _count(value: Any) -> int:
    """The values in a value, itself among them."""
    held = value.values() if isinstance(value, Mapping) else value
    return 1 + sum(map(_count, held)) if isinstance(value, Mapping | list) else 1


def _is_options(value: Any) -> bool:
    """OpenAI's stream_options; its padding against eavesdroppers (`include_obfuscation`) is not
    needed behind TLS of one's own, and not made."""
    known = {"include_usage", "include_obfuscation"}
    return isinstance(value, Mapping) and all(
        name in known and isinstance(one, bool | None) for name, one in value.items()
    )


# What llama.cpp does. A field that is not here never reaches it: some of its own read files.
_HONOURED = {
    "frequency_penalty": number_between(-2, 2),
    "logit_bias": FieldRule(
        is_logit_bias, "an object of tokens' numbers and -100 to 100", forwarded=True
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
    "stream_options": FieldRule(_is_options, "an object with include_usage", forwarded=True),
    "temperature": number_between(0, 2),
    "top_logprobs": integer_between(0, 20),
    "top_p": number_between(0, 1),
    # llama.cpp's own.
    "min_p": number_between(0, 1),
    "n_probs": integer_between(0, 100),
    "repeat_penalty": number_between(0, 10),
    "top_k": integer_between(-1, 2**31 - 1),
}
# What changes no answer: whom OpenAI would bill, keep, cache or hurry for, and how long a model is
# to reason that does not reason at all.
_HARMLESS = {
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
# What would change it, at the values that ask for nothing.
_NEUTRAL = {
    "audio": only_values(because=_TEXT_ALONE),
    "function_call": only_values("none", "auto", because=_NO_TOOLS),
    "functions": only_values([], because=_NO_TOOLS),
    "modalities": only_values(["text"], because=_TEXT_ALONE),
    "moderation": only_values(because="nothing is moderated here"),
    "n": only_values(1, because="a request gets one answer"),
    "tool_choice": only_values("none", "auto", because=_NO_TOOLS),
    "tools": only_values([], because=_NO_TOOLS),
    "verbosity": only_values("medium", because="say in the question how long the answer is to be"),
    "web_search_options": only_values(because="nothing is looked up here"),
}
REQUEST_FIELDS: Mapping[str, FieldRule] = {**_HONOURED, **_HARMLESS, **_NEUTRAL}

# Beside `role` and `content`; clients send back what an answer's message had.
MESSAGE_FIELDS: Mapping[str, FieldRule] = {
    "annotations": only_values([], because="this model looks nothing up"),
    "audio": only_values(because=_TEXT_ALONE),
    "function_call": only_values(because=_NO_TOOLS),
    "name": _TEXT,
    "reasoning_content": _TEXT,
    "refusal": _TEXT,
    "tool_calls": only_values([], because=_NO_TOOLS),
}
# Every image becomes one size, whatever detail is asked for.
IMAGE_URL_FIELDS: Mapping[str, FieldRule] = {"url": _TEXT, "detail": _TEXT}
