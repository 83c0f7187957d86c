"""All layouts by the names that manifests give them: those of publications, and the forms."""

from imp_data.records.forms import FORMS
from imp_data.records.forms.form_layout import form_layout
from imp_data.records.layouts import UPSTREAM_LAYOUTS
from imp_data.records.layouts.base import Layout

LAYOUTS: dict[str, Layout] = {
    **UPSTREAM_LAYOUTS,
    **{name: form_layout(form) for name, form in FORMS.items()},
}
