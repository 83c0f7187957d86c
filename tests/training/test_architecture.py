"""The network equals a reference of plain tensor operations."""

import math
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from training_world import MODEL, STAGE, model

from imp_data.errors import UserError
from imp_data.manifests.model import Model
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.model.architecture import build_network
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer

torch.set_num_threads(1)

ARCHITECTURES = ["phi", "qwen2", "phi3"]
TEMPLATE_OF = {"phi": "phi2", "qwen2": "qwen", "phi3": "phi3"}
STAGE_OF_ANY = {"adapter": STAGE}


def tokenizer(template: str = "phi2") -> Any:
    return prepare_tokenizer(byte_level_bpe(["What colour is it? Red."], 300), TEMPLATES[template])


def tiny(world: World, architecture: str, **fields: Any) -> Model:
    """Return a tiny model with the architecture's structure, with grouped heads if possible."""
    config = dict(MODEL["language_model"]["config"], num_attention_heads=4)
    if architecture != "phi":
        config = {**config, "num_key_value_heads": 2, "partial_rotary_factor": 1.0}
    return model(
        *(world, STAGE_OF_ANY),
        language_model={"architecture": architecture, "config": config},
        template=TEMPLATE_OF[architecture],
        **fields,
    )


def randomize(network: torch.nn.Module) -> Any:
    """Randomize biases and norms, since initial values of 0 and 1 would hide errors."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return network.eval()


Weights = dict[str, torch.Tensor]


def linear(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    bias = w.get(f"{name}.bias")
    out = torch.einsum("...i,oi->...o", x, w[f"{name}.weight"])
    return out if bias is None else out + bias


def layer_norm(x: torch.Tensor, w: Weights, name: str, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def rms_norm(x: torch.Tensor, w: Weights, name: str, eps: float) -> torch.Tensor:
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps) * w[f"{name}.weight"]


def tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def erf_gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden: torch.Tensor | None
) -> torch.Tensor:
    """Return attention output, (heads, tokens, size); `hidden` masks excluded positions."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if hidden is not None:
        scores = scores.masked_fill(hidden, -math.inf)
    out = torch.softmax(scores, -1) @ v
    return out.transpose(0, 1).reshape(out.shape[1], -1)


def heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x.reshape(len(x), count, -1).transpose(0, 1)


def tower(pixels: torch.Tensor, w: Weights, figures: Any) -> torch.Tensor:
    """Return SigLIP's features of the last layer but one, without class token and final norm."""
    patch, vision = figures.patch_size, "model.vision_tower"
    grid = pixels.unfold(1, patch, patch).unfold(2, patch, patch)  # 3, rows, columns, patch, patch
    rows = grid.permute(1, 2, 0, 3, 4).reshape(-1, 3 * patch * patch)
    kernel = w[f"{vision}.embeddings.patch_embedding.weight"].flatten(1)
    x = rows @ kernel.T + w[f"{vision}.embeddings.patch_embedding.bias"]
    x = x + w[f"{vision}.embeddings.position_embedding.weight"]
    for number in range(figures.num_hidden_layers - 1):
        name = f"{vision}.encoder.layers.{number}"
        y = layer_norm(x, w, f"{name}.layer_norm1", 1e-6)
        q, k, v = (
            heads(linear(y, w, f"{name}.self_attn.{p}_proj"), figures.num_attention_heads)
            for p in "qkv"
        )
        x = x + linear(attend(q, k, v, None), w, f"{name}.self_attn.out_proj")
        y = layer_norm(x, w, f"{name}.layer_norm2", 1e-6)
        x = x + linear(tanh_gelu(linear(y, w, f"{name}.mlp.fc1")), w, f"{name}.mlp.fc2")
    return x


def rotated(x: torch.Tensor, theta: float, dimensions: int) -> torch.Tensor:
    """Apply rotary positions to the first `dimensions` of each head, rotating halves."""
    half = dimensions // 2
    steps = theta ** (-torch.arange(half) / half)
    angles = torch.arange(x.shape[1])[:, None] * steps
    cos, sin = torch.cos(angles), torch.sin(angles)
    a, b, rest = x[..., :half], x[..., half:dimensions], x[..., dimensions:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def decode(x: torch.Tensor, w: Weights, architecture: str, config: Any) -> torch.Tensor:
    """Return the logits of each token."""
    count, groups = (
        config.num_attention_heads,
        config.num_key_value_heads or config.num_attention_heads,
    )
    size = config.hidden_size // count
    rotary = int(size * config.partial_rotary_factor)
    later = torch.ones(len(x), len(x)).triu(1).bool()
    norm = layer_norm if architecture == "phi" else rms_norm
    for number in range(config.num_hidden_layers):
        name = f"model.language_model.layers.{number}"
        y = norm(x, w, f"{name}.input_layernorm", config.norm_eps)
        if architecture == "phi3":
            joined = linear(y, w, f"{name}.self_attn.qkv_proj")
            q, k, v = joined.split([count * size, groups * size, groups * size], -1)
        else:
            q, k, v = (linear(y, w, f"{name}.self_attn.{p}_proj") for p in "qkv")
        q = rotated(heads(q, count), config.rope_theta, rotary)
        k = rotated(heads(k, groups), config.rope_theta, rotary).repeat_interleave(
            count // groups, 0
        )
        v = heads(v, groups).repeat_interleave(count // groups, 0)
        seen = attend(q, k, v, later)
        if architecture == "phi":
            # Attention and MLP run in parallel after one norm.
            inner = tanh_gelu(linear(y, w, f"{name}.mlp.fc1"))
            x = x + linear(seen, w, f"{name}.self_attn.dense") + linear(inner, w, f"{name}.mlp.fc2")
            continue
        x = x + linear(seen, w, f"{name}.self_attn.o_proj")
        y = norm(x, w, f"{name}.post_attention_layernorm", config.norm_eps)
        if architecture == "phi3":
            gate, up = linear(y, w, f"{name}.mlp.gate_up_proj").chunk(2, -1)
        else:
            gate, up = (linear(y, w, f"{name}.mlp.{p}_proj") for p in ("gate", "up"))
        x = x + linear(gate * torch.sigmoid(gate) * up, w, f"{name}.mlp.down_proj")
    last = "final_layernorm" if architecture == "phi" else "norm"
    return linear(norm(x, w, f"model.language_model.{last}", config.norm_eps), w, "lm_head")


def reference(
    ids: list[int], pixels: torch.Tensor, w: Weights, m: Model, image: int
) -> torch.Tensor:
    """Embed the tokens, and replace the image's tokens by the projector's output."""
    seen = tower(pixels, w, m.vision_tower.config)
    projector = "model.multi_modal_projector"
    seen = erf_gelu(linear(seen, w, f"{projector}.linear_1"))
    features = iter(linear(seen, w, f"{projector}.linear_2"))
    table = w["model.language_model.embed_tokens.weight"]
    x = torch.stack([next(features) if n == image else table[n] for n in ids])
    return decode(x, w, m.language_model.architecture, m.language_model.config)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_forward_pass_equals_the_reference(architecture: str, world: World) -> None:
    m = tiny(world, architecture)
    words = tokenizer(m.template)
    network = randomize(build_network(m, words))
    image = words.convert_tokens_to_ids("<image>")
    ids = [7, 9, *[image] * m.image_tokens, 40, 41, 42, 43]
    pixels = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found = network(input_ids=torch.tensor([ids]), pixel_values=pixels[None]).logits[0]
        expected = reference(ids, pixels, network.state_dict(), m, image)
    assert found.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_only_phi_has_a_bias_on_its_head(world: World) -> None:
    found = {
        a: build_network(tiny(world, a), tokenizer()).lm_head.bias is not None
        for a in ARCHITECTURES
    }
    assert found == {"phi": True, "qwen2": False, "phi3": False}


def test_random_weights_depend_on_the_seed_alone(world: World) -> None:
    first = build_network(tiny(world, "phi"), tokenizer(), seed=3).state_dict()
    torch.rand(7)
    second = build_network(tiny(world, "phi"), tokenizer(), seed=3).state_dict()
    other = build_network(tiny(world, "phi"), tokenizer(), seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_an_embedding_too_small_for_the_tokenizer_is_refused(world: World) -> None:
    m = tiny(world, "phi")
    config = m.language_model.config.model_copy(update={"vocab_size": 64})
    language = m.language_model.model_copy(update={"config": config})
    with pytest.raises(UserError, match=r"vocab_size: 64 rows are too few for the tokenizer's 274"):
        build_network(m.model_copy(update={"language_model": language}), tokenizer())
