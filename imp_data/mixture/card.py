"""The dataset card: README.md of a mixture, rendered from its mixture.json alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.ledger import Reason, Repair
from imp_data.mixture.earlier_card import (
    is_earlier_card,
    split_earlier_card,
    states_the_same,
)
from imp_data.mixture.mixture_json import read_manifest
from imp_data.sample import sample_schema
from imp_data.storage.digests import text_digest

# Ends the section on duplicates: mixture.json, against which a card is verified, lacks its counts.
_SEAL = "\n<!-- duplicates, sealed: "
_EARLIER_SEAL = "\n<!-- said twice, sealed: "
_ENVIRONMENT = Environment(
    loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
)
# Bounds of the Hub's size_categories (huggingface.co/docs/hub, datasets-cards).
_SIZES = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
]


def duplicates_section(folder: Path, figures: dict[str, Any]) -> str:
    """Return the last section of the card: the counts of the mixture's duplicates report."""
    manifest = read_manifest(folder)
    deferred = manifest["images"] == "deferred"
    template = _ENVIRONMENT.get_template("duplicates.md.j2")
    dropped = manifest["near_duplicates"] is not None
    text = template.render(f=figures, deferred=deferred, dropped=dropped, folder=_folder(manifest))
    return _add_seal(text, manifest, _SEAL)


def _add_seal(text: str, manifest: dict[str, Any], seal: str) -> str:
    return f"{text}{seal}{text_digest(manifest['digest'], text)[:16]} -->\n"


def _is_sealed(section: str, manifest: dict[str, Any], seal: str) -> bool:
    return section == _add_seal(section.rpartition(seal)[0], manifest, seal)


def is_card(text: str, folder: Path) -> bool:
    """Return whether a card is that of the mixture in `folder`, with or without the last section.

    Compare a card of this release byte by byte, and one of an earlier release by what it states.
    """
    manifest = read_manifest(folder)
    present = render_card(folder)
    if is_earlier_card(text):
        body, section = split_earlier_card(text)
        sealed = not section or _is_sealed(section, manifest, _EARLIER_SEAL)
        return sealed and states_the_same(body, present)
    section = text.removeprefix(present)
    return not section or _is_sealed(section, manifest, _SEAL)


def render_card(folder: Path) -> str:
    """Return the card of the mixture in `folder`, without the last section."""
    manifest = read_manifest(folder)
    parts = manifest["parts"]
    outcomes = Counter[str]({"kept": 0, "held": 0, "dropped": 0})
    for part in parts:
        outcomes.update(part["outcomes"])
    return _ENVIRONMENT.get_template("card.md.j2").render(
        m=manifest,
        metadata=_metadata_yaml(manifest),
        paper_url=_paper_url(manifest["paper"]),
        read=sum(part["rows_read"] for part in parts),
        outcomes=outcomes,
        totals=_totals(parts),
        quotas={part["source"]: _quota_cell(part) for part in parts},
        losses=_count_by_kind(parts, "reasons", [r for r in Reason if r is not Reason.OVER_QUOTA]),
        repairs=_count_by_kind(parts, "repairs", Repair),
        fields=list(_unread_fields(parts)),
        unverified=[(part["source"], text) for part in parts for text in part["unverified"]],
        rebuild=_rebuild_command(manifest),
        folder=_folder(manifest),
    )


def _totals(parts: list[dict[str, Any]]) -> dict[str, str]:
    """Return the sums of the paper's counts and of the quotas; a dash if one is no number."""
    quotas = [part["quota"] for part in parts]
    numbers = all(isinstance(quota, int) for quota in quotas)
    paper = sum(part["paper"] or 0 for part in parts)
    return {"paper": f"{paper:,}", "quota": f"{sum(quotas):,}" if numbers else "–"}


def _quota_cell(part: dict[str, Any]) -> str:
    quota = part["quota"]
    if isinstance(quota, int):
        return f"{quota:,}" + (f" ({100 * part['weight']:g} %)" if "weight" in part else "")
    if isinstance(quota, str):
        return quota
    cells = (f"{name or '(none)'} {one}" for name, one in quota.items())
    return ", ".join(cells).replace("|", "&#124;")


def metadata(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the card's metadata in the Hub's form."""
    shards = {n: f["bytes"] for n, f in manifest["files"].items() if n.endswith(".arrow")}
    size = sum(shards.values())
    rows = manifest["rows"]
    return {
        "pretty_name": manifest["title"],
        "license": "other",
        "license_name": "as-each-source",
        "language": ["en"],
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "size_categories": [next((name for most, name in _SIZES if rows < most), "n>10M")],
        "tags": ["instruction-tuning", "vision-language-model", "llava", "imp", "decontaminated"],
        "annotations_creators": ["machine-generated", "crowdsourced"],
        "configs": [{"config_name": "default", "data_files": "data-*.arrow"}],
        "dataset_info": {
            "features": [_feature(field) for field in sample_schema(manifest.get("max_images", 1))],
            "splits": [{"name": "train", "num_bytes": size, "num_examples": rows}],
            "download_size": size,
            "dataset_size": size,
        },
    }


def _metadata_yaml(manifest: dict[str, Any]) -> str:
    from huggingface_hub import DatasetCardData  # 0.3 s that only a card needs

    return f"{DatasetCardData(**metadata(manifest)).to_yaml()}\n"


def _feature(field: pa.Field) -> dict[str, Any]:
    """Return a column in the form of the Hub's dataset_info."""
    if pa.types.is_list(field.type):
        items = field.type.value_type
        listed = [_feature(f) for f in items] if pa.types.is_struct(items) else str(items)
        return {"name": field.name, "list": listed}
    return {"name": field.name, "dtype": str(field.type)}


def _count_by_kind(
    parts: list[dict[str, Any]], column: str, kinds: Iterable[Reason | Repair]
) -> list[dict[str, Any]]:
    """Return the reasons or repairs that occur, most frequent first, with their sources."""
    found = []
    for kind in kinds:
        by_source = {p["source"]: p[column][kind] for p in parts if kind in p[column]}
        if by_source:
            where = ", ".join(f"{source} {count:,}" for source, count in by_source.items())
            count = sum(by_source.values())
            found.append(
                {"name": kind.value, "sentence": kind.sentence, "count": count, "where": where}
            )
    return sorted(found, key=lambda one: (-one["count"], one["name"]))


def _unread_fields(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the fields that the layouts do not read, by source, most frequent first."""
    for part in parts:
        for column in ("fields_passed_over", "fields_unread"):
            # Mixtures of earlier releases do not state these counts.
            fields = part.get(column, {})
            for name, count in sorted(fields.items(), key=lambda one: (-one[1], one[0])):
                gone = column == "fields_unread"
                yield {"source": part["source"], "name": name, "count": count, "gone": gone}


def _paper_url(paper: str | None) -> str | None:
    return paper and f"https://arxiv.org/abs/{paper.removeprefix('arXiv:')}"


def _folder(manifest: dict[str, Any]) -> str:
    return f"{'data/demo' if manifest['drawn'] else 'data'}/mixtures/{manifest['name']}"


def _rebuild_command(manifest: dict[str, Any]) -> str:
    if manifest["drawn"]:
        return "make demo"
    stem = manifest["name"].replace("_", "-")
    return f"IMP_MIXTURE=manifests/mixtures/{stem}.yaml make build"
