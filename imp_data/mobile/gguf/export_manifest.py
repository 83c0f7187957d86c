"""manifest.json of an export or a phone folder: its files, their precision, size and digest."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imp_data.errors import UserError
from imp_data.mobile.gguf.quantize import VISION_BITS, VISION_FOR_TEXT, Precision
from imp_data.storage.json_files import MOST_BYTES
from imp_data.storage.small_files import read_small

MANIFEST_NAME = "manifest.json"
_EXPORT_AGAIN = "export the model again (imp-data export)"


class FileEntry(BaseModel):
    """A file beside the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    sha256: str


class ExportedNetwork(BaseModel):
    """The language model or the vision tower in one precision, in one or several files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["text", "vision"]
    precision: Precision
    resolution: int | None = None
    files: list[FileEntry]

    @property
    def stem(self) -> str:
        """The file name without extension: `text-Q4_0`, `vision-Q8_0-384`."""
        parts = [self.role, self.precision.value, self.resolution]
        return "-".join(str(part) for part in parts if part is not None)

    @property
    def bytes(self) -> int:
        """Size of all its files together."""
        return sum(file.bytes for file in self.files)


class ExampleQuestion(BaseModel):
    """A question of the mixture, and whether the mixture requests a short answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    short: bool


class QuestionStyle(BaseModel):
    """How questions were worded in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Suffix of questions that were answered with a word or a phrase.
    short_answer_suffix: str | None = None
    # Whether more than half of the conversations about an image have the suffix.
    short_by_default: bool = False
    examples: list[ExampleQuestion] = []


class ExportManifest(BaseModel):
    """The content of an export or of a phone folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str
    template: str | None
    preprocessing: str
    trained_resolution: int
    mixture_digest: str | None
    license: str | None
    kv_bytes_per_token: int
    versions: dict[str, str]
    files: list[ExportedNetwork]
    # Used by the chat.
    asking: QuestionStyle = QuestionStyle()
    # Only in a phone folder: memory for a conversation of 2,048 tokens.
    minimum_memory_bytes: int | None = None

    @property
    def precisions(self) -> list[Precision]:
        """Precisions of the language model, the finest first."""
        return [network.precision for network in self.files if network.role == "text"]

    @property
    def resolutions(self) -> list[int]:
        """Image sides in pixels, the largest first."""
        sizes = {network.resolution for network in self.files if network.resolution is not None}
        return sorted(sizes, reverse=True)

    @property
    def default_resolution(self) -> int:
        """The training resolution, which gives the best answers, or the nearest one."""
        trained = self.trained_resolution
        return min(self.resolutions, key=lambda size: abs(size - trained))

    def text(self, precision: Precision) -> ExportedNetwork:
        """Return the language model in a precision. Raise UserError if it was not exported."""
        return self._network("text", precision, None)

    def vision(
        self, precision: Precision, resolution: int, own: Precision | None = None
    ) -> ExportedNetwork:
        """Return the vision tower for a text model of this precision.

        It has the precision `own` if given, otherwise the bits of the text model; a phone folder
        has one tower only, which is then returned. Raise UserError if it was not exported.
        """
        wanted = ("vision", resolution)
        towers = [one for one in self.files if (one.role, one.resolution) == wanted]
        if own is None and len(towers) == 1:
            return towers[0]
        return self._network("vision", own or VISION_FOR_TEXT[precision], resolution)

    def vision_precisions(self, precision: Precision) -> list[Precision]:
        """Return the exported tower precisions with at least the bits of a text model.

        The precision with the same bits as the text model is last.
        """
        exported = {one.precision for one in self.files if one.role == "vision"}
        order = list(VISION_BITS.values())
        candidates = order[: order.index(VISION_FOR_TEXT[precision]) + 1]
        return [candidate for candidate in candidates if candidate in exported]

    def _network(self, role: str, precision: Precision, resolution: int | None) -> ExportedNetwork:
        for one in self.files:
            if (one.role, one.precision, one.resolution) == (role, precision, resolution):
                return one
        available = ", ".join(network.stem for network in self.files)
        wanted = f"{role} in {precision.value}" + (f" at {resolution} pixels" if resolution else "")
        problem = f"lists no {wanted}; available: {available}"
        raise UserError(MANIFEST_NAME, problem, _EXPORT_AGAIN)


def read_export_manifest(folder: Path) -> ExportManifest:
    """Read the manifest of an export or of a phone folder. Raise UserError if it is invalid."""
    path = folder / MANIFEST_NAME
    if not path.exists():
        # This module imports Arrow, which must not count in a process whose memory is measured.
        from imp_data.storage.replace_folder import check_not_moved

        check_not_moved(folder)
        raise UserError(path, "does not exist: the export is missing or incomplete", _EXPORT_AGAIN)
    try:
        return ExportManifest.model_validate_json(read_small(path, MOST_BYTES, _EXPORT_AGAIN))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(path, f"{field}: {first['msg']}", _EXPORT_AGAIN) from error
