"""DocVQA and InfographicVQA: scanned pages and tall infographics with questions on them."""

from typing import Any, Final

from demo.drawing.album import (
    DrawnImage,
    encoded,
    hexadecimal,
    infographic,
    number,
    open_image,
    page,
    seeded,
)
from demo.drawing.pages import Infographic, Page

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


def ucsf_id(place: int) -> str:
    """The name of a document in the UCSF library: four letters and four digits."""
    rng = seeded("ucsf", place)
    return "".join(rng.choices(_LETTERS, k=4)) + f"{rng.randint(1, 299):04d}"


def page_name(place: int) -> str:
    return f"{ucsf_id(place)}_{place % 5 + 1}.png"


def page_facts(place: int) -> Page:
    return page("docvqa", place).facts


def page_files() -> dict[str, bytes]:
    """All pages, without a folder; the last is of the validation split."""
    return {page_name(n): page("docvqa", n).data for n in range(PAGES + 1)}


def page_rows() -> list[Row]:
    """DocVQA's `data`: two to six questions on a page."""
    rows = [row for place in range(PAGES) for row in _rows_on_page(place)]
    return [{"questionId": 337 + ordinal, **row} for ordinal, row in enumerate(rows)]


def page_row(identity: int, place: int, question: str, answers: list[str], split: str) -> Row:
    return {"questionId": identity, **_row_on_page(place, question, answers, split)}


def _rows_on_page(place: int) -> list[Row]:
    facts = page_facts(place)
    rng = seeded("docvqa", place)
    fields = rng.sample(facts.fields, rng.randint(2, len(facts.fields)))
    rows = []
    for name, value in fields:
        question = rng.choice(_ASKED[name]).format(facts.kind)
        answers = list(dict.fromkeys((value, value.lower(), value.rstrip("."))))
        rows.append(_row_on_page(place, question, answers, "train"))
    return rows


def _row_on_page(place: int, question: str, answers: list[str], split: str) -> Row:
    return {
        "question": question,
        "question_types": ["form" if "number" in question else "layout"],
        "image": f"documents/{page_name(place)}",
        "docId": 4000 + place,
        "ucsf_document_id": ucsf_id(place),
        "ucsf_document_page_no": str(place % 5 + 1),
        "answers": answers,
        "data_split": split,
    }


def docvqa(rows: list[Row]) -> Row:
    """The content of train_v1.0_withQT.json."""
    return {
        "dataset_name": "SP-DocVQA",
        "dataset_version": "1.0",
        "dataset_split": "train",
        "data": rows,
    }


def infographic_name(place: int) -> str:
    return f"{number(10_000, 75_000, 'infographic', place)}.jpeg"


def _infographic(place: int) -> DrawnImage[Infographic]:
    return infographic("infographicvqa", place)


def infographic_files() -> dict[str, bytes]:
    """All infographics, without a folder; the first is many times taller than wide, as some are."""
    files = {infographic_name(n): _infographic(n).data for n in range(INFOGRAPHICS)}
    tall = open_image(files[infographic_name(0)])
    files[infographic_name(0)] = encoded(tall.resize((tall.width, tall.height * 6)))
    return files


def infographic_rows() -> list[Row]:
    """InfographicVQA's `data`: a question for each fact, and one that compares two."""
    rows = [row for place in range(INFOGRAPHICS) for row in _rows_on_infographic(place)]
    return [{"questionId": 98_000 + ordinal, **row} for ordinal, row in enumerate(rows)]


def infographic_row(place: int, question: str, answers: list[str], split: str = "train") -> Row:
    name = infographic_name(place)
    return {
        "question": question,
        "image_local_name": name,
        "image_url": f"https://example.org/infographics/{hexadecimal(12, name)}.jpeg",
        "ocr_output_file": name.replace(".jpeg", ".json"),
        "answers": answers,
        "data_split": split,
    }


def _rows_on_infographic(place: int) -> list[Row]:
    facts = _infographic(place).facts
    shares = sorted(facts.facts, key=lambda fact: -int(fact[1].rstrip("%")))
    asked = [
        (f"What is the share beside '{label}'?", [value, value.replace("%", " %")])
        for label, value in facts.facts
    ]
    if shares[0][1] != shares[1][1]:
        label = shares[0][0]
        asked.append(("Which label has the largest share?", [label, label.lower()]))
    asked.append(("What is the title of this infographic?", [facts.title]))
    return [infographic_row(place, question, answers) for question, answers in asked]


def infographicvqa(rows: list[Row]) -> Row:
    """The content of infographicsVQA_train_v1.0.json."""
    return {
        "dataset_name": "infographicVQA",
        "dataset_version": "v1.0",
        "dataset_split": "train",
        "data": rows,
    }
