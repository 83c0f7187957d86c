"""Read several files of one mixture consistently while a build may replace it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import is_mixture_file
from imp_data.mixture.mixture_json import MANIFEST
from imp_data.storage.digests import file_sizes, file_version
from imp_data.storage.object_path import store_errors
from imp_data.storage.object_store import exists
from imp_data.storage.replace_folder import check_not_moved

# The ledger alone can be queried, without the rest of its mixture.
_LEDGER = "ledger.parquet"


@contextmanager
def consistent_read(folder: Path) -> Iterator[None]:
    """Guarantee that all the block reads belongs to one mixture.

    Raise UserError if a build is replacing the mixture, was killed while replacing it, or replaced
    it while the block ran. Leave a folder without any file of a mixture to the block.
    """
    with store_errors(folder):
        version = _version(folder)
        if version is None:
            _check_not_partial(folder)
        try:
            yield
        except Exception as error:
            if _version(folder) != version:
                raise _replaced(folder) from error
            raise
        if _version(folder) != version:
            raise _replaced(folder)


def _version(folder: Path) -> Any:
    """Return a value that changes with the mixture; None without a mixture.json."""
    return file_version(folder / MANIFEST)


def _check_not_partial(folder: Path) -> None:
    check_not_moved(folder)
    if exists(folder) and any(is_mixture_file(n) and n != _LEDGER for n in file_sizes(folder)):
        raise UserError(
            folder,
            f"holds no {MANIFEST}: a build is replacing this mixture, or was killed as it did so",
            "run the same command again after the build ends; if none is running, build the "
            "mixture again",
        )


def _replaced(folder: Path) -> UserError:
    return UserError(
        folder, "was replaced by a build while it was read", "run the same command again"
    )
