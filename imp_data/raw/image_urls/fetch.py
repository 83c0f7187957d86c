"""Download the images of a list of URLs into a folder, and write the status of each row."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imp_data.parallel.progress import Progress, progress
from imp_data.raw.image_urls.address_check import check_url
from imp_data.raw.image_urls.attempt import Client, Received, attempt, open_session
from imp_data.raw.image_urls.body import write_errors
from imp_data.raw.image_urls.failure import FetchError
from imp_data.raw.image_urls.hosts import Host, HostQueue
from imp_data.raw.image_urls.plan import Download, Plan, Wanted, plan_downloads
from imp_data.raw.image_urls.settings import FetchSettings
from imp_data.raw.image_urls.status import (
    FailureReason,
    Retry,
    UrlStatus,
    read_statuses,
    write_statuses,
)
from imp_data.raw.image_urls.url_list import UrlRow
from imp_data.redaction import redact_logs
from imp_data.storage.atomic_write import link_or_copy, move_into_place
from imp_data.storage.digests import file_sizes
from imp_data.storage.locks import hold_lock
from imp_data.storage.paths import local_path

# A large status file is written less often, so that writing it takes a twentieth of the time.
_WRITE_SHARE = 20


class Target(NamedTuple):
    """The folder of the images, and the status file."""

    folder: Path
    status: Path
    label: str


def fetch_images(
    where: object,
    rows: Sequence[UrlRow],
    template: str | None,
    target: Target,
    settings: FetchSettings | None = None,
) -> list[UrlStatus]:
    """Download the images that are missing; return the status of each row, in order.

    Images appear under their names when they are complete. A killed or interrupted run resumes; a
    later run requests only what may succeed. `where` names the list in errors. Raise UserError
    before any request if two rows have one name and different URLs.
    """
    settings = settings or FetchSettings()
    redact_logs()
    lock = target.status.with_name(f".{target.status.name}.lock")
    with hold_lock(lock, target.label):
        plan = plan_downloads(
            where,
            rows,
            template,
            read_statuses(target.status),
            file_sizes(target.folder),
            settings,
        )
        try:
            if plan.downloads:
                asyncio.run(_Run(plan, target, settings).run())
        finally:
            write_statuses(target.status, plan.statuses)
    return plan.statuses


class _Run:
    """One run over the downloads of a plan."""

    def __init__(self, plan: Plan, target: Target, settings: FetchSettings) -> None:
        self._statuses, self._downloads = plan
        self._target, self._settings = target, settings
        self._received_bytes = 0
        self._hosts: HostQueue[Download] = HostQueue(
            settings.connections_per_host,
            settings.requests_per_second_per_host,
            settings.failures_in_a_row,
        )

    async def run(self) -> None:
        """Work until each download has an image or a reason, or until the total limit."""
        settings, rows = self._settings, sum(len(one.rows) for one in self._downloads)
        folder = local_path(self._target.folder / "_").parent
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with progress(self._target.label, "images", rows) as bar:
            for download in self._downloads:
                self._add(download, bar)
            async with open_session(settings) as session:
                client = Client(session, self._hosts, settings)
                await self._work(client, bar)

    async def _work(self, client: Client, bar: Progress) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                saver = group.create_task(self._save_regularly())
                count = min(self._settings.connections, len(self._downloads))
                workers = [group.create_task(self._worker(client, bar)) for _ in range(count)]
                await asyncio.wait(workers)
                saver.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _save_regularly(self) -> None:
        seconds = self._settings.save_seconds
        while True:
            await asyncio.sleep(seconds)
            begun = time.monotonic()
            await asyncio.to_thread(write_statuses, self._target.status, [*self._statuses])
            seconds = max(seconds, (time.monotonic() - begun) * _WRITE_SHARE)

    def _add(self, download: Download, bar: Progress) -> None:
        try:
            url = check_url(download.url, self._settings.private_hosts)
        except FetchError as error:
            self._fail(download, error, bar)
        else:
            self._hosts.add(self._hosts.host(url.host or ""), download)

    async def _worker(self, client: Client, bar: Progress) -> None:
        while taken := await self._hosts.take():
            host, download = taken
            if host.given_up:
                self._hosts.release(host)
                given_up = FetchError(FailureReason.HOST_GIVEN_UP, f"{host.name} failed too often")
                self._fail(download, download.last_error or given_up, bar)
                self._hosts.finish()
            else:
                await self._attempt(client, host, download, bar)

    async def _attempt(
        self, client: Client, host: Host[Download], download: Download, bar: Progress
    ) -> None:
        """Attempt a download; finish it, or add it again for another attempt."""
        name = hashlib.sha256(download.url.encode("utf-8", "replace")).hexdigest()[:32]
        aside = local_path(self._target.folder / f".{name}.partial")
        download.attempts += 1
        download.attempts_now += 1
        try:
            received = await attempt(client, host, download.url, aside)
            await self._store(received, download, aside, bar)
        except FetchError as error:
            download.last_error = error
            pause = self._pause_seconds(error, download)
            if pause is not None:
                self._hosts.add_again(host, download, pause)
                return
            self._fail(download, error, bar)
        finally:
            aside.unlink(missing_ok=True)
        self._hosts.finish()

    def _pause_seconds(self, error: FetchError, download: Download) -> float | None:
        """Return the pause before another attempt; None if there is none in this run."""
        settings, longest = self._settings, self._settings.longest_pause_seconds
        if error.reason.retry is not Retry.NOW or download.attempts_now >= settings.attempts:
            return None
        if error.pause_seconds is not None:
            return error.pause_seconds if error.pause_seconds <= longest else None
        pause: float = settings.first_pause_seconds * 2 ** (download.attempts_now - 1)
        return min(pause, longest)

    def _fail(self, download: Download, error: FetchError, bar: Progress) -> None:
        for one in download.rows:
            self._statuses[one.row] = UrlStatus(
                download.url,
                one.stated_name,
                "failed",
                error.reason.value,
                error.detail or None,
                error.http_status,
                error.bytes_announced,
                final_url=error.final_url,
                attempts=download.attempts,
                permanent=error.reason.retry is Retry.NEVER,
            )
        bar.add(len(download.rows))

    async def _store(
        self, received: Received, download: Download, aside: Path, bar: Progress
    ) -> None:
        """Move an image to the names of all rows that accept its sha256."""
        body, folder = received.body, self._target.folder
        accepted = [one for one in download.rows if one.sha256 in (None, body.sha256)]
        names = list(dict.fromkeys(one.name(body.kind) for one in accepted))
        await asyncio.to_thread(_place, aside, folder, names)
        found = UrlStatus(
            download.url,
            None,
            "ok",
            None,
            None,
            received.http_status,
            body.bytes,
            body.sha256,
            received.final_url if received.final_url != download.url else None,
            body.kind,
            download.attempts,
        )
        for one in download.rows:
            self._statuses[one.row] = _status_of(one, found)
        bar.add(len(download.rows))
        self._received_bytes += body.bytes
        if self._received_bytes > self._settings.max_total_bytes:
            self._hosts.stop()


def _status_of(one: Wanted, found: UrlStatus) -> UrlStatus:
    """Return the status of one row: the image, or a failure if its sha256 is another one."""
    if one.sha256 in (None, found.sha256):
        return found._replace(name=one.name(found.kind or ""))
    reason = FailureReason.WRONG_SHA256
    return found._replace(
        name=one.stated_name,
        status="failed",
        reason=reason.value,
        detail=f"the list states {one.sha256}",
        permanent=True,
    )


def _place(aside: Path, folder: Path, names: Sequence[str]) -> None:
    """Move a finished image to its first name, and link it to the others."""
    if not names:
        return
    first = folder / names[0]
    with write_errors(first):
        move_into_place(aside, first)
        for name in names[1:]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(first, folder / name)
