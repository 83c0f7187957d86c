"""The components of a model in its manifest: language model, vision tower, tokenizer."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imp_data.manifests import Positive, StrictModel

Size = Positive
PositiveFraction = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Architecture = Literal["phi", "qwen2", "phi3"]


class Weights(StrictModel):
    """The location of pretrained weights; a component without them is initialized at random."""

    hub: str | None = Field(
        None, pattern=r"^[\w.-]+/[\w.-]+$", description="repository on huggingface.co"
    )
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$", description="commit of `hub`")
    folder: str | None = Field(None, description="or a folder, relative to the current one")

    @model_validator(mode="after")
    def _check_location(self) -> "Weights":
        if (self.hub is None) == (self.folder is None):
            raise ValueError("give either `hub` with its `revision`, or `folder`")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("`hub` and `revision` go together: weights without a commit change")
        return self


class TextConfig(StrictModel):
    """Dimensions of a decoder, with the field names of transformers' configurations."""

    vocab_size: Size | None = Field(
        None, description="rows of the embedding; as many as the tokenizer needs if left out"
    )
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = Field(None, description="num_attention_heads if left out")
    max_position_embeddings: Size
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    norm_eps: PositiveFraction
    resid_pdrop: Fraction = 0.0
    sliding_window: Size | None = None

    @model_validator(mode="after")
    def _check_heads(self) -> "TextConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size: is not a multiple of num_attention_heads")
        if self.num_attention_heads % (self.num_key_value_heads or self.num_attention_heads):
            raise ValueError("num_attention_heads: is not a multiple of num_key_value_heads")
        return self


class LanguageModel(StrictModel):
    """The decoder."""

    architecture: Architecture
    weights: Weights | None = None
    config: TextConfig

    @model_validator(mode="after")
    def _check_config(self) -> "LanguageModel":
        # transformers silently ignores fields that an architecture does not use.
        if self.architecture != "phi" and self.config.partial_rotary_factor != 1:
            raise ValueError("config.partial_rotary_factor: only the architecture phi has it")
        if self.architecture != "phi3" and self.config.sliding_window:
            raise ValueError("config.sliding_window: only the architecture phi3 has it")
        if self.architecture == "qwen2" and self.config.resid_pdrop:
            raise ValueError("config.resid_pdrop: the architecture qwen2 has none")
        return self


class VisionConfig(StrictModel):
    """Dimensions of a SigLIP vision tower."""

    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Annotated[int, Field(ge=2)]
    num_attention_heads: Size
    patch_size: Size
    pretrained_image_size: Size = Field(description="image side of the pretrained weights, px")

    @model_validator(mode="after")
    def _check_heads(self) -> "VisionConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size: is not a multiple of num_attention_heads")
        return self


class VisionTower(StrictModel):
    """The image encoder; its penultimate layer is the output."""

    weights: Weights | None = None
    config: VisionConfig


class Tokenizer(StrictModel):
    """A byte-level BPE trained on the mixture, for a model without pretrained weights."""

    vocab_size: Annotated[int, Field(ge=300)]
