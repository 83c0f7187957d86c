"""The manifest of a model: its components (`model_parts`), and how each stage trains them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from imp_data.errors import UserError
from imp_data.manifests import Name, StrictModel, load_manifest
from imp_data.manifests.model_parts import (
    Architecture,
    Fraction,
    LanguageModel,
    PositiveFraction,
    Size,
    Tokenizer,
    VisionTower,
)

TemplateName = Literal["phi2", "qwen", "phi3", "plain"]
Sampler = Literal["random", "modality_length", "packed"]
TrainablePart = Literal["projector", "vision_tower", "language_model"]
StageName = Literal["projector", "adapter"]
Preprocessing = Literal["square", "pad"]
LossWeighting = Literal["micro_batch", "token"]
Norm = Annotated[float, Field(gt=0)]
# `none` is text in YAML, not null.
MaxNorm = Annotated[
    Norm | None,
    BeforeValidator(
        lambda value: None if value == "none" else value,
        json_schema_input_type=Norm | Literal["none"] | None,
    ),
]

# Every Linear outside projector and vision tower, including the head.
LORA_TARGETS: dict[Architecture, frozenset[str]] = {
    "phi": frozenset({"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"}),
    "qwen2": frozenset(
        {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}
    ),
    "phi3": frozenset({"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"}),
}


class Lora(StrictModel):
    """Low-rank adapters, without biases."""

    r: Size
    alpha: Size
    dropout: Fraction
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="last names of the Linears outside projector and vision tower"
    )


class Stage(StrictModel):
    """One training stage: its data, the trained weights, and the hyperparameters."""

    mixture: Name = Field(description="the mixture it is trained on, by its manifest's name")
    template: TemplateName | None = Field(None, description="overrides the model's `template`")
    sampler: Sampler
    trains: Annotated[tuple[TrainablePart, ...], Field(min_length=1)] = Field(
        description="parts whose weights are all trained"
    )
    because: str | None = Field(
        None, description="why other parts than the projector are trained in full"
    )
    lora: Lora | None = None
    epochs: Size
    global_batch: Size = Field(description="samples per step, for any number of devices")
    per_device_batch: Size = Field(
        description="rows per forward pass of one device: samples, or with `packed` sequences of "
        "up to max_length"
    )
    loss_weighting: LossWeighting = Field(
        "token",
        description="the loss of a step: the mean over its learned tokens, or the mean over the "
        "means of its micro-batches",
    )
    micro_batch_size: Size | None = Field(
        None, description="samples per micro-batch; only with loss_weighting micro_batch"
    )
    learning_rate: PositiveFraction
    projector_learning_rate: PositiveFraction | None = Field(
        None, description="learning_rate if left out"
    )
    warmup_ratio: Fraction
    weight_decay: Fraction
    max_grad_norm: MaxNorm = Field(description="none: gradients are not clipped")
    precision: Literal["bf16", "fp16", "fp32"]
    gradient_checkpointing: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    save_steps: Size
    keep_checkpoints: Size

    @model_validator(mode="after")
    def _fields_agree(self) -> "Stage":
        if self.sampler != "packed" and self.global_batch % self.per_device_batch:
            raise ValueError("global_batch: is not a multiple of per_device_batch")
        if (self.loss_weighting == "micro_batch") != (self.micro_batch_size is not None):
            raise ValueError(
                "micro_batch_size: belongs to loss_weighting micro_batch, which requires it"
            )
        if self.global_batch % self.loss_batch:
            raise ValueError("global_batch: is not a multiple of micro_batch_size")
        if self.lora and "language_model" in self.trains:
            raise ValueError("lora: adapts a language model that `trains` already trains in full")
        if set(self.trains) != {"projector"} and not self.because:
            raise ValueError("because: say why `trains` names more than the projector")
        return self

    @property
    def loss_batch(self) -> int:
        """Number of samples over whose learned tokens the loss takes one mean."""
        return self.micro_batch_size or self.global_batch

    @property
    def by_modality(self) -> bool:
        """Whether batches group samples by modality and length; otherwise the order is random.

        Packed sequences that reproduce the original's micro-batch weighting also follow this order,
        because each micro-batch of the original contains one modality.
        """
        packed_means = self.sampler == "packed" and self.loss_weighting == "micro_batch"
        return self.sampler == "modality_length" or packed_means


class Stages(StrictModel):
    """The stages in order; one of them may be left out."""

    projector: Stage | None = None
    adapter: Stage | None = None


class Export(StrictModel):
    """The files that are exported for llama.cpp."""

    bits: Annotated[tuple[Literal[16, 8, 4], ...], Field(min_length=1)] = (16, 8, 4)
    resolutions: Annotated[tuple[Size, ...], Field(min_length=1)] | None = Field(
        None, description="sides of images, px; only image_size if left out"
    )
    short_answer_suffix: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="text that the mixtures append to questions with short answers; the chat then "
        "offers a switch for it",
    )


class Model(StrictModel):
    """A vision-language model and its training recipe."""

    name: Name
    title: str
    paper: str | None = Field(None, description="paper of the recipe: arXiv:<number>")
    license: str = Field(description="of the trained weights: SPDX name, or the owner's own term")
    license_name: str | None = Field(None, description="its name, if `license` is other")
    license_link: str | None = Field(None, description="its URL, if `license` is other")
    language: tuple[str, ...] = Field(("en",), description="ISO 639 codes of its answers")
    unverified: tuple[str, ...] = Field((), description="statements here that no source confirms")
    language_model: LanguageModel
    vision_tower: VisionTower
    tokenizer: Tokenizer | None = Field(None, description="that of the language model if left out")
    image_size: Size = Field(description="side of the square that an image is resized to, px")
    image_preprocessing: Preprocessing
    template: TemplateName
    max_length: Size = Field(description="tokens per sequence, including those of the image")
    stages: Stages
    # Exports do not change the weights, so no digest of the manifest includes them.
    export: Export = Field(Export(), exclude=True)

    @model_validator(mode="after")
    def _parts_agree(self) -> "Model":
        known = LORA_TARGETS[self.language_model.architecture]
        for name, stage in self.planned:
            if stage.lora and (unknown := set(stage.lora.targets) - known):
                raise ValueError(
                    f"stages.{name}.lora.targets: {', '.join(sorted(unknown))} is not a Linear of "
                    f"{self.language_model.architecture}; it has {', '.join(sorted(known))}"
                )
        if self.license != "other" and (self.license_name or self.license_link):
            raise ValueError("license_name, license_link: belong to `license: other`")
        if not self.planned:
            raise ValueError("stages: at least one is required")
        if self.tokenizer is None and self.language_model.weights is None:
            raise ValueError("tokenizer: is required for a language model without weights")
        if self.image_tokens >= self.max_length:
            raise ValueError(f"max_length: the image alone takes {self.image_tokens} tokens")
        least, most = self.vision_tower.config.patch_size, 4 * self.image_size
        for size in self.export.resolutions or ():
            if not least <= size <= most:
                raise ValueError(f"export.resolutions: {size} is not between {least} and {most}")
        return self

    @property
    def image_tokens(self) -> int:
        """Number of tokens per image."""
        return (self.image_size // self.vision_tower.config.patch_size) ** 2

    @property
    def planned(self) -> list[tuple[StageName, Stage]]:
        """The stages that the manifest defines, in order."""
        stages: list[tuple[StageName, Stage | None]] = [
            ("projector", self.stages.projector),
            ("adapter", self.stages.adapter),
        ]
        return [(name, stage) for name, stage in stages if stage is not None]

    @property
    def seed(self) -> int:
        """Seed for initializing weights that are not pretrained."""
        return self.planned[0][1].seed


def load_model(path: Path) -> Model:
    """Read a model's manifest. Raise UserError naming file, line, field and accepted values."""
    return load_manifest(path, Model)


def gradient_accumulation_steps(stage: Stage, devices: int) -> int:
    """Return the number of gradient accumulation steps that yields the stage's global batch."""
    per_pass = stage.per_device_batch * devices
    if stage.global_batch % per_pass:
        raise UserError(
            "global_batch",
            f"{stage.global_batch} is not a multiple of per_device_batch {stage.per_device_batch} "
            f"x {devices} devices = {per_pass}",
            "change the number of devices, or per_device_batch in the manifest to a number that "
            f"divides {stage.global_batch / devices:g}; the global batch belongs to the recipe",
        )
    return stage.global_batch // per_pass
