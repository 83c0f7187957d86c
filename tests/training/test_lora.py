"""Trained weights of a stage: the recipe's Linears, the projector, and nothing of the tower."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from peft import PeftModel
from safetensors.torch import load_file
from training_world import LORA, STAGE, WHOLE
from transformers import LlavaConfig

from imp_data.manifests.model import LORA_TARGETS, Stage, load_model
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.model.architecture import build_network
from imp_data.training.model.lora import make_trainable, trainable_parameters, unwrap_peft
from imp_data.training.model.modeling_imp import ImpConfig, ImpForConditionalGeneration
from imp_data.training.model.stage_output import restore_model, write_stage_output
from tests.training.test_architecture import TEMPLATE_OF, randomize, tiny, tokenizer

torch.set_num_threads(1)
MANIFESTS = Path(__file__).parents[2] / "manifests" / "models"
# imp_llava/train/train.py:174-188 on each language model.
TARGETS = {
    "phi": "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.dense mlp.fc1 mlp.fc2",
    "qwen2": "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj "
    "mlp.gate_proj mlp.up_proj mlp.down_proj",
    "phi3": "self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj",
}


def stage(architecture: str, **fields: Any) -> Stage:
    lora = {**LORA, "targets": tuple(sorted(LORA_TARGETS[architecture]))}  # type: ignore[index]
    return Stage.model_validate({**STAGE, "lora": lora, **fields})


def adapted(network: torch.nn.Module) -> set[str]:
    """Return the names of the modules with LoRA."""
    names = [name for name, _ in unwrap_peft(network).named_parameters() if ".lora_" in name]
    return {name.split(".lora_")[0] for name in names}


@pytest.mark.parametrize("architecture", TARGETS)
def test_lora_targets_every_linear_of_the_decoder_and_its_head(
    architecture: str, world: World
) -> None:
    m = tiny(world, architecture)
    network = make_trainable(build_network(m, tokenizer(m.template)), stage(architecture))
    layers = {
        f"model.language_model.layers.{n}.{name}"
        for n in range(2)
        for name in TARGETS[architecture].split()
    }
    assert adapted(network) == layers | {"lm_head"}
    others = {name for name, _ in trainable_parameters(network) if ".lora_" not in name}
    projector = "model.multi_modal_projector.linear_"
    assert others == {f"{projector}{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}


def test_imp_3b_trains_391m_lora_weights_and_9_5m_projector_weights() -> None:
    m = load_model(MANIFESTS / "imp-3b.yaml")
    with torch.device("meta"):
        network = ImpForConditionalGeneration(true_config())
        network = make_trainable(network, m.stages.adapter)
    counts = {"lora": 0, "projector": 0}
    for name, parameter in trainable_parameters(network):
        counts["lora" if ".lora_" in name else "projector"] += parameter.numel()
        assert ".lora_" not in name or not name.endswith("bias")
    # 32 layers x 256 x (4 x (2560 + 2560) + 2 x (2560 + 10240)) + 256 x (2560 + 51200)
    assert counts == {"lora": 391_249_920, "projector": 9_507_840}
    tower = [p for n, p in unwrap_peft(network).named_parameters() if "vision_tower" in n]
    assert tower and not any(parameter.requires_grad for parameter in tower)


def true_config() -> LlavaConfig:
    """Return Imp-3B's configuration from its manifest, with a stand-in for its tokenizer."""
    from types import SimpleNamespace

    from imp_data.training.model.architecture import network_config

    words = SimpleNamespace(bos_token_id=None, eos_token_id=50295, pad_token_id=50256)
    words.convert_tokens_to_ids = lambda token: 50296

    class Sized(SimpleNamespace):
        def __len__(self) -> int:
            return 50297

    config = network_config(load_model(MANIFESTS / "imp-3b.yaml"), Sized(**vars(words)))
    assert isinstance(config, ImpConfig)
    return config


def test_the_layer_after_the_features_is_not_trained(
    world: World,
) -> None:
    m = tiny(world, "phi")
    network = make_trainable(
        build_network(m, tokenizer()), Stage.model_validate({**STAGE, **WHOLE})
    )
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"encoder", "post_layernorm"}
    assert all("layers.1." in name or "post_layernorm" in name for name in frozen)


def test_trained_weights_are_float32_and_frozen_ones_16_bits(world: World) -> None:
    m = tiny(world, "phi")
    network = make_trainable(build_network(m, tokenizer(), dtype=torch.bfloat16), stage("phi"))
    types = {(p.requires_grad, p.dtype) for p in network.parameters()}
    assert types == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("architecture", TARGETS)
def test_a_merged_model_has_the_logits_of_its_adapter(
    architecture: str, world: World, tmp_path: Path
) -> None:
    m = tiny(world, architecture)
    words = tokenizer(TEMPLATE_OF[architecture])
    network = randomize(make_trainable(build_network(m, words, m.seed), stage(architecture)))
    named = dict(unwrap_peft(network).named_parameters())
    weights = {name: p.detach().clone() for name, p in named.items() if is_trained(name)}
    # The seed determines the base model, so only trained weights may differ from it.
    network = make_trainable(build_network(m, words, m.seed), stage(architecture)).eval()
    with torch.no_grad():
        for name, parameter in trainable_parameters(network):
            parameter.copy_(weights[name])
    m = m.model_copy(update={"stages": type(m.stages)(adapter=stage(architecture))})
    jinja = TEMPLATES[m.template].jinja
    write_stage_output(tmp_path / "o", m, "adapter", words, jinja, weights, {})
    image = words.convert_tokens_to_ids("<image>")
    ids = torch.tensor([[7, *[image] * 4, 40, 41]])
    inputs = {"input_ids": ids, "pixel_values": torch.rand(1, 3, 28, 28)}
    restored = restore_model(tmp_path / "o")
    with torch.no_grad():
        expected = network(**inputs).logits
        assert isinstance(restored.network, PeftModel)
        assert (restored.network.eval()(**inputs).logits - expected).abs().max() < 1e-5
        assert (restored.merged().eval()(**inputs).logits - expected).abs().max() < 1e-4


def is_trained(name: str) -> bool:
    return ".lora_" in name or ".multi_modal_projector." in name


def test_the_adapter_has_pefts_format_without_embeddings(world: World, tmp_path: Path) -> None:
    m, words = tiny(world, "phi"), tokenizer()
    m = m.model_copy(update={"stages": type(m.stages)(adapter=stage("phi"))})
    network = make_trainable(build_network(m, words), stage("phi"))
    weights = {name: parameter.detach() for name, parameter in trainable_parameters(network)}
    write_stage_output(tmp_path / "o", m, "adapter", words, TEMPLATES["phi2"].jinja, weights, {})
    saved = load_file(tmp_path / "o" / "adapter_model.safetensors")
    assert all(".lora_A.weight" in name or ".lora_B.weight" in name for name in saved)
    assert len(saved) == 2 * (2 * 6 + 1)
    assert set(load_file(tmp_path / "o" / "projector.safetensors")) == {
        f"model.multi_modal_projector.linear_{n}.{kind}"
        for n in (1, 2)
        for kind in ("weight", "bias")
    }
    assert not (tmp_path / "o" / "whole.safetensors").exists()
