"""Choose the next URL so that no host gets too many requests, at once or in a second."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(eq=False)
class Host(Generic[Job]):
    """One host: its waiting jobs, its open requests, and when the next request may start."""

    name: str
    jobs: deque[Job] = field(default_factory=deque)
    active: int = 0
    next_start: float = 0.0
    failures_in_a_row: int = 0
    given_up: bool = False
    has_ticket: bool = False
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)


class HostQueue(Generic[Job]):
    """Jobs by host. A host has at most one ticket in a heap, ordered by its next start.

    A job that `take` returns holds a slot of its host until `release`. The queue is at its end
    when `finish` was called for each job.
    """

    def __init__(self, per_host: int, per_second: float, failures_in_a_row: int) -> None:
        self._per_host, self._most_failures = per_host, failures_in_a_row
        self._interval = 1 / per_second if per_second else 0.0
        self._hosts: dict[str, Host[Job]] = {}
        self._tickets: list[tuple[float, int, Host[Job]]] = []
        self._delayed: list[tuple[float, int, Host[Job], Job]] = []
        self._numbers, self._unfinished, self._stopped = count(), 0, False
        self._changed = asyncio.Event()

    def host(self, name: str) -> Host[Job]:
        """Return the host of that name."""
        return self._hosts.setdefault(name, Host(name))

    def add(self, host: Host[Job], job: Job) -> None:
        """Add a new job."""
        self._unfinished += 1
        host.jobs.append(job)
        self._push_ticket(host)

    def add_again(self, host: Host[Job], job: Job, pause_seconds: float) -> None:
        """Add a taken job again, for a start after a pause."""
        due = _now() + pause_seconds
        heappush(self._delayed, (due, next(self._numbers), host, job))
        self._changed.set()

    def finish(self) -> None:
        """Note that a job needs no other attempt."""
        self._unfinished -= 1
        self._changed.set()

    def stop(self) -> None:
        """Return no more jobs."""
        self._stopped = True
        self._changed.set()

    async def take(self) -> tuple[Host[Job], Job] | None:
        """Return the next job and its host, with a slot of the host; None at the end."""
        while self._unfinished and not self._stopped:
            due = self._move_delayed()
            if found := self._next_ready():
                return found
            if self._tickets:
                due = min(due, self._tickets[0][0])
            self._changed.clear()
            try:
                async with asyncio.timeout(None if due == float("inf") else due - _now()):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._changed.set()  # another worker may wait
        return None

    def _move_delayed(self) -> float:
        """Move due jobs to their hosts; return when the next one is due."""
        while self._delayed and self._delayed[0][0] <= _now():
            _, _, host, job = heappop(self._delayed)
            host.jobs.append(job)
            self._push_ticket(host)
        return self._delayed[0][0] if self._delayed else float("inf")

    def _next_ready(self) -> tuple[Host[Job], Job] | None:
        while self._tickets and self._tickets[0][0] <= _now():
            host = heappop(self._tickets)[2]
            host.has_ticket = False
            if not host.jobs or (host.active >= self._per_host and not host.given_up):
                continue  # `release` makes the next ticket
            if host.next_start > _now() and not host.given_up:
                self._push_ticket(host)
                continue
            job = host.jobs.popleft()
            host.active += 1
            host.next_start = _now() + self._interval
            self._push_ticket(host)
            return host, job
        return None

    def _push_ticket(self, host: Host[Job]) -> None:
        free = host.active < self._per_host or host.given_up
        if host.jobs and free and not host.has_ticket:
            host.has_ticket = True
            due = 0.0 if host.given_up else host.next_start
            heappush(self._tickets, (due, next(self._numbers), host))
            self._changed.set()

    async def enter(self, host: Host[Job]) -> Host[Job]:
        """Wait for a slot of a host to which a URL redirects; return the host."""
        if host.active < self._per_host:
            host.active += 1
        else:
            waiter = asyncio.get_running_loop().create_future()
            host.waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.release(host)
                raise
        try:
            await self.pace(host)
        except asyncio.CancelledError:
            self.release(host)
            raise
        return host

    async def pace(self, host: Host[Job]) -> None:
        """Wait until another request of a slot that is held may start."""
        pause = host.next_start - _now()
        host.next_start = max(host.next_start, _now()) + self._interval
        if pause > 0:
            await asyncio.sleep(pause)

    def release(self, host: Host[Job]) -> None:
        """Free a slot: for a redirect that waits for it, or for the next job."""
        while host.waiters:
            waiter = host.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        host.active -= 1
        self._push_ticket(host)

    def note_answer(self, host: Host[Job]) -> None:
        """Note that a host works."""
        host.failures_in_a_row = 0

    def note_failure(self, host: Host[Job], pause_seconds: float | None) -> None:
        """Count a failure of a host; give it up after too many, or wait as long as it asks."""
        host.failures_in_a_row += 1
        host.given_up = host.given_up or host.failures_in_a_row >= self._most_failures
        if pause_seconds is not None:
            host.next_start = max(host.next_start, _now() + pause_seconds)
        if host.given_up:
            # The ticket that waits for the next start is replaced by one for now.
            host.has_ticket = False
            self._push_ticket(host)


def _now() -> float:
    return asyncio.get_running_loop().time()
