"""Convert each upstream layout to Drafts of Samples: one module per layout."""

from imp_data.manifests import LayoutName
from imp_data.records.layouts import ai2d, chartqa, docvqa, dvqa, infographicvqa, laion_gpt4v, llava
from imp_data.records.layouts.base import Layout

LAYOUTS: dict[LayoutName, Layout] = {
    "llava": llava.LAYOUT,
    "dvqa": dvqa.LAYOUT,
    "chartqa": chartqa.LAYOUT,
    "docvqa": docvqa.LAYOUT,
    "infographicvqa": infographicvqa.LAYOUT,
    "ai2d": ai2d.LAYOUT,
    "laion_gpt4v": laion_gpt4v.LAYOUT,
}
