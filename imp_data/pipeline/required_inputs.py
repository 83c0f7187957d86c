"""Check before any download what a mixture needs: paths, manual downloads, the network."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from imp_data.errors import UserError
from imp_data.manifests import Publication, UpstreamFile
from imp_data.pipeline.missing_inputs import InputPaths
from imp_data.pipeline.sampling_inputs import SamplingInputs
from imp_data.raw.fetch import (
    OFFLINE_REMEDY,
    ManualDownload,
    host_of,
    manual_download,
    mirrors_from_environment,
)
from imp_data.raw.hub_client import request_url
from imp_data.storage.object_store import exists

_CONNECT_SECONDS = 5.0
_TRIES = 2


def check_inputs(build: SamplingInputs) -> None:
    """Raise one UserError for all missing paths, and one if no server can be reached."""
    if build.recipe.mixture.drawn:
        return
    unbuilt = [name for name in build.recipe.sources if not exists(build.stamp(f"images/{name}"))]
    compared = [] if build.deferred else unbuilt
    missing = InputPaths(build.recipe, build.reader(tuple(build.recipe.images))).missing(compared)
    if missing:
        lines = "".join(f"\n  {line}" for line in missing)
        remedy = "correct these lines, or provide the files and folders that they name"
        raise UserError(build.name, f"these paths do not exist:{lines}", remedy)
    _check_network([request_url(file.url) for _, file in _missing_files(build) if file.url])


def manual_downloads(build: SamplingInputs) -> list[ManualDownload]:
    """Return the files still to download manually; none if a mirror may have them."""
    if build.recipe.mixture.drawn or mirrors_from_environment():
        return []
    return [
        manual_download(published, file, build.data.raw(published.name))
        for published, file in _missing_files(build)
        if file.url is None
    ]


def _missing_files(build: SamplingInputs) -> Iterator[tuple[Publication, UpstreamFile]]:
    for name, manifests in build.published.items():
        for published in manifests:
            listed = build.locks.expand(published) if build.locks else published
            for file in listed.files:
                is_needed = not published.is_optional(file)
                if is_needed and not exists(build.data.raw(name) / file.path):
                    yield published, file


def _check_network(urls: Sequence[str]) -> None:
    """Raise UserError if there are files to download and none of their servers answers."""
    addresses = mirrors_from_environment() if urls else ()
    servers = list(dict.fromkeys(map(_server, (*addresses, *urls))))
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as threads:
        problems = list(threads.map(_connection_problem, servers))
    if all(problems):
        lines = "".join(
            f"\n  {host_of(server) or server}: {problem}"
            for server, problem in zip(servers, problems, strict=True)
        )
        raise UserError(
            f"{len(urls)} files to fetch", f"no server can be reached:{lines}", OFFLINE_REMEDY
        )


def _server(url: str) -> str:
    """Return the root address of a URL's server; the text itself if it is no URL."""
    try:
        part = urlsplit(url)
    except ValueError:
        return url
    return f"{part.scheme}://{part.netloc}/"


def _connection_problem(server: str) -> str | None:
    """Return why a server cannot be reached; None if it answers with any status."""
    problem = None
    for _ in range(_TRIES):
        try:
            httpx.head(server, timeout=_CONNECT_SECONDS)
        except httpx.HTTPError as error:
            problem = str(error) or type(error).__name__
        except (httpx.InvalidURL, ValueError):
            return "is not a valid address"
        else:
            return None
    return problem
