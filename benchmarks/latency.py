"""Measure export and latency of Imp-3B's shape with random weights, beside the paper's Table 4.

    python benchmarks/latency.py /somewhere/with/20GB        (about twenty minutes on two cores)
    python benchmarks/latency.py FOLDER --runs 5 --bits 8,4

Weights are written shard by shard and exported in a process of its own, whose peak memory is told.
A `llama-server` on the PATH, built for this machine, is measured in place of the wheel.
Random weights cost as much to read and to multiply as trained ones; what they say means nothing.
Needs the extra [mobile]. Files stay in FOLDER and are used again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imp_data.mobile.gguf.bundle import read_bundle
from imp_data.mobile.measure.latency import latency
from imp_data.mobile.measure.latency_report import PAPER, Report

TEXT = {
    "model_type": "phi",
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 51200,
    "max_position_embeddings": 3072,
    "layer_norm_eps": 1e-5,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.4,
    },
}
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
CHAT = "{% for m in messages %}USER: {{ m['content'] }} ASSISTANT:{% endfor %}"
SHARD_BYTES = 1 << 30
MEASURED = """
import sys
from pathlib import Path
from imp_data.mobile.gguf.export import export
from imp_data.mobile.measure.latency_worker import peak_memory_bytes
export(Path(sys.argv[1]), Path(sys.argv[2]), [int(b) for b in sys.argv[3].split(",")], [384, 196])
print(peak_memory_bytes())
"""


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every tensor that the trainer saves."""
    h, f, rows = TEXT["hidden_size"], TEXT["intermediate_size"], TEXT["vocab_size"]
    text, tower = "model.language_model.model", "model.vision_tower"
    yield f"{text}.embed_tokens.weight", (rows, h)
    for n in range(TEXT["num_hidden_layers"]):
        layer = f"{text}.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "dense"):
            yield from linear(f"{layer}.self_attn.{name}", h, h)
        yield from linear(f"{layer}.mlp.fc1", f, h)
        yield from linear(f"{layer}.mlp.fc2", h, f)
        yield from norm(f"{layer}.input_layernorm", h)
    yield from norm(f"{text}.final_layernorm", h)
    yield from linear("lm_head", rows, h)
    w, m = VISION["hidden_size"], VISION["intermediate_size"]
    yield f"{tower}.embeddings.patch_embedding.weight", (w, 3, 14, 14)
    yield f"{tower}.embeddings.patch_embedding.bias", (w,)
    yield f"{tower}.embeddings.position_embedding.weight", (27 * 27, w)
    for n in range(VISION["num_hidden_layers"]):
        layer = f"{tower}.encoder.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.self_attn.{name}", w, w)
        yield from linear(f"{layer}.mlp.fc1", m, w)
        yield from linear(f"{layer}.mlp.fc2", w, m)
        yield from norm(f"{layer}.layer_norm1", w)
        yield from norm(f"{layer}.layer_norm2", w)
    yield from norm(f"{tower}.post_layernorm", w)
    yield from linear("model.multi_modal_projector.linear_1", h, w)
    yield from linear("model.multi_modal_projector.linear_2", h, h)


def linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def write_model(folder: Path) -> None:
    """Write the model's folder with one tensor in memory at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    shard: list[tuple[str, tuple[int, ...]]] = []
    number, filled = 0, 0
    for name, shape in shapes():
        shard.append((name, shape))
        filled += 2 * int(np.prod(shape))
        if filled > SHARD_BYTES:
            write_shard(folder / f"model-{number:05d}.safetensors", shard, number)
            shard, number, filled = [], number + 1, 0
    write_shard(folder / f"model-{number:05d}.safetensors", shard, number)
    config = {
        "model_type": "imp",
        "text_config": TEXT,
        "vision_config": VISION,
        "vision_feature_layer": -2,
        "image_token_index": TEXT["vocab_size"] - 1,
    }
    about = {"name": "imp-3b-random", "preprocessing": "square"}
    write_tokenizer(folder)
    (folder / "imp.json").write_text(json.dumps(about))
    # Last, so that its existence means that the model is whole.
    (folder / "config.json").write_text(json.dumps(config))


def write_shard(path: Path, tensors: list[tuple[str, tuple[int, ...]]], seed: int) -> None:
    header: dict[str, Any] = {}
    at = 0
    for name, shape in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, shape in tensors:
            numbers = generator.standard_normal(int(np.prod(shape)), np.float32) * 0.02
            if "norm" in name and name.endswith("weight"):
                numbers += 1
            numbers.astype(np.float16).tofile(file)


def write_tokenizer(folder: Path) -> None:
    """Write a byte-level BPE of about a hundred tokens; other embedding rows are unused."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(["USER: what is in the image ASSISTANT:"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|endoftext|>", "chat_template": CHAT}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def exported(model: Path, out: Path, bits: str) -> dict[str, Any]:
    """Return seconds and peak memory of an export in its own process."""
    if (out / "manifest.json").exists():
        return {"again": False}
    begun = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, str(model), str(out), bits]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {"seconds": time.perf_counter() - begun, "peak_bytes": int(done.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bits", default="4")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--server", type=Path, help="path of llama-server (default: the one on PATH)"
    )
    parser.add_argument(
        "--wheel", action="store_true", help="use the wheel's llama-server even if PATH has one"
    )
    parser.add_argument("--export-only", action="store_true")
    asked = parser.parse_args()
    model, out = asked.folder / "model", asked.folder / "export"
    if not (model / "config.json").exists():
        write_model(model)
    figures: dict[str, Any] = {"export": exported(model, out, asked.bits)}
    print(f"export: {figures['export']}", flush=True)
    if asked.export_only:
        return
    found = None if asked.wheel else asked.server or shutil.which("llama-server")
    server = Path(found) if found else None
    report = latency(out, read_bundle(out).precisions, asked.threads, asked.runs, server)
    print("\n".join(report.lines()))
    figures["latency"] = report.model_dump(mode="json")
    figures["ratios"] = ratios(report)
    print(json.dumps(figures))


def ratios(report: Report) -> dict[str, Any]:
    """Print and return the savings of smaller images, and the error of the sum of parts."""
    found = {}
    paper = PAPER[0].t_total_s / PAPER[1].t_total_s
    for precision in dict.fromkeys(row.precision for row in report.rows):
        large, small = [row for row in report.rows if row.precision is precision]
        total = large.t_total_s.median / small.t_total_s.median
        vision = large.t_ve_s.median / small.t_ve_s.median
        apart = max(abs(large.difference), abs(small.difference))
        print(f"{precision.value}: T_total @384 is {total:.2f} times that @196 (paper {paper:.2f})")
        print(f"{precision.value}: T_VE @384 is {vision:.2f} times that @196")
        print(f"{precision.value}: predicted and measured T_total differ by {apart:.1%} at most")
        found[precision.value] = {"t_total": total, "t_ve": vision, "difference": apart}
    return found


if __name__ == "__main__":
    main()
