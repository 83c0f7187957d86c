"""Paths in an object store that fsspec reaches by URL, and the errors of such a store."""

import io
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PosixPath
from typing import IO, Any, Self

import fsspec
from fsspec import AbstractFileSystem
from fsspec.registry import known_implementations, registry

from imp_data.errors import UserError

_EXTRAS = {"s3": "pip install 'imp-data[s3]'", "s3a": "pip install 'imp-data[s3]'"}
_CREDENTIALS = (
    " (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), then run the "
    "same command again"
)
# The packages that raise a store's errors; fsspec turns some of them into plain OSErrors.
_CLIENTS = {"botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "azure", "adlfs"}


class ObjectPath(PosixPath):
    """A path such as `s3://bucket/folder/file`.

    Names, parents and parts work as for any Path. The I/O methods below send requests to the store;
    every other one raises TypeError, because the operating system does not know the path.
    """

    @property
    def protocol(self) -> str:
        """The URL's scheme."""
        return self.parts[0].removesuffix(":")

    @cached_property
    def fs(self) -> AbstractFileSystem:
        """The store's file system, one instance per process and set of options."""
        kind = fsspec.get_filesystem_class(self.protocol)
        # The bucket or host alone: a key may contain what looks like an option.
        options = kind._get_kwargs_from_urls(f"{self.protocol}://{''.join(self.parts[1:2])}")
        # No listings cache, because other processes write too.
        return fsspec.filesystem(self.protocol, **{**options, "use_listings_cache": False})

    @cached_property
    def key(self) -> str:
        """The path's name within `fs`."""
        return str(fsspec.get_filesystem_class(self.protocol)._strip_protocol(str(self)))

    def __str__(self) -> str:
        text = super().__str__()
        # Path collapses the two slashes. A path relative to a folder begins with no protocol.
        first, _, rest = text.partition("/")
        return f"{first}//{rest}" if _is_protocol(first) else text

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is in an object store and no path of the operating system")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and super().__eq__(other)

    __hash__ = PosixPath.__hash__

    @property
    def parent(self) -> Self:
        return self if self._is_bucket() else super().parent

    @property
    def parents(self) -> Sequence[Self]:
        found = list[Self]()
        path = self
        while not path._is_bucket():
            path = path.parent
            found.append(path)
        return found

    def _is_bucket(self) -> bool:
        return len(self.parts) <= 2

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> Self:
        return self

    def resolve(self, strict: bool = False) -> Self:
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        info = self.fs.info(self.key)
        mode = stat.S_IFDIR if info["type"] == "directory" else stat.S_IFREG
        return os.stat_result((mode, 0, 0, 1, 0, 0, int(info["size"] or 0), 0, 0, 0))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._mode() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._mode() == stat.S_IFREG

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._mode() == stat.S_IFDIR

    def is_symlink(self) -> bool:
        return False

    def _mode(self) -> int | None:
        try:
            with store_errors(self):
                return stat.S_IFMT(self.stat().st_mode)
        except FileNotFoundError:
            return None

    def iterdir(self) -> Generator[Self, None, None]:
        for name in self.fs.ls(self.key, detail=False):
            yield self / name.rstrip("/").rpartition("/")[2]

    def open(self, mode: str = "r", *_: Any, **options: Any) -> IO[Any]:  # type: ignore[override]
        file = self.fs.open(self.key, mode.replace("t", "").rstrip("b") + "b")
        return file if "b" in mode else io.TextIOWrapper(file, **options)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a store makes the folders of an object with the object."""

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self.fs.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise


def object_path(path: Path) -> ObjectPath:
    """Return `path`, which the caller knows to be in an object store."""
    assert isinstance(path, ObjectPath), f"{path} is on this machine"
    return path


def _is_protocol(first: str) -> bool:
    name = first.removesuffix(":")
    return first != name and (name in known_implementations or name in registry)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise UserError if the store refuses access or does not answer; pass on all other errors."""
    try:
        yield
    except (UserError, FileNotFoundError, FileExistsError):
        raise
    except ImportError as error:
        raise missing_package(str(path), error) from error
    except Exception as error:
        if not isinstance(path, ObjectPath) or not _is_store_error(error):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, PermissionError):
            problem, remedy = f"access is denied ({why})", "grant it or set other credentials"
        else:
            problem, remedy = (
                f"the store does not respond ({why})",
                "correct its address or settings",
            )
        raise UserError(path, problem, remedy + _CREDENTIALS) from error


def _is_store_error(error: BaseException) -> bool:
    if isinstance(error, PermissionError | ConnectionError | TimeoutError):
        return error.filename is None  # else it concerns a local file
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__module__.partition(".")[0] in _CLIENTS:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def missing_package(url: str, error: ImportError) -> UserError:
    """Return the error for a protocol whose package is not installed."""
    remedy = _EXTRAS.get(url.partition(":")[0], "install it with pip, on every node")
    return UserError(url, f"needs a package that is not installed ({error})", remedy)
