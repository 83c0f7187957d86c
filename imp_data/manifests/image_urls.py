"""The part of an image collection's manifest that names the URLs of its images."""

from pydantic import Field, model_validator

from imp_data.manifests.base import StrictModel
from imp_data.manifests.fields import Positive, RelativePath


class ImageUrls(StrictModel):
    """A list of URLs from which the images of a collection are downloaded one by one.

    The images are found under the path of the first of the collection's `folders`.
    """

    file: RelativePath = Field(
        description="Parquet, CSV, JSON Lines or text file in data/raw/<name>/, with a URL a row"
    )
    column: str = Field("url", description="column of the URLs")
    name: str | None = Field(
        None, description="name of an image, with {row} for its row's number from 0"
    )
    name_column: str | None = Field(None, description="column of the names, instead of `name`")
    sha256_column: str | None = Field(
        None, description="column of sha256 digests; an image with another one is refused"
    )
    folder: RelativePath = Field("url_images", description="folder of the images, beside the list")
    unless: RelativePath | None = Field(
        None,
        description="one of `files`: if it exists, it provides the images, and no URL is "
        "requested; if not, the build does not ask for it",
    )
    obey_robots_tag: bool = Field(
        True, description="leave out images whose server sends X-Robots-Tag: noai, or the like"
    )
    private_hosts: tuple[str, ...] = Field(
        (), description="hosts that may be this machine or in its network; others are refused"
    )
    max_image_bytes: Positive = 64 << 20
    # A plan shows these two before the list is there; they change no image.
    links: Positive | None = Field(None, exclude=True, description="number of rows of the list")
    estimated_bytes: Positive | None = Field(
        None, exclude=True, description="size of the images that are expected, for a plan"
    )

    @model_validator(mode="after")
    def _check_names(self) -> "ImageUrls":
        if (self.name is None) == (self.name_column is None):
            raise ValueError("give either `name` or `name_column`")
        rest = (self.name or "{row}").replace("{row}", "", 1)
        if self.name is not None and ("{row}" not in self.name or set("{}") & set(rest)):
            raise ValueError(f"name: {self.name!r} must have {{row}} once, and no other braces")
        return self
