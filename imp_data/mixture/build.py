"""The mixture stage: what was drawn, shuffled into Arrow shards, with its ledger and manifest."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imp_data.mixture.arrow_dataset import is_ours, write_index
from imp_data.mixture.ledger_writer import SourceInputs, write_ledger
from imp_data.mixture.mixture_json import root_digest
from imp_data.mixture.shards import write_shards
from imp_data.storage.atomic_write import json_text, write_text, written_aside
from imp_data.storage.digests import file_sha256
from imp_data.storage.paths import in_scratch


def build_mixture(
    folder: Path,
    shares: Sequence[SourceInputs],
    seed: int,
    shard_rows: int,
    facts: dict[str, Any],
    card: Callable[[Path], bool] = lambda _: False,
) -> dict[str, Any]:
    """Write the folder of a mixture, whole or not at all; returns what mixture.json says.

    Files of others in the folder stay. One run at a time may write it.

    `facts` are what the caller knows of the inputs; they become part of mixture.json. `card` says
    whether a file is a card that the build wrote: it tells of the mixture before, and goes with it.
    """

    def goes(path: Path) -> bool:
        return is_ours(path.name) or card(path)

    with written_aside(folder, "mixture.json", alone=True, ours=goes) as aside:
        aside.mkdir(parents=True)
        # The workers make the shards; this process has time for the ledger meanwhile.
        with ThreadPoolExecutor(1) as beside:
            settled = beside.submit(write_ledger, aside / "ledger.parquet", shares)
            alone = in_scratch(aside)  # other machines see it once it is there
            total, digests = write_shards(aside, shares, seed + 1, shard_rows, here=alone)
            parts = settled.result()
        write_index(aside, digests, total)
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
    """mixture.json: no times, no paths, so that equal inputs give equal bytes."""
    files = {
        path.name: {
            "sha256": digests.get(path.name) or file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    manifest = {**facts, "rows": total, "parts": _with(facts["parts"], parts), "files": files}
    return {**manifest, "digest": root_digest(manifest)}


def _with(stated: list[dict[str, Any]], counted: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**part, **counted[part["source"]]} for part in stated]
