"""Detect the language of a text with py3langid, whose model is part of its package."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from imp_data.errors import UserError

_SHORTENED = 2_000  # characters; more do not change the language of a text


def detect_language(text: str) -> tuple[str, float]:
    """Return the ISO 639-1 code of a text's language and its probability.

    The result depends on the text and on the version of py3langid. Raise UserError if the extra
    `language` is not installed.
    """
    language, probability = _detector().classify(text[:_SHORTENED])
    return str(language), float(probability)


def detector_version() -> str:
    """Return the version of the detector. Raise UserError if it is not installed."""
    try:
        return version("py3langid")
    except PackageNotFoundError:
        raise _not_installed() from None


@cache
def _detector() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError:
        raise _not_installed() from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _not_installed() -> UserError:
    return UserError(
        "rule `language`",
        "needs the package py3langid, which is not installed",
        "install the extra: pip install 'imp-data[language]'",
    )
