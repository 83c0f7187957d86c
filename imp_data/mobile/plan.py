"""The cached stages gguf, parity, quality and phone of a mixture's model, each a command line.

Nothing here imports gguf or torch: the commands do.
"""

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

# Stage name to the code version of the command that does the work.
CODE_VERSIONS = {
    stage: code_version(f"imp_data.mobile.cli:{command}")
    for stage, command in (
        *(("gguf", "export"), ("parity", "parity")),
        *(("quality", "quality"), ("phone", "bundle")),
    )
}
_LIBRARIES = ("gguf", "libgguf", "xllamacpp", "torch", "transformers")


def gguf_folder(plan: Plan) -> Path:
    """Return the folder of a model's GGUF files and the reports about them."""
    return plan.folder / "gguf"


def export_stage(plan: Plan, command: Command) -> StageResult:
    """Export the precisions and resolutions of the model's manifest; figures: `files`."""
    folder, wanted = gguf_folder(plan), plan.model.export
    manifest = folder / "manifest.json"
    if not _is_complete(manifest):
        manifest.unlink(missing_ok=True)

    def build() -> dict[str, Any]:
        plan.check_merged()
        sizes = wanted.resolutions or (plan.model.image_size,)
        options = ["--bits", ",".join(map(str, wanted.bits))]
        options += ["--resolution", ",".join(map(str, sizes)), "--out", str(folder)]
        options += [w for b in mixtures for w in ("--mixture", str(b.data.mixture(b.name)))]
        if wanted.short_answer_suffix:
            options += ["--short-answer-suffix", wanted.short_answer_suffix]
        command(["export", str(plan.merged), *options])
        return {"files": _files(manifest)}

    mixtures = plan.mixtures_with_questions
    inputs = {
        "model": plan.build.digest_of(_asset(plan, "merged")),
        "asked": model_digest(wanted),
        **{f"mixtures/{b.name}": b.digest_of("mixture") for b in mixtures},
    }
    return _stage(plan, "gguf", inputs, [manifest], build)


def parity_stage(plan: Plan, command: Command) -> StageResult:
    """Compare every file with PyTorch; figures: `rows`, one per precision and image size.

    A difference is a result of this stage, not an error.
    """
    folder = gguf_folder(plan)
    report, summary = folder / "parity.json", folder / "parity.txt"

    def build() -> dict[str, Any]:
        report.unlink(missing_ok=True)
        plan.check_merged()
        try:
            command(["parity", str(plan.merged), str(folder)])
        except UserError:
            if not report.exists():
                raise
        rows = _merge_cases(orjson.loads(report.read_bytes())["rows"])
        write_text(summary, "\n".join([*parity_summary(rows), ""]))
        return {"rows": rows}

    return _stage(plan, "parity", _gguf_input(plan), [report, summary], build)


def quality_stage(plan: Plan, command: Command) -> StageResult:
    """Measure the quality of each file, with held-out questions if the mixture is the demo's."""
    folder, evidence = gguf_folder(plan), plan.folder / "evidence"
    is_demo = plan.build.recipe.mixture.drawn

    def build() -> dict[str, Any]:
        plan.check_merged()
        questions = ["--questions", str(evidence / "questions.jsonl"), "--images", str(evidence)]
        command(["quality", str(plan.merged), str(folder), *(questions if is_demo else [])])
        report: dict[str, Any] = orjson.loads((folder / "quality.json").read_bytes())
        return report

    inputs = _gguf_input(plan)
    if is_demo:
        inputs["evidence"] = plan.build.digest_of(_asset(plan, "evidence"))
    outputs = [folder / name for name in ("quality.json", "quality.svg")]
    return _stage(plan, "quality", inputs, outputs, build)


def phone_stage(plan: Plan, command: Command) -> StageResult:
    """Write the phone folder with the smallest precision at the training resolution."""
    folder = gguf_folder(plan)

    def build() -> dict[str, Any]:
        command(["bundle", str(folder)])
        manifest = folder / "mobile" / "manifest.json"
        memory = orjson.loads(manifest.read_bytes())["minimum_memory_bytes"]
        return {"files": _files(manifest), "minimum_memory_bytes": memory}

    return _stage(plan, "phone", _gguf_input(plan), [folder / "mobile"], build)


def parity_problems(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the differences found in the rows of `parity_stage`."""
    return [
        f"{row['precision']} at {row['images']} px: {problem}"
        for row in rows
        for problem in row["problems"]
    ]


def parity_summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line per precision that states whether its answers equal PyTorch's."""
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
    installed = [library for library in _LIBRARIES if find_spec(library)]

    def check_and_build() -> dict[str, Any]:
        _check_libraries(plan)
        return build()

    versions = str(library_versions(*installed))
    stamp = {"code": CODE_VERSIONS[name], "libraries": versions, **inputs}
    return plan.build.stage(_asset(plan, name), stamp, outputs, check_and_build)


def _check_libraries(plan: Plan) -> None:
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise UserError(
                f"the library {library}, required to export {plan.model.title} for the phone",
                "is not installed",
                "pip install 'imp-data[mobile]', or run the job curate to build the mixture alone",
            )


def _asset(plan: Plan, name: str) -> str:
    return f"models/{plan.model.name}/{name}"


def _gguf_input(plan: Plan) -> dict[str, str]:
    return {"gguf": plan.build.digest_of(_asset(plan, "gguf"))}


def _files(manifest: Path) -> list[dict[str, Any]]:
    """Return name and size of each file that a manifest.json lists."""
    networks = orjson.loads(manifest.read_bytes())["files"]
    return [{k: f[k] for k in ("name", "bytes")} for network in networks for f in network["files"]]


def _is_complete(manifest: Path) -> bool:
    """Return whether every listed file exists with the listed size."""
    if not manifest.is_file():
        return False
    paths = [(manifest.parent / file["name"], file["bytes"]) for file in _files(manifest)]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _merge_cases(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the cases of each precision and resolution into one row."""
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
            "problems": [f"{row['case']}: {text}" for row in own for text in row["problems"]],
        }
        for (precision, size), own in cases.items()
    ]
