"""Order, errors and dying workers of a pure function over many pieces."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.parallel import Crash, map_ordered, use_engine, worker_count
from imp_data.parallel.pipes import receive, send

TESTS = Path(__file__).parents[1]


def square(number: int) -> int:
    return number * number


def later_if_even(number: int) -> int:
    time.sleep(0.05 if number % 2 == 0 else 0)
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise UserError("f.json", "is damaged", "mend it")
    return number


def end_process_at(number: int, these: set[int], end: signal.Signals = signal.SIGSEGV) -> int:
    if number in these:
        os.kill(os.getpid(), end)
    return number


def end_process_once(number: int, marks: Path, end: signal.Signals) -> int:
    """Kill the process at the first attempt of each three."""
    mark = marks / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), end)
    return number


def exit_at_three(number: int) -> int:
    if number == 3:
        os._exit(7)
    return number


def refuse_when_again(number: int, marks: Path) -> int:
    """Kill the process at the first attempt; raise at the second."""
    if not (marks / "ended").exists():
        (marks / "ended").touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    raise UserError("h.json", "is damaged", "mend it")


def squares(numbers: list[int], these: set[int]) -> list[int]:
    return [square(end_process_at(number, these)) for number in numbers]


def own_process(number: int) -> int:
    return os.getpid()


def own_process_after(number: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def flat(batches: Iterable[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_have_the_order_of_the_pieces(workers: int) -> None:
    assert list(map_ordered(square, range(50), workers)) == [n * n for n in range(50)]
    assert list(map_ordered(later_if_even, range(8), workers)) == list(range(8))
    assert list(map_ordered(square, [], workers)) == []


def test_one_worker_means_this_process_and_more_mean_others() -> None:
    assert set(map_ordered(own_process, range(3), 1)) == {os.getpid()}
    assert os.getpid() not in set(map_ordered(own_process, range(8), 2))


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 7, 4095, 1 << 16, 300_001]), max_size=4))
def test_arrays_of_any_size_pass_a_pipe_unchanged(sizes: list[int]) -> None:
    ours, theirs = Pipe()
    sent = [np.arange(size, dtype=np.uint8) for size in sizes]
    sender = Thread(target=send, args=(theirs, {"arrays": sent, "text": pa.array(["é", None])}))
    sender.start()
    found = receive(ours)
    sender.join()
    assert found["text"].to_pylist() == ["é", None]
    for one, other in zip(found["arrays"], sent, strict=True):
        assert np.array_equal(one, other)


def test_a_pipe_that_closes_within_an_array_is_an_error() -> None:
    ours, theirs = Pipe()
    theirs.send_bytes(pickle.dumps((pickle.dumps(None), [100])))
    os.write(theirs.fileno(), b"only this")
    theirs.close()
    with pytest.raises(EOFError):
        receive(ours)


@pytest.mark.parametrize(
    "first",
    [
        "imp_data.cli",
        "imp_data.records.build",
        pytest.param("assets.definitions", marks=pytest.mark.slow),
    ],
)
def test_arrow_allocates_from_the_system_and_returns_memory(first: str) -> None:
    asked = f"import {first}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    env = {k: v for k, v in os.environ.items() if k != "ARROW_DEFAULT_MEMORY_POOL"}
    told = subprocess.run(
        [sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=True
    )
    assert told.stdout == "system\n"


def test_at_most_two_pieces_per_worker_are_in_progress() -> None:
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
def test_an_error_reaches_the_caller(workers: int) -> None:
    results = map_ordered(refuse_three, range(10), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError) as error:
        next(results)
    assert (error.value.where, error.value.problem) == ("f.json", "is damaged")
    assert str(error.value) == "f.json: is damaged\n  What to do: mend it"
    assert list(map_ordered(square, range(4), workers)) == [0, 1, 4, 9]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_iterator_of_pieces_reaches_the_caller(workers: int) -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise UserError("g.json", "is not there", "fetch it")

    with pytest.raises(UserError, match=r"g\.json"):
        list(map_ordered(square, pieces(), workers))


@pytest.mark.parametrize(("end", "workers"), [(signal.SIGKILL, 2), (signal.SIGSEGV, 3)])
def test_the_piece_of_a_dead_worker_runs_again(
    workers: int, end: signal.Signals, tmp_path: Path
) -> None:
    work = partial(end_process_once, marks=tmp_path, end=end)
    assert list(map_ordered(work, range(20), workers)) == list(range(20))
    assert len(list(tmp_path.iterdir())) == 7


def test_a_piece_that_crashes_every_process_affects_no_other() -> None:
    work = partial(end_process_at, these={0, 3, 4, 19})
    results = list(map_ordered(work, range(20), 2, on_crash=lambda piece, _: -piece - 100))
    lost = {0: -100, 3: -103, 4: -104, 19: -119}
    assert results == [lost.get(n, n) for n in range(20)]
    assert list(map_ordered(square, range(4), 2)) == [0, 1, 4, 9]


def test_on_crash_can_run_a_crashing_batch_one_by_one() -> None:
    work = partial(squares, these={5, 17})
    batches = [list(range(n, n + 6)) for n in range(0, 24, 6)]

    def one_by_one(batch: list[int], how: Crash) -> list[int]:
        ones = [[number] for number in batch]
        return flat(map_ordered(work, ones, 2, on_crash=lambda one, _: [-1]))

    results = flat(map_ordered(work, batches, 2, on_crash=one_by_one))
    assert results == [-1 if n in {5, 17} else n * n for n in range(24)]


def test_without_on_crash_a_piece_that_crashes_every_process_is_named() -> None:
    results = map_ordered(partial(end_process_at, these={3}), range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError) as error:
        next(results)
    assert error.value.where == "piece of work 3"
    assert error.value.problem == "it crashes every process that runs it (SIGSEGV)"
    with pytest.raises(UserError, match=r"\(exit status 7\)\n.*start below `if __name__"):
        list(map_ordered(exit_at_three, range(10), 2))
    assert list(map_ordered(square, range(4), 2)) == [0, 1, 4, 9]


def test_being_killed_from_outside_is_never_a_fact_about_the_piece() -> None:
    work = partial(end_process_at, these={3}, end=signal.SIGKILL)
    with pytest.raises(UserError) as error:
        list(map_ordered(work, range(10), 2, on_crash=lambda piece, _: -1))
    assert "from outside (SIGKILL), mostly because memory is exhausted" in error.value.problem
    assert "a smaller IMP_WORKERS" in error.value.remedy


def test_an_error_of_a_second_attempt_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"h\.json: is damaged"):
        list(map_ordered(partial(refuse_when_again, marks=tmp_path), [1], 2))


@pytest.mark.parametrize(
    "end", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_workers_end_with_their_parent_process(end: signal.Signals) -> None:
    code = (
        "from imp_data.parallel import map_ordered\n"
        "from tests.parallel.test_parallel import own_process_after\n"
        "for pid in map_ordered(own_process_after, range(1000), 2): print(pid, flush=True)"
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    settings = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        workers = {int(parent.stdout.readline()) for _ in range(8)}
        parent.send_signal(end)
        said = parent.stderr.read()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "ForkServerProcess" not in said


def on_ray(*args: object) -> Iterator[str]:
    """Replace Ray."""
    return iter(["on Ray"])


def test_the_engine_applies_to_its_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMP_ENGINE", raising=False)
    monkeypatch.setattr("imp_data.parallel.ray.map_on_ray", on_ray)
    with use_engine("ray"):
        assert list(map_ordered(square, [2], 1)) == ["on Ray"]
        with use_engine("local"):
            assert list(map_ordered(square, [2], 1)) == [4]
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(lambda: list(map_ordered(square, [2], 1))).result() == [4]
    with pytest.raises(ZeroDivisionError), use_engine("ray"):
        _ = 1 / 0
    assert list(map_ordered(square, [2], 1)) == [4]


def test_the_environment_overrides_the_engine_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imp_data.parallel.ray.map_on_ray", on_ray)
    monkeypatch.setenv("IMP_ENGINE", "local")
    with use_engine("ray"):
        assert list(map_ordered(square, [2], 1)) == [4]
    monkeypatch.setenv("IMP_ENGINE", "ray")
    with use_engine("local"):
        assert list(map_ordered(square, [2], 1)) == ["on Ray"]


@pytest.mark.parametrize("text", ["spark", "Ray", "local,ray"])
def test_an_engine_that_does_not_exist_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_ENGINE", text)
    with pytest.raises(UserError) as error:
        map_ordered(square, [1], 1)
    assert str(error.value).startswith(f"IMP_ENGINE: is {text!r}\n  What to do: set it to local")


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 12 ", 12)])
def test_the_environment_sets_the_number_of_workers(
    text: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", text)
    assert worker_count() == count


@pytest.mark.parametrize("text", [None, "", "  "])
def test_the_default_is_every_usable_core_and_at_least_two(
    text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMP_WORKERS", raising=False)
    if text is not None:
        monkeypatch.setenv("IMP_WORKERS", text)
    assert worker_count() == max(len(os.sched_getaffinity(0)), 2)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "²", "1e3"])
def test_an_invalid_number_of_workers_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", text)
    with pytest.raises(UserError) as error:
        list(map_ordered(square, [1]))
    assert error.value.where == "IMP_WORKERS"
    assert error.value.problem == f"is {text!r}"
    assert error.value.remedy == "set it to a whole number from 1 on"
