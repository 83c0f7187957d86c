"""DVQA and ChartQA: bar charts and published-looking charts with questions on them."""

from datetime import date
from typing import Any, Final

from demo.annotations.questions import Exchange
from demo.drawing.album import DrawnImage, bar_chart, number, seeded, statista_chart
from demo.drawing.charts import BarChart, StatistaChart

Row = dict[str, Any]
DVQA_CHARTS: Final = 14
# Charts that people asked about, and charts a generator asked about: two are both.
HUMAN: Final = range(4)
AUGMENTED: Final = range(2, 7)
HUMAN_ROWS: Final = 3 * len(HUMAN)
# The first two were looked for: their answers come out as "[63, 26]" and "0.39".
_CHART_SEEDS: Final = (7255, 136, 2, 3, 4, 5, 6)
_COUNTS: Final = ("zero", "one", "two", "three", "four", "five")
_EXCEL_DAY_ZERO: Final = date(1899, 12, 30)


def dvqa_name(split: str, place: int) -> str:
    return f"bar_{split}_{place:08d}.png"


def dvqa_chart(split: str, place: int) -> DrawnImage[BarChart]:
    return bar_chart("dvqa", split, place)


def dvqa_numbers(split: str) -> list[int]:
    """The charts that are drawn of a split of 200,000, or of 50,000."""
    count = DVQA_CHARTS if split == "train" else 1
    return sorted(number(1, 50_000, "dvqa", split, n) for n in range(count))


def dvqa_rows(split: str) -> list[Row]:
    """The content of <split>_qa.json; a row's field for its kind is called template_id."""
    rows = []
    for place in dvqa_numbers(split):
        rng = seeded("dvqa", split, place)
        asked = on_bars(split, place)
        kept = sorted(rng.sample(range(len(asked)), rng.randint(8, len(asked))))
        rows += [dvqa_row(split, place, *asked[n]) for n in kept]
    return [{"question_id": 1_000 + ordinal, **row} for ordinal, row in enumerate(rows)]


def dvqa_row(split: str, place: int, kind: str, question: str, answer: str) -> Row:
    return {
        "template_id": kind,
        "answer": answer,
        "answer_bbox": [],
        "image": dvqa_name(split, place),
        "question": question,
    }


def on_bars(split: str, place: int) -> list[tuple[str, str, str]]:
    """(kind, question, answer); digits for values, words for counts, as in DVQA."""
    chart = dvqa_chart(split, place).facts
    asked = {"structure": _on_form(chart), "data": _on_data(chart), "reasoning": _on_sums(chart)}
    return [(kind, *exchange) for kind, exchanges in asked.items() for exchange in exchanges]


def _on_form(chart: BarChart) -> list[Exchange]:
    return [
        ("How many bars are there?", _COUNTS[len(chart.values)]),
        ("Are the bars horizontal?", "no"),
        ("Does the chart contain stacked bars?", "no"),
        ("Is each bar a solid color without patterns?", "yes"),
        ("Are the values in the chart presented in a percentage scale?", "no"),
    ]


def _on_data(chart: BarChart) -> list[Exchange]:
    lowest = min(zip(chart.values, chart.labels, strict=True))[1]
    found = [
        ("What is the label of the second bar from the left?", chart.labels[1]),
        (f"What is the value of {chart.labels[0]}?", str(chart.values[0])),
        ("What is the value of the largest bar?", str(max(chart.values))),
        ("What is the label of the bar with the smallest value?", lowest),
    ]
    if chart.has_legend:
        found.append((f"What does the {chart.colours[0]} bar represent?", chart.labels[0]))
    return found


def _on_sums(chart: BarChart) -> list[Exchange]:
    (first, second), (one, other) = chart.labels[:2], chart.values[:2]
    middle = sorted(chart.values)[len(chart.values) // 2]
    above = _COUNTS[sum(value > middle for value in chart.values)]
    apart = max(chart.values) - min(chart.values)
    return [
        (f"Is the value of {first} smaller than {second}?", "yes" if one < other else "no"),
        (f"What is the sum of the values of {first} and {second}?", str(one + other)),
        (f"How many bars have values larger than {middle}?", above),
        ("What is the difference between the largest and the smallest value?", str(apart)),
    ]


def chart_name(place: int) -> str:
    """People's charts have bare numbers; generated ones come from two scrapers."""
    return f"{10_195 + 37 * place}.png" if place in HUMAN else f"two_col_{100 + 7 * place}.png"


def chart(place: int) -> DrawnImage[StatistaChart]:
    return statista_chart("chartqa", _CHART_SEEDS[place])


def human_rows() -> list[Row]:
    """train_human.json, with the oddities of the real labels: lists, shares, Excel dates."""
    rows = []
    for place in HUMAN:
        asked = _by_people(chart(place).facts)
        rows += [chart_row(place, question, label) for question, label in asked]
    return rows


def augmented_rows() -> list[Row]:
    rows = []
    for place in AUGMENTED:
        asked = _generated(chart(place).facts)[: 2 + place % 3]
        rows += [chart_row(place, question, label) for question, label in asked]
    return rows


def chart_row(place: int, question: str, label: str) -> Row:
    return {"imgname": chart_name(place), "query": question, "label": label}


def _by_people(chart: StatistaChart) -> list[Exchange]:
    pairs = sorted(zip(chart.values, chart.labels, strict=True), reverse=True)
    (most, highest), (next_most, runner_up) = pairs[:2]
    least, lowest = pairs[-1]
    found = [
        (
            f"What are the percentages of {highest} and {runner_up}, the two largest?",
            f"[{most:g}, {next_most:g}]",
        ),
        (f"What is the ratio of {lowest} to {highest}?", f"{least / most:.2f}"),
    ]
    if chart.labels[0].isdigit():
        days = date(int(chart.labels[0]), 1, 1) - _EXCEL_DAY_ZERO
        found.append(("When does the first year of the chart begin?", str(days.days)))
    else:
        # As people typed it.
        found.append((f"Wjhat is the value of {highest}?", f"{most:g}"))
    return found


def _generated(chart: StatistaChart) -> list[Exchange]:
    highest = max(zip(chart.values, chart.labels, strict=True))
    return [
        (f"What is the value for {chart.labels[0]} in the chart?", f"{chart.values[0]:g}"),
        ("Which label has the highest value?", highest[1]),
        (f"What percentage is shown for {chart.labels[-1]}?", f"{chart.values[-1]:g}"),
        ("How many values are shown?", str(len(chart.values))),
    ]


def chartqa_table(place: int) -> bytes:
    """The chart's numbers as tables/<name>.csv has them."""
    facts = chart(place).facts
    lines = [f"{label},{value:g}" for label, value in zip(facts.labels, facts.values, strict=True)]
    return "\n".join(["Characteristic,Share", *lines, ""]).encode()
