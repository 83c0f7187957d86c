"""What the Hugging Face Hub states about files: size, sha256, Xet storage, and lists of files.

huggingface_hub makes these requests; it follows the redirects of renamed repositories. Its
`hf_hub_download` is not used: since release 2 it deletes the received part of a file when a
download ends early (huggingface_hub pull request 4228), and downloads here resume. `download`
requests the bytes itself, or `receive_xet` streams them with hf_xet.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.manifests.hub_address import HUGGING_FACE, HubFile, parse_hub_url
from imp_data.raw.http_response import DownloadError, RetryableError, parse_retry_after
from imp_data.redaction import redact_logs
from imp_data.storage.globs import matches_glob

_SHA256_DIGITS = 64
_METADATA_SECONDS = 30.0
_WILD = frozenset("*?[")


class HubEntry(NamedTuple):
    """A file of a repository: path, size, and sha256 unless git itself holds the file."""

    path: str
    bytes: int
    sha256: str | None


class HubMetadata(NamedTuple):
    """Size and sha256 of a file, None if the Hub states none; `xet` if Xet storage has it."""

    bytes: int | None
    sha256: str | None
    xet: Any = None


def hub_endpoint() -> str:
    """Return the address of the Hub: HF_ENDPOINT, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUGGING_FACE


def hub_token() -> str | None:
    """Return HF_TOKEN. The token file of huggingface_hub is never read."""
    return os.environ.get("HF_TOKEN", "").strip() or None


def hub_file(url: str) -> HubFile | None:
    """Return the file of the Hub that an address names, None for another address."""
    return parse_hub_url(url, hub_endpoint())


def request_url(url: str) -> str:
    """Return the address to request: HF_ENDPOINT replaces huggingface.co."""
    hub = hub_file(url)
    return url if hub is None else hub.url(hub_endpoint())


def request_metadata(file: HubFile) -> HubMetadata:
    """Ask the Hub for the size and sha256 of a file with a HEAD request.

    Raise DownloadError with a remedy if it refuses, RetryableError for a transient error.
    """
    from huggingface_hub import get_hf_file_metadata

    with hub_errors(file):
        found = get_hf_file_metadata(
            file.url(hub_endpoint()),
            token=hub_token() or False,
            timeout=_METADATA_SECONDS,
            endpoint=hub_endpoint(),
        )
    if found.commit_hash not in (None, file.revision) and len(file.revision) == 40:
        raise DownloadError(f"is of commit {found.commit_hash}, not of the one in the address")
    etag = found.etag or ""
    is_sha256 = len(etag) == _SHA256_DIGITS and set(etag) <= set("0123456789abcdef")
    return HubMetadata(found.size, etag if is_sha256 else None, found.xet_file_data)


def resolve_hub_revision(file: HubFile) -> str:
    """Return the commit of a revision: a branch, a tag or a commit.

    Raise DownloadError with a remedy, or RetryableError.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub_endpoint(), token=hub_token() or False)
    with hub_errors(file):
        found = api.repo_info(file.repository, revision=file.revision, repo_type=file.kind)
    return str(found.sha)


def list_hub_files(pattern: HubFile) -> list[HubEntry]:
    """Return the files of a repository that the glob in `path` matches, sorted by path.

    Globs match as in `matching_files`. Raise DownloadError with a remedy, or RetryableError.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=hub_endpoint(), token=hub_token() or False)
    with hub_errors(pattern):
        tree = list(
            api.list_repo_tree(
                pattern.repository,
                _literal_folder(pattern.path) or None,
                recursive=True,
                revision=pattern.revision,
                repo_type=pattern.kind,
            )
        )
    found = [
        HubEntry(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
        for entry in tree
        if isinstance(entry, RepoFile)
        and matches_glob(entry.path, pattern.path)
        and not entry.path.rpartition("/")[2].startswith(".")
    ]
    if not found:
        raise _no_match(pattern)
    return sorted(found)


def refuse_access(page: str, status: int) -> DownloadError:
    """Return the error for a file of the repository `page` that not everybody may read."""
    remedy = f"accept its licence at {page}, and set HF_TOKEN to a token of that account"
    if hub_token():
        remedy = f"accept its licence at {page} with the account of HF_TOKEN, and let it read there"
    return DownloadError(f"answers HTTP {status}: authentication required", remedy)


def _literal_folder(pattern: str) -> str:
    """Return the folders of a glob up to the first wildcard."""
    steps = pattern.split("/")[:-1]
    wild = next((n for n, step in enumerate(steps) if _WILD & set(step)), len(steps))
    return "/".join(steps[:wild])


def _no_match(pattern: HubFile) -> DownloadError:
    tree = f"{pattern.page(hub_endpoint())}/tree/{pattern.revision}"
    return DownloadError(f"matches no file of {pattern.repository}", f"compare it with {tree}")


@contextmanager
def hub_errors(file: HubFile) -> Iterator[None]:
    """Turn errors of huggingface_hub into those of downloads."""
    import httpx2
    from huggingface_hub import errors

    redact_logs()  # huggingface_hub logs addresses
    try:
        yield
    except errors.OfflineModeIsEnabled:
        remedy = "unset HF_HUB_OFFLINE, or put the file there yourself"
        raise UserError("HF_HUB_OFFLINE", "forbids requests to the Hub", remedy) from None
    except errors.HfHubHTTPError as error:
        raise _refusal(file, error) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise RetryableError(str(error) or type(error).__name__, unreachable=True) from None
    except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise RetryableError(str(error) or type(error).__name__) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        # The message of a ValueError may quote a body.
        raise DownloadError(f"cannot be asked about ({type(error).__name__})") from None


def _refusal(file: HubFile, error: Any) -> Exception:
    """Return the error for a refused request, with what to do."""
    from huggingface_hub import errors

    status, page = error.response.status_code, file.page(hub_endpoint())
    if status in (408, 429) or status >= 500:
        pause = parse_retry_after(error.response.headers.get("Retry-After", ""))
        return RetryableError(f"HTTP {status}", pause)
    if isinstance(error, errors.GatedRepoError):
        return refuse_access(page, status)
    if isinstance(error, errors.RepositoryNotFoundError):
        return DownloadError(
            f"answers HTTP {status}: {page} does not exist, or is private",
            "correct its name; for a private one set HF_TOKEN to a token that may read it",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DownloadError(
            f"answers HTTP {status}: {file.repository} has no revision {file.revision}",
            f"choose a commit at {page}/commits/main",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return DownloadError(
            f"answers HTTP {status}: revision {file.revision} has no {file.path}",
            f"correct the path; {page}/tree/{file.revision} lists the files",
        )
    if status == 401 and hub_token():
        remedy = "set HF_TOKEN to a valid token of https://huggingface.co/settings/tokens"
        return DownloadError("answers HTTP 401: HF_TOKEN is not valid", remedy)
    if status in (401, 403):
        return refuse_access(page, status)
    return DownloadError(f"answers HTTP {status}")
