"""The text of a download plan: rows of its table, manual steps, and its summary."""

import re
from collections import Counter
from collections.abc import Iterator

from imp_data.errors import UserError
from imp_data.manifests.hub_address import parse_hub_url
from imp_data.parallel.progress import format_duration
from imp_data.pipeline.download_plan import DownloadPlan, PlannedFile
from imp_data.pipeline.planned_extras import PlannedUnpacking
from imp_data.raw.fetch import host_of

_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]?)(B|bit)/s")
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
# Without a rate: a good line at home, and one of a university or a cloud.
_USUAL_RATES = (10e6, 100e6)


def parse_rate(text: str) -> float:
    """Return the bytes per second of `50MB/s` or `400Mbit/s`, in units of 1000."""
    found = _RATE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise UserError("--rate", f"is {text!r}, no speed", "write 50MB/s or 400Mbit/s")
    return float(found[1]) * _UNITS[found[2]] / (8 if found[3] == "bit" else 1)


def summary_lines(plan: DownloadPlan, bytes_per_second: float | None) -> Iterator[str]:
    """Yield the lines below the table: counts, bytes, disk and time."""
    if not plan.files:
        yield f"{plan.mixture}: downloads nothing; its files are drawn"
        return
    counts = Counter(file.state for file in plan.files)
    missing = counts["missing"] + counts["partial"]
    yield (
        f"{plan.mixture}: {len(plan.files)} files; {counts['there']} there, {missing} to download, "
        f"{counts['manual']} to download manually"
    )
    yield f"download: {_format_download(plan)}"
    yield from _url_lines(plan)
    yield from _unpack_lines(plan)
    if copies := sum(file.copy_bytes for file in plan.files):
        yield f"decompressed copies of files of records: about {format_bytes(copies)}"
    free = plan.free_bytes
    if free is not None:
        enough = "" if plan.disk_bytes <= free else ": not enough"
        least = "at least " if plan.is_incomplete else ""
        needed = f"{least}{format_bytes(plan.disk_bytes)} needed with the build"
        disk = f"{needed}, {format_bytes(free)} free"
        yield f"disk at {plan.folder}: {disk}{enough}"
    rates = _USUAL_RATES if bytes_per_second is None else (bytes_per_second,)
    times = (f"{format_duration(plan.seconds(r))} at {format_bytes(r)}/s" for r in rates)
    hint = " (--rate states yours)" if bytes_per_second is None else ""
    yield f"time: {', '.join(times)}{hint}"


def _format_download(plan: DownloadPlan) -> str:
    unknown = plan.unknown_sizes
    files = "file" if unknown == 1 else "files"
    parts = [format_bytes(plan.download_bytes)]
    if plan.estimated_bytes:
        parts.append(f"about {format_bytes(plan.estimated_bytes)} more by estimates")
    if unknown:
        parts.append(f"and {unknown} {files} of unknown size")
    return ", ".join(parts)


def _url_lines(plan: DownloadPlan) -> Iterator[str]:
    """Yield a line for each list of image URLs."""
    for urls in plan.urls:
        links = "links" if urls.links is None else f"{urls.links:,} links"
        known = "" if not urls.fetched else f", {urls.fetched:,} of them fetched or failed for good"
        size = urls.estimated_bytes
        about = "of unknown size" if size is None else f"about {format_bytes(size)} by an estimate"
        note = f" ({urls.note})" if urls.note else ""
        yield f"images by URL: {urls.name}: {links} in {urls.file}{known}, {about}{note}"


def _unpack_lines(plan: DownloadPlan) -> Iterator[str]:
    """Yield what is unpacked: known sizes, and the archives whose directories are not there yet."""
    known = [one for one in plan.unpacking if one.state == "missing"]
    if known:
        files, size = sum(one.files or 0 for one in known), sum(one.bytes or 0 for one in known)
        yield f"unpack: {files:,} files, {format_bytes(size)}, from {_names(known)}"
    if unknown := [one for one in plan.unpacking if one.state == "unknown"]:
        yield f"unpack, size unknown before the archive is read: {_names(unknown)}"


def _names(archives: list[PlannedUnpacking]) -> str:
    return ", ".join(f"{one.name}/{one.path}" for one in archives)


def table_row(file: PlannedFile) -> tuple[str, ...]:
    """Return file, size, state, licence, and where the file comes from."""
    state = f"{format_bytes(file.received)} there" if file.state == "partial" else file.state
    size = "unknown" if file.bytes is None else format_bytes(file.bytes)
    if file.bytes is None and file.estimated_bytes is not None and file.state != "there":
        size = f"about {format_bytes(file.estimated_bytes)}"
    note = f" ({file.note})" if file.note else ""
    origin = _origin(file.address) if file.address else "manually: see below"
    return f"{file.name}/{file.path}", size, state, file.license, f"{origin}{note}"


def _origin(address: str) -> str:
    """Return the dataset and the commit at the Hub, or else the host."""
    hub = parse_hub_url(address)
    return f"{hub.repository} at {hub.revision[:7]}" if hub else host_of(address)


def manual_lines(plan: DownloadPlan) -> Iterator[str]:
    """Yield a line for each file to download manually, and one that says how."""
    manual = [file for file in plan.files if file.state == "manual"]
    if manual:
        yield "to download manually:"
    for file in manual:
        yield f"  {plan.folder / 'raw' / file.name / file.path}"
        yield f"    {file.instructions}"


def format_bytes(count: float) -> str:
    """Return `999 bytes` or `1.5 GB`, in units of 1000."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"
