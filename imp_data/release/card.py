"""The card of a release: that of its mixture, with its files, images and how to read them."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.mixture.card import metadata, render_card

_ENVIRONMENT = Environment(
    loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
)
_CONFIGS = [
    {"config_name": "default", "data_files": "data/train-*.parquet", "default": True},
    {"config_name": "text", "data_files": "text/train-*.parquet"},
    {"config_name": "ledger", "data_files": "ledger/ledger.parquet"},
]


def render_release_card(
    folder: Path, manifest: dict[str, Any], images: list[dict[str, Any]]
) -> str:
    """Return the README.md of a release of the mixture in `folder`."""
    from huggingface_hub import DatasetCardData

    own = metadata(manifest)
    del own["dataset_info"]  # the files state their features, and the Hub counts rows and bytes
    data = DatasetCardData(**{**own, "configs": _CONFIGS})
    body = render_card(folder).split("---\n", 2)[2].lstrip("\n")
    return _ENVIRONMENT.get_template("release.md.j2").render(
        metadata=f"{data.to_yaml()}\n",
        body=body,
        images=images,
        left_out=sum(one["images"] for one in images if not one["included"]),
        several=manifest.get("max_images", 1) > 1,
    )
