"""DVQA and ChartQA: charts with questions on them."""

from datetime import date
from typing import Any, Final

from demo.annotations.questions import Exchange
from demo.drawing.album import DrawnImage, bar_chart, number, seeded, statista_chart
from demo.drawing.charts import BarChart, StatistaChart
from demo.drawing.ink import NUMBER_WORDS

Row = dict[str, Any]
DVQA_CHARTS: Final = 14
# Charts with questions by people, and charts with generated ones: two have both.
HUMAN: Final = range(4)
AUGMENTED: Final = range(2, 7)
HUMAN_ROWS: Final = 3 * len(HUMAN)
# The answers on the first two charts are "[63, 26]" and "0.39".
_CHART_SEEDS: Final = (7255, 136, 2, 3, 4, 5, 6)
_EXCEL_DAY_ZERO: Final = date(1899, 12, 30)


def dvqa_name(split: str, index: int) -> str:
    return f"bar_{split}_{index:08d}.png"


def dvqa_chart(split: str, index: int) -> DrawnImage[BarChart]:
    return bar_chart("dvqa", split, index)


def dvqa_numbers(split: str) -> list[int]:
    """Return the numbers of a split's charts."""
    count = DVQA_CHARTS if split == "train" else 1
    return sorted(number(1, 50_000, "dvqa", split, n) for n in range(count))


def dvqa_rows(split: str) -> list[Row]:
    """Return the content of <split>_qa.json; `template_id` is the kind of question."""
    rows = []
    for index in dvqa_numbers(split):
        rng = seeded("dvqa", split, index)
        questions = on_bars(split, index)
        kept = sorted(rng.sample(range(len(questions)), rng.randint(8, len(questions))))
        rows += [dvqa_row(split, index, *questions[n]) for n in kept]
    return [{"question_id": 1_000 + ordinal, **row} for ordinal, row in enumerate(rows)]


def dvqa_row(split: str, index: int, kind: str, question: str, answer: str) -> Row:
    return {
        "template_id": kind,
        "answer": answer,
        "answer_bbox": [],
        "image": dvqa_name(split, index),
        "question": question,
    }


def on_bars(split: str, index: int) -> list[tuple[str, str, str]]:
    """Return (kind, question, answer), with digits for values and words for counts, as in DVQA."""
    chart = dvqa_chart(split, index).facts
    kinds = {"structure": _on_form(chart), "data": _on_data(chart), "reasoning": _on_sums(chart)}
    return [(kind, *exchange) for kind, exchanges in kinds.items() for exchange in exchanges]


def _on_form(chart: BarChart) -> list[Exchange]:
    return [
        ("How many bars are there?", NUMBER_WORDS[len(chart.values)]),
        ("Are the bars horizontal?", "no"),
        ("Does the chart contain stacked bars?", "no"),
        ("Is each bar a solid color without patterns?", "yes"),
        ("Are the values in the chart presented in a percentage scale?", "no"),
    ]


def _on_data(chart: BarChart) -> list[Exchange]:
    lowest = min(zip(chart.values, chart.labels, strict=True))[1]
    exchanges = [
        ("What is the label of the second bar from the left?", chart.labels[1]),
        (f"What is the value of {chart.labels[0]}?", str(chart.values[0])),
        ("What is the value of the largest bar?", str(max(chart.values))),
        ("What is the label of the bar with the smallest value?", lowest),
    ]
    if chart.has_legend:
        exchanges.append((f"What does the {chart.colours[0]} bar represent?", chart.labels[0]))
    return exchanges


def _on_sums(chart: BarChart) -> list[Exchange]:
    (first, second), (one, other) = chart.labels[:2], chart.values[:2]
    middle = sorted(chart.values)[len(chart.values) // 2]
    above = NUMBER_WORDS[sum(value > middle for value in chart.values)]
    apart = max(chart.values) - min(chart.values)
    return [
        (f"Is the value of {first} smaller than {second}?", "yes" if one < other else "no"),
        (f"What is the sum of the values of {first} and {second}?", str(one + other)),
        (f"How many bars have values larger than {middle}?", above),
        ("What is the difference between the largest and the smallest value?", str(apart)),
    ]


def chart_name(index: int) -> str:
    """Return a file name in the form of its origin."""
    return f"{10_195 + 37 * index}.png" if index in HUMAN else f"two_col_{100 + 7 * index}.png"


def chart(index: int) -> DrawnImage[StatistaChart]:
    return statista_chart("chartqa", _CHART_SEEDS[index])


def human_rows() -> list[Row]:
    """Return train_human.json, with labels as upstream: lists, shares, Excel dates."""
    return [
        chart_row(index, question, label)
        for index in HUMAN
        for question, label in _by_people(chart(index).facts)
    ]


def augmented_rows() -> list[Row]:
    return [
        chart_row(index, question, label)
        for index in AUGMENTED
        for question, label in _generated(chart(index).facts)[: 2 + index % 3]
    ]


def chart_row(index: int, question: str, label: str) -> Row:
    return {"imgname": chart_name(index), "query": question, "label": label}


def _by_people(chart: StatistaChart) -> list[Exchange]:
    pairs = sorted(zip(chart.values, chart.labels, strict=True), reverse=True)
    (most, highest), (next_most, runner_up) = pairs[:2]
    least, lowest = pairs[-1]
    two_largest = f"What are the percentages of {highest} and {runner_up}, the two largest?"
    exchanges = [
        (two_largest, f"[{most:g}, {next_most:g}]"),
        (f"What is the ratio of {lowest} to {highest}?", f"{least / most:.2f}"),
    ]
    if chart.labels[0].isdigit():
        days = date(int(chart.labels[0]), 1, 1) - _EXCEL_DAY_ZERO
        exchanges.append(("When does the first year of the chart begin?", str(days.days)))
    else:
        # With a typing error, as upstream.
        exchanges.append((f"Wjhat is the value of {highest}?", f"{most:g}"))
    return exchanges


def _generated(chart: StatistaChart) -> list[Exchange]:
    highest = max(zip(chart.values, chart.labels, strict=True))
    return [
        (f"What is the value for {chart.labels[0]} in the chart?", f"{chart.values[0]:g}"),
        ("Which label has the highest value?", highest[1]),
        (f"What percentage is shown for {chart.labels[-1]}?", f"{chart.values[-1]:g}"),
        ("How many values are shown?", str(len(chart.values))),
    ]


def chartqa_table(index: int) -> bytes:
    """Return the values of a chart in the form of tables/<name>.csv."""
    facts = chart(index).facts
    lines = [f"{label},{value:g}" for label, value in zip(facts.labels, facts.values, strict=True)]
    return "\n".join(["Characteristic,Share", *lines, ""]).encode()
