"""Retry a request: pauses that double, or the server's; an end to attempts without progress.

Not tenacity, whose limits count attempts: these count attempts without progress, with another limit
before the first connection, and the server may set the pause.
"""

import time

from imp_data.raw.http_response import DownloadError, HostUnreachableError, RetryableError

_MAX_FRUITLESS_ATTEMPTS = 6
# Before the first connection there is nothing to resume, and the user should know soon.
_MAX_CONNECTION_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 300.0
sleep = time.sleep


class Attempts:
    """Counts the attempts at one request that brought nothing, and waits between attempts."""

    def __init__(self) -> None:
        self._fruitless, self._connected = 0, False

    def wait(self, error: RetryableError, fruitful: bool = False) -> None:
        """Wait after a transient error; `fruitful`: the attempt brought bytes.

        Raise HostUnreachableError or DownloadError after too many fruitless attempts in a row.
        """
        self._fruitless = 1 if fruitful else self._fruitless + 1
        self._connected = self._connected or not error.unreachable
        if not self._connected and self._fruitless == _MAX_CONNECTION_ATTEMPTS:
            raise HostUnreachableError(f"cannot be reached: {error}") from error
        if self._fruitless == _MAX_FRUITLESS_ATTEMPTS:
            raise DownloadError(f"fails again and again: {error}") from error
        doubled = _FIRST_PAUSE_SECONDS * 2 ** (self._fruitless - 1)
        pause = doubled if error.pause_seconds is None else error.pause_seconds
        sleep(min(pause, _MAX_PAUSE_SECONDS))
