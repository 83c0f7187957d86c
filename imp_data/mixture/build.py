"""Build a mixture's folder: sampled records in shuffled Arrow shards, ledger and mixture.json."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imp_data.mixture.arrow_dataset import is_mixture_file, write_index
from imp_data.mixture.ledger_writer import SourceInputs, write_ledger
from imp_data.mixture.mixture_json import manifest_digest
from imp_data.mixture.shards import write_shards
from imp_data.sample import sample_schema
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.storage.digests import file_sha256
from imp_data.storage.paths import in_scratch


def build_mixture(
    folder: Path,
    sources: Sequence[SourceInputs],
    seed: int,
    shard_rows: int,
    facts: dict[str, Any],
    is_built_card: Callable[[Path], bool] = lambda _: False,
) -> dict[str, Any]:
    """Write the folder of a mixture, completely or not at all; return the content of mixture.json.

    Other files in the folder stay. One run at a time may write the folder.

    `facts` describe the inputs and become part of mixture.json; with `max_images` above 1 among
    them, the Samples have lists of images. `is_built_card` returns whether a
    file is a card that the build wrote: it describes the previous mixture, and is removed with it.
    """

    schema = sample_schema(facts.get("max_images", 1))

    def is_replaced(path: Path) -> bool:
        return is_mixture_file(path.name) or is_built_card(path)

    with write_atomically(folder, "mixture.json", alone=True, ours=is_replaced) as aside:
        aside.mkdir(parents=True)
        # This process writes the ledger while the workers write the shards.
        with ThreadPoolExecutor(1) as thread:
            ledger = thread.submit(write_ledger, aside / "ledger.parquet", sources)
            alone = in_scratch(aside)  # other machines see it once it is there
            order = (seed + 1, shard_rows)
            total, digests = write_shards(aside, sources, *order, here=alone, schema=schema)
            parts = ledger.result()
        write_index(aside, digests, total, schema)
        manifest = _manifest(aside, parts, total, facts, digests)
        write_text(aside / "mixture.json", json_text(manifest))
    return manifest


def _manifest(
    folder: Path,
    parts: dict[str, dict[str, Any]],
    total: int,
    facts: dict[str, Any],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Return mixture.json, without times and paths: equal inputs give equal bytes."""
    files = {
        path.name: {
            "sha256": digests.get(path.name) or file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    manifest = {**facts, "rows": total, "parts": _add_counts(facts["parts"], parts), "files": files}
    return {**manifest, "digest": manifest_digest(manifest)}


def _add_counts(
    stated: list[dict[str, Any]], counted: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    return [{**part, **counted[part["source"]]} for part in stated]
