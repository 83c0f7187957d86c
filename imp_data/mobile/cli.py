"""`imp-data export`, `parity`, `latency`, `quality`, `bundle`, `chat`: on the way to the phone."""

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
from imp_data.terminal import print_json

DESCRIBE = "Describe the image."
# A conversation of Imp-3B's about an image of 384 pixels takes some 240.
_KEPT_MIB = 1024


def export(
    model: ModelFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    bits: Annotated[str, typer.Option(help="16, 8 and 4, with commas.")] = "16,8,4",
    resolution: Annotated[
        str | None, typer.Option(help="Sides of images in pixels; the model's if left out.")
    ] = None,
    max_file: Annotated[
        float | None, typer.Option(help="GB that a file may have; larger ones become parts.")
    ] = None,
    mixture: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a mixture that it learned from: its questions are examples."),
    ] = None,
    short_answer_suffix: Annotated[
        str | None, typer.Option(help="What stood behind questions with short answers there.")
    ] = None,
) -> None:
    """Write a merged model as GGUF files for llama.cpp."""
    require_mobile_extra()
    from imp_data.mobile.chat.question_style import read_question_style
    from imp_data.mobile.gguf.export import export as write

    sizes = parse_integers("--resolution", resolution) if resolution else None
    limit = int(max_file * 1e9) if max_file else None
    asks = read_question_style(mixture or [], short_answer_suffix)
    bundle = write(model, out, parse_integers("--bits", bits), sizes, limit, asks)
    for one in bundle.files:
        print(f"{one.bytes / 1e6:>10,.1f} MB  {', '.join(file.name for file in one.files)}")
    print(f"{out / 'manifest.json'}: {sum(one.bytes for one in bundle.files) / 1e9:,.2f} GB in all")


def parity(
    model: ModelFolder,
    folder: ExportFolder,
    image: Images = None,
    question: Question = DESCRIBE,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether an export answers as its model does; exit status 1 if it does not."""
    require_mobile_extra()
    from imp_data.mobile.measure.parity import compare_export as compare
    from imp_data.mobile.measure.test_prompts import default_cases, given_cases
    from imp_data.storage.atomic_write import write_text

    cases = given_cases(image, question) if image else default_cases()
    report = compare(model, folder, cases, runtime_settings(threads, exact=True))
    text = report.model_dump_json(indent=2) + "\n"
    write_text(folder / "parity.json", text)
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))
    if not report.passed:
        print(
            "What to do: export again with this version; see the rows that differ.", file=sys.stderr
        )
        raise typer.Exit(1)


def latency(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Such as Q4_0,Q4_K_M; all if left out.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Of each; the median is told.", min=1)] = 3,
    threads: Threads = None,
    server: Annotated[
        Path | None,
        typer.Option(help="A llama-server built for this machine; the wheel's if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure an export on this machine by the paper's protocol."""
    require_mobile_extra()
    from imp_data.mobile.gguf.bundle import read_bundle
    from imp_data.mobile.measure.latency import latency as measure
    from imp_data.storage.atomic_write import write_text

    held = read_bundle(folder)
    wanted = [parse_precision(word) for word in precision.split(",")] if precision else None
    chosen = wanted or held.precisions
    report = measure(folder, chosen, threads or os.cpu_count() or 1, runs, server)
    text = report.model_dump_json(indent=2) + "\n"
    # A phone's folder is passed on as it is, so what is said of it stands beside it.
    beside = folder.absolute().with_name(f"{folder.absolute().name}-latency.json")
    write_text(beside if held.minimum_memory_bytes else folder / "latency.json", text)
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))


def quality(
    model: ModelFolder,
    folder: ExportFolder,
    image: Images = None,
    question: Question = DESCRIBE,
    questions: Annotated[
        Path | None, typer.Option(help="With answers, as `imp-data evaluate` takes them.")
    ] = None,
    images: Annotated[Path, typer.Option(help="Folder of the questions' images.")] = Path(),
    towers: Annotated[
        bool, typer.Option("--towers", help="Each text with every vision tower of more bits too.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Tell what each precision and resolution costs in quality; draw DIR/quality.svg."""
    require_mobile_extra()
    from imp_data.mobile.measure.qa_accuracy import QuestionSet
    from imp_data.mobile.measure.quality import measure_quality as compare
    from imp_data.mobile.measure.quality_chart import chart_svg
    from imp_data.mobile.measure.test_prompts import default_cases, given_cases
    from imp_data.storage.atomic_write import write_text

    cases = given_cases(image, question) if image else default_cases()
    exam = QuestionSet(questions, images) if questions else None
    report = compare(model, folder, cases, runtime_settings(threads), exam, towers)
    text = report.model_dump_json(indent=2) + "\n"
    write_text(folder / "quality.json", text)
    write_text(folder / "quality.svg", chart_svg(report))
    print_json(report.model_dump(mode="json")) if as_json else print("\n".join(report.lines()))


def bundle(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Of the language model; the smallest if left out.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of images in pixels; that of the training if left out.")
    ] = None,
    vision: Annotated[
        str | None,
        typer.Option(help="Of the vision tower; of the same bits if left out."),
    ] = None,
    max_file: Annotated[float | None, typer.Option(help="GB that a file may have.")] = None,
) -> None:
    """Write DIR/mobile, the folder for a phone."""
    require_mobile_extra()
    from imp_data.mobile.gguf.bundle import read_bundle
    from imp_data.mobile.phone_folder import write_phone_folder

    held = read_bundle(folder)
    chosen = parse_precision(precision) if precision else held.precisions[-1]
    limit = int(max_file * 1e9) if max_file else None
    tower = parse_precision(vision, "--vision") if vision else None
    phone = write_phone_folder(folder, chosen, resolution or held.default_resolution, limit, tower)
    told = ", ".join(file.name for one in phone.files for file in one.files)
    memory = (phone.minimum_memory_bytes or 0) / 1e9
    print(f"{folder / 'mobile'}: {told}; about {memory:.1f} GB of memory")


def chat(
    folder: ExportFolder,
    precision: Annotated[
        str | None, typer.Option(help="Of the language model; the smallest if left out.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of images in pixels; that of the training if left out.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.", min=0, max=65535)] = 8080,
    token: Annotated[
        str | None, typer.Option(envvar="IMP_CHAT_TOKEN", help="Made up where one is needed.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Serve a chat page, and the OpenAI protocol, over an export."""
    require_mobile_extra()
    from imp_data.mobile.chat.serve import serve
    from imp_data.mobile.gguf.bundle import read_bundle

    held = read_bundle(folder)
    chosen = parse_precision(precision) if precision else held.precisions[-1]
    size = resolution or held.default_resolution
    settings = replace(runtime_settings(threads), prompt_cache_mib=_KEPT_MIB)
    serve(folder, chosen, size, host, port, token, settings)


def mount(app: typer.Typer) -> None:
    """Add these commands; nothing heavy is imported until one of them runs."""
    for command in (export, parity, latency, quality, bundle, chat):
        app.command()(command)
