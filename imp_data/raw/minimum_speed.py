"""Lower bounds on a download's speed: bytes per second in a minute, bytes per request."""

import time

from imp_data.raw.http_response import DownloadError, RetryableError

WINDOW_SECONDS = 60.0
# A modem does five times as much; at this speed the largest file of the paper takes 7 months.
LOWEST_BYTES_PER_SECOND = 1024
# A server may send a file in pieces, or break off repeatedly; small pieces would never end.
REQUESTS_WITHOUT_A_COUNT = 100
LOWEST_BYTES_PER_REQUEST = 64 * 1024
clock = time.monotonic


class SpeedMonitor:
    """Counts the requests to one address and the bytes received, in total and per minute."""

    def __init__(self) -> None:
        self._requests = self._bytes = 0
        self._window_bytes, self._window_start = 0, clock()

    def count_request(self) -> None:
        """Count a request. Raise DownloadError if requests bring far too few bytes."""
        self._window_bytes, self._window_start = 0, clock()
        lowest = self._requests * LOWEST_BYTES_PER_REQUEST
        if self._requests >= REQUESTS_WITHOUT_A_COUNT and self._bytes < lowest:
            raise DownloadError(f"sends {self._bytes:,} bytes in {self._requests} requests")
        self._requests += 1

    def count_bytes(self, count: int) -> None:
        """Count received bytes. Raise RetryableError after a minute with too few of them."""
        self._bytes += count
        self._window_bytes += count
        seconds = clock() - self._window_start
        if seconds < WINDOW_SECONDS:
            return
        if self._window_bytes < LOWEST_BYTES_PER_SECOND * seconds:
            why = f"only {self._window_bytes:,} bytes in {seconds:.0f} s"
            raise RetryableError(why, fruitless=True)
        self._window_bytes, self._window_start = 0, clock()
