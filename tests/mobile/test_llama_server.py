"""A llama-server built for the machine replaces the wheel's llama.cpp."""

import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from listening import listening
from models import SIZE, save_model

from imp_data.errors import UserError
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.latency import measure_latency
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime.in_process import Runtime, RuntimeSettings, open_runtime
from imp_data.mobile.runtime.llama_server import llama_server_version, open_llama_server

BUILT = shutil.which("llama-server")
QUIET = RuntimeSettings(context=512, threads=1, exact=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    export(save_model(folder / "model"), folder / "out", [8], [SIZE])
    return folder / "out"


@pytest.fixture(
    scope="module",
    params=[
        "stand-in",
        pytest.param(
            "built", marks=pytest.mark.skipif(not BUILT, reason="llama-server on PATH needed")
        ),
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "built":
        return Path(str(BUILT))
    program = tmp_path_factory.mktemp("bin") / "llama-server"
    script = Path(__file__).parents[1] / "llama_server.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def answer(runtime: Runtime) -> list[int]:
    prompt = runtime.prompt("What is it?", with_image=True)
    return runtime.answer(prompt, default_cases()[0].image, 4).tokens


def test_a_llama_server_answers_as_the_wheel_does(exported: Path, server: Path) -> None:
    with open_runtime(exported, Precision.Q8_0, SIZE, QUIET) as runtime:
        expected = answer(runtime)
    with open_llama_server(server, exported, Precision.Q8_0, SIZE, QUIET) as runtime:
        assert answer(runtime) == expected
        process = Path(f"/proc/{runtime.pid}")
        assert process.exists()
    assert not process.exists(), "it ends with the block"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc of Linux needed")
def test_neither_runtime_listens_on_a_port(exported: Path, server: Path) -> None:
    before = listening(os.getpid()).ports
    with (
        open_runtime(exported, Precision.Q8_0, SIZE, QUIET) as wheel,
        open_llama_server(server, exported, Precision.Q8_0, SIZE, QUIET) as native,
    ):
        found = listening(os.getpid())
    assert found.ports == before
    assert {str(wheel.socket), str(native.socket)} <= found.sockets


@pytest.mark.slow
def test_the_latency_of_a_llama_server_is_measured(exported: Path, server: Path) -> None:
    report = measure_latency(exported, [Precision.Q8_0], threads=1, runs=1, server=server)
    assert report.runtime == llama_server_version(server)
    assert report.runtime.startswith("llama-server ") and "of unknown" not in report.runtime
    (row,) = report.rows
    assert (row.image_tokens, row.answer_tokens) == (16, 64)
    assert 0 < row.t_ve_s.median < row.t_total_s.median
    assert row.peak_bytes > row.size_bytes


@pytest.mark.parametrize(
    ("program", "problem"),
    [("none", "does not run"), ("false", "exited with status 1; see its log")],
)
def test_a_program_that_does_not_serve_is_an_error(
    exported: Path, program: str, problem: str
) -> None:
    found = Path(shutil.which(program) or program)
    with (
        pytest.raises(UserError, match=problem),
        open_llama_server(found, exported, Precision.Q8_0, SIZE, QUIET),
    ):
        pass
