"""What a model's manifest may say: its parts (`parts`), and how each stage trains them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from imp_data.errors import UserError
from imp_data.manifests import Name, Strict, load
from imp_data.manifests.model_parts import (
    Architecture,
    LanguageModel,
    Rate,
    Share,
    Size,
    Tokenizer,
    VisionTower,
)

TemplateName = Literal["phi2", "qwen", "phi3", "plain"]
Sampler = Literal["random", "modality_length", "packed"]
Part = Literal["projector", "vision_tower", "language_model"]
StageName = Literal["projector", "adapter"]
Preprocessing = Literal["square", "pad"]
LossWeighting = Literal["micro_batch", "token"]
Norm = Annotated[float, Field(gt=0)]
# `none` is a word in YAML, not its null.
MaxNorm = Annotated[
    Norm | None,
    BeforeValidator(
        lambda value: None if value == "none" else value,
        json_schema_input_type=Norm | Literal["none"] | None,
    ),
]

# Every Linear outside projector and vision tower, the head included.
LORA_TARGETS: dict[Architecture, frozenset[str]] = {
    "phi": frozenset({"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"}),
    "qwen2": frozenset(
        {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}
    ),
    "phi3": frozenset({"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"}),
}


class Lora(Strict):
    """Low-rank adapters, without biases."""

    r: Size
    alpha: Size
    dropout: Share
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="last names of the Linears outside projector and vision tower"
    )


class Stage(Strict):
    """One run of training: on what, which weights, how fast, how long."""

    mixture: Name = Field(description="the mixture it is trained on, by its manifest's name")
    template: TemplateName | None = Field(None, description="instead of the model's own")
    sampler: Sampler
    trains: Annotated[tuple[Part, ...], Field(min_length=1)] = Field(
        description="parts all of whose weights are trained"
    )
    because: str | None = Field(None, description="why more than the projector is trained whole")
    lora: Lora | None = None
    epochs: Size
    global_batch: Size = Field(description="samples a step, whatever the number of devices")
    per_device_batch: Size = Field(
        description="rows that one device takes at once: samples, or with `packed` sequences of up "
        "to max_length"
    )
    loss_weighting: LossWeighting = Field(
        "token",
        description="the loss of a step: the mean over its learned tokens, or the mean over its "
        "micro-batches of each one's mean over learned tokens",
    )
    micro_batch_size: Size | None = Field(
        None, description="samples of a micro-batch; with loss_weighting micro_batch alone"
    )
    learning_rate: Rate
    projector_learning_rate: Rate | None = Field(None, description="learning_rate if left out")
    warmup_ratio: Share
    weight_decay: Share
    max_grad_norm: MaxNorm = Field(description="none: gradients are not clipped")
    precision: Literal["bf16", "fp16", "fp32"]
    gradient_checkpointing: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    save_steps: Size
    keep_checkpoints: Size

    @model_validator(mode="after")
    def _fields_agree(self) -> "Stage":
        if self.sampler != "packed" and self.global_batch % self.per_device_batch:
            raise ValueError("global_batch: is no multiple of per_device_batch")
        if (self.loss_weighting == "micro_batch") != (self.micro_batch_size is not None):
            raise ValueError(
                "micro_batch_size: belongs to loss_weighting micro_batch, which needs it"
            )
        if self.global_batch % self.loss_batch:
            raise ValueError("global_batch: is no multiple of micro_batch_size")
        if self.lora and "language_model" in self.trains:
            raise ValueError("lora: adapts a language model that `trains` already trains whole")
        if set(self.trains) != {"projector"} and not self.because:
            raise ValueError("because: say why `trains` names more than the projector")
        return self

    @property
    def loss_batch(self) -> int:
        """Samples of which the loss takes one mean over learned tokens."""
        return self.micro_batch_size or self.global_batch

    @property
    def by_modality(self) -> bool:
        """Whether steps hold images or text alone, by length; otherwise they are random.

        What is packed comes in the order whose weighting it is to have: micro-batches are means of
        one modality in the original, whose order they are taken from.
        """
        packed_means = self.sampler == "packed" and self.loss_weighting == "micro_batch"
        return self.sampler == "modality_length" or packed_means


class Stages(Strict):
    """The stages in their order; one of them may be left out."""

    projector: Stage | None = None
    adapter: Stage | None = None


class Export(Strict):
    """The files that llama.cpp gets of a trained model."""

    bits: Annotated[tuple[Literal[16, 8, 4], ...], Field(min_length=1)] = (16, 8, 4)
    resolutions: Annotated[tuple[Size, ...], Field(min_length=1)] | None = Field(
        None, description="sides of images, px; image_size alone if left out"
    )
    short_answer_suffix: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="what the mixtures have behind questions with short answers; a chat then "
        "offers a switch for them",
    )


class Model(Strict):
    """A vision-language model and its recipe."""

    name: Name
    title: str
    paper: str | None = Field(None, description="that the recipe is from: arXiv:<number>")
    license: str = Field(description="of the trained weights: SPDX name, or the owner's own word")
    license_name: str | None = Field(None, description="of a license that is other: its name")
    license_link: str | None = Field(None, description="of a license that is other: its URL")
    language: tuple[str, ...] = Field(("en",), description="of its answers: ISO 639 codes")
    unverified: tuple[str, ...] = Field((), description="statements here that no source confirms")
    language_model: LanguageModel
    vision_tower: VisionTower
    tokenizer: Tokenizer | None = Field(None, description="none: that of the language model")
    image_size: Size = Field(description="side of the square that an image becomes, px")
    image_preprocessing: Preprocessing
    template: TemplateName
    max_length: Size = Field(description="tokens of a sequence, the image's included")
    stages: Stages
    # What is written of a trained model changes no weight of it: no digest of the manifest has it.
    export: Export = Field(Export(), exclude=True)

    @model_validator(mode="after")
    def _parts_agree(self) -> "Model":
        known = LORA_TARGETS[self.language_model.architecture]
        for name, stage in self.planned:
            if stage.lora and (strangers := set(stage.lora.targets) - known):
                raise ValueError(
                    f"stages.{name}.lora.targets: {', '.join(sorted(strangers))} is no Linear of "
                    f"{self.language_model.architecture}; it has {', '.join(sorted(known))}"
                )
        if self.license != "other" and (self.license_name or self.license_link):
            raise ValueError("license_name, license_link: belong to `license: other`")
        if not self.planned:
            raise ValueError("stages: there must be one at least")
        if self.tokenizer is None and self.language_model.weights is None:
            raise ValueError("tokenizer: a language model without weights brings none")
        if self.image_tokens >= self.max_length:
            raise ValueError(f"max_length: the image alone takes {self.image_tokens} tokens")
        least, most = self.vision_tower.config.patch_size, 4 * self.image_size
        for size in self.export.resolutions or ():
            if not least <= size <= most:
                raise ValueError(f"export.resolutions: {size} is not between {least} and {most}")
        return self

    @property
    def image_tokens(self) -> int:
        """Tokens an image becomes."""
        return (self.image_size // self.vision_tower.config.patch_size) ** 2

    @property
    def planned(self) -> list[tuple[StageName, Stage]]:
        """The stages that the manifest has, in their order."""
        stages: list[tuple[StageName, Stage | None]] = [
            ("projector", self.stages.projector),
            ("adapter", self.stages.adapter),
        ]
        return [(name, stage) for name, stage in stages if stage is not None]

    @property
    def seed(self) -> int:
        """By which weights begin that are not pretrained."""
        return self.planned[0][1].seed


def load_model(path: Path) -> Model:
    """Read a model's manifest. Raises UserError naming file, line, field, and what may stand."""
    return load(path, Model)


def accumulation(stage: Stage, devices: int) -> int:
    """Batches that a device adds up before a step, so that all together make the global batch."""
    at_once = stage.per_device_batch * devices
    if stage.global_batch % at_once:
        raise UserError(
            "global_batch",
            f"{stage.global_batch} is no multiple of per_device_batch {stage.per_device_batch} "
            f"x {devices} devices = {at_once}",
            "change the number of devices, or per_device_batch in the manifest to a number that "
            f"divides {stage.global_batch / devices:g}; the global batch belongs to the recipe",
        )
    return stage.global_batch // at_once
