"""Where files lie: on this machine, or in an object store that fsspec reaches by URL.

A place on this machine is a pathlib.Path. One in a store is a UPath, which has a Path's methods and
passes for one; what would be slow or unsafe by those alone is in
imp_data.storage.object_store and .range_reader.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from imp_data.errors import UserError

if TYPE_CHECKING:
    from upath import UPath

_EXTRAS = {"s3": "pip install 'imp-data[s3]'", "s3a": "pip install 'imp-data[s3]'"}
_CREDENTIALS = (
    " (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), then run the "
    "same command again"
)
# What their errors come from; fsspec makes plain OSErrors of some of them.
_CLIENTS = {"botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "azure", "adlfs"}


def place(text: str) -> Path:
    """The folder or file that a path or URL names.

    Raises UserError where fsspec does not know the protocol or lacks a package for it.
    """
    protocol, mark, rest = text.partition("://")
    if not mark:
        return Path(at_home(text))
    if protocol in ("file", "local"):
        return Path(at_home(rest))
    import fsspec
    from upath import UPath

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise _lacking(text, error) from error
    except ValueError as error:
        remedy = "name a folder, or a URL such as s3://bucket/folder"
        raise UserError(text, f"is no URL that fsspec knows ({error})", remedy) from error
    # Listings are not to be remembered: other processes write too.
    return cast(Path, UPath(text.rstrip("/"), use_listings_cache=False))


def at_home(path: str) -> str:
    """The path with `~` or `~ann` expanded, as a shell does it; unchanged if there is no such user.

    Raises UserError where `~` has no meaning, since the folder named `~` is never meant.
    """
    expanded = os.path.expanduser(path)
    if expanded.split("/")[0] == "~":
        raise UserError(path, "begins with ~, but no home directory is known", "set HOME")
    return expanded


def _lacking(url: str, error: ImportError) -> UserError:
    remedy = _EXTRAS.get(url.partition(":")[0], "install it with pip, on every node")
    return UserError(url, f"needs a package that is not installed ({error})", remedy)


def in_store(path: Path) -> "UPath | None":
    """The path as one in a store; None if it is on this machine."""
    return None if isinstance(path, Path) else path


def there(path: Path) -> "UPath":
    """`path`, of which the caller knows that it is in an object store."""
    found = in_store(path)
    assert found is not None, f"{path} is on this machine"
    return found


@contextmanager
def reached(path: Path) -> Iterator[None]:
    """A store that refuses or does not answer becomes a UserError; nothing else changes."""
    try:
        yield
    except (UserError, FileNotFoundError, FileExistsError):
        raise
    except ImportError as error:
        raise _lacking(str(path), error) from error
    except Exception as error:
        if in_store(path) is None or not _of_store(error):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, PermissionError):
            problem, remedy = f"access is denied ({why})", "grant it or set other credentials"
        else:
            problem, remedy = f"the store gives no answer ({why})", "mend its address or settings"
        raise UserError(path, problem, remedy + _CREDENTIALS) from error


def _of_store(error: BaseException) -> bool:
    if isinstance(error, PermissionError | ConnectionError | TimeoutError):
        return error.filename is None  # else it is about a file of this machine
    told: BaseException | None = error
    while told is not None:
        if type(told).__module__.partition(".")[0] in _CLIENTS:
            return True
        told = told.__cause__ or told.__context__
    return False


def scratch(target: Path) -> Path:
    """Where on this machine a file or folder for a store is made: below IMP_SCRATCH, if set.

    The same for each attempt, so that what a killed one left is found.
    """
    named = os.environ.get("IMP_SCRATCH", "").strip()
    folder = Path(
        at_home(named) or Path(tempfile.gettempdir()) / f"imp-data-{os.getuid()}"
    ).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise UserError(folder, "belongs to another user", "set IMP_SCRATCH to a folder of yours")
    return folder / f"{hashlib.sha256(str(target).encode()).hexdigest()[:16]}-{target.name}"
