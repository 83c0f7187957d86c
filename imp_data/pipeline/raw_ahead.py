"""Run the raw stages of a build in background threads, the smallest first.

The stages run one after another; meanwhile the next files are downloaded.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Event

from imp_data.manifests import Publication
from imp_data.manifests.lockfile import LockFiles
from imp_data.raw.threads import claim, complete, start_threads
from imp_data.storage.stage_cache import StageResult

# Each stage has several downloads; with the limit per host three keep a fast line busy.
_THREADS = 3
# Files of unknown size count as this much, more than a file of records and less than an archive.
_UNKNOWN_BYTES = 1 << 30


def order_by_size(
    published: Mapping[str, Sequence[Publication]], locks: LockFiles | None
) -> list[str]:
    """Return the names of raw folders by the size of their files, the largest last.

    The size is that of the manifests or lock files; a file downloaded manually counts as 0.
    """

    def size(name: str) -> int:
        sizes: dict[str, int] = {}
        for manifest in published[name]:
            entries = locks.read_entries(manifest) if locks else {}
            for file in (locks.expand(manifest) if locks else manifest).files:
                locked = entries[file.path].entry.bytes if file.path in entries else None
                known = file.bytes if file.bytes is not None else locked
                sizes[file.path] = known or (_UNKNOWN_BYTES if file.url else 0)
        return sum(sizes.values())

    return sorted(published, key=lambda name: (size(name), name))


class RawAhead:
    """Raw stages that run in the background; each result is given out once."""

    def __init__(
        self, stage: Callable[[str, Event], StageResult], names: Sequence[str], run: str = ""
    ) -> None:
        """Start the stages of these names in order, for the run of that id."""
        self.run = run
        self._stop = Event()
        self._calls = {name: partial(stage, name, self._stop) for name in names}
        self._futures = {name: Future[StageResult]() for name in names}
        futures = list(self._futures.values())
        start_threads(list(self._calls.values()), futures, _THREADS, self._stop)

    def take(self, name: str) -> StageResult | None:
        """Return a stage's result; run it here if it has not begun, wait for it if it has.

        Return None if it is not among the names, or was taken before. Raise what the stage raises.
        """
        if (future := self._futures.pop(name, None)) is None:
            return None
        if claim(future):
            complete(future, self._calls[name])
        return future.result()

    def stop(self) -> None:
        """End the running downloads and start no further stage; partial files are kept."""
        self._stop.set()
