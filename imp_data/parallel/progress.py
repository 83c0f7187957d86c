"""Report the progress of long work: count, rate, and time left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_TERMINAL_SECONDS = 0.2
_PLAIN_SECONDS = 10.0


class Progress:
    """Counts units of one step and prints the count regularly, on a terminal on a single line."""

    def __init__(self, label: str, unit: str, total: int | None, out: TextIO | None = None) -> None:
        self.label, self.unit, self.total = label, unit, total
        self.done = 0
        self._out = out or sys.stderr
        self._on_terminal = self._out.isatty()
        self._begun = self._printed = time.monotonic()

    def add(self, count: int) -> None:
        """Add to the count, and print it if the last line is old enough."""
        self.done += count
        pause = _TERMINAL_SECONDS if self._on_terminal else _PLAIN_SECONDS
        if time.monotonic() - self._printed >= pause:
            self._printed = time.monotonic()
            self._print(self.line())

    def line(self) -> str:
        """Return a line such as `records/dvqa: 120,000 of 200,000 rows, 41,000/s, 2 s left`."""
        rate = self.done / max(time.monotonic() - self._begun, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        left = (
            f", {format_duration((self.total - self.done) / rate)} left"
            if self.total and rate
            else ""
        )
        speed = f"{rate:,.0f}/s" if rate >= 1 or not rate else f"{format_duration(1 / rate)} each"
        return f"{self.label}: {self.done:,}{of} {self.unit}, {speed}{left}"

    def _print(self, line: str) -> None:
        if self._on_terminal:
            self._out.write(f"\r\x1b[K{line}")
        else:
            self._out.write(line + "\n")
        self._out.flush()

    def close(self) -> None:
        """Clear the terminal's line; the caller reports the result."""
        if self._on_terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()


def format_duration(seconds: float) -> str:
    """Return `3 h 5 min`, `2 min 10 s` or `9 s`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def progress(label: str, unit: str, total: int | None = None) -> Iterator[Progress]:
    """Report the progress of the work in the block on stderr."""
    shown = Progress(label, unit, total)
    try:
        yield shown
    finally:
        shown.close()
