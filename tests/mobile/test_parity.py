"""An export answers as its model in PyTorch; planted errors are detected."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from models import SIZE, byte_level_tokenizer, piece_tokenizer, save_model
from PIL import Image

from imp_data.mobile.gguf import gguf_file, text_model, vision_model
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.merged_model import Checkpoint
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.parity import ParityReport, compare_export
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime import in_process
from imp_data.mobile.runtime.in_process import RuntimeSettings, open_runtime

# As in test_cli: typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main

KINDS = ["phi", "qwen2", "phi3"]
# One thread, since several would wait for each other while other tests run.
QUIET = RuntimeSettings(context=512, threads=1, exact=True)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("phi") / "model")


def compared(
    model: Path, out: Path, bits: tuple[int, ...] = (16,), size: int = SIZE
) -> ParityReport:
    export(model, out, bits, [size])
    return compare_export(model, out, default_cases(), QUIET)


@pytest.mark.slow
def test_every_precision_and_resolution_answers_as_pytorch(model: Path, tmp_path: Path) -> None:
    export(model, tmp_path, resolutions=[SIZE, SIZE // 2])
    report = compare_export(model, tmp_path, default_cases(), QUIET)
    assert report.passed, "\n".join(report.lines())
    assert len(report.rows) == 4 * 2 * 4
    assert all(row.same_prompt for row in report.rows)
    finest = [row for row in report.rows if row.precision is Precision.F16]
    # llama.cpp chooses another token only if PyTorch considers both equally likely.
    assert all(row.agreed == row.tokens or row.regret < 0.004 for row in finest)


def test_a_model_saved_by_the_stock_class_answers_as_pytorch(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", "qwen2", stock=True)
    assert compared(model, tmp_path / "out").passed


def test_a_tokenizer_like_phi_3_s_gives_the_same_tokens(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", "phi3", tokenizer=piece_tokenizer())
    out = tmp_path / "out"
    report = compared(model, out)
    assert report.passed, "\n".join(report.lines())
    tokenizer = piece_tokenizer()
    texts = ["What is it?", " two  blanks", "Zürich, 東京\nnext", "<|user|>\n hi<|end|>\n", "tree"]
    with open_runtime(out, Precision.F16, SIZE, QUIET) as opened:
        for text in texts:
            assert opened.tokenize((text,)) == [tokenizer(text)["input_ids"]], text


def test_images_are_padded_if_training_padded_them(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", preprocessing="pad")
    assert compared(model, tmp_path / "out").passed


def test_the_answer_depends_on_the_image(phi: Path, tmp_path: Path) -> None:
    export(phi, tmp_path, [16], [SIZE])
    with open_runtime(tmp_path, Precision.F16, SIZE, QUIET) as opened:
        wide, tall, *_ = default_cases()
        prompt = opened.prompt("What is it?", with_image=True)
        steps = [opened.answer(prompt, case.image, 1, top=384).steps[0] for case in (wide, tall)]
    shift = [abs(steps[0].logprobs[t] - said) for t, said in steps[1].logprobs.items()]
    assert np.mean(shift) > 0.05


def letterboxed(image: Image.Image, size: int, _how: str) -> Image.Image:
    """Keep the aspect ratio, as llama.cpp itself does."""
    small = image.convert("RGB")
    small.thumbnail((size, size), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (size, size), (122, 116, 104))
    canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return canvas


def as_they_are(image: Image.Image, _size: int, _how: str) -> Image.Image:
    return image.convert("RGB")


@pytest.mark.parametrize("spoilt", [letterboxed, as_they_are])
@pytest.mark.parametrize("bits", [16, 4])
def test_a_kept_aspect_ratio_is_detected(
    phi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: Any, bits: int
) -> None:
    monkeypatch.setattr(in_process, "square_image", spoilt)
    report = compared(phi, tmp_path, (bits,))
    failed = {row.case for row in report.rows if row.problems}
    assert {"wide", "tall"} <= failed
    assert "text" not in failed


def without_metadata(key: str) -> Callable[..., Any]:
    true = vision_model.vision_metadata

    def spoilt(*args: Any) -> Any:
        return {name: value for name, value in true(*args).items() if name != key}

    return spoilt


def test_a_missing_feature_layer_key_is_detected(
    phi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = without_metadata("clip.vision.feature_layer")
    monkeypatch.setattr("imp_data.mobile.gguf.export.vision_metadata", spoilt)
    report = compared(phi, tmp_path)
    assert {row.case for row in report.rows if row.problems} == {"wide", "tall", "square"}


@pytest.mark.parametrize("bits", [16, 4])
def test_a_dropped_layer_of_the_vision_tower_is_detected(
    phi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    fewer = property(lambda model: int(model.config["vision_config"]["num_hidden_layers"]) - 2)
    monkeypatch.setattr(Checkpoint, "feature_layers", fewer)
    report = compared(phi, tmp_path, (bits,))
    assert {row.case for row in report.rows if row.problems} >= {"wide", "tall", "square"}


def test_a_dropped_layer_of_the_language_model_is_detected(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorter(folder: Path) -> Checkpoint:
        found = load(folder)
        found.config["text_config"]["num_hidden_layers"] -= 1
        return found

    from imp_data.mobile.gguf.merged_model import load_checkpoint as load

    monkeypatch.setattr("imp_data.mobile.gguf.export.load_checkpoint", shorter)
    assert all(row.problems for row in compared(model, tmp_path).rows)


@pytest.mark.parametrize("bits", [16, 4])
def test_a_lost_output_bias_is_detected(
    phi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    monkeypatch.setattr(text_model, "_output_bias", forgetful(text_model._output_bias))
    report = compared(phi, tmp_path, (bits,))
    assert all(row.problems for row in report.rows)


def forgetful(true: Callable[[Checkpoint], Any]) -> Callable[[Checkpoint], Any]:
    """Return the exporter's function as if it did not know lm_head.bias."""

    def spoilt(model: Checkpoint) -> Any:
        kept = {name: t for name, t in model.tensors.items() if name != "lm_head.bias"}
        return true(Checkpoint(model.folder, model.config, model.provenance, kept))

    return spoilt


@pytest.mark.parametrize("name", ["mm.0.bias", "v.blk.1.ffn_down.bias", "blk.0.attn_output.bias"])
def test_any_lost_bias_is_detected(
    phi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    part = gguf_file._write_part

    def losing(path: Path, architecture: str, metadata: Any, tensors: Any, told: Any) -> None:
        def zeros(blocks: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
            return lambda: (np.zeros_like(block) for block in blocks())

        spoilt = [t._replace(blocks=zeros(t.blocks)) if t.name == name else t for t in tensors]
        part(path, architecture, metadata, spoilt, told)

    monkeypatch.setattr(gguf_file, "_write_part", losing)
    assert not compared(phi, tmp_path).passed


def test_another_chat_template_is_detected(tmp_path: Path, phi: Path) -> None:
    other = save_model(
        tmp_path / "other", tokenizer=byte_level_tokenizer("{{ messages[0]['content'] }}")
    )
    export(other, tmp_path / "out", [16], [SIZE])
    report = compare_export(phi, tmp_path / "out", default_cases(), QUIET)
    assert all("the prompt's tokens differ" in row.problems for row in report.rows)


def test_the_parity_command_writes_its_report_and_sets_the_exit_status(
    phi: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export(phi, tmp_path, [16], [SIZE])
    command = ["imp-data", "parity", str(phi), str(tmp_path), "--threads", "1"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.count("equal within tolerance") == 4
    assert len(json.loads((tmp_path / "parity.json").read_text())["rows"]) == 4
    monkeypatch.setattr(in_process, "square_image", letterboxed)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "mean shift above 0.004" in capsys.readouterr().out
