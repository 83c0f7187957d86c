"""The commands `imp-data export`, `parity`, `latency`, `quality`, `bundle` and `chat`."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from imp_data.mobile.options import (
    AsJson,
    ExportFolder,
    Images,
    ModelFolder,
    Question,
    Threads,
    parse_integers,
    parse_precision,
    require_mobile_extra,
    runtime_settings,
)
from imp_data.terminal import out_folder, print_json

DEFAULT_QUESTION = "Describe the image."
# One conversation of Imp-3B about an image of 384 pixels takes about 240 MiB.
_PROMPT_CACHE_MIB = 1024


def export(
    model: ModelFolder,
    out: Annotated[Path, out_folder("Folder to write.")],
    bits: Annotated[
        str, typer.Option(help="Bits per weight: any of 16, 8 and 4, comma-separated.")
    ] = "16,8,4",
    resolution: Annotated[
        str | None,
        typer.Option(help="Image sides in pixels, comma-separated. Default: the model's own."),
    ] = None,
    max_file: Annotated[
        float | None, typer.Option(help="Maximum file size in GB; larger files are split.")
    ] = None,
    mixture: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a training mixture; its questions become chat examples."),
    ] = None,
    short_answer_suffix: Annotated[
        str | None, typer.Option(help="Suffix of questions with short answers in the mixture.")
    ] = None,
) -> None:
    """Write a merged model as GGUF files for llama.cpp."""
    require_mobile_extra()
    from imp_data.mobile.chat.question_style import read_question_style
    from imp_data.mobile.gguf.export import export as write

    sizes = parse_integers("--resolution", resolution) if resolution else None
    limit = int(max_file * 1e9) if max_file else None
    style = read_question_style(mixture or [], short_answer_suffix)
    manifest = write(model, out, parse_integers("--bits", bits), sizes, limit, style)
    for network in manifest.files:
        print(f"{network.bytes / 1e6:>10,.1f} MB  {', '.join(file.name for file in network.files)}")
    total = sum(network.bytes for network in manifest.files)
    print(f"{out / 'manifest.json'}: {total / 1e9:,.2f} GB in total")


def parity(
    model: ModelFolder,
    folder: ExportFolder,
    image: Images = None,
    question: Question = DEFAULT_QUESTION,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Compare an export's answers with its model in PyTorch; exit 1 if they differ."""
    require_mobile_extra()
    from imp_data.mobile.measure.parity import compare_export
    from imp_data.mobile.measure.test_prompts import cases_from_images, default_cases
    from imp_data.storage.atomic_write import write_text

    cases = cases_from_images(image, question) if image else default_cases()
    report = compare_export(model, folder, cases, runtime_settings(threads, exact=True))
    text = report.model_dump_json(indent=2) + "\n"
    write_text(folder / "parity.json", text)
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))
    if not report.passed:
        print(
            "What to do: see the rows that differ, and export again with this version.",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def latency(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Comma-separated, such as Q4_0,Q4_K_M. Default: all.")
    ] = None,
    runs: Annotated[
        int, typer.Option(help="Runs per configuration; the report has their median.", min=1)
    ] = 3,
    threads: Threads = None,
    server: Annotated[
        Path | None,
        typer.Option(help="llama-server built for this machine. Default: the wheel's llama.cpp."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the latency of an export on this machine by the paper's protocol."""
    require_mobile_extra()
    from imp_data.mobile.gguf.export_manifest import read_export_manifest
    from imp_data.mobile.measure.latency import measure_latency as measure
    from imp_data.storage.atomic_write import write_text

    manifest = read_export_manifest(folder)
    requested = [parse_precision(word) for word in precision.split(",")] if precision else None
    chosen = requested or manifest.precisions
    report = measure(folder, chosen, threads or os.cpu_count() or 1, runs, server)
    text = report.model_dump_json(indent=2) + "\n"
    # A phone folder is copied to the phone unchanged, so its report is written beside it.
    beside = folder.absolute().with_name(f"{folder.absolute().name}-latency.json")
    write_text(beside if manifest.minimum_memory_bytes else folder / "latency.json", text)
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))


def quality(
    model: ModelFolder,
    folder: ExportFolder,
    image: Images = None,
    question: Question = DEFAULT_QUESTION,
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions with answers, in the format of `imp-data evaluate`."),
    ] = None,
    images: Annotated[Path, typer.Option(help="Folder of the questions' images.")] = Path(),
    towers: Annotated[
        bool,
        typer.Option(
            "--towers", help="Also combine each text model with every vision tower of more bits."
        ),
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure the quality of each precision and resolution; write DIR/quality.svg."""
    require_mobile_extra()
    from imp_data.mobile.measure.qa_accuracy import QuestionSet
    from imp_data.mobile.measure.quality import measure_quality as measure
    from imp_data.mobile.measure.quality_chart import chart_svg
    from imp_data.mobile.measure.test_prompts import cases_from_images, default_cases
    from imp_data.storage.atomic_write import write_text

    cases = cases_from_images(image, question) if image else default_cases()
    question_set = QuestionSet(questions, images) if questions else None
    report = measure(model, folder, cases, runtime_settings(threads), question_set, towers)
    text = report.model_dump_json(indent=2) + "\n"
    write_text(folder / "quality.json", text)
    write_text(folder / "quality.svg", chart_svg(report))
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))


def bundle(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Precision of the language model. Default: the smallest.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Image side in pixels. Default: that of training.")
    ] = None,
    vision: Annotated[
        str | None,
        typer.Option(help="Precision of the vision tower. Default: the bits of the text model."),
    ] = None,
    max_file: Annotated[float | None, typer.Option(help="Maximum file size in GB.")] = None,
) -> None:
    """Write DIR/mobile, the folder to copy to a phone."""
    require_mobile_extra()
    from imp_data.mobile.gguf.export_manifest import read_export_manifest
    from imp_data.mobile.phone_folder import write_phone_folder

    manifest = read_export_manifest(folder)
    chosen = parse_precision(precision) if precision else manifest.precisions[-1]
    size = resolution or manifest.default_resolution
    limit = int(max_file * 1e9) if max_file else None
    tower = parse_precision(vision, "--vision") if vision else None
    phone = write_phone_folder(folder, chosen, size, limit, tower)
    names = ", ".join(file.name for network in phone.files for file in network.files)
    memory = (phone.minimum_memory_bytes or 0) / 1e9
    print(f"{folder / 'mobile'}: {names}; needs about {memory:.1f} GB of memory")


def chat(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Precision of the language model. Default: the smallest.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Image side in pixels. Default: that of training.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback requires a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
    token: Annotated[
        str | None,
        typer.Option(envvar="IMP_CHAT_TOKEN", help="Access token. Default: generated if required."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Serve a chat page and the OpenAI protocol for an export."""
    require_mobile_extra()
    from imp_data.mobile.chat.serve import serve
    from imp_data.mobile.gguf.export_manifest import read_export_manifest

    manifest = read_export_manifest(folder)
    chosen = parse_precision(precision) if precision else manifest.precisions[-1]
    size = resolution or manifest.default_resolution
    settings = replace(runtime_settings(threads), prompt_cache_mib=_PROMPT_CACHE_MIB)
    serve(folder, chosen, size, host, port, token, settings)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`; heavy imports happen only when one of them runs."""
    for command in (export, parity, latency, quality, bundle, chat):
        app.command()(command)
