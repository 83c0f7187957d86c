"""Read loose images from a folder of this machine, and embedded ones where the records are."""

from collections.abc import Sequence
from typing import NamedTuple

from imp_data.images.reader import ImageReader, ImageSource
from imp_data.storage.embedded_names import split_embedded


class MixedReader(ImageReader):
    """A reader whose `images` are on this machine, and whose `raw` is in an object store."""

    def prefetch(self, images: Sequence[str], max_bytes: int) -> ImageSource:
        """Return a source of just these images, in this order."""
        embedded = [image for image in images if split_embedded(image)]
        loose = ImageReader(self.images, self.images, ())
        return _MixedSource(loose, super().prefetch(embedded, max_bytes))


class _MixedSource(NamedTuple):
    loose: ImageSource
    embedded: ImageSource

    def read(self, image: str, max_bytes: int) -> bytes:
        return self.read_with_spelling(image, max_bytes)[0]

    def read_with_spelling(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        source = self.embedded if split_embedded(image) else self.loose
        return source.read_with_spelling(image, max_bytes)
