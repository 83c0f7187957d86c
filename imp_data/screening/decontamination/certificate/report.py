"""Write a certificate: certificate.json, certificate.md, and a chart where one can be drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.screening.decontamination.certificate.chart import can_draw, chart_svg
from imp_data.screening.decontamination.certificate.tables import (
    alteration_table,
    curve_table,
    summary_tables,
)
from imp_data.storage.atomic_write import json_text, write_text

JSON_NAME, MARKDOWN_NAME, CHART_NAME = "certificate.json", "certificate.md", "certificate.svg"


def write_certificate(folder: Path, figures: Mapping[str, Any]) -> list[Path]:
    """Write the files of a certificate, the JSON last; return their paths.

    The chart needs altair and vl-convert-python, and is left out without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {MARKDOWN_NAME: markdown(figures, can_draw())}
    if can_draw():
        texts = {CHART_NAME: chart_svg(figures), **texts}
    for name, text in {**texts, JSON_NAME: json_text(figures)}.items():
        write_text(folder / name, text)
    return [folder / name for name in (*texts, JSON_NAME)]


def markdown(figures: Mapping[str, Any], charted: bool = False) -> str:
    """Return the certificate for people; every figure in it is in the JSON."""
    environment = Environment(
        loader=PackageLoader("imp_data"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template("certificate.md.j2").render(
        c=figures,
        summary=list(summary_tables(figures)),
        details=[alteration_table(figures), curve_table(figures)],
        chart=CHART_NAME if charted else None,
    )
