"""DocVQA and InfographicVQA: scanned pages and tall infographics with questions on them."""

from typing import Any, Final

from demo.drawing import album
from demo.drawing.pages import Page

Row = dict[str, Any]
PAGES: Final = 14
INFOGRAPHICS: Final = 7
_LETTERS = "bcdfghjklmnpqrstvwxyz"
_ASKED: Final = {
    "Date": ("What is the date on this {0}?", "When was the {0} written?"),
    "To": ("To whom is the {0} addressed?", "Who is the {0} to?"),
    "Name": ("Which name stands on the {0}?", "Whose name is given on this {0}?"),
    "Phone": ("What is the phone number?", "Which phone number is given?"),
    "Reference": ("What is the reference number?", "What is written beside 'Reference'?"),
    "Company": ("Which company's {0} is this?", "What is the name of the company at the top?"),
    "Total": ("What is the total amount on the {0}?", "How much is the total?"),
}


def ucsf_id(index: int) -> str:
    """Return a name in the UCSF library: four letters and four digits."""
    rng = album.seeded("ucsf", index)
    return "".join(rng.choices(_LETTERS, k=4)) + f"{rng.randint(1, 299):04d}"


def page_name(index: int) -> str:
    return f"{ucsf_id(index)}_{index % 5 + 1}.png"


def page_facts(index: int) -> Page:
    return album.page("docvqa", index).facts


def page_files() -> dict[str, bytes]:
    """Return {name: bytes} of all pages; the last is of the validation split."""
    return {page_name(n): album.page("docvqa", n).data for n in range(PAGES + 1)}


def page_rows() -> list[Row]:
    """Return DocVQA's `data`: two to six questions on a page."""
    rows = [row for index in range(PAGES) for row in _rows_on_page(index)]
    return [{"questionId": 337 + ordinal, **row} for ordinal, row in enumerate(rows)]


def _rows_on_page(index: int) -> list[Row]:
    facts = page_facts(index)
    rng = album.seeded("docvqa", index)
    fields = rng.sample(facts.fields, rng.randint(2, len(facts.fields)))
    rows = []
    for name, value in fields:
        question = rng.choice(_ASKED[name]).format(facts.kind)
        answers = list(dict.fromkeys((value, value.lower(), value.rstrip("."))))
        rows.append(page_row(index, question, answers, "train"))
    return rows


def page_row(index: int, question: str, answers: list[str], split: str) -> Row:
    return {
        "question": question,
        "question_types": ["form" if "number" in question else "layout"],
        "image": f"documents/{page_name(index)}",
        "docId": 4000 + index,
        "ucsf_document_id": ucsf_id(index),
        "ucsf_document_page_no": str(index % 5 + 1),
        "answers": answers,
        "data_split": split,
    }


def dataset(name: str, version: str, rows: list[Row]) -> Row:
    """Return the content of a record file as the RRC challenge publishes it."""
    head = {"dataset_name": name, "dataset_version": version, "dataset_split": "train"}
    return {**head, "data": rows}


def infographic_name(index: int) -> str:
    return f"{album.number(10_000, 75_000, 'infographic', index)}.jpeg"


def infographic_files() -> dict[str, bytes]:
    """Return {name: bytes}; the first is many times taller than wide, as some upstream."""
    images = [album.infographic("infographicvqa", n).data for n in range(INFOGRAPHICS)]
    first = album.open_image(images[0])
    images[0] = album.encoded(first.resize((first.width, first.height * 6)))
    return {infographic_name(n): data for n, data in enumerate(images)}


def infographic_rows() -> list[Row]:
    """Return InfographicVQA's `data`: a question for each fact, and one that compares two."""
    rows = [row for index in range(INFOGRAPHICS) for row in _rows_on_infographic(index)]
    return [{"questionId": 98_000 + ordinal, **row} for ordinal, row in enumerate(rows)]


def infographic_row(index: int, question: str, answers: list[str], split: str = "train") -> Row:
    name = infographic_name(index)
    return {
        "question": question,
        "image_local_name": name,
        "image_url": f"https://example.org/infographics/{album.hexadecimal(12, name)}.jpeg",
        "ocr_output_file": name.replace(".jpeg", ".json"),
        "answers": answers,
        "data_split": split,
    }


def _rows_on_infographic(index: int) -> list[Row]:
    facts = album.infographic("infographicvqa", index).facts
    shares = sorted(facts.facts, key=lambda fact: -int(fact[1].rstrip("%")))
    exchanges = [
        (f"What is the share beside '{label}'?", [value, value.replace("%", " %")])
        for label, value in facts.facts
    ]
    if shares[0][1] != shares[1][1]:
        label = shares[0][0]
        exchanges.append(("Which label has the largest share?", [label, label.lower()]))
    exchanges.append(("What is the title of this infographic?", [facts.title]))
    return [infographic_row(index, question, answers) for question, answers in exchanges]
