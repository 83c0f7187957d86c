"""Bounds on a download's slowness: bytes a second over a minute, bytes a request over a hundred."""

import time

from imp_data.raw.http_response import Again, Refused

WINDOW_SECONDS = 60.0
# A modem does five times as much; at this speed the largest file of the paper takes 7 months.
LOWEST_BYTES_PER_SECOND = 1024
# A server may send a file in pieces, or break off again and again; small ones would take for ever.
REQUESTS_WITHOUT_A_COUNT = 100
LOWEST_BYTES_PER_REQUEST = 64 * 1024
clock = time.monotonic


class Pace:
    """What one address has brought, and how fast."""

    def __init__(self) -> None:
        self._requests = self._bytes = 0
        self._window_bytes, self._window_begun = 0, clock()

    def ask(self) -> None:
        """Count a request. Raises Refused where they bring too little by far."""
        self._window_bytes, self._window_begun = 0, clock()
        lowest = self._requests * LOWEST_BYTES_PER_REQUEST
        if self._requests >= REQUESTS_WITHOUT_A_COUNT and self._bytes < lowest:
            raise Refused(f"brings {self._bytes:,} bytes in {self._requests} requests")
        self._requests += 1

    def add(self, count: int) -> None:
        """Count bytes. Raises Again after a minute in which too few came."""
        self._bytes += count
        self._window_bytes += count
        seconds = clock() - self._window_begun
        if seconds < WINDOW_SECONDS:
            return
        if self._window_bytes < LOWEST_BYTES_PER_SECOND * seconds:
            why = f"only {self._window_bytes:,} bytes in {seconds:.0f} s"
            raise Again(why, in_vain=True)
        self._window_bytes, self._window_begun = 0, clock()
