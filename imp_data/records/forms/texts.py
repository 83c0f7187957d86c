"""The form `texts`: exchanges of user and assistant, with ratings (the_cauldron, FineVision)."""

from typing import Any

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms.assemble import assemble, required_field
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    RecordError,
    Turn,
    column_names,
    form_reader,
    read_list,
    read_text,
    wrong_type,
)
from imp_data.records.forms.images import image_columns, read_images
from imp_data.records.forms.turns import read_system
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields

_EXCHANGE = ("user", "assistant")
# The dataset that the_cauldron took the exchange from.
_ORIGIN = "source"
# FineVision: per exchange 1 to 5, or null, and the least of the record.
_RATINGS = ("relevance", "image_correspondence", "visual_dependency", "formatting")
_IGNORED = frozenset(f"{name}_{end}" for name in _RATINGS for end in ("ratings", "min"))


@form_reader
def read(record: dict[str, Any], settings: FormSettings, ordinal: int) -> Conversation:
    """Read a record of exchanges; drop those whose ratings are below the manifest's minima."""
    name = required_field(record, settings, "texts")
    exchanges = read_list(record[name], name)
    turns = [_read_exchange(one, f"{name}.{number}") for number, one in enumerate(exchanges)]
    kept = _keep_rated(turns, record, settings)
    images, repairs = read_images(record, settings)
    return assemble(
        record,
        settings,
        images,
        read_system(record, settings, [turn for pair in kept for turn in pair]),
        repairs=repairs,
        has_tokens=False,
        subset=_read_origin(exchanges[0], settings),
        dropped_turns=len(turns) - len(kept),
    )


def _read_exchange(exchange: Any, where: str) -> tuple[Turn, Turn]:
    if not isinstance(exchange, dict):
        raise wrong_type(where, "should be an object", exchange)
    question, answer = (read_text(exchange.get(name), f"{where}.{name}") for name in _EXCHANGE)
    return ("human", question), ("gpt", answer)


def _keep_rated(
    turns: list[tuple[Turn, Turn]], record: dict[str, Any], settings: FormSettings
) -> list[tuple[Turn, Turn]]:
    """Keep the exchanges whose ratings are null or at least the minimum, as nanoVLM does.

    Raises RecordError if none is left, or if the ratings do not belong to the exchanges.
    """
    keep = [True] * len(turns)
    for rating, minimum in settings.min_ratings.items():
        name = _rating_column(rating)
        values = _read_ratings(record, name, len(turns))
        keep = [
            kept and (value is None or value >= minimum)
            for kept, value in zip(keep, values, strict=True)
        ]
    if not any(keep):
        evidence = {"field": "min_ratings", "min_ratings": dict(settings.min_ratings)}
        raise RecordError(Verdict(Reason.LOW_RATING, {**evidence, "turns": len(turns)}))
    return [turn for turn, kept in zip(turns, keep, strict=True) if kept]


def _rating_column(rating: str) -> str:
    return rating if rating.endswith("_ratings") else f"{rating}_ratings"


def _read_ratings(record: dict[str, Any], name: str, count: int) -> list[float | None]:
    if name not in record:
        raise wrong_type(name, "is missing, and min_ratings asks for it", None)
    ratings = record[name]
    if ratings is None:
        return [None] * count
    if not isinstance(ratings, list) or len(ratings) != count:
        raise wrong_type(name, f"should be a list of {count} ratings, one per turn", ratings)
    for number, rating in enumerate(ratings):
        if isinstance(rating, bool) or not isinstance(rating, int | float | None):
            raise wrong_type(f"{name}.{number}", "should be a number or null", rating)
    return ratings


def _read_origin(exchange: dict[str, Any], settings: FormSettings) -> str:
    """Return the origin of the first exchange, if the manifest names it as the subset."""
    origin = exchange.get(_ORIGIN) if settings.columns.get("subset") == _ORIGIN else None
    return origin if isinstance(origin, str) else ""


def fields(settings: FormSettings) -> LayoutFields:
    """Return the fields of a record and of an exchange."""
    names = column_names(settings, "texts")
    rated = map(_rating_column, settings.min_ratings)
    read = {*names, *column_names(settings, "system", "id", "subset"), *image_columns(settings)}
    return LayoutFields(
        frozenset(read.union(rated)),
        COMMON_IGNORED | _IGNORED,
        dict.fromkeys(names, frozenset({*_EXCHANGE, _ORIGIN})),
    )


def recognises(record: dict[str, Any]) -> bool:
    """Return whether a record has a list of exchanges."""
    texts = record.get("texts")
    return isinstance(texts, list) and bool(texts) and _is_exchange(texts[0])


def _is_exchange(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= {*_EXCHANGE}


FORM = Form(read, fields, recognises)
