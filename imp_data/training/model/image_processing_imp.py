"""transformers' image processor of Imp's models: the same pixels as in training, from any image.

Each saved model has a copy of this file and of imp_data/images/rgb.py, so that
`AutoProcessor.from_pretrained(folder, trust_remote_code=True)` loads it without imp-data. Without
remote code, transformers uses its own LlavaImageProcessor with the same settings. That differs on
16-bit and 32-bit grey and on LAB, and rotates images given by path according to EXIF.
"""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from imp_data.images.rgb import allow_text, rgb


class ImpImageProcessor(LlavaImageProcessorPil):
    """Resizes to a square, after padding with grey if `do_pad` is set; does not crop."""

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """Return (height, width, 3) of a PIL image; transformers converts arrays."""
        if isinstance(image, Image.Image):
            return np.asarray(rgb(image))
        return super().convert_to_rgb(image, input_data_format=input_data_format)

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open images given by path, URL or base64, without EXIF rotation."""
        if isinstance(image_url_or_urls, str):
            allow_text()
            return rgb(Image.open(BytesIO(_bytes_of(image_url_or_urls))))
        return super().fetch_images(image_url_or_urls)

    def to_dict(self) -> dict[str, Any]:
        """Add the name of the fallback class for loading without remote code."""
        return {**super().to_dict(), "image_processor_type": "LlavaImageProcessor"}


def _bytes_of(place: str) -> bytes:
    if place.startswith(("http://", "https://")):
        return httpx.get(place, follow_redirects=True).raise_for_status().content
    if place.startswith("data:image/"):
        return base64.b64decode(place.partition(",")[2])
    path = Path(place)
    return path.read_bytes() if len(place) < 4096 and path.is_file() else base64.b64decode(place)
