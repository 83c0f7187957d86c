"""Measure the question matcher: recall of altered copies, false matches, and speed.

    python benchmarks/questions.py --real FOLDER [--peer PYTHON]
    python benchmarks/questions.py --records llava_v1_5_mix665k.json \\
        --image-ids FOLDER/eval_ids/pope_coco_val2014_ids.txt FOLDER/eval_ids/mme_coco_ids.txt

FOLDER has benchmarks/*.jsonl in LLaVA's form, textvqa/textvqa_val_records.jsonl, llava/*.json and
allava/*.json. PYTHON is an interpreter with datatrove (pip install "datatrove[processing]" spacy),
whose NGramsDecontFilter filters the same texts in the same run; both times are CPU times of one
process.

The second command counts the records that show the images of lists of ids, one a line.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from imp_data.manifests.benchmark_questions import QuestionColumns
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.sample import SHORT_ANSWER_SUFFIX, TURN_TYPE
from imp_data.screening.decontamination.questions.matcher import find_questions
from imp_data.screening.decontamination.questions.matches import QuestionMatches, QuestionTally
from imp_data.screening.decontamination.questions.question_files import (
    BenchmarkQuestion,
    read_questions,
)
from imp_data.screening.decontamination.questions.question_index import QuestionIndex, build_index
from imp_data.screening.decontamination.questions.question_pack import build_question_pack
from imp_data.screening.decontamination.questions.rewordings import REWORDINGS, ask_with_options

FILES = {
    "textvqa": "textvqa/textvqa_val_records.jsonl",
    "pope": "benchmarks/bunny_pope_test.jsonl",
    "mme": "benchmarks/bunny_mme.jsonl",
    "mm_vet": "benchmarks/bunny-mm-vet.jsonl",
}
GENERIC = (
    *("What is in the image?", "What color is the car?", "Is there a dog in the image?"),
    *("What is the man doing?", "How many people are there?", "Where is this?"),
    *("What brand is it?", "What does the sign say?", "Describe the image.", "Is it sunny?"),
    *("What time is it?", "What is written on the bottle?", "Who is the author of this book?"),
)
# Twelve digits: COCO's numbers of images, of any year.
COCO_ID = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
TEXTS = 1_000
ROUNDS = 3
PLANTED = 1_000

PEER = """
import importlib.metadata, json, sys, time
from types import SimpleNamespace
folder, questions, texts, rounds = sys.argv[1:]
import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import (
    NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer)
config = NGramsDecontConfig(n_grams=13, find_query_ngrams=True)
step = NGramsDecontFilter(folder, config=config)
# The indexer's class requires lighteval, which only its run() uses.
indexer = SimpleNamespace(config=config, tokenizer=step.tokenizer, hash_func=step.hash_func)
hashes = set()
for line in open(questions):
    row = json.loads(line)
    hashes.update(
        NGramsDecontIndexer.compute_hashes(indexer, row["answer"], row["question"]))
kind = config.hash_config.np_descr
np.array(sorted(hashes), kind).tofile(folder + "/all.index.hashes")
documents = [Document(text=json.loads(line), id=str(n)) for n, line in enumerate(open(texts))]
step.filter(documents[0])
times = []
for _ in range(int(rounds)):
    begun = time.process_time()
    kept = sum(step.filter(one) is True for one in documents)
    times.append(time.process_time() - begun)
versions = {n: importlib.metadata.version(n) for n in ("datatrove", "spacy")}
versions["tokenizer"] = type(step.tokenizer).__name__
print(json.dumps({"seconds": min(times), "found": len(documents) - kept, "versions": versions}))
"""


Exchange = Sequence[tuple[str, str]]


def conversations(exchanges: Sequence[Exchange]) -> pa.Array:
    rows = [
        [
            {"from": side, "value": text}
            for pair in exchange
            for side, text in zip(("human", "gpt"), pair, strict=True)
        ]
        for exchange in exchanges
    ]
    return pa.array(rows, pa.list_(TURN_TYPE))


def matched(index: QuestionIndex, exchanges: Sequence[Exchange]) -> QuestionMatches:
    """Return the matches of conversations that show one image each."""
    tally = QuestionTally(index)
    images = np.arange(len(exchanges)).astype(np.uint64)
    tally.add(find_questions(conversations(exchanges), index), 0, images)
    return tally.matches()


def planted(name: str, questions: Sequence[BenchmarkQuestion]) -> list[dict[str, Any]]:
    """Return for each rewording how many copies are found: alone, with the answer, by the image."""
    index = build_index([build_question_pack(name, questions)])
    questions = list({one.question: one for one in questions}.values())[:PLANTED]
    rows = []
    for rewording, alter in REWORDINGS.items():
        # Of the question alone: POPE's and MME's files state it with LLaVA's wording.
        plain = ((one, one.question.removesuffix(SHORT_ANSWER_SUFFIX)) for one in questions)
        pairs = [(one, text) for one, asked in plain if (text := alter(asked))]
        # Each copy alone, so that many copies do not make a question frequent in the source.
        alone = [(text, "It cannot be told.") for _, text in pairs]
        answered = [(text, one.answers[0]) for one, text in pairs if one.answers]
        rows.append(
            {
                "benchmark": name,
                "copies": rewording,
                "count": len(pairs),
                "alone": share(found_alone(index, alone)),
                "with_answer": share(found_alone(index, answered)),
                "beside_image": share(found_beside(index, name, pairs)),
            }
        )
    return rows


def found_alone(index: QuestionIndex, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each copy whether a source in which it is the only one has a match."""
    found = matched(index, [[pair] for pair in dict.fromkeys(pairs)])
    rows = set(found.rows.tolist())
    place = {pair: n for n, pair in enumerate(dict.fromkeys(pairs))}
    return [place[pair] in rows for pair in pairs]


def found_beside(
    index: QuestionIndex, name: str, pairs: Sequence[tuple[BenchmarkQuestion, str]]
) -> list[bool]:
    matches = matched(index, [[(text, "It cannot be told.")] for _, text in pairs])
    return [
        bool(matches.of_row(n) or matches.about_image(n, name, one.image))
        for n, (one, _) in enumerate(pairs)
        if one.image
    ]


def share(found: Sequence[bool]) -> float | None:
    return round(sum(found) / len(found), 4) if found else None


def permuted(questions: Sequence[BenchmarkQuestion]) -> dict[str, Any]:
    """Measure questions with four drawn options, asked in other orders and other labellings."""
    generator = np.random.default_rng(5)
    answers = sorted({answer for one in questions for answer in one.answers})
    drawn = []
    for one in questions[:1000]:
        others = [answers[n] for n in generator.integers(0, len(answers), 3)]
        options = tuple(dict.fromkeys((one.answers[0], *others)))
        drawn.append(one._replace(options=options, answers=(options[0],)))
    index = build_index([build_question_pack("drawn", drawn)])
    result: dict[str, Any] = {"questions": len(drawn)}
    for style, label in enumerate(("A.", "(a)", "1)", "Options: …, …")):
        pairs = []
        for one in drawn:
            order = generator.permutation(len(one.options))
            text = ask_with_options(one.question, [one.options[n] for n in order], style)
            pairs.append((text, "It cannot be told."))
        result[label] = share(found_alone(index, pairs))
    return result


def false_matches(
    packs: dict[str, list[BenchmarkQuestion]], folder: Path
) -> dict[str, dict[str, Any]]:
    """Match generic questions, real records, and each benchmark with the others."""
    offered: dict[str, tuple[list[Exchange], set[str]]] = {
        "generic questions": ([[(text, "A dog.")] for text in GENERIC], set())
    }
    for name in ("llava", "allava"):
        records = [r for path in sorted((folder / name).glob("*.json")) for r in read_json(path)]
        offered[f"{name} records"] = ([exchange(one) for one in records], set())
    for name, questions in packs.items():
        asked: list[Exchange] = [[(one.question, "".join(one.answers[:1]))] for one in questions]
        offered[f"questions of {name}"] = (asked, {name})
    found = {}
    for label, (exchanges, own) in offered.items():
        others = [build_question_pack(n, some) for n, some in packs.items() if n not in own]
        matches = matched(build_index(others), exchanges)
        which = [
            (exchanges[row][0][0][:80], name, match.rule.value, match.id)
            for row in matches.rows.tolist()
            for name, match in matches.of_row(row).items()
        ]
        found[label] = {"offered": len(exchanges), "matched": len(matches.rows), "which": which}
    return found


def read_json(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for spans in json_spans(path, fields=frozenset({"conversations"})):
            for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
                file.seek(start)
                parsed = parse(file.read(end - start))
                if isinstance(parsed, tuple) and isinstance(parsed[0], dict):
                    yield parsed[0]


def exchange(record: dict[str, Any]) -> Exchange:
    texts = [turn["value"] for turn in record["conversations"]]
    return list(zip(texts[::2], texts[1::2], strict=False))


def speed(
    packs: dict[str, list[BenchmarkQuestion]], folder: Path, peer: str | None
) -> dict[str, Any]:
    """Match the same texts with ours and with the peer; return CPU seconds and the ratio."""
    records = [
        r for n in ("llava", "allava") for p in (folder / n).glob("*.json") for r in read_json(p)
    ]
    turns = [text for record in records for pair in exchange(record) for text in pair]
    questions = [one.question for some in packs.values() for one in some]
    generator = np.random.default_rng(6)
    exchanges: list[Exchange] = []
    for _ in range(TEXTS):
        picked = generator.integers(0, len(questions), 4)
        said = generator.integers(0, len(turns), 4)
        exchanges.append([(questions[q], turns[t]) for q, t in zip(picked, said, strict=True)])
    batch = conversations(exchanges)
    index = build_index([build_question_pack(name, some) for name, some in packs.items()])
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        tally = QuestionTally(index)
        tally.add(find_questions(batch, index), 0, np.arange(len(batch)).astype(np.uint64))
        found = len(tally.matches().rows)
        times.append(time.process_time() - begun)
    characters = sum(len(text) for one in exchanges for pair in one for text in pair)
    result: dict[str, Any] = {"texts": len(exchanges), "characters": characters}
    result |= {"ours_seconds": round(min(times), 3), "ours_found": found}
    if peer:
        other = by_peer(peer, packs, exchanges)
        result |= {"peer_seconds": round(other["seconds"], 3), "peer_found": other["found"]}
        result |= {"times_as_fast": round(other["seconds"] / min(times), 1)}
        result |= {"peer": other["versions"]}
    return result


def by_peer(
    python: str, packs: dict[str, list[BenchmarkQuestion]], exchanges: Sequence[Exchange]
) -> dict[str, Any]:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "index").mkdir()
        asked = [
            {"question": one.question, "answer": "".join(one.answers[:1])}
            for some in packs.values()
            for one in some
        ]
        texts = ["\n".join(text for pair in one for text in pair) for one in exchanges]
        for name, lines in (("questions", asked), ("texts", texts)):
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        words = [
            python,
            "-c",
            PEER,
            folder / "index",
            folder / "questions",
            folder / "texts",
            ROUNDS,
        ]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [*map(str, words)], check=True, capture_output=True, text=True, env=environment
        )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def count_images(records: Path, lists: Sequence[Path]) -> dict[str, Any]:
    """Count the records whose image has an id of each list in its file name."""
    listed = {path.stem: set(path.read_text().split()) for path in lists}
    counts = Counter[str]()
    seen: dict[str, set[str]] = {name: set() for name in listed}
    for record in read_json(records):
        counts["records"] += 1
        images = record.get("image")
        names = [images] if isinstance(images, str) else images or []
        found = {i for name in names for i in COCO_ID.findall(name.rsplit("/", 1)[-1])}
        for name, ids in listed.items():
            counts[name] += bool(found & ids)
            seen[name] |= found & ids
    return {
        "records": counts["records"],
        **{n: {"ids": len(listed[n]), "seen": len(seen[n]), "records": counts[n]} for n in listed},
    }


def print_figures(figures: dict[str, Any]) -> None:
    print(f"{'copies':24}{'benchmark':>10}{'count':>8}{'alone':>8}{'answer':>8}{'image':>8}")
    for row in figures["planted"]:
        cells = ["–" if row[k] is None else f"{100 * row[k]:.1f}" for k in ("alone", "with_answer")]
        beside = "–" if row["beside_image"] is None else f"{100 * row['beside_image']:.1f}"
        label = f"{row['copies']:24}{row['benchmark']:>10}{row['count']:>8,}"
        print(label + "".join(f"{cell:>8}" for cell in [*cells, beside]))
    print(f"options permuted, by labels: {figures['permuted']}")
    for label, one in figures["false"].items():
        print(f"{label}: {one['matched']} of {one['offered']:,} match")
        for text, name, rule, item in one["which"]:
            print(f"  {name} {item} by {rule}: {text!r}")
    print(f"speed: {figures['speed']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=os.environ.get("IMP_REAL_DATA"))
    parser.add_argument("--peer", help="Python interpreter with datatrove")
    parser.add_argument("--records", type=Path, help="records in LLaVA's form")
    parser.add_argument("--image-ids", type=Path, nargs="+", default=[])
    args = parser.parse_args()
    if args.records:
        counted = count_images(args.records, args.image_ids)
        for name, one in counted.items():
            print(f"{name}: {one}")
        print(json.dumps(counted))
        return
    if args.real is None:
        parser.error("--real: name the folder of real files, or set IMP_REAL_DATA")
    packs = {
        name: list(read_questions(Path(args.real) / file, QuestionColumns()))
        for name, file in FILES.items()
    }
    figures = {
        "planted": [row for name, some in packs.items() for row in planted(name, some)],
        "permuted": permuted(packs["textvqa"]),
        "false": false_matches(packs, Path(args.real)),
        "speed": speed(packs, Path(args.real), args.peer),
        "python": platform.python_version(),
    }
    print_figures(figures)
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())
