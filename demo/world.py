"""The demo world: every file that upstream publishes, at one-thousandth scale."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from demo.drawing.album import clear_cache
from demo.faults import annotated_sources as annotated
from demo.faults import catalogue
from demo.faults import question_sources as faulty
from demo.faults.planted import indented
from demo.sources import ai2d, allava, captions, cards, documents, llava, textvqa
from demo.sources import charts as charts_module
from demo.sources.archives import (
    array_bytes,
    json_bytes,
    write_file,
    write_parquet,
    write_tar_gz,
    write_zip,
)
from demo.sources.llava import Entry

Files = dict[str, bytes]
# Image folder → (zip below raw/, folder inside the zip), as in manifests/images/.
_ZIPS: Final = {
    "coco/train2017": ("coco/train2017.zip", "train2017"),
    "gqa/images": ("gqa/images.zip", "images"),
    "ocr_vqa/images": ("ocr_vqa/ocr_vqa_images_llava_v15.zip", "images"),
    "vg/VG_100K": ("vg/images.zip", "VG_100K"),
    "vg/VG_100K_2": ("vg/images2.zip", "VG_100K_2"),
    "llava/llava_pretrain/images": ("llava_pretrain/images.zip", ""),
    "sam/images": ("sam/sam.zip", ""),
    "share_textvqa/images": (
        "share_textvqa/share_textvqa.zip",
        "data/share_textvqa/images",
    ),
    "web-celebrity/images": (
        "web_celebrity/web-celebrity.zip",
        "data/web-celebrity/images",
    ),
    "web-landmark/images": ("web_landmark/web-landmark.zip", "data/web-landmark/images"),
    "wikiart/images": ("wikiart/wikiart.zip", "data/wikiart/images"),
    "allava_vflan/images/images_191task_1k": (
        "allava_vflan/image_191-task_1k.zip",
        "images_191task_1k",
    ),
}
_ALLAVA_CHUNKS = 10


def draw_world(raw: Path, report: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """Write the world below `raw`; return the number of bytes in each folder.

    Equal code and libraries give equal bytes, whatever `raw` contained before.
    """
    for name, draw in _FOLDERS.items():
        draw(raw)
        report(f"{name}: drawn")
    clear_cache()
    sizes: Counter[str] = Counter()
    for path in raw.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(raw).parts[0]] += path.stat().st_size
    return dict(sorted(sizes.items()))


def expectations() -> dict[str, dict[str, Any]]:
    """Return `expect` of each source: upstream rows, and Samples per subset before screening."""
    llava_cases = Counter(case.subset for case in catalogue.LLAVA_665K)
    sharegpt4v_cases = Counter(case.subset for case in annotated.SHAREGPT4V)
    allava_cases = Counter(case.subset for case in (*annotated.LAION, *annotated.VFLAN))
    tasks = {f"vflan:{task}": count for task, count in allava.TASKS.items()}
    return {
        "llava_665k": _expected(llava.CLEAN, llava_cases),
        "dvqa": {"rows": len(_dvqa("train")), "subsets": {}},
        "chartqa": {
            "rows": len(charts_module.human_rows()) + len(_augmented()),
            "subsets": {
                "human": len(charts_module.HUMAN),
                "augmented": len(set(charts_module.AUGMENTED) - set(charts_module.HUMAN)),
            },
        },
        "docvqa": {"rows": len(_docvqa()), "subsets": {}},
        "ai2d": _expected_of_diagrams(),
        "infographicvqa": {"rows": len(_infographicvqa()), "subsets": {}},
        "sharegpt4v": _expected(captions.SHAREGPT4V, sharegpt4v_cases),
        "laion_gpt4v": {"rows": captions.LAION + len(faulty.laion()), "subsets": {}},
        "allava_instruct": _expected({"laion": allava.LAION, **tasks}, allava_cases),
    }


def _expected(clean: dict[str, int], planted: "Counter[str | None]") -> dict[str, Any]:
    subsets = Counter(clean) + Counter({s: n for s, n in planted.items() if s is not None})
    rows = sum(clean.values()) + planted.total()
    return {"rows": rows, "subsets": dict(sorted(subsets.items()))}


def _expected_of_diagrams() -> dict[str, Any]:
    files = {place: _diagram_questions(place) for place in (*ai2d.TRAIN, *ai2d.TEST)}
    forms = [{bool(row["abcLabel"]) for row in files[place].values()} for place in ai2d.TRAIN]
    subsets = {
        "images": sum(False in f for f in forms),
        "abc_images": sum(True in f for f in forms),
    }
    return {"rows": sum(len(asked) for asked in files.values()), "subsets": subsets}


def _draw_llava(raw: Path) -> None:
    """Draw the LLaVA mix and ShareGPT4V together, because they share COCO images."""
    mix, shared = llava.entries(), captions.sharegpt4v()
    elements = [indented(entry.record) for entry in mix]
    elements = catalogue.with_planted("llava_665k", catalogue.LLAVA_665K, elements)
    path = raw / "llava_665k" / "llava_v1_5_mix665k.json"
    write_file(path, array_bytes(elements, lines=True))
    elements = [json_bytes(entry.record) for entry in shared]
    elements = catalogue.with_planted("sharegpt4v", annotated.SHAREGPT4V, elements)
    path = raw / "sharegpt4v" / "sharegpt4v_instruct_gpt4-vision_cap100k.json"
    write_file(path, array_bytes(elements, lines=False))
    _write_images(
        raw,
        {
            **_images((*mix, *shared)),
            **catalogue.files(catalogue.LLAVA_665K),
            **catalogue.files(annotated.SHAREGPT4V),
        },
    )


def _images(entries: Iterable[Entry]) -> Files:
    return {entry.record["image"]: entry.data for entry in entries if entry.data is not None}


def _write_images(raw: Path, images: Files) -> None:
    """Write each image to the zip of the folder that its path starts with."""
    zips: dict[str, Files] = {}
    for path, data in images.items():
        folder = next((f for f in _ZIPS if path.startswith(f"{f}/")), None)
        if folder is not None:
            zip_path, inside = _ZIPS[folder]
            member = path.removeprefix(f"{folder}/")
            zips.setdefault(zip_path, {})[f"{inside}/{member}" if inside else member] = data
    for zip_path, members in zips.items():
        write_zip(raw / zip_path, members)


def _draw_textvqa(raw: Path) -> None:
    for name, members in textvqa.archives().items():
        write_zip(raw / "textvqa" / name, members)
    for split in textvqa.SPLITS:
        path = raw / "textvqa" / f"TextVQA_0.5.1_{split}.json"
        write_file(path, json_bytes(textvqa.annotations(split)))


def _draw_allava(raw: Path) -> None:
    parts = (
        ("LAION", allava.laion(), annotated.LAION),
        ("VFLAN", allava.vflan(), annotated.VFLAN),
    )
    images: Files = {}
    for part, entries, cases in parts:
        elements = [indented(entry.record) for entry in entries]
        elements = catalogue.with_planted("allava_instruct", cases, elements)
        path = raw / "allava_instruct" / f"ALLaVA-Instruct-{part}-4V.json"
        write_file(path, array_bytes(elements, lines=True))
        images |= {**_images(entries), **catalogue.files(cases)}
    _write_images(raw, images)
    web = sorted(path for path in images if path.startswith("allava_laion/"))
    for chunk in range(_ALLAVA_CHUNKS):
        members = {
            f"images/{path.rsplit('/', 1)[-1]}": images[path] for path in web[chunk::_ALLAVA_CHUNKS]
        }
        write_zip(raw / "allava_laion" / f"images_{chunk}.zip", members)


def _draw_laion(raw: Path) -> None:
    rows = [*captions.laion_rows(), *faulty.laion()]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    write_parquet(raw / "laion_gpt4v" / "0000.parquet", columns)
    write_zip(raw / "laion_gpt4v" / "images.zip", captions.laion_files())


def _dvqa(split: str) -> list[charts_module.Row]:
    return [*charts_module.dvqa_rows(split), *([faulty.dvqa()] if split == "train" else [])]


def _draw_dvqa(raw: Path) -> None:
    splits = ("train", "val_easy", "val_hard")
    asked = {f"{split}_qa.json": json_bytes(_dvqa(split)) for split in splits}
    write_tar_gz(raw / "dvqa" / "qa.tar.gz", asked)
    charts = {
        f"images/{charts_module.dvqa_name(split, n)}": charts_module.dvqa_chart(split, n).data
        for split in splits
        for n in charts_module.dvqa_numbers(split)
    }
    write_tar_gz(raw / "dvqa" / "images.tar.gz", charts)


def _augmented() -> list[charts_module.Row]:
    return [faulty.augmented(), *charts_module.augmented_rows()]


def _draw_chartqa(raw: Path) -> None:
    train = "ChartQA Dataset/train"
    members = {
        f"{train}/train_human.json": json_bytes(charts_module.human_rows(), indent=2),
        f"{train}/train_augmented.json": json_bytes(_augmented(), indent=2),
    }
    for place in {*charts_module.HUMAN, *charts_module.AUGMENTED}:
        name = charts_module.chart_name(place)
        members[f"{train}/png/{name}"] = charts_module.chart(place).data
        members[f"{train}/tables/{name.replace('.png', '.csv')}"] = charts_module.chartqa_table(
            place
        )
    write_zip(raw / "chartqa" / "ChartQA Dataset.zip", members)


def _docvqa() -> list[documents.Row]:
    return [*documents.page_rows(), *faulty.docvqa()]


def _infographicvqa() -> list[documents.Row]:
    return [*documents.infographic_rows(), *faulty.infographicvqa()]


def _draw_documents(raw: Path) -> None:
    """Draw DocVQA and InfographicVQA."""
    pages = json_bytes(documents.docvqa(_docvqa()))
    write_file(raw / "docvqa" / "train_v1.0_withQT.json", pages)
    write_tar_gz(raw / "docvqa" / "spdocvqa_images.tar.gz", documents.page_files())
    tall = json_bytes(documents.infographicvqa(_infographicvqa()))
    write_file(raw / "infographicvqa" / "infographicsVQA_train_v1.0.json", tall)
    archive = raw / "infographicvqa" / "infographicsvqa_images.tar.gz"
    write_tar_gz(archive, documents.infographic_files())


def _draw_cards(raw: Path) -> None:
    members = {f"{n}.png": cards.card_file(cards.card("cards", n)) for n in range(cards.COUNT)}
    write_zip(raw / "cards" / "images.zip", members)
    write_file(raw / "cards" / "cards.json", json_bytes(cards.records()))


def _diagram_questions(place: int) -> dict[str, ai2d.Row]:
    return {**ai2d.questions(place), **faulty.ai2d(place)}


def _draw_ai2d(raw: Path) -> None:
    plain: Files = {}
    lettered: Files = {}
    for place in (*ai2d.TRAIN, *ai2d.TEST):
        name = f"{place}.png"
        image, covered = ai2d.image(place)
        asked = ai2d.question_file(place, _diagram_questions(place))
        plain[f"ai2d/images/{name}"] = image.data
        plain[f"ai2d/questions/{name}.json"] = json_bytes(asked)
        plain[f"ai2d/annotations/{name}.json"] = json_bytes(ai2d.annotation(place))
        lettered[f"abc_images/{name}"] = covered
    write_zip(raw / "ai2d" / "ai2d-all.zip", plain)
    write_zip(raw / "ai2d" / "ai2d_images.zip", lettered)
    listed = "".join(f"{place}\n" for place in ai2d.TEST)
    write_file(raw / "ai2d" / "ai2d_test_ids.csv", listed.encode())


_FOLDERS: Final[dict[str, Callable[[Path], None]]] = {
    "LLaVA mix, ShareGPT4V": _draw_llava,
    "TextVQA": _draw_textvqa,
    "ALLaVA": _draw_allava,
    "LAION-GPT4V": _draw_laion,
    "DVQA": _draw_dvqa,
    "ChartQA": _draw_chartqa,
    "DocVQA, InfographicVQA": _draw_documents,
    "AI2D": _draw_ai2d,
    "Cards": _draw_cards,
}
