"""The schema files are up to date and are rewritten if they are not."""

from pathlib import Path

from imp_data.manifests.json_schemas import (
    SCHEMA_MODELS,
    schema_path,
    schema_text,
    stale_schemas,
    write_schemas,
)
from tests.manifests.test_manifests import SCHEMAS


def test_the_schemas_in_the_repository_are_up_to_date() -> None:
    assert stale_schemas(SCHEMAS) == []
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{n}.schema.json" for n in SCHEMA_MODELS}


def test_a_schema_that_is_stale_or_absent_is_written(tmp_path: Path) -> None:
    assert write_schemas(tmp_path) == list(SCHEMA_MODELS)
    schema_path(tmp_path, "source").write_text("{}")
    schema_path(tmp_path, "ledger").unlink()
    assert stale_schemas(tmp_path) == ["source", "ledger"]
    assert write_schemas(tmp_path) == ["source", "ledger"]
    assert write_schemas(tmp_path) == []
    assert schema_path(tmp_path, "ledger").read_text(encoding="utf-8") == schema_text("ledger")
