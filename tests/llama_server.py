"""A test double of llama-server: takes its arguments and runs the wheel's llama.cpp."""

import argparse
import time
from typing import Any

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("model", "mmproj", "host", "alias", "flash-attn", "load-mode", "fit"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("ctx-size", "parallel", "threads", "threads-batch", "cache-ram"):
        parser.add_argument(f"--{name}", required=True, type=int)
    parser.add_argument("--log-verbosity", type=int)
    parser.add_argument("--cache-type-k")
    parser.add_argument("--cache-type-v")
    parser.add_argument("--version", action="version", version="version: 7 (stand-in)")
    for name in ("no-warmup", "no-ui", "log-prefix", "log-timestamps"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    server = xllamacpp.Server(parameters(parser.parse_args()))
    while server:
        time.sleep(1)


def parameters(asked: Any) -> Any:
    found = xllamacpp.CommonParams()
    found.model.path, found.mmproj.path = asked.model, asked.mmproj
    found.hostnames, found.model_alias = [asked.host], {asked.alias}
    found.n_ctx, found.n_parallel = asked.ctx_size, asked.parallel
    found.cpuparams.n_threads, found.cpuparams_batch.n_threads = asked.threads, asked.threads_batch
    found.verbosity, found.cache_ram_mib = asked.log_verbosity, asked.cache_ram
    found.ui, found.warmup, found.fit_params = False, False, asked.fit == "on"
    flash, load = xllamacpp.llama_flash_attn_type, xllamacpp.llama_load_mode
    named = {"on": "ENABLED", "off": "DISABLED"}
    found.flash_attn_type = getattr(flash, f"LLAMA_FLASH_ATTN_TYPE_{named[asked.flash_attn]}")
    found.load_mode = getattr(load, f"LLAMA_LOAD_MODE_{asked.load_mode.upper()}")
    if asked.cache_type_k == asked.cache_type_v == "f32":
        found.cache_type_k = found.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return found


if __name__ == "__main__":
    main()
