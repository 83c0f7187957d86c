"""Dagster's SQLite storage, opened by one process at a time: two that create its tables fail.

dagster.yaml names the class, and Dagster creates the tables in the first run of a folder. The
class is part of the library because Dagster imports it before it knows the folder `assets`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from filelock import FileLock


class SharedSqliteStorage(DagsterSqliteStorage):
    """The same storage, for runs that may start at the same time."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Open the storage in `base_dir`, or create it."""
        folder = Path(config_value["base_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "opening.lock"):
            return cls.from_local(config_value["base_dir"], inst_data)
