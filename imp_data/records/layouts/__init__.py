"""Convert the layout of each publication to Drafts of Samples: one module per layout."""

from imp_data.records.layouts import ai2d, chartqa, docvqa, dvqa, infographicvqa, laion_gpt4v, llava
from imp_data.records.layouts.base import Layout

UPSTREAM_LAYOUTS: dict[str, Layout] = {
    "llava": llava.LAYOUT,
    "dvqa": dvqa.LAYOUT,
    "chartqa": chartqa.LAYOUT,
    "docvqa": docvqa.LAYOUT,
    "infographicvqa": infographicvqa.LAYOUT,
    "ai2d": ai2d.LAYOUT,
    "laion_gpt4v": laion_gpt4v.LAYOUT,
}
