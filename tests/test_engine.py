"""One pure function over many pieces, in processes: order, errors, a worker that dies."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from imp_data.engine import map_ordered, worker_count
from imp_data.errors import UserError


def square(number: int) -> int:
    return number * number


def later_if_even(number: int) -> int:
    time.sleep(0.05 if number % 2 == 0 else 0)
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise UserError("f.json", "is damaged", "mend it")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def own_process(number: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_pieces(workers: int) -> None:
    assert list(map_ordered(square, range(50), workers)) == [n * n for n in range(50)]
    assert list(map_ordered(later_if_even, range(8), workers)) == list(range(8))
    assert list(map_ordered(square, [], workers)) == []


def test_one_worker_means_this_process_and_more_mean_others() -> None:
    assert set(map_ordered(own_process, range(3), 1)) == {os.getpid()}
    assert os.getpid() not in set(map_ordered(own_process, range(8), 2))


def test_no_more_than_two_pieces_a_worker_are_under_way() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ordered(square, pieces(), 2)
    for done in range(1, 20):
        next(results)
        assert len(taken) <= done + 4


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through_as_it_was_raised(workers: int) -> None:
    results = map_ordered(refuse_three, range(10), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError) as error:
        next(results)
    assert (error.value.where, error.value.problem) == ("f.json", "is damaged")
    assert str(error.value) == "f.json: is damaged\n  What to do: mend it"
    assert list(map_ordered(square, range(4), workers)) == [0, 1, 4, 9]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_among_the_pieces_comes_through_too(workers: int) -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise UserError("g.json", "is not there", "fetch it")

    with pytest.raises(UserError, match=r"g\.json"):
        list(map_ordered(square, pieces(), workers))


def test_a_worker_that_is_killed_says_what_to_do_and_the_next_run_works() -> None:
    with pytest.raises(UserError) as error:
        list(map_ordered(die_at_three, range(10), 2))
    assert error.value.problem == "was ended from outside, most often for want of memory"
    assert "a smaller IMP_WORKERS" in error.value.remedy
    assert list(map_ordered(square, range(4), 2)) == [0, 1, 4, 9]


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 12 ", 12)])
def test_the_environment_sets_the_number_of_workers(
    text: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", text)
    assert worker_count() == count


@pytest.mark.parametrize("text", [None, "", "  "])
def test_unset_means_every_core_this_process_may_use(
    text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMP_WORKERS", raising=False)
    if text is not None:
        monkeypatch.setenv("IMP_WORKERS", text)
    assert worker_count() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "²", "1e3"])
def test_a_number_of_workers_that_is_none_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", text)
    with pytest.raises(UserError) as error:
        list(map_ordered(square, [1]))
    assert error.value.where == "IMP_WORKERS"
    assert error.value.problem == f"is {text!r}"
    assert error.value.remedy == "set it to a whole number from 1 on"
