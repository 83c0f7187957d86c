"""Write raw inputs of the 1M mixture in full size and shape, with synthetic content.

Counts and turn distributions are those of the published files: LLaVA issues 657 and 702
(sub-sources of mix665k), the Imp paper's Table 2, and each source's manifest.
"""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.sample import OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX

# (subset, records, share of one exchange, exchanges of the others from-to, characters of question
# and answer, image path). VG's twenty, OCR-VQA's five and a mean of 6.03 exchanges a record are
# what is known of the published file; at most 275.
MIX665K = [
    ("llava_instruct", 157_712, 0.633, (3, 5), (60, 620), "coco/train2017/{:012d}.jpg"),
    ("sharegpt", 40_688, 0.496, (2, 13), (160, 1_100), None),
    ("vqav2_okvqa", 91_781, 0.098, (3, 8), (38, 6), "coco/train2017/{:012d}.jpg"),
    ("gqa", 72_140, 0, (6, 13), (44, 6), "gqa/images/{}.jpg"),
    ("ocr_vqa", 80_000, 0, (5, 5), (36, 24), "ocr_vqa/images/{:09d}X.jpg"),
    ("a_okvqa", 66_160, 1, (1, 1), (120, 1), "coco/train2017/{:012d}.jpg"),
    ("textcaps", 21_953, 1, (1, 1), (0, 60), "textvqa/train_images/{:016x}.jpg"),
    ("refcoco", 48_447, 0, (2, 4), (24, 26), "coco/train2017/{:012d}.jpg"),
    ("vg", 86_417, 0, (20, 20), (24, 26), "vg/VG_100K/{}.jpg"),
]
COCO_IMAGES = 118_287
_LONGEST, _LONGEST_EXCHANGES = 7, 275
_WORDS = (
    *("the", "a", "of", "and", "in", "to", "is", "with", "on", "for", "picture", "shows", "person"),
    *("street", "table", "small", "large", "white", "red", "blue", "green", "standing", "next"),
    *("near", "under", "over", "several", "two", "three", "people", "holding", "wearing", "sign"),
    *("building", "window", "tree", "water", "grass", "sky", "road", "car", "dog", "cup", "door"),
)


class Prose:
    """A source of cheap text: slices of one long random string."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._text = " ".join(self._random.choices(_WORDS, k=200_000))

    def __call__(self, characters: int) -> str:
        """Return about that many characters, never the same twice."""
        begin = self._random.randrange(len(self._text) - characters - 1)
        return self._text[begin : begin + characters].strip() or "yes"

    def happens(self, share: float) -> bool:
        """Return True in a share of cases."""
        return self._random.random() < share

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high."""
        return self._random.randint(low, high)


def write_array(path: Path, records: Iterable[object]) -> None:
    """Write a JSON array element by element, as upstream does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        out.write("[")
        for number, record in enumerate(records):
            out.write((", " if number else "") + json.dumps(record))
        out.write("]")


def mix665k(scale: float) -> Iterator[dict[str, object]]:
    """Yield LLaVA's mix with shuffled sub-sources, as upstream."""
    prose = Prose(1)
    kinds = [kind for kind in MIX665K for _ in range(round(kind[1] * scale))]
    random.Random(2).shuffle(kinds)
    for number, (subset, _, single, exchanges, lengths, image) in enumerate(kinds):
        count = 1 if prose.happens(single) else prose.between(*exchanges)
        if number == _LONGEST:
            count = _LONGEST_EXCHANGES
        if subset == "a_okvqa":
            image_number = number // 4 % COCO_IMAGES
        else:
            image_number = number % COCO_IMAGES if image and "coco" in image else number
        record: dict[str, object] = {"id": f"{image_number:012d}"}
        if number % 5 == 0:
            record["id"] = image_number
        if image:
            record["image"] = image.format(image_number)
        else:
            record["model"] = ""
        record["conversations"] = list(_turns(subset, prose, count, lengths, image is not None))
        yield record


def _turns(
    subset: str, prose: Prose, count: int, lengths: tuple[int, int], imaged: bool
) -> Iterator[dict[str, str]]:
    for number in range(count):
        question, answer = prose(lengths[0]), prose(lengths[1])
        match subset:
            case "refcoco" | "vg":
                x, y = prose.between(0, 50) / 100, prose.between(0, 50) / 100
                answer = f"[{x:.2f}, {y:.2f}, {x + 0.3:.2f}, {y + 0.4:.2f}]"
                question = (
                    "Please provide the bounding box coordinate of the region this sentence "
                    f"describes: {question}"
                )
            case "textcaps":
                question = (
                    "Provide a one-sentence caption for the provided image.\n"
                    f"Reference OCR token: {prose(40)}"
                )
            case "a_okvqa":
                question += OPTION_LETTER_SUFFIX
            case "vqav2_okvqa" | "gqa" | "ocr_vqa" if number == 0:
                question += SHORT_ANSWER_SUFFIX
        if imaged and number == 0:
            at_end = subset == "llava_instruct" and prose.between(0, 1)
            question = f"{question}\n<image>" if at_end else f"<image>\n{question}"
        yield {"from": "human", "value": question}
        yield {"from": "gpt", "value": answer}


def captions(
    count: int, seed: int, identity: str, image: str, lengths: tuple[int, int]
) -> Iterator[dict[str, object]]:
    """Yield records of one exchange, as in ShareGPT4V and ALLaVA."""
    prose = Prose(seed)
    for number in range(count):
        turns = _turns("caption", prose, 1, lengths, imaged=True)
        yield {
            "id": identity.format(number),
            "image": image.format(number),
            "conversations": list(turns),
        }


def dvqa(images: int, questions: int) -> Iterator[dict[str, object]]:
    """Yield questions on bar charts, grouped by chart."""
    prose = Prose(5)
    for number in range(questions):
        yield {
            "question": prose(48) + "?",
            "question_id": number,
            "template_id": "reasoning",
            "answer": prose(5),
            "image": f"bar_train_{number * images // questions + 1:08d}.png",
            "answer_bbox": [],
        }


def answered(images: int, questions: int, image: str, field: str) -> Iterator[dict[str, object]]:
    """Yield questions of DocVQA and InfographicVQA."""
    prose = Prose(6)
    for number in range(questions):
        yield {
            "questionId": number,
            "question": prose(50) + "?",
            field: image.format(number * images // questions),
            "answers": [prose(12), prose(12)],
            "data_split": "train",
        }


def write_wrapped(path: Path, records: Iterable[object]) -> None:
    """Write an array under `data`, as the RRC challenge publishes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"dataset_name": "scale", "dataset_split": "train", "data": list(records)})
    path.write_text(text, encoding="utf-8")


def write_laion(path: Path, rows: int) -> None:
    """Write captions with image URLs."""
    prose = Prose(7)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "link": [f"https://example.org/{n}.jpg" for n in range(rows)],
            "caption": [prose(1000) for _ in range(rows)],
            "message_id": [f"{n:019d}" for n in range(rows)],
        }
    )
    pq.write_table(table, path)
