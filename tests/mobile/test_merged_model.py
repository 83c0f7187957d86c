"""Model folders written by other versions of transformers give the same files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("gguf", reason="pip install 'imp-data[mobile]'")

from models import SIZE, save_model
from transformers import Phi3Config, PhiConfig, Qwen2Config, SiglipVisionConfig

from imp_data.errors import UserError
from imp_data.mobile.gguf.chat_template import read_chat_template
from imp_data.mobile.gguf.export import export
from imp_data.mobile.measure.pytorch_reference import PytorchReference

CLASSES = {"phi": PhiConfig, "qwen2": Qwen2Config, "phi3": Phi3Config}
KINDS = list(CLASSES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: save_model(root / kind, kind) for kind in KINDS}


def files_of(folder: Path, out: Path) -> dict[str, str]:
    """Export the folder and return the digest of each file."""
    bundle = export(folder, out, [8], [SIZE])
    return {file.name: file.sha256 for one in bundle.files for file in one.files}


def edited(source: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    copy = Path(shutil.copytree(source, out))
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def without_defaults(config: dict[str, Any]) -> None:
    """Remove the defaults of its class from each nested configuration."""
    text = config["text_config"]
    classes = {"text_config": CLASSES[text["model_type"]], "vision_config": SiglipVisionConfig}
    for part, kind in classes.items():
        default = kind().to_dict()
        stated = config[part]
        config[part] = {
            name: value
            for name, value in stated.items()
            if name == "model_type" or name not in default or value != default[name]
        }
        assert len(config[part]) < len(stated)
    for name in ("vision_feature_layer", "vision_feature_select_strategy", "projector_hidden_act"):
        config.pop(name, None)


def as_transformers_4(config: dict[str, Any]) -> None:
    rope = config["text_config"].pop("rope_parameters")
    config["text_config"]["rope_theta"] = rope["rope_theta"]
    config["text_config"]["rope_scaling"] = None
    if "partial_rotary_factor" in rope:
        config["text_config"]["partial_rotary_factor"] = rope["partial_rotary_factor"]
    config.pop("dtype", None)
    config["torch_dtype"] = "float32"


@pytest.mark.parametrize("change", [without_defaults, as_transformers_4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_config_without_defaults_or_with_earlier_names_gives_the_same_files(
    folders: dict[str, Path], tmp_path: Path, kind: str, change: Callable[[dict[str, Any]], None]
) -> None:
    older = edited(folders[kind], tmp_path / "older", change)
    assert files_of(older, tmp_path / "a") == files_of(folders[kind], tmp_path / "b")


def test_a_missing_field_has_the_default_of_its_class(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    def at_its_default(config: dict[str, Any]) -> None:
        config["text_config"]["max_position_embeddings"] = 2048

    def leave_out(config: dict[str, Any]) -> None:
        del config["text_config"]["max_position_embeddings"]

    stated = edited(folders["phi"], tmp_path / "stated", at_its_default)
    lean = edited(folders["phi"], tmp_path / "lean", leave_out)
    assert files_of(lean, tmp_path / "a") == files_of(stated, tmp_path / "b")


def as_processor(folder: Path, template: str) -> None:
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))


def in_tokenizer_config(value: Callable[[str], Any]) -> Callable[[Path, str], None]:
    def write(folder: Path, template: str) -> None:
        path = folder / "tokenizer_config.json"
        settings = {**json.loads(path.read_text()), "chat_template": value(template)}
        path.write_text(json.dumps(settings))

    return write


PLACES: dict[str, Callable[[Path, str], None]] = {
    "chat_template.json": as_processor,
    "tokenizer_config.json": in_tokenizer_config(lambda template: template),
    "a list": in_tokenizer_config(
        lambda template: [
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": template},
        ]
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_chat_template_is_found_in_the_files_of_earlier_versions(
    folders: dict[str, Path], tmp_path: Path, place: str
) -> None:
    copy = Path(shutil.copytree(folders["phi"], tmp_path / "model"))
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    PLACES[place](copy, template)
    assert files_of(copy, tmp_path / "a") == files_of(folders["phi"], tmp_path / "b")
    asked = PytorchReference(copy).prompt("What is it?", with_image=True)
    assert asked == PytorchReference(folders["phi"]).prompt("What is it?", with_image=True)


def test_the_newest_kind_of_chat_template_file_takes_precedence(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folders["phi"], tmp_path / "model"))
    as_processor(copy, "old")
    assert read_chat_template(copy) == read_chat_template(folders["phi"])


def test_special_tokens_may_be_in_a_file_of_their_own(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folders["phi"], tmp_path / "model"))
    path = copy / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    special = {name: settings.pop(name) for name in list(settings) if name.endswith("_token")}
    assert special
    path.write_text(json.dumps(settings))
    told = {name: {"content": token, "lstrip": False} for name, token in special.items()}
    (copy / "special_tokens_map.json").write_text(json.dumps(told))
    assert files_of(copy, tmp_path / "a") == files_of(folders["phi"], tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ('{"model_type": "llava", "text_config": {"model_type": "nobody"}}', "nobody"),
        (
            '{"text_config": {"model_type": "phi", "hidden_size": "wide"}}',
            "hidden_size.* expected int, got str",
        ),
    ],
)
def test_an_invalid_config_is_an_error(
    folders: dict[str, Path], tmp_path: Path, content: str, problem: str
) -> None:
    copy = Path(shutil.copytree(folders["phi"], tmp_path / "model"))
    (copy / "config.json").write_text(content)
    with pytest.raises(UserError, match=problem) as raised:
        export(copy, tmp_path / "out")
    assert "config.json" in str(raised.value)
