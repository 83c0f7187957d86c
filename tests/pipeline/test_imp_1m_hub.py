"""imp-1m-hub.yaml and imp-1m-text.yaml build from drawn files on a Hub on loopback."""

import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import encoded, photo, record, run
from datasets import load_from_disk
from loopback_hub import Hub, Repository, serving_hub

from imp_data.manifests import load_recipe
from imp_data.manifests.hub_address import parse_hub_url
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks, records_checks
from imp_data.storage.data_dir import DataDir

ROOT = Path(__file__).parents[2]
SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Files = dict[tuple[str, str], bytes]
pytestmark = pytest.mark.slow

IMAGES = [encoded(photo(n)) for n in range(12)]


@pytest.fixture(scope="module")
def hub(one_worker: None) -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch, serving_hub() as server:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("HF_HUB_DISABLE_XET", "1")
        patch.setenv("HF_ENDPOINT", server.url)
        for name in ("HF_TOKEN", "IMP_DATA_MIRROR"):
            patch.delenv(name, raising=False)
        yield server


def small_manifests(folder: Path, mixture: str, parts: set[str], rows: Mapping[str, int]) -> Path:
    """Copy the repository's manifests; return the path of the mixture's.

    What tells the real files from drawn ones is left out: sizes, sha256, counts. `rows` are the
    counts of the drawn records.
    """
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    for path in (folder / "manifests").glob("*/*.yaml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for file in document.get("files", ()):
            file.pop("bytes", None), file.pop("sha256", None)
        document.pop("expect_ids", None)
        if path.parent.name == "sources":
            document.pop("expect", None)
            if path.stem in rows:
                document["expect"] = {"rows": rows[path.stem]}
        if path.stem == mixture:
            document["parts"] = [part for part in document["parts"] if part["source"] in parts]
            kept = [e for e in document["exclusions"] if {*parts} & sources_of(e)]
            document["exclusions"] = [{k: v for k, v in e.items() if k != "expect"} for e in kept]
            if mixture == "imp-1m-hub":
                document.pop("decontaminate")
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder / "manifests" / "mixtures" / f"{mixture}.yaml"


def sources_of(exclusion: Mapping[str, Any]) -> set[str]:
    return {exclusion["source"]} if "source" in exclusion else {*exclusion["sources"]}


def serve(hub: Hub, build: Build, drawn: Files) -> None:
    """Put the drawn files on the Hub at the manifests' own revisions, or else in place."""
    for name, manifests in build.published.items():
        listed = [file for manifest in manifests for file in manifest.files]
        addresses = {file.path: parse_hub_url(file.url or "") for file in listed}
        globs = [address for file in listed if file.is_glob and (address := addresses[file.path])]
        for (owner, path), content in drawn.items():
            if owner != name:
                continue
            address = addresses.get(path)
            if address is None and globs:
                address = globs[0]._replace(path=path)
            if address is None:
                target = build.data.raw(name) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                continue
            repository = hub.repositories.setdefault(f"datasets/{address.repository}", Repository())
            repository.commits.setdefault(address.revision, {})[address.path] = content


def cell(image: bytes) -> dict[str, Any]:
    return {"bytes": image, "path": None}


def table(rows: list[dict[str, Any]]) -> bytes:
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    for name, kind in (("image", CELL), ("images", pa.list_(CELL))):
        if name in columns:
            columns[name] = pa.array(columns[name], kind)
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=2)
    return out.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def docvqa(n: int, number: str, image: bytes, split: str = "train") -> dict[str, Any]:
    return {
        "questionId": str(n),
        "question": f"What is the date {n}?",
        "question_types": ["form"],
        "image": cell(image),
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": number,
        "answers": [f"1/{n}/93", "another"],
        "data_split": split,
    }


def infographic(n: int, image: bytes) -> dict[str, Any]:
    return {
        "questionId": str(n),
        "question": f"How many {n}?",
        "answers": [str(n)],
        "answer_type": ["single span"],
        "image": cell(image),
        "image_url": f"https://example.org/{n % 2}.png",
        "operation/reasoning": [],
        "ocr": '{"PAGE": []}',
        "data_split": "train",
    }


def chartqa(n: int, image: bytes) -> dict[str, Any]:
    return {"image": cell(image), "query": f"Bar {n}?", "label": [str(n)], "human_or_machine": 0}


def cauldron(image: bytes, *exchanges: tuple[str, str]) -> dict[str, Any]:
    texts = [{"user": q, "assistant": a, "source": "DVQA"} for q, a in exchanges]
    return {"images": [cell(image)], "texts": texts}


def captions() -> list[dict[str, Any]]:
    paths = ["coco/train2017/1.jpg", "sam/images/sa_1.jpg", "share_textvqa/images/a.jpg"]
    paths += ["web-celebrity/images/b.jpg", "llava/llava_pretrain/images/00001/2.jpg"]
    return [record(path, path, f"A caption of {path}.") for path in paths]


OPTIONS = "Question: What eats grass?\nChoices:\nA. Fox.\nB. Hare.\nAnswer with the letter."


def drawn_hub() -> Files:
    pages = [docvqa(0, "1", IMAGES[0]), docvqa(1, "2", IMAGES[1]), docvqa(2, "1", IMAGES[0])]
    bars = ("What is the label?\nAnswer briefly.", "Bar."), ("How many?\nBe succinct.", "3.")
    photographs = {"train2017/1.jpg": IMAGES[8]}
    return {
        ("docvqa_hub", "DocVQA/train-00000-of-00012.parquet"): table(pages),
        ("docvqa_hub", "DocVQA/train-00001-of-00012.parquet"): table(
            [docvqa(3, "1", IMAGES[0]), docvqa(4, "1", IMAGES[0], "val")]
        ),
        ("docvqa_hub", "DocVQA/validation-00000-of-00006.parquet"): table(pages),
        ("infographicvqa_hub", "InfographicVQA/train-00000-of-00024.parquet"): table(
            [infographic(n, IMAGES[2 + n % 2]) for n in range(4)]
        ),
        ("chartqa_hub", "data/train-00000-of-00003-49492f364babfa44.parquet"): table(
            [chartqa(0, IMAGES[4]), chartqa(1, IMAGES[5])]
        ),
        ("chartqa_hub", "data/train-00001-of-00003-7302bae5e425bbc7.parquet"): table(
            [chartqa(2, IMAGES[4])]
        ),
        ("chartqa_hub", "data/train-00002-of-00003-194c9400785577a2.parquet"): table(
            [chartqa(3, IMAGES[5])]
        ),
        ("dvqa_cauldron", "dvqa/train-00000-of-00008-d1c3abd1d206ffc6.parquet"): table(
            [cauldron(IMAGES[6], *bars)]
        ),
        ("ai2d_cauldron", "ai2d/train-00000-of-00001-2ce340398c113b79.parquet"): table(
            [cauldron(IMAGES[7], (OPTIONS, "Answer: B"))]
        ),
        ("sharegpt4v_hub", "sharegpt4v_instruct_gpt4-vision_cap100k.json"): json.dumps(
            captions()
        ).encode(),
        ("coco", "train2017.zip"): zipped(photographs),
        ("llava_pretrain", "images.zip"): zipped({"00001/2.jpg": IMAGES[9]}),
        ("sharegpt4v_web", "share_textvqa.zip"): zipped(
            {"data/share_textvqa/images/a.jpg": IMAGES[10]}
        ),
        ("sharegpt4v_web", "web-celebrity.zip"): zipped(
            {"data/web-celebrity/images/b.jpg": IMAGES[11]}
        ),
        ("sharegpt4v_web", "web-landmark.zip"): zipped({"data/web-landmark/images/c.jpg": b""}),
        ("sharegpt4v_web", "wikiart.zip"): zipped({"data/wikiart/images/d.jpg": b""}),
    }


HUB_ROWS = {
    "docvqa_hub": 5,
    "infographicvqa_hub": 4,
    "chartqa_hub": 4,
    "dvqa_cauldron": 1,
    "ai2d_cauldron": 1,
    "sharegpt4v_hub": 5,
}


def built(hub: Hub, folder: Path, mixture: str, drawn: Files, rows: Mapping[str, int]) -> Build:
    path = small_manifests(folder, mixture, {*rows}, rows)
    build = Build(load_recipe(path), DataDir(folder / "data"))
    serve(hub, build, drawn)
    run(build)
    problems = [
        problem
        for check in [c for source in rows for c in records_checks(build, source)]
        for problem in check.find().problems
    ]
    problems += [
        p for c in mixture_checks(build) if c.name == "conserved" for p in c.find().problems
    ]
    assert problems == []
    assert verify(build.data.mixture(build.name)) == []
    return build


@pytest.fixture(scope="module")
def copies(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return imp-1m-hub, built of the parts whose copies are drawn here."""
    folder = tmp_path_factory.mktemp("copies")
    return built(hub, folder, "imp-1m-hub", drawn_hub(), HUB_ROWS)


@pytest.fixture(scope="module")
def text(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return imp-1m-text, built of drawn records of all its parts."""
    return built(hub, tmp_path_factory.mktemp("text"), "imp-1m-text", drawn_text(), TEXT_ROWS)


def rows_of(build: Build) -> dict[str, list[dict[str, Any]]]:
    """Return the Samples by source, sorted by upstream id and image."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in load_from_disk(str(build.data.mixture(build.name))).to_list():
        found.setdefault(row["source"], []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: (row["upstream_id"], row["image"] or ""))
    return found


def texts(row: dict[str, Any]) -> list[str]:
    return [turn["value"] for turn in row["conversations"]]


def test_the_copies_on_the_hub_become_samples_as_the_recipe_has_them(copies: Build) -> None:
    samples = rows_of(copies)
    assert [(row["upstream_id"], texts(row)) for row in samples["docvqa_hub"]] == [
        (
            "xnbl0037_1",
            [
                *(f"<image>\nWhat is the date 0?{SHORT}", "1/0/93"),
                *("What is the date 2?", "1/2/93", "What is the date 3?", "1/3/93"),
            ],
        ),
        ("xnbl0037_2", [f"<image>\nWhat is the date 1?{SHORT}", "1/1/93"]),
    ]
    assert [texts(row)[0::2] for row in samples["infographicvqa_hub"]] == [
        [f"<image>\nHow many 0?{SHORT}", "How many 2?"],
        [f"<image>\nHow many 1?{SHORT}", "How many 3?"],
    ]
    assert [texts(row) for row in samples["chartqa_hub"]] == [
        [f"<image>\nBar 0?{SHORT}", "0", "Bar 2?", "2"],
        [f"<image>\nBar 1?{SHORT}", "1", "Bar 3?", "3"],
    ]
    assert [texts(row) for row in samples["dvqa_cauldron"]] == [
        [f"<image>\nWhat is the label?{SHORT}", "Bar", "How many?", "3"]
    ]
    assert [texts(row) for row in samples["ai2d_cauldron"]] == [
        [f"<image>\nWhat eats grass?\nA. Fox.\nB. Hare.{LETTER}", "B"]
    ]
    assert [row["image"] for row in samples["sharegpt4v_hub"]] == [
        "coco/train2017/1.jpg",
        "llava/llava_pretrain/images/00001/2.jpg",
        "share_textvqa/images/a.jpg",
        "web-celebrity/images/b.jpg",
    ]
    sizes = {(r["image_width"], r["image_height"]) for rows in samples.values() for r in rows}
    assert sizes == {(96, 72)}


def test_each_row_of_the_copies_is_in_the_ledger(copies: Build) -> None:
    ledger = pl.read_parquet(copies.data.mixture("imp_1m_hub") / "ledger.parquet").to_dicts()
    assert Counter(row["source"] for row in ledger) == HUB_ROWS
    assert [(r["source"], r["upstream_id"], r["reason"]) for r in ledger if r["reason"]] == [
        ("docvqa_hub", "4", "held_out_split"),
        ("sharegpt4v_hub", "sam/images/sa_1.jpg", "excluded_by_origin"),
    ]
    pages = [row["id"] for row in ledger if row["source"] == "docvqa_hub"]
    assert pages[0] == pages[2] == pages[3] != pages[1]


def test_nothing_but_the_training_files_is_downloaded(copies: Build, hub: Hub) -> None:
    assert not (copies.data.raw("docvqa_hub") / "DocVQA/validation-00000-of-00006.parquet").exists()
    assert not [path for path in hub.requests() if "validation" in path and "resolve" in path]


KNOWN_ID = "0054c91397f2fe05"


def chat(image: str, *exchanges: tuple[str, str]) -> dict[str, Any]:
    turns = [
        turn
        for question, answer in exchanges
        for turn in ({"from": "human", "value": question}, {"from": "gpt", "value": answer})
    ]
    return {"id": 0, "image": image, "conversations": turns}


def json_lines(*records: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in records)


def drawn_text() -> Files:
    caption = record("7", "textvqa/train_images/1.jpg")
    prompt = "Provide a one-sentence caption for the provided image.\nReference OCR token: A"
    caption["conversations"][0]["value"] = f"<image>\n{prompt}"
    diagram = "<image>\nWhich is {0}?\nA. fox\nB. hare" + LETTER
    links = [("https://example.org/1.png", "A long caption.", "m1")]
    columns = dict(zip(("link", "caption", "message_id"), zip(*links, strict=True), strict=True))
    out = io.BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), out)
    ids = {"data": [{"image_id": KNOWN_ID, "question": "What does it say?"}]}
    sampled = [
        record("allava_laion_inst_1", "allava_laion/images/1.jpeg"),
        record("2", f"allava_laion/images/{KNOWN_ID}.jpeg"),
    ]
    return {
        ("llava_665k", "llava_v1_5_mix665k.json"): json.dumps(
            [record("1", "coco/train2017/1.jpg"), record("2"), caption]
        ).encode(),
        ("dvqa_internvl", "dvqa_train_200k.jsonl"): json_lines(
            chat("images/bar_train_1.png", (f"<image>\nHow many?{SHORT}", "two"), ("Why?", "No."))
        ),
        ("chartqa_internvl", "chartqa_train_18k.jsonl"): json_lines(
            chat("train/png/1.png", (f"<image>\nIs it 5?{SHORT}", "Yes"))
        ),
        ("docvqa_internvl", "docvqa_train_10k.jsonl"): json_lines(
            chat("train/documents/a_1.png", (f"<image>\nWhat date?{SHORT}", "1/8/93"))
        ),
        ("ai2d_internvl", "ai2d_train_12k.jsonl"): json_lines(
            chat("abc_images/1.png", (diagram.format("a fox"), "A")),
            chat("images/2.png", (diagram.format("a hare"), "B")),
            chat("abc_images/1.png", (diagram.format("no fox"), "B")),
        ),
        ("sharegpt4v", "sharegpt4v_instruct_gpt4-vision_cap100k.json"): json.dumps(
            captions()
        ).encode(),
        ("laion_gpt4v", "0000.parquet"): out.getvalue(),
        ("allava_instruct", "ALLaVA-Instruct-LAION-4V.json"): json.dumps(sampled).encode(),
        ("allava_instruct", "ALLaVA-Instruct-VFLAN-4V.json"): b"[]",
        **{
            ("textvqa", f"TextVQA_0.5.1_{split}.json"): json.dumps(ids).encode()
            for split in ("train", "val", "test")
        },
    }


TEXT_ROWS = {
    "llava_665k": 3,
    "dvqa_internvl": 1,
    "chartqa_internvl": 1,
    "docvqa_internvl": 1,
    "ai2d_internvl": 3,
    "sharegpt4v": 5,
    "laion_gpt4v": 1,
    "allava_instruct": 2,
}


def test_the_text_alone_is_built_without_an_image(text: Build) -> None:
    folder = text.data.mixture("imp_1m_text")
    samples = rows_of(text)
    assert {source: len(rows) for source, rows in samples.items()} == {
        **TEXT_ROWS,
        "llava_665k": 2,
        "ai2d_internvl": 2,
        "allava_instruct": 1,
    }
    assert [texts(row) for row in samples["ai2d_internvl"]] == [
        [
            *(f"<image>\nWhich is a fox?\nA. fox\nB. hare{LETTER}", "A"),
            *("Which is no fox?\nA. fox\nB. hare", "B"),
        ],
        [f"<image>\nWhich is a hare?\nA. fox\nB. hare{LETTER}", "B"],
    ]
    assert {row["image_sha256"] for rows in samples.values() for row in rows} == {None}
    ledger = pl.read_parquet(folder / "ledger.parquet").to_dicts()
    assert [(r["source"], r["reason"]) for r in ledger if r["reason"]] == [
        ("llava_665k", "excluded"),
        ("allava_instruct", "benchmark_id"),
    ]
    raw = {path.name for path in text.data.raw("").rglob("*") if path.is_file()}
    assert not [name for name in raw if name.endswith((".zip", ".gz", ".jpg", ".png"))]


def test_the_card_of_the_text_says_that_no_image_was_examined(text: Build) -> None:
    card = (text.data.mixture("imp_1m_text") / "README.md").read_text(encoding="utf-8")
    assert "Images were deferred: none was opened." in card
