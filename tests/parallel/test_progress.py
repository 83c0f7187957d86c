"""Progress of long work: one updated line on a terminal, plain lines elsewhere."""

import io

import pytest

from imp_data.parallel.progress import Progress, progress


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (120_000, 200_000, 4, "records/dvqa: 120,000 of 200,000 rows, 30,000/s, 3 s left"),
        (100, 1_000, 20, "records/dvqa: 100 of 1,000 rows, 5/s, 3 min 0 s left"),
        (100, 100_000, 10, "records/dvqa: 100 of 100,000 rows, 10/s, 2 h 46 min left"),
        (1_000, 1_000, 10, "records/dvqa: 1,000 of 1,000 rows, 100/s, 0 s left"),
        (1_100, 1_000, 10, "records/dvqa: 1,100 of 1,000 rows, 110/s, 0 s left"),
        (2, 4, 300, "records/dvqa: 2 of 4 rows, 2 min 30 s each, 5 min 0 s left"),
        (0, 1_000, 10, "records/dvqa: 0 of 1,000 rows, 0/s"),
        (500, None, 10, "records/dvqa: 500 rows, 50/s"),
    ],
)
def test_a_line_shows_count_rate_and_time_left(
    done: int, total: int | None, seconds: float, line: str, clock: Clock
) -> None:
    told = Progress("records/dvqa", "rows", total, io.StringIO())
    clock.now += seconds
    told.done = done
    assert told.line() == line


def test_without_a_terminal_a_line_is_printed_every_ten_seconds(clock: Clock) -> None:
    out = io.StringIO()
    told = Progress("records/dvqa", "rows", 100, out)
    for _ in range(25):
        clock.now += 1
        told.add(1)
    told.close()
    assert out.getvalue() == (
        "records/dvqa: 10 of 100 rows, 1/s, 1 min 30 s left\n"
        "records/dvqa: 20 of 100 rows, 1/s, 1 min 20 s left\n"
    )


def test_on_a_terminal_one_line_is_updated_and_cleared_at_the_end(clock: Clock) -> None:
    out = Terminal()
    told = Progress("records/dvqa", "rows", 4, out)
    for _ in range(4):
        clock.now += 0.125
        told.add(1)
    told.close()
    assert out.getvalue() == (
        "\r\x1b[Krecords/dvqa: 2 of 4 rows, 8/s, 0 s left"
        "\r\x1b[Krecords/dvqa: 4 of 4 rows, 8/s, 0 s left"
        "\r\x1b[K"
    )


def test_short_work_prints_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("records/dvqa", "rows", 5) as told:
        told.add(5)
    assert capsys.readouterr() == ("", "")


def test_failing_work_clears_the_line_and_raises_its_error(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    with pytest.raises(ValueError), progress("records/dvqa", "rows") as told:
        clock.now += 1
        told.add(3)
        raise ValueError
    assert out.getvalue() == "\r\x1b[Krecords/dvqa: 3 rows, 3/s\r\x1b[K"
