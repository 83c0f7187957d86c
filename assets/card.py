"""card: README.md of the mixture, in the form of the Hub."""

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import format_bytes
from imp_data.pipeline.build import Build
from imp_data.pipeline.card_stage import write_card


def card_asset(build: Build) -> dg.AssetsDefinition:
    """Return the asset of the card beside the mixture's shards."""
    path = build.data.mixture(build.recipe.mixture.name) / "README.md"

    @stage_asset(
        build,
        "card",
        after=["mixture", *(["duplicates"] if build.reports_duplicates else [])],
        kinds={"python", "markdown"},
        description="The dataset card: composition, dropped records, licences, near-duplicates.",
        group="mixture",
    )
    def card() -> Result:
        result = write_card(build)
        text = path.read_text(encoding="utf-8")
        metadata = {"card": dg.MetadataValue.md(_body(text))}
        return materialize_result(result, format_bytes(len(text.encode())), metadata, path=path)

    return card


def _body(text: str) -> str:
    """Return the card without its metadata, cut to the size of a metadata value."""
    _, mark, rest = text.removeprefix("---\n").partition("\n---\n")
    return (rest if mark and text.startswith("---\n") else text)[:40_000]
