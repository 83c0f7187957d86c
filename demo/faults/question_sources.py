"""Faulty rows of the sources that publish questions or bare captions."""

from typing import Any, Final

from demo.faults.planted import Planted
from demo.sources import ai2d as ai2d_module
from demo.sources import captions, charts, documents
from imp_data.ledger import Reason

Row = dict[str, Any]
# LAION's faulty rows; the last one's image is missing.
_LAION: Final = (31, 32, 33, 49)
_AI2D: Final = {
    "2304.png-20": ("What eats the leopard seal?", ["krill", "{}", "plankton", "penguin"], 1),
    "2304.png-21": ("What eats krill?", ["penguin", "plankton", "penguin", "leopard seal"], 0),
    "1021.png-20": ("What does a hen lay?", ["chick", "egg", "hen", "chick"], 1),
}


def dvqa() -> Row:
    chart = charts.dvqa_numbers("train")[0]
    kind, question, _ = charts.on_bars("train", chart)[0]
    return {"question_id": 9_001, **charts.dvqa_row("train", chart, kind, question, "")}


def augmented() -> Row:
    """Return the first row of train_augmented.json."""
    return charts.chart_row(charts.AUGMENTED[-1], "How many lines does the chart have?", "")


def docvqa() -> list[Row]:
    last = documents.PAGES
    date = dict(documents.page_facts(last).fields)["Date"]
    rows = [
        documents.page_row(last, "What is the date on this page?", [date], "val"),
        documents.page_row(0, "What color is the logo?", [], "train"),
    ]
    return [{"questionId": 9_001 + n, **row} for n, row in enumerate(rows)]


def infographicvqa() -> list[Row]:
    question = "How many people live in this town?"
    rows = [
        documents.infographic_row(0, question, [], "train"),
        documents.infographic_row(1, question, ["12,000"], "val"),
    ]
    return [{"questionId": 99_001 + n, **row} for n, row in enumerate(rows)]


def laion() -> list[Row]:
    """Return rows after all others; the last has the number of a missing image."""
    with_token, missing = (captions.laion_caption(n) for n in _LAION[2:])
    texts = (None, "  ", f"<image> {with_token}", missing)
    return [captions.laion_row(n, text) for n, text in zip(_LAION, texts, strict=True)]


def ai2d(index: int) -> dict[str, Row]:
    """Return questions after the others on that diagram."""
    return {
        question: {**ai2d_module.option_row(options, right, lettered=False), "questionId": identity}
        for identity, (question, options, right) in _AI2D.items()
        if identity.startswith(f"{index}.png-")
    }


_QUESTIONS: Final = (
    # A question without an answer is dropped alone; the others on its image are kept.
    Planted("a question on a chart without an answer", "dvqa", None, "9001", Reason.EMPTY_VALUE),
    Planted("another question on the same chart", "dvqa", None, "1000"),
    # Labels are kept as published, because the benchmark scores against that form.
    *(
        Planted(what, "chartqa", ordinal, charts.chart_name(index))
        for what, index, ordinal in (
            ("a label that is a list", 0, 0),
            ("a label that is a share", 1, 4),
            ("a label that is a date as Excel's count of days", 2, 8),
        )
    ),
    Planted(
        "a generated question without a label",
        *("chartqa", charts.HUMAN_ROWS),
        *(charts.chart_name(charts.AUGMENTED[-1]), Reason.EMPTY_VALUE),
    ),
    # A benchmark's own validation and test splits are not for training.
    Planted("a page of the validation split", "docvqa", None, "9001", Reason.HELD_OUT_SPLIT),
    Planted("a question on a page without answers", "docvqa", None, "9002", Reason.EMPTY_VALUE),
    Planted(
        "a question on an infographic without answers",
        *("infographicvqa", None, "99001", Reason.EMPTY_VALUE),
    ),
    Planted(
        "an infographic of the validation split",
        *("infographicvqa", None, "99002", Reason.HELD_OUT_SPLIT),
    ),
    *(
        Planted(f"test image {n}", "ai2d", None, f"{n}.png-0", Reason.HELD_OUT_SPLIT)
        for n in ai2d_module.TEST
    ),
    # No letter is right, or two are.
    Planted("a right option that is empty", "ai2d", None, "2304.png-20", Reason.BAD_OPTIONS),
    Planted("a right option that occurs twice", "ai2d", None, "2304.png-21", Reason.BAD_OPTIONS),
    # Upstream fills a list of options with null; the reader leaves it out.
    Planted("a null option that is not the right one", "ai2d", None, "1021.png-0"),
    Planted("a wrong option that occurs twice", "ai2d", None, "1021.png-20"),
)

_CAPTIONS: Final = tuple(
    Planted(what, "laion_gpt4v", None, captions.message_id(n), reason)
    for n, what, reason in (
        (_LAION[0], "no caption", Reason.WRONG_TYPE),
        (_LAION[1], "a blank caption", Reason.EMPTY_VALUE),
        # The token is before the question that the caption answers already.
        (_LAION[2], "an image token in a caption", Reason.TOKEN_REPEATED),
        # Upstream publishes links alone; some are dead.
        (_LAION[3], "a dead link", Reason.IMAGE_MISSING),
    )
)

QUESTIONS: Final = (*_QUESTIONS, *_CAPTIONS)
