"""What a mixture needs before its first byte is fetched: places, manual downloads, a network."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from imp_data.errors import UserError
from imp_data.manifests import File, Published
from imp_data.pipeline.missing_inputs import Places
from imp_data.pipeline.sampling_inputs import Draws
from imp_data.raw.fetch import OFFLINE, Manual, host_of, manual, mirrors_from_environment
from imp_data.storage.object_store import is_there

_CONNECT_SECONDS = 5.0
_TRIES = 2


def check_inputs(build: Draws) -> None:
    """Raise one UserError for all places that are not there; one if no server can be reached."""
    if build.recipe.mixture.drawn:
        return
    unbuilt = [name for name in build.recipe.sources if not is_there(build.stamp(f"images/{name}"))]
    looked_up = [] if build.deferred else unbuilt
    missing = Places(build.recipe, build.reader(tuple(build.recipe.images))).missing(looked_up)
    if missing:
        lines = "".join(f"\n  {line}" for line in missing)
        remedy = "correct these lines, or put there what they name"
        raise UserError(build.name, f"these places are not there:{lines}", remedy)
    _check_network([file.url for _, file in _lacking(build) if file.url])


def manual_downloads(build: Draws) -> list[Manual]:
    """Every file that a person has still to download; none where a mirror may have them."""
    if build.recipe.mixture.drawn or mirrors_from_environment():
        return []
    return [
        manual(published, file, build.data.raw(published.name))
        for published, file in _lacking(build)
        if file.url is None
    ]


def _lacking(build: Draws) -> Iterator[tuple[Published, File]]:
    for name, manifests in build.published.items():
        for published in manifests:
            for file in published.files:
                if not is_there(build.data.raw(name) / file.path):
                    yield published, file


def _check_network(urls: Sequence[str]) -> None:
    """Raise UserError if there is something to fetch, and none of its servers answers."""
    addresses = mirrors_from_environment() if urls else ()
    servers = list(dict.fromkeys(map(_server, (*addresses, *urls))))
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as threads:
        troubles = list(threads.map(_trouble, servers))
    if all(troubles):
        told = "".join(
            f"\n  {host_of(server) or server}: {why}"
            for server, why in zip(servers, troubles, strict=True)
        )
        raise UserError(f"{len(urls)} files to fetch", f"no server can be reached:{told}", OFFLINE)


def _server(url: str) -> str:
    """The address of a server's root; the address itself where it is none."""
    try:
        part = urlsplit(url)
    except ValueError:
        return url
    return f"{part.scheme}://{part.netloc}/"


def _trouble(server: str) -> str | None:
    """Why a server cannot be reached; None if it answers, whatever it answers."""
    why = None
    for _ in range(_TRIES):
        try:
            httpx.head(server, timeout=_CONNECT_SECONDS)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
        except (httpx.InvalidURL, ValueError):
            return "is no address that httpx understands"
        else:
            return None
    return why
