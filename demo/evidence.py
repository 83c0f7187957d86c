"""Score a model on held-out cards, once with the images and once with grey in their place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from demo.held_out import KINDS, write_held_out
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.storage.atomic_write import write_text
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import file_sha256, library_versions
from imp_data.storage.stage_cache import StageResult
from imp_data.training.data.shards import Shards
from imp_data.training.plan import Command, Plan

# Covers the questions and the command that answers them.
CODE = code_version("demo.held_out", "imp_data.training.cli:evaluate")


def evaluate_held_out(plan: Plan, command: Command) -> StageResult:
    """Write questions, answers and scores to `evidence/` beside the model.

    The figures hold one row per kind of question: the number of questions, and the percentage of
    right answers with the images (`seeing`) and with grey in their place (`blind`).
    """
    folder, build = plan.folder / "evidence", plan.build
    merged = f"models/{plan.model.name}/merged"
    inputs = {
        "code": CODE,
        "model": build.digest_of(merged),
        **library_versions("numpy", "pillow"),
    }

    def evaluate() -> dict[str, Any]:
        plan.check_ready()
        plan.check_merged()
        images = write_held_out(folder)
        held_out = {file_sha256(path) for path in images}
        if leaked := held_out.intersection(_trained_image_digests([*plan.other_mixtures, build])):
            raise UserError(
                folder,
                f"{len(leaked)} held-out images are in a training mixture",
                "change the seed of the held-out cards in demo/sources/cards.py",
            )
        for mode, flags in (("seeing", []), ("blind", ["--blind"])):
            questions = ["--questions", str(folder / "questions.jsonl"), "--images", str(folder)]
            command(["evaluate", str(plan.merged), *questions, "--out", str(folder / mode), *flags])
        rows = _rows(folder)
        write_text(folder / "scores.txt", scores_text(rows))
        return {"kinds": rows, "images": len(images)}

    outputs = [folder / name for name in ("questions.jsonl", "seeing", "blind", "scores.txt")]
    return build.stage(f"models/{plan.model.name}/evidence", inputs, outputs, evaluate)


def scores_text(rows: list[dict[str, Any]]) -> str:
    """Format the figures as a small table for the console."""
    head = f"{'held-out questions':<20}{'asked':>6}{'seeing':>10}{'blind':>10}"
    lines = [
        f"{row['question']:<20}{row['questions']:>6}{row['seeing']:>8.0f} %{row['blind']:>8.0f} %"
        for row in rows
    ]
    return "\n".join([head, *lines, ""])


def _rows(folder: Path) -> list[dict[str, Any]]:
    scores = {mode: orjson.loads((folder / mode / "scores.json").read_bytes()) for mode in _MODES}
    questions = [orjson.loads(r) for r in (folder / "questions.jsonl").read_bytes().splitlines()]
    return [
        {
            "question": kind,
            "questions": sum(question["category"] == kind for question in questions),
            **{mode: scores[mode][f"{kind}.accuracy"] for mode in _MODES},
        }
        for kind in KINDS
    ]


_MODES = ("seeing", "blind")


def _trained_image_digests(builds: list[Build]) -> Iterator[str]:
    """Yield the sha256 of every image in these mixtures."""
    for build in builds:
        rows = Shards(build.data.mixture(build.name))
        for number in range(len(rows)):
            found = rows.row(number, ["image_sha256"])["image_sha256"]
            yield from [found] if isinstance(found, str) else found or ()
