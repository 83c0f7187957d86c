"""Figures and manifests in the forms of Dagster's pages."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from imp_data.ledger import Reason, Repair
from imp_data.manifests import Publication
from imp_data.redaction import redact


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows of equal keys as a table with typed columns."""
    kinds = {int: "int", float: "float"}
    columns = [
        dg.TableColumn(name, kinds.get(type(value), "string"))
        for name, value in (rows[0].items() if rows else ())
    ]
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(row)) for row in rows], dg.TableSchema(columns)
    )


def counts_table(
    what: str, figures: Mapping[str, int], unit: str
) -> dict[str, dg.TableMetadataValue]:
    """Return a table of names and numbers, largest first; nothing without figures."""
    rows = [{what: name or "(none)", unit: n} for name, n in _by_size(figures)]
    return {f"{unit} by {what}": table(rows)} if rows else {}


def reasons_table(
    title: str, figures: Mapping[str, int], unit: str
) -> dict[str, dg.TableMetadataValue]:
    """Return a table of reasons, each with its meaning; nothing without figures."""
    rows = [{"reason": name, unit: n, "meaning": _MEANINGS[name]} for name, n in _by_size(figures)]
    return {title: table(rows)} if rows else {}


def column_schema(schema: pa.Schema) -> dict[str, dg.TableSchema]:
    """Return an Arrow schema in the form of the Columns tab."""
    described = [dg.TableColumn(f.name, str(f.type), _COLUMNS.get(f.name)) for f in schema]
    return {"dagster/column_schema": dg.TableSchema(described)}


def describe_asset(what: str, *manifests: Publication) -> str:
    """Return an asset's description, with title, homepage and licence of each publication."""
    return redact("\n\n".join([what, *(_published(manifest) for manifest in manifests)]))


def _published(manifest: Publication) -> str:
    note = f" {manifest.license_note}" if manifest.license_note else ""
    unverified = "".join(f"\n- Unverified: {text}" for text in manifest.unverified)
    return (
        f"**{manifest.title}**\n\n- Homepage: <{manifest.homepage}>"
        f"\n- Licence: {manifest.license}.{note}{unverified}"
    )


def bullets(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Return a bulleted list."""
    return dg.MetadataValue.md(redact("\n".join(f"- {line}" for line in lines)))


def tag_value(text: str) -> str:
    """Return text as a valid tag value: letters, digits, dots and dashes, at most 63."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:63].strip("-_.")


def count_noun(number: int, noun: str) -> str:
    """Return `1 file` or `2,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_bytes(number: int) -> str:
    """Return `3.7 kB` or `1,029.9 MB`."""
    return f"{number / 1e3:,.1f} kB" if number < 1e6 else f"{number / 1e6:,.1f} MB"


def _by_size(figures: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(figures.items(), key=lambda pair: (-pair[1], pair[0]))


_MEANINGS = {str(member): member.sentence for member in (*Reason, *Repair)}
_COLUMNS = {
    "id": "the source, and a hash of the record's content",
    "source": "name of the manifest",
    "subset": "finer origin within the source",
    "image": "path of the image below the image root; null for text alone",
    "images": "paths of the images below the image root; empty for text alone",
    "conversations": "turns by human and gpt, in LLaVA's form",
    "upstream_id": "the id that upstream gives the record",
    "image_sha256": "sha256 of the image's bytes",
    "image_width": "in pixels, as stored",
    "image_height": "in pixels, as stored",
    "license": "the source's licence",
    "sample": "row of the Sample in the output of the records stage",
    "outcome": "kept, held or dropped",
    "reason": "the reason, if it was not kept",
    "evidence": "the evidence for the reason, as JSON",
    "status": "ok, or the image's defect",
    "phash": "64-bit perceptual hash of the image as stored; null if it is flat",
    "phash_upright": "64-bit perceptual hash of the image rotated by its EXIF orientation",
    "duplicate_of": "xxh3 of the path of the kept image that a near-duplicate resembles",
}
