"""The demo world: every file that upstream publishes, at one-thousandth scale."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from demo.drawing.album import clear_cache
from demo.faults import annotated_sources as annotated
from demo.faults import catalogue
from demo.faults import pages as faulty_pages
from demo.faults import question_sources as faulty
from demo.faults.planted import Case, indented, spread
from demo.sources import ai2d, allava, captions, cards, charts, documents, llava, pages, textvqa
from demo.sources.archives import (
    array_bytes,
    json_bytes,
    write_file,
    write_image_parquet,
    write_parquet,
    write_tar_gz,
    write_zip,
)
from demo.sources.llava import Entry

Files = dict[str, bytes]
_VFLAN: Final = "images_191task_1k"
# Image folder → (zip below raw/, folder inside the zip), as in manifests/images/.
_ZIPS: Final = {
    "coco/train2017": ("coco/train2017.zip", "train2017"),
    "gqa/images": ("gqa/images.zip", "images"),
    "ocr_vqa/images": ("ocr_vqa/ocr_vqa_images_llava_v15.zip", "images"),
    "vg/VG_100K": ("vg/images.zip", "VG_100K"),
    "vg/VG_100K_2": ("vg/images2.zip", "VG_100K_2"),
    "llava/llava_pretrain/images": ("llava_pretrain/images.zip", ""),
    "sam/images": ("sam/sam.zip", ""),
    "share_textvqa/images": ("share_textvqa/share_textvqa.zip", "data/share_textvqa/images"),
    "web-celebrity/images": ("web_celebrity/web-celebrity.zip", "data/web-celebrity/images"),
    "web-landmark/images": ("web_landmark/web-landmark.zip", "data/web-landmark/images"),
    "wikiart/images": ("wikiart/wikiart.zip", "data/wikiart/images"),
    f"allava_vflan/images/{_VFLAN}": ("allava_vflan/image_191-task_1k.zip", _VFLAN),
}
_ALLAVA_CHUNKS: Final = 10


def draw_world(raw: Path, advance: Callable[[], None] = lambda: None) -> None:
    """Write the world below `raw`, and call `advance` after each of its parts.

    Equal code and libraries give equal bytes, whatever `raw` contained before.
    """
    for draw in _FOLDERS:
        draw(raw)
        advance()
    clear_cache()


def _draw_llava(raw: Path) -> None:
    """Draw the LLaVA mix and ShareGPT4V together, because they share COCO images."""
    mix = raw / "llava_665k" / "llava_v1_5_mix665k.json"
    images = _write_records(mix, llava.entries(), catalogue.LLAVA_665K)
    cap100k = raw / "sharegpt4v" / "sharegpt4v_instruct_gpt4-vision_cap100k.json"
    images |= _write_records(cap100k, captions.sharegpt4v(), annotated.SHAREGPT4V, lines=False)
    _write_images(raw, images)


def _write_records(
    path: Path, entries: Sequence[Entry], cases: tuple[Case, ...], *, lines: bool = True
) -> Files:
    """Write clean records with planted ones among them; return the images of both.

    The folder of the file has the name of the source.
    """
    encode = indented if lines else json_bytes
    clean = [encode(entry.record) for entry in entries]
    write_file(path, array_bytes(spread(clean, cases, path.parent.name), lines=lines))
    images = {entry.record["image"]: entry.data for entry in entries if entry.data is not None}
    return images | {name: data for case in cases for name, data in case.images().items()}


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
    folder, name = raw / "allava_instruct", "ALLaVA-Instruct-{}-4V.json"
    images = _write_records(folder / name.format("LAION"), allava.laion(), annotated.LAION)
    images |= _write_records(folder / name.format("VFLAN"), allava.vflan(), annotated.VFLAN)
    _write_images(raw, images)
    web = sorted(path for path in images if path.startswith("allava_laion/"))
    for chunk in range(_ALLAVA_CHUNKS):
        paths = web[chunk::_ALLAVA_CHUNKS]
        members = {path.removeprefix("allava_laion/"): images[path] for path in paths}
        write_zip(raw / "allava_laion" / f"images_{chunk}.zip", members)


def _draw_laion(raw: Path) -> None:
    rows = [*captions.laion_rows(), *faulty.laion()]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    write_parquet(raw / "laion_gpt4v" / "0000.parquet", columns)
    write_zip(raw / "laion_gpt4v" / "images.zip", captions.laion_files())


def _draw_dvqa(raw: Path) -> None:
    splits = ("train", "val_easy", "val_hard")
    rows = {split: charts.dvqa_rows(split) for split in splits}
    rows["train"].append(faulty.dvqa())
    questions = {f"{split}_qa.json": json_bytes(rows[split]) for split in splits}
    write_tar_gz(raw / "dvqa" / "qa.tar.gz", questions)
    images = {
        f"images/{charts.dvqa_name(split, n)}": charts.dvqa_chart(split, n).data
        for split in splits
        for n in charts.dvqa_numbers(split)
    }
    write_tar_gz(raw / "dvqa" / "images.tar.gz", images)


def _draw_chartqa(raw: Path) -> None:
    train = "ChartQA Dataset/train"
    augmented = [faulty.augmented(), *charts.augmented_rows()]
    members = {
        f"{train}/train_human.json": json_bytes(charts.human_rows(), indent=2),
        f"{train}/train_augmented.json": json_bytes(augmented, indent=2),
    }
    for index in {*charts.HUMAN, *charts.AUGMENTED}:
        name = charts.chart_name(index)
        members[f"{train}/png/{name}"] = charts.chart(index).data
        members[f"{train}/tables/{name.replace('.png', '.csv')}"] = charts.chartqa_table(index)
    write_zip(raw / "chartqa" / "ChartQA Dataset.zip", members)


def _draw_documents(raw: Path) -> None:
    """Draw DocVQA and InfographicVQA."""
    scans = documents.dataset("SP-DocVQA", "1.0", documents.page_rows() + faulty.docvqa())
    write_file(raw / "docvqa" / "train_v1.0_withQT.json", json_bytes(scans))
    write_tar_gz(raw / "docvqa" / "spdocvqa_images.tar.gz", documents.page_files())
    rows = documents.infographic_rows() + faulty.infographicvqa()
    tall = documents.dataset("infographicVQA", "v1.0", rows)
    write_file(raw / "infographicvqa" / "infographicsVQA_train_v1.0.json", json_bytes(tall))
    archive = raw / "infographicvqa" / "infographicsvqa_images.tar.gz"
    write_tar_gz(archive, documents.infographic_files())


def _draw_cards(raw: Path) -> None:
    members = {f"{n}.png": cards.card_file(cards.card("cards", n)) for n in range(cards.COUNT)}
    write_zip(raw / "cards" / "images.zip", members)
    write_file(raw / "cards" / "cards.json", json_bytes(cards.records()))


def _draw_pages(raw: Path) -> None:
    """Draw two Parquet files, with the faulty records among the others."""
    records = sorted([*pages.records(), *faulty_pages.records()])
    for number, name in enumerate(pages.FILES):
        rows = [record._asdict() for record in records[number :: len(pages.FILES)]]
        write_image_parquet(raw / "pages" / name, rows, pages.FEATURES, pages.GROUP_ROWS)


def _draw_ai2d(raw: Path) -> None:
    plain: Files = {}
    lettered: Files = {}
    for index in (*ai2d.TRAIN, *ai2d.TEST):
        name = f"{index}.png"
        rows = {**ai2d.questions(index), **faulty.ai2d(index)}
        questions = {"imageName": name, "questions": rows}
        plain[f"ai2d/images/{name}"] = ai2d.image(index).data
        plain[f"ai2d/questions/{name}.json"] = json_bytes(questions)
        plain[f"ai2d/annotations/{name}.json"] = json_bytes(ai2d.annotation(index))
        lettered[f"abc_images/{name}"] = ai2d.lettered_image(index).data
    write_zip(raw / "ai2d" / "ai2d-all.zip", plain)
    write_zip(raw / "ai2d" / "ai2d_images.zip", lettered)
    listed = "".join(f"{index}\n" for index in ai2d.TEST)
    write_file(raw / "ai2d" / "ai2d_test_ids.csv", listed.encode())


_FOLDERS: Final[tuple[Callable[[Path], None], ...]] = (
    *(_draw_llava, _draw_textvqa, _draw_allava, _draw_laion, _draw_dvqa, _draw_chartqa),
    *(_draw_documents, _draw_ai2d, _draw_cards, _draw_pages),
)
