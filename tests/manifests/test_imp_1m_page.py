"""docs/imp-1m-hub.md states what the manifests of the three mixtures state."""

import re
from pathlib import Path

import pytest

from imp_data.manifests import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "imp-1m-hub.md").read_text(encoding="utf-8")
MIXTURES = ROOT / "manifests" / "mixtures"
PAPER = load_recipe(MIXTURES / "imp-1m.yaml")
HUB = load_recipe(MIXTURES / "imp-1m-hub.yaml")
TEXT = load_recipe(MIXTURES / "imp-1m-text.yaml")


def table(heading: str) -> list[dict[str, str]]:
    """Return the rows of the table below a heading, by column."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def number(text: str) -> int | str:
    return int(text.replace(",", "")) if text != "all" else text


@pytest.mark.parametrize("recipe", [HUB, TEXT], ids=lambda recipe: recipe.mixture.name)
def test_rows_and_quotas_are_those_of_the_manifests(recipe: Recipe) -> None:
    name = recipe.mixture.name.replace("_", "-")
    rows = table(name)
    assert [row["imp-1m"] for row in rows] == [part.source for part in PAPER.mixture.parts]
    rows = [row for row in rows if row[name] != "none"]
    stated = [(row[name], number(row["rows"]), number(row["quota"])) for row in rows]
    assert stated == [
        (part.source, recipe.expect(part.source).rows, part.quota) for part in recipe.mixture.parts
    ]


def test_a_quota_is_that_of_the_recipe_or_all_there_is() -> None:
    quotas = {part.source: part.quota for part in PAPER.mixture.parts}
    for recipe in (HUB, TEXT):
        for row in table(recipe.mixture.name.replace("_", "-")):
            if row["quota"]:
                assert number(row["quota"]) in (quotas[row["imp-1m"]], "all")


def test_wording_images_and_licence_differ_where_the_page_says_so() -> None:
    for row in table("imp-1m-hub"):
        paper, copy = PAPER.sources[row["imp-1m"]], HUB.sources[row["imp-1m-hub"]]
        restored = copy.wording == "llava" and copy.layout == "texts"
        assert row["wording"] == ("restored, with loss" if restored else "the same")
        assert (row["images"] == "the same") == (paper.images == copy.images)
        assert row["licence"] == "the same"
        assert paper.license == copy.license
        if paper.name == copy.name:
            assert set(row.values()) >= {"the same"}


@pytest.mark.parametrize("recipe", [HUB, TEXT], ids=lambda recipe: recipe.mixture.name)
def test_seed_exclusions_and_decontamination_are_those_of_the_recipe(recipe: Recipe) -> None:
    paper, other = PAPER.mixture, recipe.mixture
    assert (other.seed, other.paper, other.limits) == (paper.seed, paper.paper, paper.limits)
    assert [d.benchmark for d in other.decontaminate] == ["textvqa"]
    assert [d.max_distance_bits for d in other.decontaminate] == [10]
    assert other.kind_exclusions == paper.kind_exclusions
    assert [rule.name for rule in other.exclusion_rules] == (["sam"] if recipe is HUB else [])


def test_the_text_alone_defers_all_images() -> None:
    assert (PAPER.mixture.images, HUB.mixture.images) == ("required", "required")
    assert TEXT.mixture.images == "deferred"


def test_the_source_that_the_text_leaves_out_is_named() -> None:
    (left_out,) = [row["imp-1m"] for row in table("imp-1m-text") if row["imp-1m-text"] == "none"]
    assert re.search("InfographicVQA is left out", PAGE)
    assert left_out == "infographicvqa"
