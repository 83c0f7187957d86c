"""Figures and manifests in the forms in which Dagster's pages show them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from imp_data.ledger import Reason, Repair
from imp_data.manifests import Published
from imp_data.redaction import redacted


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows of equal keys as a table; numbers are aligned as such."""
    kinds = {int: "int", float: "float"}
    columns = [
        dg.TableColumn(name, kinds.get(type(value), "string"))
        for name, value in (rows[0].items() if rows else ())
    ]
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(row)) for row in rows], dg.TableSchema(columns)
    )


def counts(what: str, figures: Mapping[str, int], unit: str) -> dict[str, dg.TableMetadataValue]:
    """A table of names and numbers, the largest first; nothing where there is nothing to tell."""
    rows = [{what: name or "(none)", unit: n} for name, n in _by_size(figures)]
    return {f"{unit} by {what}": table(rows)} if rows else {}


def reasons(title: str, figures: Mapping[str, int], unit: str) -> dict[str, dg.TableMetadataValue]:
    """A table of reasons, each with its sentence; nothing where there is nothing to tell."""
    rows = [{"reason": name, unit: n, "meaning": _MEANINGS[name]} for name, n in _by_size(figures)]
    return {title: table(rows)} if rows else {}


def columns(schema: pa.Schema) -> dict[str, dg.TableSchema]:
    """An Arrow schema as the Columns tab shows it."""
    described = [dg.TableColumn(f.name, str(f.type), _COLUMNS.get(f.name)) for f in schema]
    return {"dagster/column_schema": dg.TableSchema(described)}


def about(what: str, *manifests: Published) -> str:
    """What an asset is, and of each publication behind it title, home and licence."""
    return redacted("\n\n".join([what, *(_published(manifest) for manifest in manifests)]))


def _published(manifest: Published) -> str:
    note = f" {manifest.license_note}" if manifest.license_note else ""
    unverified = "".join(f"\n- Unverified: {text}" for text in manifest.unverified)
    return (
        f"**{manifest.title}**\n\n- Home: <{manifest.homepage}>"
        f"\n- Licence: {manifest.license}.{note}{unverified}"
    )


def bullets(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """One point a line."""
    return dg.MetadataValue.md(redacted("\n".join(f"- {line}" for line in lines)))


def tag(text: str) -> str:
    """Text as a Dagster tag's value may be: letters, digits, dots and dashes, 63 at most."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:63].strip("-_.")


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`"""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """`3.7 kB`, `1,029.9 MB`"""
    return f"{number / 1e3:,.1f} kB" if number < 1e6 else f"{number / 1e6:,.1f} MB"


def _by_size(figures: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(figures.items(), key=lambda pair: (-pair[1], pair[0]))


_MEANINGS = {str(member): member.sentence for member in (*Reason, *Repair)}
_COLUMNS = {
    "id": "the source, and a hash of the record's content",
    "source": "name of the manifest",
    "subset": "finer origin within the source",
    "image": "path of the image below the image root; null for text alone",
    "conversations": "turns by human and gpt, as LLaVA writes them",
    "upstream_id": "what upstream calls the record",
    "image_sha256": "sha256 of the image's bytes",
    "image_width": "in pixels, as stored",
    "image_height": "in pixels, as stored",
    "license": "the source's licence",
    "sample": "row of the Sample as the records stage wrote it",
    "outcome": "kept, held or dropped",
    "reason": "why, if it was not kept",
    "evidence": "what was seen, as JSON",
    "status": "ok, or what is wrong with the image",
    "phash": "64-bit perceptual hash of the image as stored; null where it is flat",
    "phash_upright": "that of the image turned as its EXIF orientation says",
    "duplicate_of": "xxh3 of the path of the kept image that a near-duplicate resembles",
}
