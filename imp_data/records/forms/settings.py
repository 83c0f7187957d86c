"""Settings of a source whose records have a form of their own columns."""

from imp_data.manifests import Source
from imp_data.records.forms.base import FormSettings


def form_settings(source: Source) -> FormSettings:
    """Return what a form needs of a source's manifest."""
    columns = {str(role): name for role, name in source.columns.items()}
    return FormSettings(columns, source.prompts, source.min_ratings, source.suffix, source.wording)


def image_column_names(source: Source) -> frozenset[str]:
    """Return the columns that the manifest names as those of images."""
    return frozenset(name for role, name in source.columns.items() if role in ("image", "images"))
