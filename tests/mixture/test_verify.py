"""Verify accepts a complete, unaltered mixture, and names the file that is not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import shard_schema, write_index, write_shard
from imp_data.mixture.card import render_card
from imp_data.mixture.mixture_json import manifest_digest
from imp_data.mixture.verify import foreign_files, verify
from imp_data.storage.atomic_write import json_text
from imp_data.storage.digests import file_sha256

SHARD = "data-00000-of-00003.arrow"
FILES = [
    *("README.md", SHARD, "data-00001-of-00003.arrow", "data-00002-of-00003.arrow"),
    *("dataset_info.json", "ledger.parquet", "mixture.json", "state.json"),
]


@pytest.fixture
def copy(album: Path, tmp_path: Path) -> Path:
    """Return a copy of the album, to damage."""
    return shutil.copytree(album, tmp_path / "m")


def test_a_finished_mixture_is_sound(album: Path) -> None:
    assert sorted(path.name for path in album.iterdir()) == FILES
    assert verify(album) == []


def test_a_mixture_without_its_card_is_sound(copy: Path) -> None:
    (copy / "README.md").unlink()
    assert verify(copy) == []


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_at_any_place_and_its_file_named(
    name: str, flip: int, copy: Path
) -> None:
    path = copy / name
    whole = path.read_bytes()
    places = {*range(0, len(whole), len(whole) // 25), len(whole) - 1}
    for place in sorted(places):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        problems = verify(copy)
        assert [problem.split(":")[0] for problem in problems] == [name], place


@pytest.mark.parametrize("name", ["README.md", "mixture.json"])
@given(st.data())
def test_any_changed_byte_of_a_file_without_a_stated_digest_is_found(
    name: str, album: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = shutil.copytree(album, tmp_path_factory.mktemp("v") / "m")
    whole = (folder / name).read_bytes()
    # Often a space or an end of line: what JSON and a text file's reader might pass over.
    blanks = [n for n, byte in enumerate(whole) if byte in b" \n"]
    place = data.draw(st.sampled_from(blanks) | st.integers(0, len(whole) - 1))
    byte = data.draw(st.sampled_from(b" \n\r\t") | st.integers(0, 255))
    if byte != whole[place]:
        (folder / name).write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        assert [problem.split(":")[0] for problem in verify(folder)] == [name]


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'"text"', b"{}", b"null", b'{"digest": 1}'])
def test_a_manifest_of_another_form_is_damaged(content: bytes, copy: Path) -> None:
    (copy / "mixture.json").write_bytes(content)
    (problem,) = verify(copy)
    assert problem.startswith("mixture.json: is damaged")


@pytest.mark.parametrize("name", [n for n in FILES if n not in ("README.md", "mixture.json")])
def test_a_file_that_is_missing_or_cut_is_named(name: str, copy: Path) -> None:
    size = (copy / name).stat().st_size
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    assert verify(copy) == [f"{name}: has {size - 1:,} bytes instead of {size:,}"]
    (copy / name).unlink()
    assert verify(copy) == [f"{name}: is missing"]


FOREIGN = [
    *(".DS_Store", "._state.json", ".huggingface/download/x.lock", "cache-8f14e45f.arrow"),
    *("desktop.ini", "more/data-00000-of-00001.arrow", "notes.txt", "tmpab12cd34"),
]


def test_foreign_files_are_listed_and_are_no_problem(copy: Path) -> None:
    for name in FOREIGN:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"x")
    assert verify(copy) == []
    expected = [f"{name.split('/')[0]}/" if "/" in name else name for name in FOREIGN]
    assert sorted(foreign_files(copy)) == sorted(expected)


def test_an_additional_shard_is_named(copy: Path) -> None:
    (copy / "data-00007-of-00008.arrow").write_bytes(b"x")
    assert verify(copy) == ["data-00007-of-00008.arrow: does not belong to this mixture"]
    assert foreign_files(copy) == []


def test_caches_of_datasets_are_no_damage_and_hide_none(
    copy: Path,
) -> None:
    from datasets import load_from_disk

    before = {name: (copy / name).read_bytes() for name in FILES}
    mixture = load_from_disk(str(copy))
    longer = mixture.map(lambda row: {"turns": len(row["conversations"])})
    assert len(longer.filter(lambda row: row["turns"] > 0)) == len(mixture)
    mixture.shuffle(seed=1).train_test_split(0.5, seed=1)
    foreign = foreign_files(copy)
    assert foreign and all(name.startswith("cache-") for name in foreign)
    assert verify(copy) == []
    assert {name: (copy / name).read_bytes() for name in FILES} == before
    again = load_from_disk(str(copy))
    assert again.column_names == mixture.column_names
    shard = next(name for name in FILES if name.endswith(".arrow"))
    whole = before[shard]
    (copy / shard).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert verify(copy) == [f"{shard}: its bytes were altered: sha256 differs"]


def test_a_folder_without_a_manifest_is_no_mixture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no mixture\.json"):
        verify(tmp_path)


def table_of(shard: Path) -> pa.Table:
    with pa.OSFile(str(shard), "rb") as source:
        return pa.ipc.open_stream(source).read_all()


def sealed(folder: Path) -> list[str]:
    """Return the problems of a mixture after recomputing every digest."""
    manifest = orjson.loads((folder / "mixture.json").read_bytes())
    shards = {n: file_sha256(folder / n) for n in FILES if n.endswith(".arrow")}
    write_index(folder, shards, manifest["rows"])
    for name in manifest["files"]:
        path = folder / name
        manifest["files"][name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    manifest["digest"] = manifest_digest(manifest)
    (folder / "mixture.json").write_text(json_text(manifest))
    (folder / "README.md").write_text(render_card(folder))
    return verify(folder)


def forged(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> list[str]:
    """Return the problems after changing rows of the first shard and recomputing every digest."""
    rows = table_of(folder / SHARD).to_pylist()
    change(rows)
    write_shard(folder / SHARD, pa.Table.from_pylist(rows, schema=shard_schema()))
    return sealed(folder)


def test_a_forgery_that_changes_nothing_is_sound(copy: Path) -> None:
    assert forged(copy, lambda rows: None) == []


def test_an_edited_answer_does_not_match_its_id(copy: Path) -> None:
    def edit(rows: list[dict[str, Any]]) -> None:
        rows[2]["conversations"][1]["value"] += " Or so."
        rows[3]["image"] = "photos/another.png"

    (problem,) = forged(copy, edit)
    assert problem.startswith(f"{SHARD}, row 2: id ")
    assert "does not belong to this content, whose id is " in problem


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("image_sha256", "xyz", "image_sha256: String should match pattern"),
        ("image_width", 0, "image_width: Input should be greater than 0"),
        ("id", "no id", "id: String should match pattern"),
        ("license", None, "license: Input should be a valid string"),
        ("conversations", [], "conversations: Tuple should have at least 2 items"),
        ("conversations", [{"from": "user", "value": "?"}] * 2, "conversations.0.from: Input"),
    ],
)
def test_an_invalid_row_is_named_with_its_field(
    column: str, value: Any, problem: str, copy: Path
) -> None:
    problems = forged(copy, lambda rows: rows[1].update({column: value}))
    assert problems[0].startswith(f"{SHARD}, row 1: {problem}")


def test_a_removed_row_is_reported_by_ledger_composition_and_count(copy: Path) -> None:
    removed: list[str] = []
    problems = forged(copy, lambda rows: removed.append(rows.pop(0)["source"]))
    counts = {"photos": 8, "chats": 2, "pages": 1}
    found = counts[removed[0]]
    assert problems == [
        "kept ids: 11 in ledger.parquet, 10 in the shards, 10 in both",
        f"composition: {found - 1} of {removed[0]} in the shards, {found} stated",
        "rows: 10 in the shards, 11 stated",
    ]


def test_a_renamed_subset_changes_the_composition(copy: Path) -> None:
    first = table_of(copy / SHARD)["source"][0].as_py()
    problems = forged(copy, lambda rows: rows[0].update(subset="another"))
    assert len(problems) == 2
    assert f"composition: 1 of {first}/another in the shards, 0 stated" in problems


def test_other_columns_are_named(copy: Path) -> None:
    fewer = table_of(copy / SHARD).drop_columns("license")
    with pa.ipc.new_stream(str(copy / SHARD), fewer.schema) as writer:
        writer.write_table(fewer)
    assert sealed(copy)[0] == f"{SHARD}: its columns are not those of a Sample"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files", []),
        ("files", {"../../secret": {"bytes": 1, "sha256": "0"}}),
        ("files", {"/etc/passwd": {"bytes": 1, "sha256": "0"}}),
        ("files", {"a.arrow": {"bytes": "many"}}),
        ("parts", [{"source": "a"}]),
        ("parts", {}),
        ("rows", "many"),
        ("name", None),
    ],
)
def test_a_mixture_json_of_another_shape_is_damaged_though_its_digest_fits(
    field: str, value: object, album: Path, tmp_path: Path
) -> None:
    shutil.copytree(album, tmp_path / "mixture")
    path = tmp_path / "mixture" / "mixture.json"
    manifest = {**orjson.loads(path.read_bytes()), field: value}
    path.write_text(json_text({**manifest, "digest": manifest_digest(manifest)}))
    assert verify(tmp_path / "mixture") == ["mixture.json: is damaged: it cannot be read"]
