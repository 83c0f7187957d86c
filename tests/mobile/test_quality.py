"""Quality of each precision and resolution, as a report and as a chart."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from models import SIZE, save_model

from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.quality import measure_quality
from imp_data.mobile.measure.quality_chart import chart_svg
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime.in_process import RuntimeSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")


@pytest.mark.slow
def test_quality_is_reported_by_precision_and_resolution_and_drawn(
    model: Path, tmp_path: Path
) -> None:
    export(model, tmp_path, [16, 4], [SIZE, SIZE // 2])
    report = measure_quality(
        model, tmp_path, default_cases(), RuntimeSettings(context=512, threads=1)
    )
    shifts = {(row.precision, row.resolution): row.mean_shift for row in report.rows}
    assert len(shifts) == 6
    for size in (SIZE, SIZE // 2):
        finest = shifts[Precision.F16, size]
        assert finest < 0.01 < shifts[Precision.Q4_K_M, size] < shifts[Precision.Q4_0, size]
    assert all(0 <= row.equal_answers <= row.cases == 4 for row in report.rows)
    svg = chart_svg(report)
    assert svg.startswith("<svg")
    assert all(word in svg for word in ("Q4_K_M", "56 px", "28 px", "answers kept"))


@pytest.mark.slow
def test_a_text_model_is_measured_with_every_tower_of_more_bits(
    model: Path, tmp_path: Path
) -> None:
    export(model, tmp_path, [16, 4], [SIZE])
    settings = RuntimeSettings(context=512, threads=1)
    report = measure_quality(model, tmp_path, default_cases(), settings, towers=True)
    rows = {row.label: row for row in report.rows}
    assert list(rows) == ["F16", "Q4_0 + F16", "Q4_0", "Q4_K_M + F16", "Q4_K_M"]
    assert rows["Q4_0 + F16"].size_bytes > rows["Q4_0"].size_bytes
    assert rows["F16"].mean_shift < min(rows[n].mean_shift for n in ("Q4_0 + F16", "Q4_0"))
    assert "Q4_K_M + F16" in chart_svg(report)
