"""Compare training with a plain loop of LLaVA's recipe: tokens/s, operations, memory, loader.

    python benchmarks/training.py                      (a quarter of Imp-3B: ten minutes, two cores)
    python benchmarks/training.py --shape imp-3b --global-batch 128     (its true shape, on a GPU)
    python benchmarks/training.py --shape tiny --steps 2 --rounds 1     (does it run?)

Ours is `imp-data train`'s own step, data included, in three orders; the plain loop is the recipe's:
rows in memory, rounds tokenized again for their labels, a zero image for text alone, embeddings
spliced sample by sample and padded to the batch's longest, lengths guessed from words. All begin
from the same weights and take turns. `--shape quarter` is Imp-3B with a quarter of its width and a
quarter of its lengths, so that attention has its true share, and two layers. Weights are random;
they cost what trained ones do. The last line is one JSON object.
"""

import argparse
import gc
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import loader
import numpy as np
import operations
import torch
from recipe import Recipe, apart, recipe_order, spliced
from torch import nn

import imp_data.training.loop.stage as stage_module
from imp_data.manifests.model import Model, Stage, load_model
from imp_data.training.data.batch_sampler import Packing, iterate_steps
from imp_data.training.data.mixture_input import MixtureInput
from imp_data.training.data.preflight import preflight, read_accepted_rows
from imp_data.training.data.sampling import modality_length_order, random_order
from imp_data.training.loop.reporting import Reporter, read_metrics
from imp_data.training.loop.stage import StageJob, train_stage, training_arguments
from imp_data.training.loop.stage_data import prepare_data
from imp_data.training.loop.trainer import parameter_groups
from imp_data.training.model.architecture import build_network
from imp_data.training.model.lora import make_trainable, unwrap_peft

MANIFESTS = Path(__file__).parents[1] / "manifests" / "models"
ORDERS = ("random", "modality_length", "packed")
DEVICES = 8  # the recipe's, for the arithmetic on orders
KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# Between two steps that are looked at, so that loading and compiling are over.
WARM = 1


class Setting(NamedTuple):
    """Inputs that all contenders share."""

    model: Model
    stage: Stage
    folder: Path
    reader: Any
    tokenizer: Any
    rows: Any
    lengths: Any
    learned: Any
    words: Any
    cost: operations.Cost
    steps: int = 0
    workers: int = 0


def shape(name: str) -> Model:
    """Return a manifest's model with random weights; `quarter` is derived from Imp-3B."""
    model = load_model(MANIFESTS / f"{'imp-tiny' if name == 'tiny' else 'imp-3b'}.yaml")
    said = model.model_dump()
    said["tokenizer"] = {"vocab_size": 8000}
    said["language_model"]["weights"] = said["vision_tower"]["weights"] = None
    if name == "quarter":
        text, vision = said["language_model"]["config"], said["vision_tower"]["config"]
        text |= {"hidden_size": 640, "intermediate_size": 2560, "num_hidden_layers": 2}
        text |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 12800}
        vision |= {"hidden_size": 288, "intermediate_size": 1076, "num_hidden_layers": 3}
        vision |= {"num_attention_heads": 4, "pretrained_image_size": 182}
        said |= {"image_size": 182, "max_length": 768}
        said["stages"]["adapter"]["lora"] |= {"r": 64, "alpha": 64}
        said["export"] = {}
    return Model.model_validate(said)


def stage_of(model: Model, global_batch: int) -> Stage:
    """Return stage 2 of the recipe in the fastest precision of the device."""
    adapter = model.stages.adapter
    assert adapter
    precision = "bf16" if torch.cuda.is_available() else "fp32"
    more = {"global_batch": global_batch, "per_device_batch": 4, "precision": precision}
    more |= {"loss_weighting": "micro_batch", "micro_batch_size": 4}
    return adapter.model_copy(update={**more, "save_steps": 10**6, "keep_checkpoints": 1})


def network_of(setting: Setting) -> nn.Module:
    kind = KINDS[setting.stage.precision]
    network = make_trainable(
        build_network(setting.model, setting.tokenizer, 1, kind), setting.stage
    )
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


class Seen(NamedTuple):
    """Timings of a contender's steps after the first."""

    tokens: int
    needed: float
    """Return the operations of the samples of these steps."""
    samples: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Watch(Reporter):
    """Also notes, after each step, the processor's time that all processes took."""

    spent: ClassVar[list[float]] = []

    def on_log(self, *args: Any, **more: Any) -> None:
        super().on_log(*args, **more)
        self.spent.append(loader.cpu_seconds())


def ours(setting: Setting, sampler: str) -> Seen:
    """Return the steps of `imp-data train` from its log."""
    stage = setting.stage.model_copy(update={"sampler": sampler})
    run = setting.folder / sampler
    shutil.rmtree(run, ignore_errors=True)
    job = StageJob("adapter", stage, run, WARM + setting.steps, setting.workers)
    args = training_arguments(job)
    corpus = MixtureInput(setting.folder, "made", len(setting.lengths), "", {})
    data = prepare_data(
        setting.model, stage, corpus, setting.tokenizer, setting.reader, setting.folder
    )
    reset_peak()
    Watch.spent.clear()
    stage_module.Reporter = Watch  # type: ignore[misc]
    train_stage(job, args, network_of(setting), data)
    first, last = (read_metrics(run)[n] for n in (WARM - 1, -1))
    return Seen(
        last["tokens"] - first["tokens"],
        needed(setting, data.order(0)),
        setting.steps * stage.global_batch,
        last["seconds"] - first["seconds"],
        Watch.spent[WARM + setting.steps - 1] - Watch.spent[WARM - 1],
        peak_bytes(),
    )


def needed(setting: Setting, order: Any) -> float:
    """Return the operations of the timed steps of an order of rows."""
    size = setting.stage.global_batch
    rows = order[WARM * size : (WARM + setting.steps) * size]
    places = np.searchsorted(setting.rows, rows)
    return setting.cost.needed(setting.lengths[places], setting.learned[places])


def recipe(setting: Setting) -> Seen:
    """Run the plain loop."""
    stage, network = setting.stage, network_of(setting)
    if stage.gradient_checkpointing:
        unwrap_peft(network).activation_checkpointing_enable({"use_reentrant": False})
    network.train()
    optimizer = torch.optim.AdamW(parameter_groups(network, stage), betas=(0.9, 0.999))
    batches = iter(recipe_loader(setting))
    chunks = stage.global_batch // stage.per_device_batch
    device = next(network.parameters()).device
    reset_peak()
    tokens = 0
    for step in range(WARM + setting.steps):
        if step == WARM:
            tokens, begun, spent = 0, time.perf_counter(), loader.cpu_seconds()
        for _ in range(chunks):
            ids, labels, pixels = next(batches)
            with torch.autocast(device.type, KINDS[stage.precision], stage.precision != "fp32"):
                given, count = spliced(network, ids, labels, pixels.to(device))
                loss = network(**given, use_cache=False).loss / chunks
            loss.backward()
            # As ours: a loss that is no number is told at once.
            assert np.isfinite(loss.item())
            tokens += count
        # As ours: measured, also where nothing is clipped.
        most = stage.max_grad_norm or float("inf")
        nn.utils.clip_grad_norm_([p for _, p in trainable(network)], most)
        optimizer.step()
        optimizer.zero_grad()
    synchronize()
    seconds, spent = time.perf_counter() - begun, loader.cpu_seconds() - spent
    samples = setting.steps * stage.global_batch
    operations_needed = needed(setting, recipe_rows(setting))
    return Seen(tokens, operations_needed, samples, seconds, spent, peak_bytes())


def trainable(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((n, p) for n, p in network.named_parameters() if p.requires_grad)


def recipe_rows(setting: Setting) -> Any:
    stage = setting.stage
    chunks = stage.global_batch // stage.per_device_batch
    batches = recipe_order(setting.words, stage.per_device_batch, chunks, stage.seed)
    return setting.rows[[n for some in batches for n in some]]


def recipe_loader(setting: Setting) -> Any:
    rows, size = recipe_rows(setting).tolist(), setting.stage.per_device_batch
    path = setting.folder / "llava.json"
    return torch.utils.data.DataLoader(
        Recipe(path, setting.reader, setting.tokenizer, setting.model.image_size),
        batch_sampler=[rows[n : n + size] for n in range(0, len(rows), size)],
        num_workers=setting.workers,
        collate_fn=apart,
        pin_memory=torch.cuda.is_available(),
    )


def orders(setting: Setting) -> dict[str, dict[str, float]]:
    """Return the excess computation of an epoch by order, on the recipe's 8 devices of 4."""
    per, whole, cost = 4, 4 * DEVICES * 4, setting.cost
    # Whole steps alone: the last one of an epoch is filled up.
    keep = slice(len(setting.lengths) // whole * whole)
    lengths, learned, words = (x[keep] for x in (setting.lengths, setting.learned, setting.words))
    sizes, shown = np.abs(lengths), int((lengths > 0).sum())
    heads = int(learned.sum())

    def told(batches: list[list[int]], heads: int = heads, images: int = shown) -> dict[str, float]:
        computed = sum(len(some) * max(some) for some in batches)
        needed = cost.needed(lengths, learned)
        return {
            "padding": 1 - float(sizes.sum()) / computed,
            "operations": cost.computed(batches, heads, images) / needed,
        }

    chance = random_order(len(lengths), 1, 0).tolist()
    chunks = whole // per
    exact = modality_length_order(lengths, per, chunks, 1, 0)
    dealt = modality_length_order(words, per, chunks, 1, 0)
    packing = Packing(lengths, setting.model.max_length)
    deal = packing.deal(packing.parts([dealt], whole, per, DEVICES))
    widths = [
        [int(sizes[[rows[n] for n in places]].sum()) for places in batch]
        for rows in iterate_steps(dealt, whole)
        for batch in deal(rows)
    ]

    def padded(order: list[int]) -> list[list[int]]:
        return [sizes[order[n : n + per]].tolist() for n in range(0, len(order), per)]

    guessed = recipe_order(words, per, chunks, 1)
    found = {
        "random": told(padded(chance)),
        # There the black image of a text alone is encoded like any other, and every token has
        # its logits.
        "modality_length, recipe": told(
            [sizes[some].tolist() for some in guessed], heads=0, images=len(lengths)
        ),
        "modality_length": told(padded(exact)),
        "packed": told(widths),
    }
    found["packed"]["samples_a_row"] = len(lengths) / sum(map(len, widths))
    return found


def reset_peak() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Return peak memory of the GPU, or of this process without one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    said = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return int(said.split()[0]) * 1024


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def lay(folder: Path, rows: int, name: str, model: Model) -> Setting:
    """Encode the data once; use a quarter of each text for a quarter of the lengths."""
    made = loader.records(rows)
    if name == "quarter":
        for record in made:
            for turn in record["conversations"]:
                head = "<image>\n" if "<image>" in turn["value"] else ""
                text = turn["value"].replace("<image>", "").strip()
                turn["value"] = head + (text[: -(-len(text) // 4)].strip() or "a")
    reader = loader.lay(folder, made)
    texts = (turn["value"] for record in made[:5000] for turn in record["conversations"])
    tokenizer = loader.prepare_tokenizer(loader.byte_level_bpe(texts, 8000), loader.PHI2)
    limits = (model.image_tokens, model.max_length)
    preflight(folder, tokenizer, loader.PHI2, *limits, folder)
    table = read_accepted_rows(folder)
    kept, lengths, learned, words = table.rows, table.lengths, table.learned, table.estimates
    stage = stage_of(model, 4)
    with torch.device("meta"):
        cost = operations.cost_of(make_trainable(build_network(model, tokenizer), stage))
    return Setting(model, stage, folder, reader, tokenizer, kept, lengths, learned, words, cost)


def measured(setting: Setting, rounds: int) -> dict[str, Seen]:
    """Return the best round of each contender."""
    contenders: dict[str, Callable[[], Seen]] = {"recipe": lambda: recipe(setting)}
    for sampler in ORDERS:
        contenders[sampler] = lambda sampler=sampler: ours(setting, sampler)  # type: ignore[misc]
    seen: dict[str, list[Seen]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seen[name].append(run())
    return {n: max(some, key=lambda one: one.needed / one.seconds) for n, some in seen.items()}


def told(setting: Setting, seen: dict[str, Seen]) -> dict[str, Any]:
    """Return rates, and their ratios to the recipe's in necessary operations."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    peak, product = operations.peak_of(device), operations.matrix_rate(setting.stage.precision)
    on_gpu = torch.cuda.is_available()
    # A processor that others use too is fairer judged by its own time.
    times = {name: one.seconds if on_gpu else one.cpu_seconds for name, one in seen.items()}
    rows = {
        name: {
            "samples_per_s": one.samples / one.seconds,
            "tokens_per_s": one.tokens / one.seconds,
            "operations_per_s": (rate := one.needed / one.seconds),
            "to_recipe": one.needed / times[name] / (seen["recipe"].needed / times["recipe"]),
            "cpu_seconds_a_sample": one.cpu_seconds / one.samples,
            "of_product": rate / product,
            "of_peak": rate / peak if peak else None,
            "peak_gib": one.peak_bytes / 2**30,
        }
        for name, one in seen.items()
    }
    return {"device": device, "peak": peak, "product": product, "contenders": rows}


def fed(setting: Setting, workers: int) -> float:
    """Return samples per second of the loader alone."""
    stage = setting.stage
    corpus = MixtureInput(setting.folder, "made", len(setting.lengths), "", {})
    plain_order = stage.model_copy(update={"sampler": "random"})
    data = prepare_data(
        *(
            setting.model,
            plain_order,
            corpus,
            setting.tokenizer,
            setting.reader,
            setting.folder,
        )
    )
    count = min(600, len(setting.lengths) - 100)
    return loader.feed(data.dataset, data.collate, workers, count)["samples_per_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["tiny", "quarter", "imp-3b"], default="quarter")
    parser.add_argument("--folder", type=Path, default=Path("data/training-benchmark"))
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--global-batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="timed steps per round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", choices=["orders"], help="print the arithmetic only")
    asked = parser.parse_args()
    model = shape(asked.shape)
    setting = lay(asked.folder, asked.rows, asked.shape, model)
    figures: dict[str, Any] = {"shape": asked.shape, "orders": orders(setting)}
    each = setting.cost.needed(setting.lengths, setting.learned) / len(setting.lengths)
    mean = float(np.abs(setting.lengths).mean())
    print(f"{asked.shape}: {mean:,.0f} tokens and {each / 1e12:.3f}e12 operations a sample")
    print(f"{'order':<28}{'padding':>9}{'computed / needed':>19}")
    for name, row in figures["orders"].items():
        print(f"{name:<28}{row['padding']:>9.1%}{row['operations']:>19.3f}")
    if asked.only is None:
        stage = stage_of(model, asked.global_batch)
        setting = setting._replace(stage=stage, steps=asked.steps, workers=asked.workers)
        found = told(setting, measured(setting, asked.rounds))
        figures |= found
        figures["loader_samples_per_s"] = fed(setting, asked.workers)
        show(figures)
    print(json.dumps({**figures, "mean_tokens": mean, "operations_a_sample": each}))


def show(figures: dict[str, Any]) -> None:
    """Print the measurements as a table."""
    head = f"{'contender':<20}{'samples/s':>11}{'tokens/s':>10}{'to recipe':>11}{'of peak':>9}"
    print(f"{head}{'of product':>12}{'GiB':>7}")
    for name, row in figures["contenders"].items():
        peak = f"{row['of_peak']:.1%}" if row["of_peak"] else "-"
        print(
            f"{name:<20}{row['samples_per_s']:>11.2f}{row['tokens_per_s']:>10,.0f}"
            f"{row['to_recipe']:>11.2f}{peak:>9}{row['of_product']:>12.1%}{row['peak_gib']:>7.1f}"
        )
    fastest = max(row["samples_per_s"] for row in figures["contenders"].values())
    ratio = figures["loader_samples_per_s"] / fastest
    print(f"{figures['device']}: a matrix product reaches {figures['product'] / 1e12:.2f}e12/s")
    print(f"loader alone: {figures['loader_samples_per_s']:,.0f} samples/s, {ratio:.1f} x the step")


if __name__ == "__main__":
    main()
