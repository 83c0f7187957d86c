"""card: README.md of the mixture, as the Hub shows it."""

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import size
from imp_data.pipeline.build import Build
from imp_data.pipeline.card_stage import write_card


def card_asset(build: Build) -> dg.AssetsDefinition:
    """The card beside the mixture's shards."""
    path = build.data.mixture(build.recipe.mixture.name) / "README.md"

    @stage(
        build,
        "card",
        after=["mixture", *(["neighbours"] if build.reports_neighbours else [])],
        kinds={"python", "markdown"},
        description="The dataset card: composition beside the paper's, losses, licences, "
        "what it says twice.",
        group="mixture",
    )
    def card() -> Result:
        result = write_card(build)
        text = path.read_text(encoding="utf-8")
        told = {"card": dg.MetadataValue.md(_body(text))}
        return report(result, size(len(text.encode())), told, path=path)

    return card


def _body(text: str) -> str:
    """Without the Hub's front matter, and no longer than a metadata value should be."""
    _, mark, rest = text.removeprefix("---\n").partition("\n---\n")
    return (rest if mark and text.startswith("---\n") else text)[:40_000]
