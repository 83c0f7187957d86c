"""A mixture's folder as readers find it: all they read is of one mixture, or they say why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import is_ours
from imp_data.mixture.mixture_json import MANIFEST
from imp_data.storage.digests import file_sizes, file_version
from imp_data.storage.object_path import store_errors
from imp_data.storage.object_store import is_there
from imp_data.storage.replace_folder import check_not_moved

# Of help by itself: who has no more of a mixture may still ask it.
_LEDGER = "ledger.parquet"


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Hold what the block reads to one mixture.

    Raises UserError where a build is replacing the mixture, was killed as it did, or has replaced
    it meanwhile. A folder that holds nothing of a mixture is left to the block.
    """
    with store_errors(folder):
        begun = _version(folder)
        if begun is None:
            _check_not_half(folder)
        try:
            yield
        except Exception as error:
            if _version(folder) != begun:
                raise _replaced(folder) from error
            raise
        if _version(folder) != begun:
            raise _replaced(folder)


def _version(folder: Path) -> Any:
    """What is another once the mixture is another; None where there is no mixture.json."""
    return file_version(folder / MANIFEST)


def _check_not_half(folder: Path) -> None:
    check_not_moved(folder)
    if is_there(folder) and any(is_ours(n) and n != _LEDGER for n in file_sizes(folder)):
        raise UserError(
            folder,
            f"holds no {MANIFEST}: a build is replacing this mixture, or was killed as it did",
            "run the same command again when the build has ended; if none is running, build the "
            "mixture again",
        )


def _replaced(folder: Path) -> UserError:
    return UserError(
        folder, "was replaced by a build while it was read", "run the same command again"
    )
