"""A mixture's model on its way to the phone, as command lines with their stamps: no gguf here."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from imp_data.errors import UserError
from imp_data.manifests import model_digest
from imp_data.storage.atomic_write import write_text
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import library_versions
from imp_data.storage.stage_cache import StageResult
from imp_data.training.plan import Command, Plan

# By stage: the command that does the work.
CODE_VERSIONS = {
    stage: code_version(f"imp_data.mobile.cli:{command}")
    for stage, command in (
        *(("gguf", "export"), ("parity", "parity")),
        *(("quality", "quality"), ("phone", "bundle")),
    )
}
_LIBRARIES = ("gguf", "libgguf", "xllamacpp", "torch", "transformers")


def gguf_folder(plan: Plan) -> Path:
    """Where a model's files for llama.cpp are, with what was found out about them."""
    return plan.folder / "gguf"


def export_stage(plan: Plan, command: Command) -> StageResult:
    """The precisions and resolutions that the model's manifest asks for; figures: `files`."""
    folder, asked = gguf_folder(plan), plan.model.export
    manifest = folder / "manifest.json"
    if not _whole(manifest):
        manifest.unlink(missing_ok=True)

    def build() -> dict[str, Any]:
        plan.check_merged()
        sizes = asked.resolutions or (plan.model.image_size,)
        bits = ["--bits", ",".join(map(str, asked.bits))]
        place = ["--resolution", ",".join(map(str, sizes)), "--out", str(folder)]
        asks = [w for b in told for w in ("--mixture", str(b.data.mixture(b.name)))]
        if asked.short_answer_suffix:
            asks += ["--short-answer-suffix", asked.short_answer_suffix]
        command(["export", str(plan.merged), *bits, *place, *asks])
        return {"files": _files(manifest)}

    told = plan.asked_mixtures
    inputs = {
        "model": plan.build.digest_of(_asset(plan, "merged")),
        "asked": model_digest(asked),
        **{f"mixtures/{b.name}": b.digest_of("mixture") for b in told},
    }
    return _stage(plan, "gguf", inputs, [manifest], build)


def parity_stage(plan: Plan, command: Command) -> StageResult:
    """Whether every file answers as PyTorch does; figures: `rows`, one a precision and size.

    An export that answers otherwise is a finding too, not an error of this stage.
    """
    folder = gguf_folder(plan)
    report, told = folder / "parity.json", folder / "parity.txt"

    def build() -> dict[str, Any]:
        report.unlink(missing_ok=True)
        plan.check_merged()
        try:
            command(["parity", str(plan.merged), str(folder)])
        except UserError:
            if not report.exists():
                raise
        rows = _compared(orjson.loads(report.read_bytes())["rows"])
        write_text(told, "\n".join([*parity_summary(rows), ""]))
        return {"rows": rows}

    return _stage(plan, "parity", _of_files(plan), [report, told], build)


def quality_stage(plan: Plan, command: Command) -> StageResult:
    """What a smaller file costs, on the held-out questions too where there are some."""
    folder, evidence = gguf_folder(plan), plan.folder / "evidence"
    drawn = plan.build.recipe.mixture.drawn

    def build() -> dict[str, Any]:
        plan.check_merged()
        asked = ["--questions", str(evidence / "questions.jsonl"), "--images", str(evidence)]
        command(["quality", str(plan.merged), str(folder), *(asked if drawn else [])])
        found: dict[str, Any] = orjson.loads((folder / "quality.json").read_bytes())
        return found

    inputs = _of_files(plan)
    if drawn:
        inputs["evidence"] = plan.build.digest_of(_asset(plan, "evidence"))
    outputs = [folder / name for name in ("quality.json", "quality.svg")]
    return _stage(plan, "quality", inputs, outputs, build)


def phone_stage(plan: Plan, command: Command) -> StageResult:
    """The phone's folder, of the smallest precision, for images as large as in training."""
    folder = gguf_folder(plan)

    def build() -> dict[str, Any]:
        command(["bundle", str(folder)])
        manifest = folder / "mobile" / "manifest.json"
        memory = orjson.loads(manifest.read_bytes())["minimum_memory_bytes"]
        return {"files": _files(manifest), "minimum_memory_bytes": memory}

    return _stage(plan, "phone", _of_files(plan), [folder / "mobile"], build)


def parity_problems(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What differs, of the rows of `parity_stage`."""
    return [
        f"{row['precision']} at {row['images']} px: {problem}"
        for row in rows
        for problem in row["problems"]
    ]


def parity_summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line a precision: do its answers equal PyTorch's."""
    lines = []
    for precision in dict.fromkeys(row["precision"] for row in rows):
        own = [row for row in rows if row["precision"] == precision]
        verdict = "DIFFERENT from PyTorch's" if parity_problems(own) else "equal to PyTorch's"
        agreed, tokens = (sum(row[name] for row in own) for name in ("agreed", "tokens"))
        shift = max(row["mean_shift"] for row in own)
        lines.append(
            f"{precision:<7} answers {verdict}: {agreed} of {tokens} tokens, shift {shift:.4f} nats"
        )
    return lines


def _stage(
    plan: Plan,
    name: str,
    inputs: dict[str, str],
    outputs: list[Path],
    build: Callable[[], dict[str, Any]],
) -> StageResult:
    known = [library for library in _LIBRARIES if find_spec(library)]

    def ready() -> dict[str, Any]:
        _check_ready(plan)
        return build()

    stated = {"code": CODE_VERSIONS[name], "libraries": str(library_versions(*known)), **inputs}
    return plan.build.stage(_asset(plan, name), stated, outputs, ready)


def _check_ready(plan: Plan) -> None:
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise UserError(
                f"the library {library}, with which {plan.model.title} goes to the phone",
                "is not installed",
                "pip install 'imp-data[mobile]'; the mixture alone is built by the job curate",
            )


def _asset(plan: Plan, name: str) -> str:
    return f"models/{plan.model.name}/{name}"


def _of_files(plan: Plan) -> dict[str, str]:
    return {"gguf": plan.build.digest_of(_asset(plan, "gguf"))}


def _files(manifest: Path) -> list[dict[str, Any]]:
    """Name and bytes of each file that a manifest.json lists."""
    exported = orjson.loads(manifest.read_bytes())["files"]
    return [{k: f[k] for k in ("name", "bytes")} for one in exported for f in one["files"]]


def _whole(manifest: Path) -> bool:
    """Whether all that it lists is there, as long as it was written."""
    if not manifest.is_file():
        return False
    paths = [(manifest.parent / file["name"], file["bytes"]) for file in _files(manifest)]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases of a precision and a resolution as one row."""
    cases: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        cases.setdefault((row["precision"], row["resolution"]), []).append(row)
    return [
        {
            "precision": precision,
            "images": size,
            "agreed": sum(row["agreed"] for row in own),
            "tokens": sum(row["tokens"] for row in own),
            "mean_shift": sum(row["mean_shift"] for row in own) / len(own),
            "most_shift": max(row["most_shift"] for row in own),
            "problems": [f"{row['case']}: {said}" for row in own for said in row["problems"]],
        }
        for (precision, size), own in cases.items()
    ]
