"""JSON files that a user names are read, or are one error that names the file."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imp_data.errors import UserError
from imp_data.storage.json_files import read_json_object
from imp_data.storage.small_files import read_small

pytest.importorskip("transformers", reason="pip install 'imp-data[train,mobile]'")

from imp_data.mobile.gguf.merged_model import load_checkpoint
from imp_data.mobile.gguf.vocabulary import load_vocabulary
from imp_data.mobile.gguf.weights import read_stored_tensors
from imp_data.training.evaluation.questions import read_answers, read_questions
from imp_data.training.evaluation.scoring import _mme_answers, _read_annotations
from imp_data.training.model.model_folder import read_facts

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"a": 1',
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "long integer": b'{"a": ' + b"9" * 10_000 + b"}",
    "not UTF-8": b'{"a": "caf\xe9"}',
    "another value": b"5",
    "null": b"null",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "config.json": lambda path: load_checkpoint(path.parent),
    "tokenizer.json": lambda path: load_vocabulary(path.parent, 10),
    "imp.json": lambda path: read_facts(path.parent),
    "questions.jsonl": read_questions,
    "answers.jsonl": read_answers,
    "annotations.json": _read_annotations,
    "any.json": lambda path: read_json_object(path, "name another"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_no_json_object_is_an_error_that_names_it(
    name: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(UserError) as error:
        READERS[name](path)
    assert error.value.where.startswith(str(path))


@pytest.mark.parametrize("name", READERS)
def test_a_folder_and_a_pipe_are_errors(name: str, tmp_path: Path) -> None:
    for number, lay in enumerate((Path.mkdir, os.mkfifo)):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        lay(path)
        with pytest.raises(UserError, match="not a file"):
            READERS[name](path)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"model": 5}',
        b'{"model": {"type": "BPE"}}',
        b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
        b'{"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 1}, "merges": [5]}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 1}, "merges": []}, "added_tokens": [1]}',
    ],
)
def test_a_tokenizer_of_another_shape_is_an_error(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(text)
    with pytest.raises(UserError, match=r"tokenizer\.json: "):
        load_vocabulary(tmp_path, 10)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": 5}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}',
        b"[" * 100_000,
    ],
)
def test_a_false_header_of_weights_is_an_error(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UserError) as error:
        read_stored_tensors(tmp_path)
    assert error.value.where == str(path)


def test_answers_of_mme_in_another_form_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    for content in (b"no tab\n", b"a\tb\tc\n", b"caf\xe9\tyes\n"):
        (tmp_path / "art/1.txt").write_bytes(content)
        with pytest.raises(UserError) as error:
            _mme_answers(tmp_path, "art", "1")
        assert error.value.where == str(tmp_path / "art/1.txt")


def test_a_file_above_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(b"[]  ")
    assert read_small(path, 4, "name another") == b"[]  "
    with pytest.raises(UserError, match="has more than 3 bytes"):
        read_small(path, 3, "name another")
