"""Decide what to download: names of files, rows of one URL together, results of earlier runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from imp_data.errors import UserError
from imp_data.manifests.fields import RelativePath, Sha256
from imp_data.raw.image_urls.failure import FetchError
from imp_data.raw.image_urls.settings import FetchSettings
from imp_data.raw.image_urls.status import FailureReason, UrlStatus
from imp_data.raw.image_urls.url_list import UrlRow

ENDINGS = {"jpeg": "jpg", "tiff": "tif", "jpeg 2000": "jp2"}
_NAME: TypeAdapter[str] = TypeAdapter(RelativePath)
_SHA256: TypeAdapter[str] = TypeAdapter(Sha256)


class Wanted(NamedTuple):
    """One row whose image is to be downloaded; `stem` is its name, or its name before `{ext}`."""

    row: int
    stem: str
    sha256: str | None

    def name(self, kind: str) -> str:
        """Return the name of the file for an image of this kind."""
        return self.stem.replace("{ext}", ENDINGS.get(kind, kind))

    @property
    def stated_name(self) -> str | None:
        """The name, None if it depends on the content."""
        return None if "{ext}" in self.stem else self.stem


@dataclass(eq=False)
class Download:
    """One URL with the rows that it provides; attempts of all runs, and of this one."""

    url: str
    rows: list[Wanted] = field(default_factory=list)
    attempts: int = 0
    attempts_now: int = 0
    last_error: FetchError | None = None


class Plan(NamedTuple):
    """The statuses of all rows, in order, and the downloads that decide the pending ones."""

    statuses: list[UrlStatus]
    downloads: list[Download]


def plan_downloads(
    where: object,
    rows: Sequence[UrlRow],
    template: str | None,
    earlier: Iterable[UrlStatus],
    sizes: Mapping[str, int],
    settings: FetchSettings,
) -> Plan:
    """Plan the downloads of a list.

    `template` names files by row number, from 0: `{row}.jpg`, or `{row}.{ext}` for the ending of
    the content; None takes the names of the rows. `sizes` are the bytes of the files that exist, by
    name. Raise UserError if two rows have one name and different URLs.
    """
    statuses: list[UrlStatus] = []
    wanted: list[tuple[str, Wanted]] = []
    for number, row in enumerate(rows):
        name = _name_of(number, row, template)
        stated = None if name is None or "{ext}" in name else name
        if failure := _row_failure(row, name):
            reason, detail = failure
            statuses.append(
                UrlStatus(row.url, stated, "failed", reason.value, detail, permanent=True)
            )
            continue
        assert row.url is not None and name is not None
        statuses.append(UrlStatus(row.url, stated))
        wanted.append((row.url, Wanted(number, name, row.sha256)))
    if template is None:
        _check_distinct(where, wanted)
    downloads: dict[str, Download] = {}
    known = _by_url(earlier)
    for url, one in wanted:
        found = next((s for s in known[url] if _holds(s, one, sizes, settings)), None)
        if found is not None:
            statuses[one.row] = found
            continue
        before = max((s.attempts for s in known[url]), default=0)
        downloads.setdefault(url, Download(url, attempts=before)).rows.append(one)
    return Plan(statuses, list(downloads.values()))


def _name_of(number: int, row: UrlRow, template: str | None) -> str | None:
    return row.name if template is None else template.replace("{row}", str(number))


def _row_failure(row: UrlRow, name: str | None) -> tuple[FailureReason, str] | None:
    """Return why a row cannot be downloaded, whatever the server answers."""
    if row.problem:
        return FailureReason.BAD_ROW, row.problem
    if row.sha256 is not None:
        try:
            _SHA256.validate_python(row.sha256)
        except ValidationError:
            return FailureReason.BAD_ROW, "sha256 is not 64 hexadecimal digits"
    try:
        is_normal = _NAME.validate_python(name) == name
    except ValidationError as error:
        return FailureReason.BAD_NAME, error.errors()[0]["msg"].removeprefix("Value error, ")
    if not is_normal or name is None:
        return FailureReason.BAD_NAME, "is not in normal form: write a/b.jpg"
    # Temporary files and the status file have such names.
    if any(part.startswith(".") for part in name.split("/")):
        return FailureReason.BAD_NAME, "is the name of a hidden file"
    return None


def _check_distinct(where: object, wanted: Sequence[tuple[str, Wanted]]) -> None:
    """Raise UserError if two rows have one name, also on a case-insensitive disk, and two URLs."""
    known: dict[str, tuple[str, Wanted]] = {}
    for url, one in wanted:
        other_url, other = known.setdefault(one.stem.casefold(), (url, one))
        if other_url != url or other.stem != one.stem:
            problem = f"rows {other.row} and {one.row} have the name {one.stem} and two URLs"
            raise UserError(where, problem, "give each row another name, or name files by row")
    for _, one in wanted:
        steps = one.stem.casefold().split("/")
        for count in range(1, len(steps)):
            if found := known.get("/".join(steps[:count])):
                problem = f"{one.stem} of row {one.row} is below {found[1].stem}, which is a file"
                raise UserError(where, problem, "give each row another name")


def _by_url(earlier: Iterable[UrlStatus]) -> dict[str | None, list[UrlStatus]]:
    by_url: dict[str | None, list[UrlStatus]] = defaultdict(list)
    for status in earlier:
        if status.status != "pending":
            by_url[status.url].append(status)
    return by_url


def _holds(
    known: UrlStatus, one: Wanted, sizes: Mapping[str, int], settings: FetchSettings
) -> bool:
    """Return whether an earlier result stands for a row: its image, or a permanent failure."""
    if known.status == "ok":
        name = one.name(known.kind or "")
        fits = one.sha256 in (None, known.sha256)
        return fits and known.name == name and sizes.get(name) == known.bytes
    if known.name != one.stated_name or not known.permanent:
        return False
    match known.reason:
        case FailureReason.NOAI:
            return settings.obey_robots_tag
        case FailureReason.REFUSED_ADDRESS:
            return not settings.private_hosts  # else one of them may be meant
        case FailureReason.TOO_LARGE:
            return (known.bytes or 0) > settings.max_image_bytes
        case FailureReason.WRONG_SHA256:
            return known.sha256 is not None and one.sha256 not in (None, known.sha256)
        case _:
            return True
