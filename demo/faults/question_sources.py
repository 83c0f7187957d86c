"""Troubled rows of the sources that publish questions or bare captions."""

from collections.abc import Iterable
from typing import Any, Final

from demo.annotations.captions import described
from demo.faults.planted import Planted
from demo.sources import ai2d as ai2d_module
from demo.sources import captions, charts, documents
from imp_data.ledger import Outcome, Reason

Row = dict[str, Any]
# The chart of DVQA on which one question lacks its answer, by its place among the charts.
_DVQA_CHART = 0
_FIRST_OF_DVQA_CHART = "1000"
# LAION's rows with a trouble; no file has the image that the last one tells of.
_LAION: Final = (31, 32, 33, 40)
_AI2D_EMPTY, _AI2D_TWICE, _AI2D_WRONG_TWICE = "258.png-20", "258.png-21", "103.png-20"


def dvqa() -> Row:
    chart = charts.dvqa_numbers("train")[_DVQA_CHART]
    kind, question, _ = charts.on_bars("train", chart)[0]
    return {"question_id": 9_001, **charts.dvqa_row("train", chart, kind, question, "")}


def augmented() -> Row:
    """The first row of train_augmented.json."""
    return charts.chart_row(charts.AUGMENTED[-1], "How many lines does the chart have?", "")


def docvqa() -> list[Row]:
    date = dict(documents.page_facts(documents.PAGES).fields)["Date"]
    asked = "What is the date on this page?"
    return [
        documents.page_row(9_001, documents.PAGES, asked, [date], "val"),
        documents.page_row(9_002, 0, "What color is the logo?", [], "train"),
    ]


def infographicvqa() -> list[Row]:
    asked = "How many people live in this town?"
    return [
        {"questionId": 99_001, **documents.infographic_row(0, asked, [], "train")},
        {"questionId": 99_002, **documents.infographic_row(1, asked, ["12,000"], "val")},
    ]


def laion() -> list[Row]:
    """Rows after all others; the last has the number of an image that is not there."""
    nothing, blank, token, unseen = _LAION
    told = [described(captions.web_image(n, "laion_gpt4v").facts) for n in (token, unseen)]
    return [
        captions.laion_row(nothing, None),
        captions.laion_row(blank, "  "),
        captions.laion_row(token, f"<image> {told[0]}"),
        captions.laion_row(unseen, told[1]),
    ]


def ai2d(place: int) -> dict[str, Row]:
    """Questions after the others on that diagram."""
    identities = {
        _AI2D_EMPTY: ("What eats the leopard seal?", ["krill", "{}", "plankton", "penguin"], 1),
        _AI2D_TWICE: ("What eats krill?", ["penguin", "plankton", "penguin", "leopard seal"], 0),
        _AI2D_WRONG_TWICE: ("What does a hen lay?", ["chick", "egg", "hen", "chick"], 1),
    }
    return {
        question: {**ai2d_module.option_row(options, right, lettered=False), "questionId": identity}
        for identity, (question, options, right) in identities.items()
        if identity.startswith(f"{place}.png-")
    }


def _dropped(
    source: str, rows: Iterable[tuple[str, str | int, Reason, str]], ordinal: int | None = None
) -> tuple[Planted, ...]:
    return tuple(
        Planted(what, source, ordinal, str(identity), Outcome.DROPPED, reason, None, because)
        for what, identity, reason, because in rows
    )


def _kept(source: str, what: str, identity: str, because: str, ordinal: int | None) -> Planted:
    return Planted(what, source, ordinal, identity, Outcome.KEPT, None, None, because)


_UNANSWERED = "A question without an answer goes alone; the others on its picture stay."
_DVQA: Final = (
    *_dropped(
        "dvqa",
        [("a question on a chart without an answer", 9_001, Reason.EMPTY_VALUE, _UNANSWERED)],
    ),
    _kept("dvqa", "another question on the same chart", _FIRST_OF_DVQA_CHART, _UNANSWERED, None),
)

_LABELS_STAY = "Labels stay as published: the benchmark scores against that form."
_CHARTQA: Final = (
    *(
        _kept("chartqa", what, charts.chart_name(place), _LABELS_STAY, ordinal)
        for what, place, ordinal in (
            ("a label that is a list", 0, 0),
            ("a label that is a share", 1, 4),
            ("a label that is a date in Excel's count of days", 2, 8),
        )
    ),
    *_dropped(
        "chartqa",
        [
            (
                "a generated question without a label",
                charts.chart_name(charts.AUGMENTED[-1]),
                Reason.EMPTY_VALUE,
                _UNANSWERED,
            )
        ],
        ordinal=charts.HUMAN_ROWS,
    ),
)

_TEST = "A benchmark's own test split is not to be trained on."
_DOCUMENTS: Final = (
    *_dropped(
        "docvqa",
        [
            ("a page of the validation split", 9_001, Reason.HELD_OUT_SPLIT, _TEST),
            ("a question on a page without answers", 9_002, Reason.EMPTY_VALUE, _UNANSWERED),
        ],
    ),
    *_dropped(
        "infographicvqa",
        [
            (
                "a question on an infographic without answers",
                99_001,
                Reason.EMPTY_VALUE,
                _UNANSWERED,
            ),
            ("an infographic of the validation split", 99_002, Reason.HELD_OUT_SPLIT, _TEST),
        ],
    ),
)

_NO_LETTER = "No letter would be the right one, or two would."
_AI2D: Final = (
    *_dropped(
        "ai2d",
        [
            *(
                (f"test picture {place}", f"{place}.png-0", Reason.HELD_OUT_SPLIT, _TEST)
                for place in ai2d_module.TEST
            ),
            ("a right option that is empty", _AI2D_EMPTY, Reason.BAD_OPTIONS, _NO_LETTER),
            ("a right option that stands twice", _AI2D_TWICE, Reason.BAD_OPTIONS, _NO_LETTER),
        ],
    ),
    _kept(
        "ai2d",
        "a null option that is not the right one",
        "103.png-0",
        "Upstream fills a list of options with it; it is left out.",
        None,
    ),
    _kept(
        "ai2d",
        "a wrong option that stands twice",
        _AI2D_WRONG_TWICE,
        "The right letter is as clear as with four different options.",
        None,
    ),
)

_NO_CAPTION = "Without a caption there is nothing to learn."
_NONE, _BLANK, _TOKEN, _DEAD = (captions.message_id(n) for n in _LAION)
_CAPTIONS: Final = (
    *_dropped(
        "laion_gpt4v",
        [
            ("no caption", _NONE, Reason.WRONG_TYPE, _NO_CAPTION),
            ("a blank caption", _BLANK, Reason.EMPTY_VALUE, _NO_CAPTION),
            (
                "a picture's token in a caption",
                _TOKEN,
                Reason.TOKEN_REPEATED,
                "The token stands before the caption's question already.",
            ),
            (
                "a link that is dead",
                _DEAD,
                Reason.IMAGE_MISSING,
                "Upstream publishes links alone; some no longer have a picture.",
            ),
        ],
    ),
)

QUESTIONS: Final = (*_DVQA, *_CHARTQA, *_DOCUMENTS, *_AI2D, *_CAPTIONS)
