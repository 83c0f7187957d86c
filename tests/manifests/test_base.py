"""Loading manifests: files that cannot be read, and manifests that contradict each other."""

import os
from pathlib import Path

import pytest
import yaml
from click import ClickException
from conftest import PUBLISHED, World

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection, Mixture, load, load_recipe
from imp_data.manifests.model import load_model
from imp_data.manifests.yaml_text import MAX_BYTES
from tests.manifests.test_yaml_document import MIXTURE, written


def test_a_folder_a_pipe_and_a_device_are_refused(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")  # nothing will ever come out of it
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    said = {
        "small": "is a folder",
        "pipe": "is a pipe or a device",
        "zero": "is a pipe or a device",
    }
    for name, problem in said.items():
        with pytest.raises(UserError) as error:
            load(tmp_path / f"{name}.yaml", Mixture)
        assert error.value.problem == f"{problem}, not a file"


def test_a_file_of_a_gigabyte_is_refused_after_its_first_mebibyte(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    os.truncate(path, 1 << 30)
    with pytest.raises(UserError, match=f"has more than {MAX_BYTES:,} bytes"):
        load(path, Mixture)


def test_circular_and_dangling_links_are_errors(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").symlink_to("small.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere.yaml")
    for name in ("small", "gone"):
        with pytest.raises(UserError, match="cannot be read"):
            load(tmp_path / f"{name}.yaml", Mixture)


def test_a_file_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such manifest"):
        load(tmp_path / f"{'s' * 300}.yaml", Mixture)


@pytest.mark.parametrize("other", ["a_b.yaml", "A-B.yaml", "a-b.yml", "A_b.yaml"])
def test_two_manifests_of_one_name_are_an_error(other: str, tmp_path: Path) -> None:
    text = MIXTURE.replace("small", "a_b", 1)
    path = written(tmp_path, text, "a-b.yaml")
    assert load(path, Mixture).name == "a_b"
    written(tmp_path, text, other)
    with pytest.raises(UserError) as error:
        load(path, Mixture)
    assert error.value.problem == f"{other} beside it has the same name, a_b"


def test_a_link_to_a_manifest_is_not_a_second_one(tmp_path: Path) -> None:
    path = written(tmp_path, MIXTURE)
    (tmp_path / "SMALL.yaml").symlink_to("small.yaml")
    assert load(path, Mixture).name == "small"


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["a.json", "a.json"], "a.json and a.json are the same path"),
        (["a.json", "A.json"], "A.json and a.json are the same path"),
        (["a/b.json", "a"], "a/b.json lies below a, which is a file"),
    ],
)
def test_two_files_with_one_path_are_an_error(paths: list[str], said: str, tmp_path: Path) -> None:
    files = [{"path": path, "url": f"https://e.org/{n}"} for n, path in enumerate(paths)]
    stated = {"name": "birds", **PUBLISHED, "folders": [{"path": "b"}], "files": files}
    with pytest.raises(UserError) as error:
        load(written(tmp_path, yaml.safe_dump(stated), "birds.yaml"), ImageCollection)
    assert f"files: {said}" in error.value.problem


def test_manifests_that_share_a_folder_must_agree_about_a_file(world: World) -> None:
    file = {"path": "birds.zip", "url": "https://e.org/1"}
    source = {**PUBLISHED, "layout": "llava", "records": ["*.json"], "images": ["birds"]}
    world.manifest("sources", "birds", **source, files=[file])
    folders = [{"path": "birds", "file": "birds.zip"}]
    world.manifest("images", "birds", **PUBLISHED, folders=folders, files=[file])
    parts = [{"source": "birds", "quota": 1, "group": "All"}]
    mixture = world.manifest("mixtures", "small", title="A", seed=1, parts=parts)
    assert load_recipe(mixture)
    other = {**file, "url": "https://e.org/2"}
    path = world.manifest("images", "birds", **PUBLISHED, folders=folders, files=[other])
    with pytest.raises(UserError) as error:
        load_recipe(mixture)
    assert error.value.where == str(path)
    assert error.value.problem.startswith(
        "line 2, column 3, files.0: another manifest of this name"
    )


def test_dagster_shows_only_the_error_of_a_model_manifest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets.definitions import named_graph

    world.source("chats", [])
    world.manifest("models", "tiny", title=2017)
    parts = [{"source": "chats", "quota": 1, "group": "All"}]
    path = world.manifest("mixtures", "small", title="A", seed=1, parts=parts, model="tiny")
    monkeypatch.setenv("IMP_MIXTURE", str(path))
    with pytest.raises(ClickException, match=r"tiny\.yaml: line 2, column 1, title: "):
        named_graph()
    with pytest.raises(UserError, match="title"):
        load_model(world.manifests / "models" / "tiny.yaml")
