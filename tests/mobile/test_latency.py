"""The latency of an export, by the time stamps of llama.cpp's log."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from models import SIZE, save_model

from imp_data.errors import UserError
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.latency import _encoding_seconds, measure_latency
from imp_data.mobile.measure.latency_report import PAPER_ROWS, LatencyReport, LatencyRow, Spread
from imp_data.mobile.measure.latency_worker import LatencyTask
from imp_data.mobile.runtime.in_process import RuntimeSettings, open_runtime


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    export(model, out, [4], [SIZE, SIZE // 2])
    return out


@pytest.mark.slow
def test_the_protocol_is_that_of_the_paper(exported: Path) -> None:
    report = measure_latency(exported, [Precision.Q4_0], threads=1, runs=2)
    large, small = report.rows
    assert (large.resolution, small.resolution) == (SIZE, SIZE // 2)
    assert (large.image_tokens, small.image_tokens) == (16, 4)
    assert (large.answer_tokens, small.answer_tokens) == (64, 64)
    # The prompt's words give 41 tokens or a few more.
    assert 41 <= large.prompt_tokens == small.prompt_tokens < 48
    for row in report.rows:
        assert 0 < row.t_ve_s.least <= row.t_ve_s.median <= row.t_ve_s.most < row.t_total_s.most
        assert row.flash_attention == (row.probed_s["on"] < row.probed_s["off"])
        assert row.vision_precision is Precision.Q4_0
        sizes = [
            (exported / name).stat().st_size
            for name in ("text-Q4_0.gguf", f"vision-Q4_0-{row.resolution}.gguf")
        ]
        assert row.size_bytes == sum(sizes)
        assert row.peak_bytes > row.size_bytes


def test_the_paper_s_totals_follow_from_their_parts() -> None:
    for paper, tokens in zip(PAPER_ROWS, (729, 196), strict=True):
        total = paper.t_ve_s + (tokens + 41) / paper.s_prompt + 64 / paper.s_gen
        assert abs(total / paper.t_total_s - 1) < 0.02


def test_the_report_states_the_difference_of_prediction_and_measurement() -> None:
    one = Spread(median=2.0, least=1.5, most=4.0)
    row = LatencyRow(
        precision=Precision.Q4_0,
        vision_precision=Precision.Q4_0,
        resolution=196,
        flash_attention=False,
        probed_s={"on": 2, "off": 1},
        image_tokens=196,
        prompt_tokens=41,
        answer_tokens=64,
        t_ve_s=one,
        s_prompt=one,
        s_gen=one,
        t_total_s=Spread(median=10, least=9, most=11),
        predicted_s=10.5,
        size_bytes=1,
        peak_bytes=1,
    )
    report = LatencyReport(model="m", runtime="r", threads=2, runs=3, load_before=0.1, rows=[row])
    text = "\n".join(report.lines())
    assert "10.50 (+5.0%)" in text
    assert "2.00 (1.50–4.00)" in text
    assert "70.12" in text


LOG = """\
0.01.000.500 I slot encode_mtmd_: id  0 | task 0 | encoding mtmd batch from idx = 3, n_chunks = 1
0.01.002.000 D mtmd_batch_encode_impl: encoding batch with 1 entries and total 16 tokens
{minutes}.03.250.500 I decoding image batch 1/1, n_tokens_batch = 16
0.03.300.000 I image decoded (batch 1/1) in 1 ms
"""


@pytest.mark.parametrize(("minutes", "seconds"), [("0", 2.25), ("12", 722.25)])
def test_the_encoding_time_is_read_from_llama_cpp_s_log(minutes: str, seconds: float) -> None:
    task = LatencyTask(
        folder=Path("x"),
        precision=Precision.Q4_0,
        resolution=56,
        flash_attention=False,
        threads=1,
        runs=0,
    )
    found = _encoding_seconds(task, LOG.replace("{minutes}", minutes))
    assert found == [pytest.approx(seconds)]
    with pytest.raises(UserError, match="has 1 encoded images instead of 2"):
        _encoding_seconds(task.model_copy(update={"runs": 1}), LOG.replace("{minutes}", minutes))


def test_an_export_that_cannot_be_loaded_is_an_error(exported: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    whole = (copy / "text-Q4_0.gguf").read_bytes()
    (copy / "text-Q4_0.gguf").write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(UserError, match="cannot load it"),
        open_runtime(copy, Precision.Q4_0, SIZE, RuntimeSettings(context=512, threads=1)),
    ):
        pass
    with pytest.raises(UserError, match=r"text-Q4_0\.gguf: llama\.cpp cannot load it"):
        measure_latency(copy, [Precision.Q4_0], threads=1, runs=1)


def test_a_server_that_exits_at_once_is_an_error_with_its_log(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = tmp_path / "llama-server"
    server.write_text("#!/bin/sh\necho 'error: unknown option' >&2\nexit 1\n")
    server.chmod(0o755)
    with pytest.raises(UserError, match="llama-server: exited with status 1; see its log"):
        measure_latency(exported, [Precision.Q4_0], threads=1, runs=1, server=server)
    assert "error: unknown option" in capfd.readouterr().err
