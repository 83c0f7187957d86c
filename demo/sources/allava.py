"""ALLaVA-Instruct: questions and answers on LAION and Vision-FLAN images."""

from typing import Final

from demo.annotations.captions import Facts, explained, short_title
from demo.drawing.album import (
    DrawnImage,
    bar_chart,
    diagram,
    encoded,
    infographic,
    number,
    open_image,
    page,
    scene,
    seeded,
)
from demo.sources.captions import web_image
from demo.sources.llava import Entry, imaged

LAION: Final = 505
# Vision-FLAN's tasks, and how many records stand on each. Several may stand on one image.
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
_LAION_FORMS: Final = {17: ("png", "PNG"), 23: ("webp", "WEBP"), 31: ("gif", "GIF")}
_INSTRUCTION = (
    "You are provided with an image and a question related to the image. Answer the question "
    "based on the information given in the image."
)


def laion_name(n: int) -> str:
    """The name of the n-th LAION image; its ending tells the real format."""
    form = next((form for step, (form, _) in _LAION_FORMS.items() if n % step == step - 1), "jpeg")
    return f"{laion_number(n)}.{form}"


def laion_number(n: int) -> int:
    return 100_000_000 + number(0, 900_000, "allava laion", n)


def laion() -> list[Entry]:
    """The records on LAION images, by number."""
    entries = [laion_entry(n) for n in range(LAION)]
    return sorted(entries, key=lambda entry: str(entry.record["image"]))


def laion_entry(n: int) -> Entry:
    image = web_image(n, "allava_laion")
    name = laion_name(n)
    exchange = explained(image.facts, seeded("allava_laion", n))
    identity = f"allava_laion_inst_{laion_number(n)}"
    record = imaged(identity, f"allava_laion/images/{name}", [exchange])
    record["original_caption"] = short_title(image.facts)
    record["url"] = f"https://shop.example.org/media/{number(0, 10**8, 'url', n)}.jpg"
    return Entry(record, _in_form(image.data, name))


def _in_form(jpeg: bytes, name: str) -> bytes:
    forms = {ending: form for ending, form in _LAION_FORMS.values()}
    ending = name.rsplit(".", 1)[-1]
    return encoded(open_image(jpeg), forms[ending]) if ending in forms else jpeg


def vflan() -> list[Entry]:
    """The records on Vision-FLAN images, task by task."""
    return [entry for task in TASKS for entry in (vflan_entry(task, n) for n in range(TASKS[task]))]


def vflan_entry(task: str, n: int) -> Entry:
    """Every eighth record asks another question on the image before it."""
    shown = n - 1 if n % 8 == 7 else n
    image, original = _task_image(task, shown)
    question, answer = explained(image.facts, seeded("allava_vflan", task, n))
    name = f"{task}_{number(0, 1000, task, shown)}_{original}"
    path = f"allava_vflan/images/images_191task_1k/{name}"
    identity = f"allava_vflan_inst_{number(0, 200_000, 'allava vflan', task, n)}"
    exchanges = [(f"{_INSTRUCTION}\n\n{question}", answer)]
    return Entry(imaged(identity, path, exchanges), image.data)


def _task_image(task: str, n: int) -> tuple[DrawnImage[Facts], str]:
    """A task's n-th image, and what its file was called where the task has it from."""
    origin = task.split("+")[0]
    name = number(1, 581_922, task, n, "original")
    match origin:
        case "PlotQA":
            return bar_chart(task, n), f"{name % 157_070}.png"
        case "AI2D":
            return diagram(task, n)[0], f"{name % 4_900}.png"
        case "DOCVQA":
            return page(task, n, form="JPEG"), f"scan_{name:08d}.jpg"
        case "infographicvqa":
            return infographic(task, n), f"{name}.jpeg"
        case "LOC_NARRATIVES" | "NOCAPS":
            return scene(task, n), f"{number(16**15, 16**16, task, n):016x}.jpg"
        case "places365":
            return scene(task, n), f"Places365_val_{name % 36_500:08d}.jpg"
        case "GQA":
            return scene(task, n), f"{2_300_000 + name % 100_000}.jpg"
        case _:
            return scene(task, n), f"COCO_train2014_{name:012d}.jpg"
