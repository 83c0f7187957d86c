"""A question pack has digests of a benchmark's questions, and none of their text."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from imp_data.screening.decontamination.questions import question_pack
from imp_data.screening.decontamination.questions.information import information_bits
from imp_data.screening.decontamination.questions.question_files import BenchmarkQuestion
from imp_data.screening.decontamination.questions.question_pack import (
    build_question_pack,
    image_digest,
    pack_figures,
    read_question_pack,
    write_question_pack,
)
from imp_data.storage.tables import parquet_writer

LONG = "how many gallons of supreme gasoline can i get with fifty dollars at this station today"


def question(
    text: str, *answers: str, options: tuple[str, ...] = (), image: str = "", id: str = "1"
) -> BenchmarkQuestion:
    return BenchmarkQuestion(id, image, text, options, answers)


def rows(*questions: BenchmarkQuestion) -> list[dict[str, object]]:
    found: list[dict[str, object]] = build_question_pack("quiz", questions).table.to_pylist()
    return found


def test_wording_options_order_and_labels_do_not_change_the_digests() -> None:
    one, other, wrapped = rows(
        question("Which is it?", "B", options=("cat", "dog")),
        question("which is it", "dog", options=("Dog", "cat.")),
        question("Question: Which is it?\nChoices:\nA. cat\nB. dog\nAnswer:", "Answer: B"),
    )
    assert one == other == wrapped
    assert one["answers"] != [] and one["options"] != 0


def test_a_question_without_answer_options_or_image_has_none() -> None:
    [row] = rows(question("Which is it?"))
    assert (row["answers"], row["options"], row["image"], row["ngrams"]) == ([], 0, None, [])


def test_thirteen_words_have_one_ngram_and_sixteen_have_four() -> None:
    short = " ".join(LONG.split()[:12])
    found = rows(*(question(text) for text in (short, f"{short} a", LONG, f"a {LONG} b")))
    assert [len(row["ngrams"]) for row in found] == [0, 1, 4, 6]  # type: ignore[arg-type]
    assert set(found[2]["ngrams"]) < set(found[3]["ngrams"])  # type: ignore[call-overload]


def test_ngrams_of_a_template_are_left_out() -> None:
    def asked(count: int) -> list[int]:
        found = rows(*(question(f"{LONG} in town {n}") for n in range(count)))
        return [len(row["ngrams"]) for row in found]  # type: ignore[arg-type]

    assert asked(3) == [7, 7, 7]
    assert asked(4) == [1, 1, 1, 1]  # the one that has the number


def test_a_question_that_is_asked_about_many_images_is_no_template() -> None:
    found = rows(*(question(LONG, image=str(n)) for n in range(5)))
    assert [len(row["ngrams"]) for row in found] == [4] * 5  # type: ignore[arg-type]
    assert [row["image"] for row in found] == [image_digest(str(n)) for n in range(5)]


def test_long_answers_have_ngrams_too() -> None:
    [row] = rows(question("Why?", LONG, "because"))
    assert len(row["answer_ngrams"]) == 4  # type: ignore[arg-type]
    assert row["answer_bits"] == [information_bits(LONG), 12]


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("Is the what", 9),
        ("What color is the car?", 4 * 0 + 3 + 10 + 3 + 3 + 9),
        ("zebra okapi", 24),
        ("1984", 13),
        ("2.5", 6),
    ],
)
def test_rare_words_and_digits_say_more_than_common_words(text: str, bits: int) -> None:
    assert information_bits(text) == bits


def test_equal_questions_give_equal_bytes_and_no_text(tmp_path: Path) -> None:
    pack = build_question_pack("quiz", [question(LONG, "zebra", id="q1", image="i")])
    for name in ("one", "other"):
        write_question_pack(tmp_path / name, pack, "abc")
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "other").read_bytes()
    assert b"zebra" not in content and b"gasoline" not in content
    read = read_question_pack(tmp_path / "one")
    assert (read.name, read.table.to_pylist()) == ("quiz", pack.table.to_pylist())
    metadata = pq.read_schema(tmp_path / "one").metadata
    assert metadata[b"source"] == b"abc"
    assert pack_figures(read) == {"questions": 1, "different": 1, "images": 1, "with_ngrams": 1}


def test_another_normalisation_or_another_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = build_question_pack("quiz", [question("Which?")])
    write_question_pack(tmp_path / "p", pack, "")
    monkeypatch.setattr(question_pack, "VERSION", "9")
    with pytest.raises(UserError, match="has digests of normalisation 1, not 9"):
        read_question_pack(tmp_path / "p")
    with parquet_writer(tmp_path / "other", pack.table.schema) as writer:
        writer.write_table(pack.table)
    with pytest.raises(UserError, match="is no question pack"):
        read_question_pack(tmp_path / "other")
