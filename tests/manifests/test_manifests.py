"""The manifests of this repository, and documents that models and JSON Schemas accept or reject."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from imp_data.errors import UserError
from imp_data.manifests import MANIFEST_KINDS as DATA_KINDS
from imp_data.manifests import (
    ImageCollection,
    Limits,
    Mixture,
    NearDuplicates,
    Source,
    field_position,
    load_manifest,
    load_recipe,
    model_digest,
)
from imp_data.manifests.json_schemas import (
    schema_path,
)
from imp_data.manifests.model import Model

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
SCHEMAS = ROOT / "schemas"
FILES = sorted(MANIFESTS.glob("*/*.yaml"))
KINDS = {**DATA_KINDS, "models": Model}
PUBLISHED = [path for path in FILES if path.parent.name not in ("mixtures", "models")]
MIXTURES = sorted((MANIFESTS / "mixtures").glob("*.yaml"))


def called(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def schema_of(kind: str) -> Draft202012Validator:
    name = kind if kind == "images" else kind.removesuffix("s")
    schema = json.loads(schema_path(SCHEMAS, name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


# --- the manifests of this repository -----------------------------------------------------------


# Table 2 of arXiv:2405.12107, in thousands.
TABLE_2 = {
    "llava_665k": 643,
    "dvqa": 10,
    "chartqa": 4,
    "docvqa": 10,
    "ai2d": 4,
    "infographicvqa": 4,
    "sharegpt4v": 20,
    "laion_gpt4v": 10,
    "allava_instruct": 300,
}


def test_the_manifests_are_those_of_the_recipe() -> None:
    assert {path.stem for path in FILES if path.parent.name == "sources"} >= set(TABLE_2)
    assert {path.stem for path in MIXTURES} >= {"imp-1m", "demo"}


@pytest.mark.parametrize("path", FILES, ids=called)
def test_each_manifest_loads_and_its_schema_accepts_it(path: Path) -> None:
    assert load_manifest(path, KINDS[path.parent.name])
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in schema_of(path.parent.name).iter_errors(content)] == []


@pytest.mark.parametrize("path", FILES, ids=called)
def test_an_editor_finds_the_schema_by_the_first_line(path: Path) -> None:
    line = path.read_text(encoding="utf-8").splitlines()[0]
    said = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", line)
    assert said
    kind = path.parent.name
    name = kind if kind == "images" else kind.removesuffix("s")
    assert (path.parent / said.group(1)).resolve() == schema_path(SCHEMAS, name)


@pytest.mark.parametrize("path", PUBLISHED, ids=called)
def test_files_of_the_hub_are_pinned_to_a_commit(path: Path) -> None:
    for file in load_manifest(path, KINDS[path.parent.name]).files:
        if file.url and "huggingface.co/" in file.url:
            assert re.search(r"/resolve/[0-9a-f]{40}/\S+$", file.url), file.url


@pytest.mark.parametrize("path", MIXTURES, ids=called)
def test_a_recipe_contains_every_manifest_of_its_mixture(path: Path) -> None:
    recipe = load_recipe(path)
    assert set(recipe.sources) == {part.source for part in recipe.mixture.parts}
    named = {name for source in recipe.sources.values() for name in source.images}
    assert named <= set(recipe.images)
    assert set(recipe.benchmarks) == {d.benchmark for d in recipe.mixture.decontaminate}


def test_the_quotas_are_those_of_table_2_and_a_thousandth_in_the_demo() -> None:
    demo = load_manifest(MANIFESTS / "mixtures/demo.yaml", Mixture)
    whole = load_manifest(MANIFESTS / "mixtures/imp-1m.yaml", Mixture)
    (*rehearsed, own) = demo.parts
    assert {part.source: part.quota for part in rehearsed} == TABLE_2
    assert (own.source, own.quota, own.paper) == ("pages", "all", None)
    assert {part.source: part.paper / 1000 for part in whole.parts} == TABLE_2
    assert sum(part.quota for part in rehearsed) == 1005


def test_the_longest_image_folder_comes_first() -> None:
    recipe = load_recipe(MANIFESTS / "mixtures/demo.yaml")
    paths = [folder.path for _, folder in recipe.folders(tuple(sorted(recipe.images)))]
    assert paths == sorted(paths, key=lambda path: (-len(path), path))


# --- documents that must pass, and documents that must fail -------------------------------------

SOURCE: dict[str, Any] = {
    "name": "mine",
    "title": "My questions",
    "homepage": "https://example.org",
    "license": "MIT",
    "layout": "llava",
    "records": ["mine.json"],
    "files": [{"path": "mine.json", "by_hand": "copy it there"}],
}
MIXTURE: dict[str, Any] = {
    "name": "small",
    "title": "A small mixture",
    "seed": 1,
    "parts": [{"source": "mine", "quota": 5, "paper": 0, "group": "Ours"}],
    "near_duplicates": {},
}
EXCLUSION = dict.fromkeys(("image_prefix", "prompt", "subset", "because"), "text") | {
    "name": "some",
    "source": "other",
}
IMAGES: dict[str, Any] = {
    "name": "mine",
    "title": "My images",
    "homepage": "https://example.org",
    "license": "MIT",
    "folders": [{"path": "birds", "inside": "photos"}],
}
DOCUMENTS = {"sources": SOURCE, "mixtures": MIXTURE, "images": IMAGES}


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return the document with another value at `place`, a dotted path; without it if it is ..."""
    document = copy.deepcopy(document)
    *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    inner: Any = document
    for step in steps:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


def written(folder: Path, kind: str, document: Any) -> Path:
    name = document.get("name", "mine") if isinstance(document, dict) else "mine"
    path = folder / kind / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("sources", "title", "Mine"),
        ("sources", "subsets", "mix665k"),
        ("sources", "files.0", {"path": "a/b..c.zip", "url": "https://e.org"}),
        ("sources", "files.0.unpack", ["deep/*.json"]),
        ("sources", "files.0.sha256", "0" * 64),
        ("sources", "expect", {"rows": 7, "subsets": {"gqa": 0}}),
        ("sources", "records", ["*.json", "deep/*.json"]),
        ("sources", "files.0.path", "./mine.json"),
        ("sources", "files.0.path", "~ann/mine.json"),
        ("sources", "image_prefix", "./birds/"),
        ("images", "folders.0.path", "birds/"),
        ("images", "folders.0.inside", ""),
        ("images", "folders.0.inside", "./photos//"),
        ("mixtures", "seed", 2**63 - 1),
        ("mixtures", "images", "deferred"),
        ("mixtures", "limits", {"max_turns": 2}),
        ("mixtures", "engine", "ray"),
        ("mixtures", "near_duplicates", {"policy": "ignore"}),
        ("mixtures", "near_duplicates", {"max_distance_bits": 15, "listed": 0}),
        ("mixtures", "decontaminate", [{"benchmark": "textvqa", "max_distance_bits": 31}]),
    ],
)
def test_a_document_that_must_pass(kind: str, place: str, value: Any, tmp_path: Path) -> None:
    document = changed(DOCUMENTS[kind], place, value)
    assert load_manifest(written(tmp_path, kind, document), KINDS[kind])
    assert schema_of(kind).is_valid(document)


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("sources", "licence", "MIT"),  # a misspelt field
        ("sources", "files.0.sha265", "0" * 64),
        ("mixtures", "parts.0.qouta", 5),
        ("mixtures", "limits", {"max_turn": 2}),
        ("sources", "layout", ...),  # a field left out
        ("sources", "records", ...),
        ("mixtures", "parts.0.quota", ...),
        ("sources", "layout", "llava2"),  # a word that is none of those there are
        ("sources", "subsets", "mix"),
        ("mixtures", "images", "later"),
        ("sources", "name", "My-Source"),
        ("sources", "records", "mine.json"),  # a wrong type
        ("sources", "records", []),
        ("sources", "title", 5),
        ("sources", "files.0.bytes", "many"),
        ("sources", "files.0.bytes", -1),
        ("sources", "files.0.sha256", "0" * 63),
        ("mixtures", "parts.0.quota", 0),
        ("mixtures", "parts.0.quota", 1.5),
        ("mixtures", "parts.0.quota", "5"),
        ("mixtures", "parts.0.quota", True),
        ("mixtures", "drawn", "yes"),
        ("mixtures", "parts", {}),
        ("mixtures", "seed", -1),
        ("mixtures", "seed", 2**63),
        ("mixtures", "engine", "spark"),
        ("mixtures", "near_duplicates.policy", False),  # what YAML makes of `off`
        ("mixtures", "near_duplicates.policy", "remove"),
        ("mixtures", "near_duplicates.max_distance_bits", 16),
        ("mixtures", "near_duplicates.max_answer_words", 0),
        ("mixtures", "near_duplicates.max_bits", 4),
        ("mixtures", "decontaminate", [{"benchmark": "textvqa", "max_distance_bits": 32}]),
        ("sources", "files.0.path", "/etc/passwd"),  # a path that leads elsewhere
        ("sources", "files.0.path", "../secret.json"),
        ("sources", "files.0.path", "a/../../secret.json"),
        ("sources", "files.0.path", ""),
        ("sources", "held_out", "../ids.csv"),
        ("sources", "records.0", "/etc/*.json"),
        ("sources", "records.0", "../*.json"),
        ("sources", "files.0.path", "~/mine.json"),
        ("sources", "files.0.path", "./"),
        ("sources", "image_prefix", "/birds/"),
        ("sources", "image_prefix", "~/birds/"),
        ("images", "folders.0.path", "/birds"),
        ("images", "folders.0.path", "."),
        ("images", "folders.0.path", "~"),
        ("images", "folders.0.inside", "/home/ann/photos"),
        ("images", "folders.0.inside", "~/photos"),
        ("images", "folders.0.inside", "photos/../.."),
    ],
)
def test_a_document_that_must_fail_names_file_and_field(
    kind: str, place: str, value: Any, tmp_path: Path
) -> None:
    document = changed(DOCUMENTS[kind], place, value)
    path = written(tmp_path, kind, document)
    with pytest.raises(UserError) as error:
        load_manifest(path, KINDS[kind])
    assert error.value.where == str(path)
    assert place in error.value.problem
    assert not schema_of(kind).is_valid(document)


@pytest.mark.parametrize(
    ("kind", "place", "value", "said"),
    [
        (
            "sources",
            "files.0.by_hand",
            ...,
            "mine.json: give `url`, or describe the download in `by_hand`",
        ),
        ("sources", "layout", "laion_gpt4v", "prompts: a layout of bare captions requires"),
        ("mixtures", "parts", MIXTURE["parts"] * 2, "parts: mine occurs twice"),
        ("mixtures", "exclusions", [EXCLUSION], "exclusions: other is not among the parts"),
    ],
)
def test_contradictory_fields_are_an_error(
    kind: str, place: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, kind, changed(DOCUMENTS[kind], place, value))
    with pytest.raises(UserError) as error:
        load_manifest(path, KINDS[kind])
    assert error.value.where == str(path)
    assert said in error.value.problem


@pytest.mark.parametrize("content", [b"", b"[]", b"just text", b"a: [", b"\ta: 1", b"name: \xff"])
def test_a_file_without_a_manifest_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_manifest(path, Source)
    assert error.value.where == str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: a: is already defined in line 1, column 1"),
        (
            "a: 1\nb: {c: 1, d: 2, c: 3}\n",
            "line 2, column 17: c: is already defined in line 2, column 5",
        ),
        ("a:\n  - b: 1\n    b: 2\n", "line 3, column 5: b: is already defined in line 2, column 5"),
        # One key, once it is text.
        ('1: a\n"1": b\n', "line 2, column 1: 1: is already defined in line 1, column 1"),
    ],
)
def test_a_repeated_key_is_an_error_with_both_positions(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_manifest(path, Source)
    assert (error.value.where, error.value.problem) == (str(path), said)


def test_anchors_and_merge_keys_are_supported(tmp_path: Path) -> None:
    text = yaml.safe_dump({k: v for k, v in MIXTURE.items() if k != "parts"}) + (
        "parts:\n"
        "  - &one {source: a, quota: 5, paper: 0, group: Ours}\n"
        "  - {<<: *one, source: b}\n"
        "  - &other {source: c, quota: 6, group: Ours}\n"
        "  - {<<: *one, <<: *other, source: d}\n"
    )
    path = tmp_path / "small.yaml"
    path.write_text(text, encoding="utf-8")
    parts = load_manifest(path, Mixture).parts
    assert [(p.source, p.paper) for p in parts] == [("a", 0), ("b", 0), ("c", None), ("d", 0)]


@pytest.mark.parametrize(
    "text", ["a: &x [*x]", "2024-13-45: b", "a: 2024-13-45", "? [a, b]\n: c", "[" * 5000]
)
def test_yaml_beyond_json_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_manifest(path, Source)
    assert error.value.where == str(path)


def test_spellings_of_one_path_give_equal_manifests(tmp_path: Path) -> None:
    plain = load_manifest(written(tmp_path, "images", IMAGES), ImageCollection)
    folders = [{"path": "./birds/", "inside": ".//photos/"}]
    odd = load_manifest(
        written(tmp_path, "images", {**IMAGES, "folders": folders}), ImageCollection
    )
    assert odd == plain
    assert model_digest(odd) == model_digest(plain)
    prefixed = load_manifest(
        written(tmp_path, "sources", {**SOURCE, "image_prefix": "./a//b/"}), Source
    )
    assert prefixed.image_prefix == "a/b/"


def test_the_position_of_a_missing_field_is_that_of_the_enclosing_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\nfolders:\n  - path: x\n  - path: y\n    inside: z\n")
    assert field_position(path, "folders", 1, "inside") == (5, 5)
    assert field_position(path, "folders", 0, "inside") == (3, 5)
    assert field_position(path, "folders", 7, "inside") == (2, 1)
    assert field_position(path, "images") == (1, 1)


def test_a_manifest_must_be_named_like_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, "sources", SOURCE).rename(tmp_path / "sources/other.yaml")
    with pytest.raises(
        UserError, match=r"other\.yaml: line \d, column 1, name: is mine, unlike.*\n.*mine\.yaml"
    ):
        load_manifest(path, Source)


def test_an_unknown_source_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    written(tmp_path, "sources", SOURCE)
    written(tmp_path, "sources", SOURCE | {"name": "yours"})
    path = written(tmp_path, "mixtures", changed(MIXTURE, "parts.0.source", "hers"))
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert error.value.where == str(tmp_path / "sources/hers.yaml")
    assert error.value.problem == "there is no such manifest"
    assert error.value.remedy == "write it, or name one of mine, yours"


def test_a_users_source_requires_only_its_manifest(tmp_path: Path) -> None:
    written(tmp_path, "sources", SOURCE)
    recipe = load_recipe(written(tmp_path, "mixtures", MIXTURE))
    assert recipe.part("mine").quota == 5
    assert recipe.expect("mine").rows is None
    assert recipe.mixture.limits == Limits()


def test_a_manifest_is_immutable(tmp_path: Path) -> None:
    source = load_manifest(written(tmp_path, "sources", SOURCE), Source)
    with pytest.raises(ValueError, match="frozen"):
        source.title = "Other"


def test_the_digest_of_a_manifest_depends_on_its_values_only(tmp_path: Path) -> None:
    path = written(tmp_path, "sources", SOURCE)
    digest = model_digest(load_manifest(path, Source))
    backwards = yaml.safe_dump(dict(reversed(SOURCE.items())), sort_keys=False)
    path.write_text("# a comment\n" + backwards, encoding="utf-8")
    assert model_digest(load_manifest(path, Source)) == digest
    path.write_text(backwards.replace("MIT", "CC0-1.0"), encoding="utf-8")
    assert model_digest(load_manifest(path, Source)) != digest


def test_settings_that_do_not_change_a_mixture_are_not_in_its_digest(tmp_path: Path) -> None:
    plain = load_manifest(written(tmp_path, "mixtures", MIXTURE), Mixture)
    for place, value in {"engine": "ray", "near_duplicates": {"max_distance_bits": 9}}.items():
        other = load_manifest(
            written(tmp_path, "mixtures", changed(MIXTURE, place, value)), Mixture
        )
        assert other != plain
        assert model_digest(other) == model_digest(plain)
    narrow, wide = (NearDuplicates(max_distance_bits=bits) for bits in (4, 9))
    assert model_digest(narrow) != model_digest(wide)
