"""The LLaVA-1.5 mix at one-thousandth: 665 records without a fault, of nine origins."""

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from demo.annotations.questions import (
    Exchange,
    knowledge_exchanges,
    long_exchanges,
    optioned,
    reasoned_exchange,
    short_exchanges,
    side_exchanges,
)
from demo.annotations.regions import region_exchanges
from demo.drawing.album import DrawnImage, cover, hexadecimal, number, scene, seeded
from demo.drawing.pages import GENRES, Cover
from demo.drawing.scenes import Scene
from demo.sources import textvqa
from demo.sources.chats import chat
from imp_data.sample import OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX

Record = dict[str, Any]
_VQAV2 = 83
_CONVERSATIONS, _DETAILS = 58, 23
# Visual Genome is published in two parts; GQA has its images under the same numbers.
_FIRST_PART = 52
_GQA_STARTS = 38
_DETAIL_PROMPTS: Final = (
    "Describe the following image.",
    "Can you describe the main features of this image for me?",
    "What do you think is going on in this snapshot?",
    "Write a detailed description of the given image.",
    "Analyze the image in a comprehensive and detailed manner.",
)


class Entry(NamedTuple):
    """A record and its image's file, if it has an image."""

    record: Record
    data: bytes | None


def conversation(exchanges: list[Exchange]) -> list[dict[str, str]]:
    """Return exchanges in LLaVA's format."""
    return [
        {"from": speaker, "value": value}
        for exchange in exchanges
        for speaker, value in zip(("human", "gpt"), exchange, strict=True)
    ]


def imaged(identity: str | int, image: str, exchanges: list[Exchange], suffix: str = "") -> Record:
    """Return a record with the image token in its first question."""
    question, answer = exchanges[0]
    first = f"<image>\n{question}{suffix}"
    whole = [(first, answer), *exchanges[1:]]
    return {"id": identity, "image": image, "conversations": conversation(whole)}


def coco_number(index: int) -> int:
    """Return the number of the n-th COCO image; several origins share the first ones."""
    return number(9, 581_922, "coco", index)


def coco_id(index: int) -> str:
    return f"{coco_number(index):012d}"


def coco_path(index: int) -> str:
    return f"coco/train2017/{coco_id(index)}.jpg"


def coco(index: int) -> DrawnImage[Scene]:
    return scene("coco", index)


def vg_number(index: int) -> int:
    return number(2_315_353, 2_417_998, "vg", index)


def vg_path(index: int) -> str:
    return f"{'VG_100K' if index < _FIRST_PART else 'VG_100K_2'}/{vg_number(index)}"


def vg(index: int) -> DrawnImage[Scene]:
    return scene("vg", index)


def isbn(*name: str | int) -> str:
    """Return nine digits and their check digit, which may be an X."""
    nine = f"{number(10**7, 10**9, 'isbn', *name):09d}"
    check = -sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True))
    return nine + "0123456789X"[check % 11]


def entries() -> list[Entry]:
    """Return all 665 records in an order that mixes their origins."""
    found = {
        hexadecimal(16, "place", subset, n): entry(n)
        for subset, (count, entry) in _ORIGINS.items()
        for n in range(count)
    }
    return [found[place] for place in sorted(found)]


def _instruct(n: int) -> Entry:
    """A conversation, description or reasoning; some have the token last, as upstream."""
    rng, image = seeded("llava_instruct", n), coco(n + 20)
    if n < _CONVERSATIONS:
        exchanges = long_exchanges(image.facts, rng)[: rng.randint(2, 5)]
    elif n < _CONVERSATIONS + _DETAILS:
        exchanges = [(rng.choice(_DETAIL_PROMPTS), image.facts.description())]
    else:
        exchanges = [reasoned_exchange(image.facts, rng)]
    record = imaged(coco_id(n + 20), coco_path(n + 20), exchanges)
    if rng.random() < 0.4:
        record["conversations"][0]["value"] = f"{exchanges[0][0]}\n<image>"
    return Entry(record, image.data)


def _sharegpt(n: int) -> Entry:
    identity = f"{hexadecimal(7, 'sharegpt', n)}_{n % 3}"
    return Entry({"id": identity, "model": "", "conversations": conversation(chat(n))}, None)


def _vqav2_okvqa(n: int) -> Entry:
    """Integer ids, which the real file has as well as strings."""
    rng, image = seeded("vqav2", n), coco(n)
    if n < _VQAV2:
        exchanges = short_exchanges(image.facts, rng)[: rng.randint(3, 8)]
    else:
        exchanges = knowledge_exchanges(image.facts)
    return Entry(imaged(coco_number(n), coco_path(n), exchanges, SHORT_ANSWER_SUFFIX), image.data)


def _gqa(n: int) -> Entry:
    rng, image = seeded("gqa", n), vg(n + _GQA_STARTS)
    exchanges = side_exchanges(image.facts, rng) + short_exchanges(image.facts, rng)
    identity = str(vg_number(n + _GQA_STARTS))
    path, chosen = f"gqa/images/{identity}.jpg", exchanges[: rng.randint(4, 12)]
    return Entry(imaged(identity, path, chosen, SHORT_ANSWER_SUFFIX), image.data)


def _ocr_vqa(n: int) -> Entry:
    return Entry(book_record(n), cover("ocr_vqa", n).data)


def book_record(n: int) -> Record:
    exchanges = _cover_exchanges(cover("ocr_vqa", n).facts, seeded("ocr_vqa", n))
    return imaged(isbn(n), f"ocr_vqa/images/{isbn(n)}.jpg", exchanges, SHORT_ANSWER_SUFFIX)


def _cover_exchanges(book: Cover, rng: random.Random) -> list[Exchange]:
    """Return two to five questions on a book in the words of OCR-VQA."""
    other = rng.choice([genre for genre in GENRES if genre != book.genre])
    found = [
        (rng.choice(("Who is the author of this book?", "Who wrote this book?")), book.author),
        (rng.choice(("What is the title of this book?", "What's this book called?")), book.title),
        (rng.choice(("What type of book is this?", "What is the genre of this book?")), book.genre),
        (f"Is this a book on {book.genre}?", "Yes"),
        (f"Is this a book on {other}?", "No"),
        ("What is the edition of this book? Give its year.", str(book.year)),
    ]
    rng.shuffle(found)
    return found[: rng.randint(2, 5)]


def _a_okvqa(n: int) -> Entry:
    """Each question occurs four times, with its options in four orders."""
    image_number, turn = divmod(n, 4)
    image = coco(image_number + 30)
    question, options = optioned(image.facts, seeded("a_okvqa", image_number))
    turned = options[-turn:] + options[:-turn] if turn else options
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", turned, strict=True))
    exchanges = [(f"{question}\n{lines}", "ABCD"[turn])]
    identity, path = hexadecimal(22, "a_okvqa", image_number), coco_path(image_number + 30)
    return Entry(imaged(identity, path, exchanges, OPTION_LETTER_SUFFIX), image.data)


def _textcaps(n: int) -> Entry:
    facts, data, _ = textvqa.photo(n)
    prompt = "Provide a one-sentence caption for the provided image.\nReference OCR token: "
    identity = textvqa.image_id(n)
    path = f"textvqa/train_images/{identity}.jpg"
    return Entry(imaged(identity, path, [(prompt + facts.word, facts.caption())]), data)


def _refcoco(n: int) -> Entry:
    rng, image = seeded("refcoco", n), coco(n)
    exchanges = region_exchanges(image, rng, rng.randint(1, 6), whole_things=True)
    return Entry(imaged(coco_id(n), coco_path(n), exchanges), image.data)


def _vg(n: int) -> Entry:
    image, path = vg(n), vg_path(n)
    exchanges = region_exchanges(image, seeded("vg", n), 20)
    return Entry(imaged(path, f"vg/{path}.jpg", exchanges), image.data)


# Origin → its number of records, and the function that returns the n-th.
_ORIGINS: Final[dict[str, tuple[int, Callable[[int], Entry]]]] = {
    "llava_instruct": (158, _instruct),
    "sharegpt": (41, _sharegpt),
    "vqav2_okvqa": (92, _vqav2_okvqa),
    "gqa": (72, _gqa),
    "ocr_vqa": (80, _ocr_vqa),
    "a_okvqa": (66, _a_okvqa),
    "textcaps": (22, _textcaps),
    "refcoco": (48, _refcoco),
    "vg": (86, _vg),
}
CLEAN: Final = {origin: count for origin, (count, _) in _ORIGINS.items()}
