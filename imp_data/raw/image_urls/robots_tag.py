"""Read X-Robots-Tag, the header in which a server states what a crawler may do with a file."""

import re
from collections.abc import Iterable

# noai and noimageai: deviantart.com/team/journal/UPDATE-All-Deviations-Are-Opted-Out-of-AI-Datasets
_REFUSALS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_OURS = frozenset({"*", "imp-data"})
_AGENT = re.compile(r"([\w*-]+)\s*:\s*(.*)", re.DOTALL)
# Directives with a value after a colon; what stands before it is no crawler's name.
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


def find_refusal(values: Iterable[str]) -> str | None:
    """Return the first directive that refuses use as training data, indexing included.

    A value such as `otherbot: noindex, noai` is for that crawler alone.
    """
    for value in values:
        found = _AGENT.fullmatch(value.strip())
        if found and found[1].lower() not in _WITH_VALUE:
            if found[1].lower() not in _OURS:
                continue
            value = found[2]
        for directive in value.lower().split(","):
            if directive.strip() in _REFUSALS:
                return directive.strip()
    return None
