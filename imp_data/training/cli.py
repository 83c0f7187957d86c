"""`imp-data train`, `imp-data merge` and `imp-data evaluate`."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from imp_data.errors import UserError
from imp_data.terminal import out_folder

Precision = Literal["bf16", "fp16", "fp32"]


# Long, since typer reads options from the signature.
def train(
    manifest: Annotated[Path, typer.Argument(help="Manifest of a model.", show_default=False)],
    mixture: Annotated[
        list[Path],
        typer.Option(help="Folder of a mixture; repeat for each that the manifest's stages name."),
    ],
    out: Annotated[Path, out_folder("Folder of the run.")],
    stage: Annotated[
        Literal["projector", "adapter", "all"], typer.Option(help="The stage to run.")
    ] = "all",
    projector: Annotated[
        Path | None, typer.Option(help="Run whose projector the adapter stage starts from.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images, or of Parquet files with images."),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Steps of each stage; also ends the schedule.", min=1)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that prepare batches.", min=0)
    ] = None,
) -> None:
    """Train a model on a mixture. After an interruption, resume from the last checkpoint."""
    _ready()
    from imp_data.manifests.model import load_model
    from imp_data.training.data.mixture_input import open_mixture
    from imp_data.training.loop.run import Run
    from imp_data.training.loop.run import train as run_stages

    run_stages(
        Run(
            model=load_model(manifest),
            manifests=manifest.absolute().parent.parent,
            mixtures=[open_mixture(folder) for folder in mixture],
            out=out,
            stage=stage,
            projector=projector,
            images=images,
            max_steps=max_steps,
            workers=min(4, (os.cpu_count() or 1) - 1) if workers is None else workers,
        )
    )


def merge(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of a stage's output.")],
    out: Annotated[Path, out_folder("Folder to write.")],
    precision: Annotated[
        Precision | None, typer.Option(help="Precision of the weights; default: the stage's.")
    ] = None,
) -> None:
    """Merge LoRA into the weights and write one folder that transformers loads."""
    _ready()
    from imp_data.training.model.merge import merge as merge_run

    facts = merge_run(run, out, precision)
    print(f"{out}: {facts['stage']} after {facts['steps']:,} steps")


def evaluate(
    questions: Annotated[Path, typer.Option(help="Questions, one JSON object per line.")],
    out: Annotated[Path, out_folder("Folder for answers and scores.")],
    model: Annotated[
        Path | None, typer.Argument(help="Folder of a merged model.", show_default=False)
    ] = None,
    images: Annotated[Path, typer.Option(help="Folder of the questions' images.")] = Path(),
    benchmark: Annotated[
        str, typer.Option(help="Scoring method: exact, textvqa, pope, scienceqa or mme.")
    ] = "exact",
    annotations: Annotated[
        Path | None, typer.Option(help="The benchmark's annotations.", show_default=False)
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Score these answers without running a model.")
    ] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Replace each image by grey.")] = False,
) -> None:
    """Run a model on a file of questions, and score its answers with the benchmark's metric."""
    from imp_data.training.evaluation.evaluate import evaluate as evaluate_model
    from imp_data.training.evaluation.evaluate import format_scores, score_answers

    if answers is not None:
        print(format_scores(score_answers(answers, questions, benchmark, annotations, out)))
        return
    if model is None:
        problem = "neither a model nor answers are given"
        raise UserError("evaluate", problem, "give the folder of a model, or --answers FILE")
    _ready()
    from imp_data.training.evaluation.generate import AnswerGenerator

    answer = AnswerGenerator(model).answer
    figures = evaluate_model(
        answer, model.name, questions, images, benchmark, annotations, out, blind
    )
    print(format_scores(figures))


def _ready() -> None:
    """Check that the libraries are installed, and silence their progress bars and warnings."""
    try:
        import torch  # noqa: I001 (first, since the others fail without it)
        import peft
        import transformers
    except ModuleNotFoundError as error:
        raise UserError(
            f"the library {error.name}", "is not installed", "pip install 'imp-data[train]'"
        ) from None
    del peft, torch
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
