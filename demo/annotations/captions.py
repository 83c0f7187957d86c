"""What a careful annotator would write about any image of the demo."""

import random
from typing import Final

from demo.annotations.questions import Exchange, long_exchanges, reasoned_exchange
from demo.drawing.charts import BarChart, StatistaChart
from demo.drawing.diagrams import Diagram
from demo.drawing.ink import counted, listed
from demo.drawing.pages import Cover, Infographic, Page
from demo.drawing.scenes import Scene

Facts = Scene | Cover | Page | Infographic | BarChart | StatistaChart | Diagram
_CHART_SHAPES: Final = {"bar": "vertical bars", "line": "a line with dots", "pie": "a pie"}


def short_title(facts: Facts) -> str:
    """A few words, as a web page has them beside an image."""
    match facts:
        case Scene():
            return f"{facts.word.title()} - {facts.ground} photo with {facts.things[0].kind}"
        case Cover():
            return f"{facts.title} by {facts.author} ({facts.year})"
        case Page():
            return f"{facts.kind} from {dict(facts.fields)['Company']}"
        case _:
            return facts.title


def described(facts: Facts) -> str:
    """A paragraph on the whole image."""
    match facts:
        case Scene():
            return facts.description()
        case Cover():
            return (
                f'This is the cover of a book. Its title, "{facts.title}", stands in large letters '
                f"above the name of the author, {facts.author}. A label at the top says "
                f"{facts.genre.upper()}, one at the bottom gives the year {facts.year}."
            )
        case Page():
            lines = listed([f"{name} ({value})" for name, value in facts.fields])
            return f"A scanned {facts.kind} on slightly yellowed paper. One can read: {lines}."
        case Infographic():
            lines = listed([f"{label.lower()} ({value})" for label, value in facts.facts])
            return f'A tall infographic with the title "{facts.title}". It tells of {lines}.'
        case BarChart():
            return _bars_described(facts)
        case StatistaChart():
            values = listed([f"{v:g}% for {n}" for n, v in _pairs(facts)])
            shape = _CHART_SHAPES[facts.kind]
            return f'A chart with the title "{facts.title}", drawn as {shape}. It shows {values}.'
        case Diagram():
            return _diagram_described(facts)


def _bars_described(chart: BarChart) -> str:
    bars = zip(chart.colours, chart.labels, chart.values, strict=True)
    shown = listed(
        [f"{counted(1, colour)} bar for {name} ({value})" for colour, name, value in bars]
    )
    return (
        f'The bar chart is headed "{chart.title}". Its vertical axis is "{chart.y_label}". '
        f"From left to right it has {shown}."
    )


def _diagram_described(diagram: Diagram) -> str:
    parts = listed([part.name for part in diagram.parts])
    text = f'A school-book diagram with the heading "{diagram.title}". It names {parts}.'
    if diagram.arrows:
        text += f" Arrows lead from {listed([f'{a} to {b}' for a, b in diagram.arrows])}."
    return text


def _pairs(chart: StatistaChart) -> list[tuple[str, float]]:
    return list(zip(chart.labels, chart.values, strict=True))


def explained(facts: Facts, rng: random.Random) -> Exchange:
    """A question on the image with an answer of two sentences or more."""
    match facts:
        case Scene():
            found = reasoned_exchange(facts, rng), long_exchanges(facts, rng)[0]
            question, answer = found[rng.random() >= 0.6]
            return question, f"{answer} {facts.caption()}"
        case Cover():
            return _cover_explained(facts)
        case Page():
            name, value = rng.choice(facts.fields)
            asked = (
                f"What does this {facts.kind} give as its {name.lower()}, and what else is on it?"
            )
            return asked, f"The field {name} reads {value}. {described(facts)}"
        case Infographic():
            return _infographic_explained(facts)
        case BarChart():
            return _bars_explained(facts)
        case StatistaChart():
            return _chart_explained(facts)
        case Diagram():
            name = rng.choice(facts.parts).name
            asked = f"What role does '{name}' have in this diagram?"
            return asked, f"It is one of {len(facts.parts)} named parts. {described(facts)}"


def _cover_explained(book: Cover) -> Exchange:
    return (
        "What can you tell about this book from its cover alone?",
        f'The book is "{book.title}" by {book.author}. The label says {book.genre.upper()}, so it '
        f"belongs to that section of a shop, and the year {book.year} is printed at the foot.",
    )


def _infographic_explained(facts: Infographic) -> Exchange:
    highest, value = max(facts.facts, key=lambda fact: int(fact[1].rstrip("%")))
    return (
        "Which of these figures stands out the most, and why?",
        f"The largest is {value} for '{highest}'. The other {len(facts.facts) - 1} figures of "
        f'"{facts.title}" are no larger.',
    )


def _bars_explained(chart: BarChart) -> Exchange:
    value, name, colour = max(zip(chart.values, chart.labels, chart.colours, strict=True))
    return (
        "Which bar is the tallest, and by how much does it lead?",
        f"The {colour} bar for {name} is the tallest with a value of {value}. The next one has "
        f"{sorted(chart.values)[-2]}, so it leads by {value - sorted(chart.values)[-2]}.",
    )


def _chart_explained(chart: StatistaChart) -> Exchange:
    name, value = max(_pairs(chart), key=lambda pair: pair[1])
    least, small = min(_pairs(chart), key=lambda pair: pair[1])
    return (
        "How far apart are the largest and the smallest value of this chart?",
        f"{name} has {value:g}% and {least} has {small:g}%: they are {value - small:g} points "
        f'apart. The chart\'s title is "{chart.title}".',
    )
