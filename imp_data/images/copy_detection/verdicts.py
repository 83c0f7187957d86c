"""Judge a matched pair: a copy, a pair to report, or neither."""

from typing import Literal

CopyVerdict = Literal["copy", "report"]

# Scores have two decimals. Pairs of different photographs stay far below, and copies above, in
# docs/decontamination.md.
LEAST_SCORE = 0.6


def judge(
    score: float, document_like: bool, least_score: float = LEAST_SCORE
) -> CopyVerdict | None:
    """Return "copy" for a pair that scores enough, or "report" if the reference is document-like.

    A page and another page of its template, or a chart and its sibling, score as copies do at 64
    pixels. Only equal bytes, equal pixels, or `content_test.same_content` tell them apart.
    """
    if score < least_score:
        return None
    return "report" if document_like else "copy"
