"""Titles, captions and explanations of any drawn image."""

import random
from typing import Final

from demo.annotations.questions import Exchange, long_exchanges, reasoned_exchange
from demo.drawing.charts import BarChart, StatistaChart
from demo.drawing.diagrams import Diagram
from demo.drawing.ink import counted, listed
from demo.drawing.pages import Cover, Infographic, Page
from demo.drawing.scenes import Scene

Facts = Scene | Cover | Page | Infographic | BarChart | StatistaChart | Diagram
_SHAPES: Final = {"bar": "vertical bars", "line": "a line with dots", "pie": "a pie"}
_EXPLAIN: Final = (
    "What can you tell about this image, and what does it say in detail?",
    "Explain what is written in this image.",
    "Which facts does this image give?",
)


def short_title(facts: Facts) -> str:
    """Return a few words, as web pages have them beside an image."""
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
    """Return a paragraph on the whole image."""
    match facts:
        case Scene():
            return facts.description()
        case Cover():
            return (
                f'This is the cover of the book "{facts.title}" by {facts.author}. A label at the '
                f"top says {facts.genre.upper()}, one at the bottom gives the year {facts.year}."
            )
        case Page():
            lines = listed([f"{name} ({value})" for name, value in facts.fields])
            return f"A scanned {facts.kind} on slightly yellowed paper. One can read: {lines}."
        case Infographic():
            lines = listed([f"{label.lower()} ({value})" for label, value in facts.facts])
            return f'The infographic "{facts.title}" gives figures on {lines}.'
        case BarChart():
            bars = zip(facts.colours, facts.labels, facts.values, strict=True)
            shown = [f"{counted(1, hue)} bar for {name} ({value})" for hue, name, value in bars]
            return f'The bar chart "{facts.title}" has, from left to right, {listed(shown)}.'
        case StatistaChart():
            pairs = zip(facts.labels, facts.values, strict=True)
            values = listed([f"{value:g}% for {label}" for label, value in pairs])
            return f'The chart "{facts.title}" shows, as {_SHAPES[facts.kind]}, {values}.'
        case Diagram():
            arrows = listed([f"{start} to {end}" for start, end in facts.arrows])
            return f'In the diagram "{facts.title}", arrows lead from {arrows}.'


def explained(facts: Facts, rng: random.Random) -> Exchange:
    """Return a question on the image with a long answer."""
    if isinstance(facts, Scene):
        exchanges = reasoned_exchange(facts, rng), long_exchanges(facts, rng)[0]
        question, answer = exchanges[rng.random() >= 0.6]
        return question, f"{answer} {facts.caption()}"
    return rng.choice(_EXPLAIN), described(facts)
