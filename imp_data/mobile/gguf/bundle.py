"""manifest.json of an export: its files, what each is, and whether they are whole."""

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
    """A file by its name beside the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    sha256: str


class ExportedNetwork(BaseModel):
    """The language model or the vision tower in one precision, in one file or in parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["text", "vision"]
    precision: Precision
    resolution: int | None = None
    files: list[FileEntry]

    @property
    def stem(self) -> str:
        """`text-Q4_0`, `vision-Q8_0-384`"""
        parts = [self.role, self.precision.value, self.resolution]
        return "-".join(str(part) for part in parts if part is not None)

    @property
    def bytes(self) -> int:
        """All its parts together."""
        return sum(file.bytes for file in self.files)


class ExampleQuestion(BaseModel):
    """A question of the mixture's, and whether it is asked for a short answer there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    short: bool


class QuestionStyle(BaseModel):
    """How a model was asked in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What stood behind questions that were answered in a word or a phrase.
    short_answer_suffix: str | None = None
    # Whether it stood behind more than half of the conversations about an image.
    short_by_default: bool = False
    examples: list[ExampleQuestion] = []


class ExportManifest(BaseModel):
    """What an export holds."""

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
    # For a chat.
    asking: QuestionStyle = QuestionStyle()
    # Only of a phone's folder: memory that a conversation of 2,048 tokens takes.
    minimum_memory_bytes: int | None = None

    @property
    def precisions(self) -> list[Precision]:
        """Of the language model, the finest first."""
        return [exported.precision for exported in self.files if exported.role == "text"]

    @property
    def resolutions(self) -> list[int]:
        """In pixels, the largest first."""
        found = {one.resolution for one in self.files if one.resolution is not None}
        return sorted(found, reverse=True)

    @property
    def default_resolution(self) -> int:
        """That of the training, at which the model sees best; else the one that is nearest."""
        trained = self.trained_resolution
        return min(self.resolutions, key=lambda size: abs(size - trained))

    def text(self, precision: Precision) -> ExportedNetwork:
        """The language model in a precision."""
        return self._one("text", precision, None)

    def vision(
        self, precision: Precision, resolution: int, own: Precision | None = None
    ) -> ExportedNetwork:
        """The vision tower that goes with a text of this precision: the `own` precision asked for,
        or that of the same bits; where there is but one, as in a phone's folder, that one."""
        there = [one for one in self.files if (one.role, one.resolution) == ("vision", resolution)]
        if own is None and len(there) == 1:
            return there[0]
        return self._one("vision", own or VISION_FOR_TEXT[precision], resolution)

    def vision_precisions(self, precision: Precision) -> list[Precision]:
        """Precisions of the tower to be had with a text, none of fewer bits; its own last."""
        held = {one.precision for one in self.files if one.role == "vision"}
        order = list(VISION_BITS.values())
        return [one for one in order[: order.index(VISION_FOR_TEXT[precision]) + 1] if one in held]

    def _one(self, role: str, precision: Precision, resolution: int | None) -> ExportedNetwork:
        for one in self.files:
            if (one.role, one.precision, one.resolution) == (role, precision, resolution):
                return one
        held = ", ".join(exported.stem for exported in self.files)
        told = f"{role} in {precision.value}" + (f" at {resolution} pixels" if resolution else "")
        raise UserError(MANIFEST_NAME, f"lists no {told}; there are {held}", _EXPORT_AGAIN)


def read_bundle(folder: Path) -> ExportManifest:
    """The manifest of an export or of a phone's folder."""
    path = folder / MANIFEST_NAME
    if not path.exists():
        # It brings Arrow, which a process whose memory is measured is not to have.
        from imp_data.storage.replace_folder import check_not_moved

        check_not_moved(folder)
        raise UserError(path, "is not there: no whole export", _EXPORT_AGAIN)
    try:
        return ExportManifest.model_validate_json(read_small(path, MOST_BYTES, _EXPORT_AGAIN))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(path, f"{field}: {first['msg']}", _EXPORT_AGAIN) from error
