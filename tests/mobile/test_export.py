"""The export of a merged model to GGUF files is reproducible and refuses unsupported models."""

import json
import shutil
import sys
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

import torch
from gguf import GGUFReader
from models import SIZE, VOCABULARY, byte_level_tokenizer, random_model, save_model
from safetensors.torch import load_file, save_file

from imp_data.errors import UserError
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.export_manifest import read_export_manifest
from imp_data.mobile.gguf.merged_model import canonical_name, load_checkpoint
from imp_data.mobile.gguf.vocabulary import load_vocabulary
from imp_data.storage.digests import file_sha256

# As in test_cli: typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("phi") / "model")


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    export(model, out, resolutions=[SIZE, SIZE // 2])
    return out


def value(path: Path, key: str) -> Any:
    field = GGUFReader(path).get_field(key)
    return field.contents() if field else None


def tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in GGUFReader(path).tensors}


def test_the_export_has_a_file_for_each_precision_and_resolution(exported: Path) -> None:
    texts = [f"text-{precision}.gguf" for precision in ("F16", "Q8_0", "Q4_0", "Q4_K_M")]
    towers = [f"vision-{p}-{size}.gguf" for p in ("F16", "Q8_0", "Q4_0") for size in (56, 28)]
    assert sorted(p.name for p in exported.iterdir()) == sorted([*texts, *towers, "manifest.json"])
    listed = [file for one in read_export_manifest(exported).files for file in one.files]
    assert all(file_sha256(exported / file.name) == file.sha256 for file in listed)


def test_the_same_model_gives_the_same_bytes(model: Path, exported: Path, tmp_path: Path) -> None:
    export(model, tmp_path, resolutions=[SIZE // 2, SIZE])
    assert (tmp_path / "manifest.json").read_bytes() == (exported / "manifest.json").read_bytes()


def test_both_formats_of_saved_models_give_the_same_bytes(tmp_path: Path) -> None:
    for name, stock in (("ours", False), ("stock", True)):
        model = save_model(tmp_path / name, "qwen2", stock=stock)
        export(model, tmp_path / f"{name}-out", [8])
    manifests = [tmp_path / f"{name}-out" / "manifest.json" for name in ("ours", "stock")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        ("model.language_model.model.layers.0.mlp.fc1.bias", "text.layers.0.mlp.fc1.bias"),
        ("language_model.model.norm.weight", "text.norm.weight"),
        ("model.language_model.embed_tokens.weight", "text.embed_tokens.weight"),
        ("lm_head.bias", "lm_head.bias"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.vision_tower.encoder.layers.3.layer_norm1.bias", None),
        ("vision_tower.vision_model.encoder.layers.3.layer_norm1.bias", None),
        ("multi_modal_projector.linear_1.weight", "projector.linear_1.weight"),
    ],
)
def test_tensor_names_do_not_depend_on_the_saving_class(saved: str, name: str | None) -> None:
    assert canonical_name(saved) == (name or "vision.encoder.layers.3.layer_norm1.bias")


def test_the_metadata_has_the_number_of_layers_and_the_feature_layer(exported: Path) -> None:
    path = exported / "vision-F16-56.gguf"
    assert value(path, "clip.vision.block_count") == 3
    assert value(path, "clip.vision.feature_layer") == [3]
    assert not any(name.startswith("v.blk.3.") for name in tensors(path))


def test_the_feed_forward_width_is_padded_for_types_with_blocks_of_32(
    model: Path, exported: Path
) -> None:
    path = exported / "vision-Q8_0-56.gguf"
    assert value(path, "clip.vision.feed_forward_length") == 128
    assert value(exported / "vision-F16-56.gguf", "clip.vision.feed_forward_length") == 112
    found = tensors(path)
    assert found["v.blk.0.ffn_up.weight"].shape.tolist() == [64, 128]
    assert found["v.blk.0.ffn_down.weight"].shape.tolist() == [128, 64]
    bias = load_checkpoint(model).tensors["vision.encoder.layers.0.mlp.fc1.bias"].whole()
    padded = found["v.blk.0.ffn_up.bias"].data
    assert np.array_equal(padded[:112], bias)
    assert not padded[112:].any()


def test_both_files_contain_the_provenance(exported: Path) -> None:
    for name in ("text-Q4_0.gguf", "vision-Q4_0-28.gguf"):
        assert value(exported / name, "general.license") == "Apache-2.0"
        assert value(exported / name, "imp.mixture_digest") == "ab" * 32
        assert value(exported / name, "imp.preprocessing") == "square"
    assert "USER: " in value(exported / "text-Q4_0.gguf", "tokenizer.chat_template")


def test_the_vocabulary_equals_the_tokenizers_padded_to_the_embedding(model: Path) -> None:
    vocabulary = load_vocabulary(model, VOCABULARY + 5)
    tokenizer = byte_level_tokenizer()
    assert vocabulary.tokens[:VOCABULARY] == tokenizer.convert_ids_to_tokens(range(VOCABULARY))
    assert vocabulary.tokens[VOCABULARY:] == [f"[PAD{n}]" for n in range(384, 389)]
    assert vocabulary.special == {"eos": 1, "unknown": 0, "padding": 0}


def changed(model: Path, out: Path, **changes: Any) -> Path:
    """Copy the model with changes to its config.json."""
    copy = Path(shutil.copytree(model, out))
    config = json.loads((copy / "config.json").read_text())
    for key, text in changes.items():
        part, _, name = key.rpartition("__")
        (config[part] if part else config)[name] = text
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text_config__model_type": "gemma"}, "language model 'gemma' is unknown"),
        ({"vision_config__model_type": "clip_vision_model"}, "'clip_vision_model' is unknown"),
        ({"model_type": "idefics"}, "model_type 'idefics'"),
        ({"text_config__qk_layernorm": True}, "text_config.qk_layernorm is set"),
        (
            {"text_config__rope_parameters": {"rope_type": "linear", "factor": 2.0}},
            "'linear' is not supported",
        ),
        ({"text_config__num_attention_heads": 1}, "25 of a head's 64 dimensions are rotary"),
        ({"vision_feature_layer": [-2, -5]}, r"vision_feature_layer is \[-2, -5\]"),
    ],
)
def test_options_that_llama_cpp_computes_differently_are_refused(
    model: Path, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    folder = changed(model, tmp_path / "model", **changes)
    with pytest.raises(UserError, match=problem):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_missing_tensors_are_named_in_one_error(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    kept = load_file(copy / "model.safetensors")
    for name in [name for name in kept if "layers.1.mlp" in name and "language" in name]:
        del kept[name]
    save_file(kept, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks 4 of the.*layers\.1\.mlp\.fc1\.weight"):
        export(copy, tmp_path / "out")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    random_model("phi").save_pretrained(model, max_shard_size="200KB")
    (model / "model.safetensors").unlink(missing_ok=True)
    lost = sorted(model.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(UserError, match=f"lists {lost.name}, missing or incomplete here"):
        export(model, tmp_path / "out")


def test_a_truncated_file_is_refused(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(UserError, match="ends before tensor"):
        export(copy, tmp_path / "out")


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (["q_proj", "fc1"], "an adapter that is not merged"),
        (r"model\.vision_tower\..*(q_proj|fc1)", "a LoRA of the vision tower"),
    ],
)
def test_an_adapter_beside_the_weights_is_refused(
    model: Path, tmp_path: Path, targets: Any, problem: str
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    (copy / "adapter_config.json").write_text(json.dumps({"target_modules": targets}))
    with pytest.raises(UserError, match=problem):
        export(copy, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("model.language_model.model.layers.0.mlp.fc1.lora_A.weight", "not merged into the model"),
        ("model.vision_tower.encoder.layers.0.mlp.fc1.lora_B.weight", "LoRA of the vision tower"),
    ],
)
def test_lora_tensors_are_refused(model: Path, tmp_path: Path, name: str, problem: str) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    save_file({name: torch.ones(2, 2)}, copy / "adapter_model.safetensors")
    with pytest.raises(UserError, match=problem):
        export(copy, tmp_path / "out")


def test_an_adapter_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"is an adapter, not a merged model(.|\n)*imp-data merge"):
        export(tmp_path, tmp_path / "out")


def test_a_full_disk_is_an_error_before_anything_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(UserError, match=r"has 0\.0 GB free; the files need 0\.1 GB"):
        export(model, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_export_leaves_the_earlier_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = export(model, out, [4])
    for name in ("quality.json", "LICENSE", "notes/1.md"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("text")
    files = sorted(path.name for path in out.iterdir())

    def breaks(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("imp_data.mobile.gguf.gguf_file.encode_rows", breaks)
        with pytest.raises(KeyboardInterrupt):
            export(model, out, [8])
    assert sorted(path.name for path in out.iterdir()) == files
    assert read_export_manifest(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    after = export(model, out, [8])
    # Other files stay; reports about the earlier export are removed.
    assert {path.name for path in out.iterdir()} == {
        *(file.name for one in after.files for file in one.files),
        *("manifest.json", "LICENSE", "notes"),
    }


@pytest.mark.parametrize(
    ("lacks", "problem"),
    [
        ("tokenizer.json", "tokenizer.json: does not exist"),
        ("chat_template.jinja", "has no chat template"),
    ],
)
def test_a_model_without_tokenizer_or_chat_template_is_refused(
    model: Path, tmp_path: Path, lacks: str, problem: str
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    (copy / lacks).unlink()
    with pytest.raises(UserError, match=problem):
        export(copy, tmp_path / "out")


def test_an_unknown_pre_tokenizer_is_refused(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    stated = json.loads((copy / "tokenizer.json").read_text())
    stated["pre_tokenizer"] = {"type": "Whitespace"}
    (copy / "tokenizer.json").write_text(json.dumps(stated))
    with pytest.raises(UserError, match="pre_tokenizer is not known to work identically"):
        export(copy, tmp_path / "out")


def test_the_export_command_writes_files_and_refuses_wrong_options(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["imp-data", "export", str(model), "-o", str(tmp_path), "--bits", "8"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "text-Q8_0.gguf" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, "--resolution", "384x196"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "'384x196' is not a comma-separated list of integers" in capsys.readouterr().err


def test_without_the_extra_the_error_names_what_to_install(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setattr(sys, "argv", ["imp-data", "export", str(model), "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "pip install 'imp-data[mobile]'" in capsys.readouterr().err
