"""JSON Schemas of manifests, Samples and the ledger; `imp-data schemas` writes them."""

import json
from pathlib import Path

from pydantic import BaseModel

from imp_data.errors import UserError
from imp_data.ledger import LedgerRow
from imp_data.manifests import Benchmark, ImageCollection, Mixture, Source
from imp_data.manifests.model import Model
from imp_data.sample import Sample
from imp_data.storage.atomic_write import write_text
from imp_data.storage.small_files import read_small

SCHEMA_MODELS: dict[str, type[BaseModel]] = {
    "source": Source,
    "images": ImageCollection,
    "benchmark": Benchmark,
    "mixture": Mixture,
    "model": Model,
    "sample": Sample,
    "ledger": LedgerRow,
}


def schema_text(name: str) -> str:
    """Return the text of one schema file."""
    schema = SCHEMA_MODELS[name].model_json_schema(by_alias=True)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_path(folder: Path, name: str) -> Path:
    """Return the path of one schema file."""
    return folder / f"{name}.schema.json"


def write_schemas(folder: Path) -> list[str]:
    """Write all schemas; return the names of those that changed."""
    changed = stale_schemas(folder)
    for name in changed:
        path = schema_path(folder, name)
        try:
            write_text(path, schema_text(name))
        except OSError as error:
            remedy = "name a folder with --folder in which these files can be written"
            raise UserError(path, f"cannot be written ({error.strerror})", remedy) from None
    return changed


def stale_schemas(folder: Path) -> list[str]:
    """Return the names of schemas whose file is absent or out of date."""
    return [
        name for name in SCHEMA_MODELS if _is_stale(schema_path(folder, name), schema_text(name))
    ]


def _is_stale(path: Path, text: str) -> bool:
    expected = text.encode()
    try:
        return not path.is_file() or read_small(path, len(expected), "") != expected
    except UserError:  # longer, or unreadable
        return True
