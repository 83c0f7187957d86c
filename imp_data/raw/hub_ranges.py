"""Read the files of a dataset of the Hub by byte ranges, as paths in an object store."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import orjson
from fsspec import AbstractFileSystem

from imp_data.errors import UserError
from imp_data.manifests.hub_address import HubFile
from imp_data.raw.http_response import DownloadError, RetryableError
from imp_data.raw.hub_client import hub_endpoint, hub_errors, hub_token
from imp_data.raw.retries import Attempts
from imp_data.storage.atomic_write import write_text
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.range_reader import BLOCK_BYTES

_PROTOCOL = "hub-files:"
_ROOT = "files"
_SECONDS = 60.0
# Readers open a Parquet file several times, and read its footer each time. 32 MiB at most.
_RANGES_KEPT = 8
_AGAIN = "run the same command again in some minutes"


class HubFiles(NamedTuple):
    """The files of a dataset at a commit: {path: (bytes, version)}.

    `local` maps the paths of files that were downloaded to their copies on this machine.
    """

    repository: str
    commit: str
    files: Mapping[str, tuple[int, str]]
    local: Mapping[str, str] = {}

    def address(self, path: str) -> HubFile:
        """Return the address of a file."""
        return HubFile("dataset", self.repository, self.commit, path)


def hub_folder(description: Path, files: HubFiles) -> "HubPath":
    """Write a description of the files for other processes; return the folder of their sources.

    The files are below `folder / NAME`, with any NAME: each source of a build has such a folder.
    """
    write_text(description, orjson.dumps(files._asdict()).decode())
    return HubPath(_PROTOCOL, quote(str(description.absolute()), safe=""))


class HubPath(ObjectPath):
    """A file of a dataset of the Hub; see `hub_folder`.

    Not the paths of HfFileSystem, which asks the Hub for the state of a file at each access, and
    reads the token file of huggingface_hub.
    """

    @cached_property
    def fs(self) -> AbstractFileSystem:
        """The files of the dataset."""
        return _open_description(unquote(self.parts[1]))

    @cached_property
    def key(self) -> str:
        """The path in the repository, below a root with a name: listings are relative to it."""
        return "/".join((_ROOT, *self.parts[3:]))

    def __str__(self) -> str:
        if self.parts[:1] != (_PROTOCOL,):
            return super().__str__()  # relative to a folder
        files: HubFiles = self.fs.hub_files
        whole = f"hf://datasets/{files.repository}@{files.commit[:8]}"
        return "/".join((whole, *self.parts[3:]))


@lru_cache(maxsize=4)
def _open_description(path: str) -> "_HubFileSystem":
    found = orjson.loads(Path(path).read_bytes())
    return _HubFileSystem(HubFiles(**found))


class _HubFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The files of `HubFiles` for readers of objects; it lists without a request."""

    protocol = _PROTOCOL
    cachable = False

    def __init__(self, files: HubFiles) -> None:
        super().__init__()
        self.hub_files = files
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.strip("/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return size and version of a file. Raise FileNotFoundError if there is none."""
        if found := self.hub_files.files.get(path.removeprefix(f"{_ROOT}/")):
            return {"name": path, "type": "file", "size": found[0], "ETag": found[1]}
        if path in self._folders:
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    @cached_property
    def _folders(self) -> dict[str, dict[str, None]]:
        """The names in each folder."""
        folders: dict[str, dict[str, None]] = {_ROOT: {}}
        for name in self.hub_files.files:
            steps = [_ROOT, *name.split("/")]
            for count in range(1, len(steps)):
                folders.setdefault("/".join(steps[:count]), {})["/".join(steps[: count + 1])] = None
        return folders

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder. Raise FileNotFoundError if there is none."""
        if path not in self._folders:
            raise FileNotFoundError(path)
        names = sorted(self._folders[path])
        return [self.info(name) for name in names] if detail else names

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a range of a file. Raise UserError if the Hub does not send it."""
        path = path.removeprefix(f"{_ROOT}/")
        if path not in self.hub_files.files:
            raise FileNotFoundError(path)
        size = self.hub_files.files[path][0]
        begin, until = start or 0, size if end is None else min(end, size)
        if begin >= until:
            return b""
        if copy := self.hub_files.local.get(path):
            with open(copy, "rb") as file:
                file.seek(begin)
                return file.read(until - begin)
        data = self._kept.pop((path, begin, until), None)
        if data is None:
            data = _read_range(self.hub_files.address(path), begin, until)
        if len(data) <= BLOCK_BYTES:
            self._kept[path, begin, until] = data
            while len(self._kept) > _RANGES_KEPT:
                self._kept.popitem(last=False)
        return data


def _read_range(file: HubFile, begin: int, end: int) -> bytes:
    attempts = Attempts()
    where = f"{file.page(hub_endpoint())}, {file.path}"
    while True:
        try:
            return _request_range(file, begin, end)
        except RetryableError as error:
            try:
                attempts.wait(error)
            except DownloadError as last:
                raise UserError(where, str(last), last.remedy or _AGAIN) from None
        except DownloadError as error:
            raise UserError(where, str(error), error.remedy or _AGAIN) from None


def _request_range(file: HubFile, begin: int, end: int) -> bytes:
    """Request a range once; the client drops HF_TOKEN if a redirect leaves the host."""
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import get_session, hf_raise_for_status

    headers = build_hf_headers(token=hub_token() or False)
    headers |= {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
    url = file.url(hub_endpoint())
    with (
        hub_errors(file),
        get_session().stream(
            "GET", url, headers=headers, timeout=_SECONDS, follow_redirects=True
        ) as response,
    ):
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if response.status_code != 206:
            raise DownloadError(f"answers HTTP {response.status_code} to a request for a range")
        data: bytes = response.read()
    if len(data) != end - begin:
        raise RetryableError(f"sent {len(data):,} of {end - begin:,} bytes")
    return data
