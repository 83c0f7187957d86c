"""`imp-data audit --tokenizer`: tokens as the trainer counts them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, photo, record

from imp_data.errors import UserError
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import EncodedSample, encode
from imp_data.training.model.tokenizers import (
    byte_level_bpe,
    load_cached_tokenizer,
    prepare_tokenizer,
)

# As in test_cli.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from typer.testing import CliRunner

    from imp_data.cli import app

pytestmark = pytest.mark.usefixtures("one_worker")

RECORDS = [
    record("image", "0.png", "A thing."),
    record("text", None, "A thing that is long."),
    record("gone", "gone.png", "A thing."),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small tokenizer to a folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level_bpe(["USER: What is it? ASSISTANT: A thing."], 300).save_pretrained(folder)
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    (tmp_path / "0.png").write_bytes(encoded(photo(0)))
    (tmp_path / "train.json").write_text(json.dumps(RECORDS))
    return tmp_path / "train.json"


def tokens(*arguments: Any) -> dict[str, Any]:
    """Return the figures of tokens that the command prints as JSON."""
    done = CliRunner().invoke(app, ["audit", *map(str, arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout)["tokens"]
    return found


def trainer_count(folder: Path, row: dict[str, Any], image_tokens: int) -> int:
    """Return how many tokens the trainer makes of a record."""
    loaded = load_cached_tokenizer(str(folder), None, TEMPLATES["phi2"])
    images = int("image" in row)
    given = (row["conversations"], image_tokens if images else 0, 10_000, images)
    found = encode(loaded, TEMPLATES["phi2"], *given)
    assert isinstance(found, EncodedSample)
    return len(found.input_ids)


@pytest.mark.parametrize("image_tokens", [729, 576, 196])
def test_the_tokens_are_those_of_the_trainer_with_those_of_the_images(
    image_tokens: int, records: Path, tokenizer: Path
) -> None:
    found = tokens(records, "--tokenizer", tokenizer, "--image-tokens", image_tokens)
    image, text, gone = (trainer_count(tokenizer, row, image_tokens) for row in RECORDS)
    assert image == gone > text
    assert (found["median"], found["most"]) == (image, image)
    assert found["longest"] == {"source": "conversations", "upstream_id": "image"}
    assert (found["template"], found["image_tokens"]) == ("phi2", image_tokens)
    assert (found["max_tokens"], found["above_max_tokens"]) == (None, None)


def test_records_above_a_limit_are_counted(records: Path, tokenizer: Path) -> None:
    most = trainer_count(tokenizer, RECORDS[0], 729)
    given = (records, "--tokenizer", tokenizer, "--max-tokens")
    assert tokens(*given, most)["above_max_tokens"] == 0
    assert tokens(*given, most - 1)["above_max_tokens"] == 2


def test_a_record_that_the_trainer_refuses_is_counted_by_the_reason(
    records: Path, tokenizer: Path
) -> None:
    found = tokens(records, "--tokenizer", tokenizer, "--template", "plain")
    assert found["not_counted"] == {"the template plain takes one caption of one image": 1}


def test_a_manifest_of_a_model_states_template_and_limits(records: Path, tokenizer: Path) -> None:
    manifest = Path(__file__).parents[2] / "manifests" / "models" / "imp-2b.yaml"
    found = tokens(records, "--tokenizer", tokenizer, "--model", manifest)
    assert (found["template"], found["image_tokens"], found["max_tokens"]) == ("qwen", 729, 3072)
    with pytest.raises(UserError, match="its tokenizer is trained with the model"):
        tokens(records, "--model", manifest.with_name("imp-tiny.yaml"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--tokenizer", "nobody/nothing"], "tokenizer nobody/nothing: cannot be loaded"),
        (["--tokenizer", "{folder}", "--template", "poem"], "'poem' is no chat template"),
    ],
)
def test_a_tokenizer_or_template_that_is_not_there_is_an_error(
    options: list[str], problem: str, records: Path, tokenizer: Path
) -> None:
    with pytest.raises(UserError, match=problem):
        tokens(records, *(option.format(folder=tokenizer) for option in options))


def test_a_prepared_tokenizer_is_loaded_as_it_is(tokenizer: Path, tmp_path: Path) -> None:
    template = TEMPLATES["phi2"]
    made = prepare_tokenizer(byte_level_bpe(["USER: What is it?"], 300), template)
    made.save_pretrained(tmp_path)
    loaded = load_cached_tokenizer(str(tmp_path), None, template)
    text = "USER: What is it?</s>"
    assert loaded(text)["input_ids"] == made(text)["input_ids"]
