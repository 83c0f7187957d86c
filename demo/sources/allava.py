"""ALLaVA-Instruct: questions and answers on LAION and Vision-FLAN images."""

from typing import Final

from demo.annotations.captions import Facts, explained, short_title
from demo.drawing import album
from demo.sources.captions import web_image
from demo.sources.llava import Entry, imaged

LAION: Final = 505
# Vision-FLAN's tasks, and their numbers of records. Several records may share an image.
TASKS: Final = {
    "VQA-E+visual_question_answering": 24,
    "A-OKVQA+rationales_generation": 16,
    "VQG+caption_generation": 16,
    "ok_vqa": 23,
    "GQA": 16,
    "LOC_NARRATIVES+open_images_caption": 12,
    "NOCAPS+image_caption": 12,
    "places365+Image_Classification": 16,
    "PlotQA+visual_question_answering": 20,
    "AI2D+visual_question_answering": 16,
    "DOCVQA+question_answer": 16,
    "infographicvqa+question_answer": 16,
}
# Every 17th LAION image is a PNG, and so on; the others are JPEGs.
_LAION_FORMS: Final = {17: "PNG", 23: "WEBP", 31: "GIF"}
_INSTRUCTION = (
    "You are provided with an image and a question related to the image. Answer the question "
    "based on the information given in the image."
)


def laion() -> list[Entry]:
    """Return the records on LAION images, by number."""
    entries = [_laion_entry(n) for n in range(LAION)]
    return sorted(entries, key=lambda entry: str(entry.record["image"]))


def _laion_entry(n: int) -> Entry:
    image = web_image(n, "allava_laion")
    number = 100_000_000 + album.number(0, 900_000, "allava laion", n)
    form = next((form for step, form in _LAION_FORMS.items() if n % step == step - 1), "JPEG")
    path = f"allava_laion/images/{number}.{form.lower()}"
    exchange = explained(image.facts, album.seeded("allava_laion", n))
    record = imaged(f"allava_laion_inst_{number}", path, [exchange])
    record["original_caption"] = short_title(image.facts)
    record["url"] = f"https://shop.example.org/media/{album.number(0, 10**8, 'url', n)}.jpg"
    kept = form == "JPEG"
    return Entry(record, image.data if kept else album.encoded(album.open_image(image.data), form))


def vflan() -> list[Entry]:
    """Return the records on Vision-FLAN images, task by task."""
    return [_vflan_entry(task, n) for task in TASKS for n in range(TASKS[task])]


def _vflan_entry(task: str, n: int) -> Entry:
    """Every eighth record has another question on the image before it."""
    image_number = n - 1 if n % 8 == 7 else n
    image, original = _task_image(task, image_number)
    question, answer = explained(image.facts, album.seeded("allava_vflan", task, n))
    name = f"{task}_{album.number(0, 1000, task, image_number)}_{original}"
    path = f"allava_vflan/images/images_191task_1k/{name}"
    identity = f"allava_vflan_inst_{album.number(0, 200_000, 'allava vflan', task, n)}"
    exchanges = [(f"{_INSTRUCTION}\n\n{question}", answer)]
    return Entry(imaged(identity, path, exchanges), image.data)


def _task_image(task: str, n: int) -> tuple[album.DrawnImage[Facts], str]:
    """Return the n-th image of a task, and its file name in the original dataset."""
    origin = task.split("+")[0]
    name = album.number(1, 581_922, task, n, "original")
    match origin:
        case "PlotQA":
            return album.bar_chart(task, n), f"{name % 157_070}.png"
        case "AI2D":
            return album.diagram(task, n), f"{name % 4_900}.png"
        case "DOCVQA":
            return album.page(task, n, form="JPEG"), f"scan_{name:08d}.jpg"
        case "infographicvqa":
            return album.infographic(task, n), f"{name}.jpeg"
        case "LOC_NARRATIVES" | "NOCAPS":
            return album.scene(task, n), f"{album.number(16**15, 16**16, task, n):016x}.jpg"
        case _:
            return album.scene(task, n), f"COCO_train2014_{name:012d}.jpg"
