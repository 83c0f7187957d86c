"""The columns of a release: those of Samples, with the images themselves."""

import json
from typing import Any

import pyarrow as pa

from imp_data.mixture.arrow_dataset import features
from imp_data.sample import MULTI_IMAGE_SAMPLE_SCHEMA, SAMPLE_SCHEMA, image_column

# As `datasets` stores its Image feature (datasets 5, features/image.py).
IMAGE_TYPE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_IMAGE_FEATURE = {"_type": "Image"}


def text_schema(several: bool) -> pa.Schema:
    """Return the columns without images: `image` or `images` is `image_path` or `image_paths`."""
    samples = MULTI_IMAGE_SAMPLE_SCHEMA if several else SAMPLE_SCHEMA
    column = image_column(samples.names)
    place = samples.get_field_index(column)
    renamed = samples.field(place).with_name("image_paths" if several else "image_path")
    return _described(samples.set(place, renamed), {})


def release_schema(several: bool) -> pa.Schema:
    """Return the columns with images, in the column `image` or the list `images`."""
    text = text_schema(several)
    if several:
        image = pa.field("images", pa.list_(IMAGE_TYPE))
        described: Any = {"feature": _IMAGE_FEATURE, "_type": "List"}
    else:
        image, described = pa.field("image", IMAGE_TYPE), _IMAGE_FEATURE
    schema = text.remove_metadata().insert(text.get_field_index("conversations"), image)
    return _described(schema, {image.name: described})


def _described(schema: pa.Schema, images: dict[str, Any]) -> pa.Schema:
    """Add the metadata from which `datasets` reads the features."""
    rest = pa.schema([field for field in schema if field.name not in images])
    plain = features(rest)
    ordered = {name: images.get(name) or plain[name] for name in schema.names}
    info = json.dumps({"info": {"features": ordered}}, separators=(",", ":"))
    return schema.with_metadata({"huggingface": info})
