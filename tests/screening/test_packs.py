"""A pack has a benchmark's ids and hashes, and removes its images wherever it is named."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED, World, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.images.decoding import decoder_version
from imp_data.ledger import Reason
from imp_data.screening.decontamination.benchmark_index import read_benchmark_index
from imp_data.storage.block_checksums import seal

# typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main

ONE, TWO = "00000000000000aa", "00000000000000bb"


@pytest.fixture
def quiz(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A benchmark of two images, and the environment in which commands find it."""
    world.benchmark("quiz", [ONE, TWO])
    world.images("quiz", {f"{name}.png": encoded(photo(n)) for n, name in enumerate((ONE, TWO))})
    monkeypatch.setenv("IMP_DATA_DIR", str(world.data.root))
    return world


def packed(world: World, *options: str) -> Path:
    """The pack that the command writes."""
    out = world.manifests.parent / "packs"
    assert command("quiz", "-o", out, "--manifests", world.manifests, *options) == 0
    return out / "quiz.parquet"


def command(*words: object) -> Any:
    """The exit status of `imp-data pack`."""
    argv, sys.argv = sys.argv, ["imp-data", "pack", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = argv
    return end.value.code


def mixed_with_pack(world: World, pack: Path, **fields: Any) -> World:
    """A mixture whose benchmark is the pack alone, and whose one source shows its images."""
    world.file("quiz", "quiz.parquet", pack.read_bytes())
    files = [{"path": "quiz.parquet", "by_hand": "put it there"}]
    stated = {**PUBLISHED, "files": files, "pack": "quiz.parquet", **fields}
    world.manifest("benchmarks", "quiz", **stated)
    shown = {f"{ONE}.png": photo(5), "copy.png": photo(1), "other.png": photo(7)}
    world.images("photos", {name: encoded(image) for name, image in shown.items()})
    samples = [record(name, f"photos/{name}") for name in shown]
    world.source("chats", samples, images=["photos"])
    return world


def test_a_pack_removes_images_by_id_and_look_without_the_benchmark_s_images(quiz: World) -> None:
    pattern = "(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])"
    world = mixed_with_pack(quiz, packed(quiz), id_pattern=pattern)
    rule = [{"benchmark": "quiz", "max_distance_bits": 10}]
    build = world.build({"chats": 3}, decontaminate=rule)
    run(build)
    ledger = pq.read_table(build.data.mixture("small") / "ledger.parquet").to_pylist()
    assert {row["upstream_id"]: row["reason"] for row in ledger} == {
        f"{ONE}.png": Reason.BENCHMARK_ID.value,
        "copy.png": Reason.BENCHMARK_BYTES.value,
        "other.png": None,
    }


def test_a_pack_states_its_benchmark_and_holds_no_image(quiz: World) -> None:
    pack = packed(quiz)
    facts = json.loads(pq.read_schema(pack).metadata[b"benchmark"])
    assert facts == {
        "version": 1,
        "name": "quiz",
        "title": PUBLISHED["title"],
        "homepage": PUBLISHED["homepage"],
        "license": PUBLISHED["license"],
        "id_pattern": "(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])",
        "kinds": [],
    }
    assert pack.stat().st_size < 20_000


def test_the_same_benchmark_gives_the_same_bytes(quiz: World) -> None:
    first = packed(quiz).read_bytes()
    assert packed(quiz).read_bytes() == first


def test_ids_alone_need_no_image(quiz: World) -> None:
    pack = read_benchmark_index(packed(quiz, "--ids-only"))
    assert (pack.ids, pack.sha256s, pack.hash_ids) == ({ONE, TWO}, {}, [])


def test_the_command_says_what_it_wrote(quiz: World, capsys: pytest.CaptureFixture[str]) -> None:
    pack = packed(quiz)
    assert capsys.readouterr().out.splitlines()[-1] == (f"{pack}: 2 ids, 2 images hashed, 0.0 MB")


def test_digests_of_questions_are_written_beside_the_images(
    quiz: World, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [{"question_id": 1, "image_id": ONE, "question": "Why?", "answer": "So."}]
    quiz.file("quiz", "questions.json", json.dumps(questions).encode())
    files = [{"path": name, "by_hand": "put it there"} for name in ("ids.json", "questions.json")]
    quiz.benchmark("quiz", [ONE, TWO], files=files, questions={"files": ["questions.json"]})
    pack = packed(quiz)
    asked = pack.with_name("quiz.questions.parquet")
    assert asked.is_file()
    assert capsys.readouterr().out.splitlines()[-1] == f"{asked}: 1 questions, 0.0 MB"


def test_an_unknown_benchmark_is_an_error_that_lists_the_known_ones(
    quiz: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("quizz", "--manifests", quiz.manifests) == 1
    assert capsys.readouterr().err == (
        f"imp-data: quizz: is no benchmark of {quiz.manifests}\n"
        "  What to do: use one of these: quiz; or name a folder with --manifests\n"
    )


def resealed(pack: Path, **metadata: str) -> Path:
    """The pack with other metadata; None removes an entry."""
    table = pq.read_table(pack)
    kept = {**table.schema.metadata, **{k.encode(): v.encode() for k, v in metadata.items()}}
    pq.write_table(table.replace_schema_metadata(kept), pack)
    seal(pack)
    return pack


def test_a_pack_that_another_decoder_made_is_refused(quiz: World) -> None:
    pack = resealed(packed(quiz), decoder="Pillow 1.1, libjpeg 6b")
    with pytest.raises(UserError) as error:
        read_benchmark_index(pack)
    assert error.value.problem == (
        f"its hashes were made by Pillow 1.1, libjpeg 6b, here is {decoder_version()}"
    )


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ('{"version": 2}', "is a pack of version 2; this program reads 1"),
        ("null", "is no benchmark pack (it names no benchmark)"),
        ("7", "is no benchmark pack (it names no benchmark)"),
    ],
)
def test_a_file_that_is_no_pack_of_this_version_is_refused(
    facts: str, problem: str, quiz: World
) -> None:
    pack = resealed(packed(quiz), benchmark=facts)
    with pytest.raises(UserError) as error:
        read_benchmark_index(pack)
    assert (error.value.where, error.value.problem) == (str(pack), problem)


def test_a_damaged_pack_is_refused(quiz: World) -> None:
    pack = packed(quiz)
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_benchmark_index(pack)
    assert error.value.where == str(pack)


def test_the_pack_of_another_benchmark_is_refused_by_name(quiz: World) -> None:
    pack = packed(quiz)
    mixed_with_pack(quiz, pack)
    stated = {**PUBLISHED, "files": [{"path": "quiz.parquet", "by_hand": "put it there"}]}
    quiz.manifest("benchmarks", "exam", **stated, pack="quiz.parquet")
    quiz.file("exam", "quiz.parquet", pack.read_bytes())
    rule = [{"benchmark": "exam", "max_distance_bits": 10}]
    build = quiz.build({"chats": 3}, decontaminate=rule)
    build.raw("exam")
    with pytest.raises(UserError, match="is the pack of quiz, not of exam"):
        build.benchmark("exam")
