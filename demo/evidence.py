"""Does a model see? It answers questions on images drawn anew, and again with grey instead."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from demo.held_out import KINDS, held_out
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.storage.atomic_write import write_text
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import file_sha256, library_versions
from imp_data.storage.stage_cache import StageResult
from imp_data.training.data.shards import Shards
from imp_data.training.plan import Command, Plan

# The questions, and the command that answers them.
CODE = code_version("demo.held_out", "imp_data.training.cli:evaluate")


def gather(plan: Plan, command: Command) -> StageResult:
    """Write questions, answers and scores to `evidence` beside the model, seeing and blind.

    The figures hold a row a kind of question: how many, and the percentages of right answers.
    """
    folder, build = plan.folder / "evidence", plan.build
    merged = f"models/{plan.model.name}/merged"
    inputs = {
        "code": CODE,
        "model": build.digest_of(merged),
        **library_versions("numpy", "pillow"),
    }

    def ask() -> dict[str, Any]:
        plan.check_ready()
        plan.check_merged()
        images = held_out(folder)
        seen = len(_digests(images) & set(_trained_on([*plan.other_mixtures, build])))
        if seen:
            raise UserError(folder, f"{seen} images stand in the mixture", "draw others")
        for way, more in (("seeing", []), ("blind", ["--blind"])):
            asked = ["--questions", str(folder / "questions.jsonl"), "--images", str(folder)]
            command(["evaluate", str(plan.merged), *asked, "--out", str(folder / way), *more])
        rows = _rows(folder)
        write_text(folder / "scores.txt", scores_text(rows))
        return {"kinds": rows, "images": len(images)}

    outputs = [folder / name for name in ("questions.jsonl", "seeing", "blind", "scores.txt")]
    return build.stage(f"models/{plan.model.name}/evidence", inputs, outputs, ask)


def scores_text(rows: list[dict[str, Any]]) -> str:
    """The figures as a small table for the console."""
    head = f"{'held-out questions':<20}{'asked':>6}{'seeing':>10}{'blind':>10}"
    lines = [
        f"{row['question']:<20}{row['questions']:>6}{row['seeing']:>8.0f} %{row['blind']:>8.0f} %"
        for row in rows
    ]
    return "\n".join([head, *lines, ""])


def _rows(folder: Path) -> list[dict[str, Any]]:
    ways = {way: orjson.loads((folder / way / "scores.json").read_bytes()) for way in _WAYS}
    asked = [orjson.loads(r) for r in (folder / "questions.jsonl").read_bytes().splitlines()]
    return [
        {
            "question": kind,
            "questions": sum(question["category"] == kind for question in asked),
            **{way: ways[way][f"{kind}.accuracy"] for way in _WAYS},
        }
        for kind in KINDS
    ]


_WAYS = ("seeing", "blind")


def _digests(paths: list[Path]) -> set[str]:
    return {file_sha256(path) for path in paths}


def _trained_on(builds: list[Build]) -> Iterator[str]:
    """sha256 of every image in these mixtures."""
    for build in builds:
        rows = Shards(build.data.mixture(build.name))
        for number in range(len(rows)):
            if digest := rows.row(number, ["image_sha256"])["image_sha256"]:
                yield digest
