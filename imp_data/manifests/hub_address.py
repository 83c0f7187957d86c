"""Files of the Hugging Face Hub: their addresses, and the fields that name them."""

import re
from typing import Annotated, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field

HUGGING_FACE = "https://huggingface.co"
_MODELS = "models/"
# https://huggingface.co/datasets/OWNER/NAME/resolve/REVISION/PATH; a model's has no prefix.
_RESOLVE = re.compile(
    r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)"
)

HubRepository = Annotated[
    str,
    Field(
        pattern=rf"^({_MODELS})?[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=200,
    ),
]
HubRevision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class HubFile(NamedTuple):
    """A file, or a glob of files, of a dataset or model at a revision.

    `kind` is `dataset` or `model`, as huggingface_hub names types of repositories.
    """

    kind: str
    repository: str
    revision: str
    path: str

    def page(self, endpoint: str = HUGGING_FACE) -> str:
        """Return the address of the repository's page, where a licence is accepted."""
        return f"{endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.repository}"

    def url(self, endpoint: str = HUGGING_FACE) -> str:
        """Return the address that serves the file."""
        return f"{self.page(endpoint)}/resolve/{quote(self.revision, safe='')}/{quote(self.path)}"


def hub_file_of(hub: str, revision: str, path: str) -> HubFile:
    """Return the file that the fields `hub`, `revision` and `path` of a manifest name."""
    kind = "model" if hub.startswith(_MODELS) else "dataset"
    return HubFile(kind, hub.removeprefix(_MODELS), revision, path)


def parse_hub_url(url: str, endpoint: str = HUGGING_FACE) -> HubFile | None:
    """Return the file of the Hub that an address names; None for any other address.

    The host is huggingface.co or that of `endpoint`, a mirror of the Hub.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if f"{parts.scheme}://{parts.netloc}" not in (HUGGING_FACE, endpoint):
        return None
    if (found := _RESOLVE.fullmatch(parts.path)) is None:
        return None
    kind = "dataset" if found["kind"] else "model"
    return HubFile(kind, found["repo"], unquote(found["rev"]), unquote(found["path"]))
