"""Run an export in llama.cpp's own server within this process, on a Unix socket."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from imp_data.errors import UserError
from imp_data.mobile.gguf.export_manifest import ExportManifest, read_export_manifest
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.runtime.huge_pages import huge_pages
from imp_data.mobile.runtime.images import encode_png, square_image
from imp_data.mobile.runtime.replies import Reply, parse_steps
from imp_data.mobile.runtime.sockets import open_client, private_socket

# One hour, enough for a large model on a slow machine.
ANSWER_TIMEOUT_S = 3600
# An image's 729 tokens and a conversation of some length.
CONTEXT_TOKENS = 2048
_LOG_ERRORS = 1


@dataclass(frozen=True)
class RuntimeSettings:
    """How llama.cpp runs a model."""

    context: int = CONTEXT_TOKENS
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    flash_attention: bool = False
    # Keys and values in F32, so that only the weights differ from PyTorch's.
    exact: bool = False
    verbosity: int = _LOG_ERRORS
    # Precision of the vision tower; by default the bits of the text model.
    vision: Precision | None = None
    # MiB for the state of inactive conversations, which can then continue at once.
    prompt_cache_mib: int = 0


class Runtime:
    """A loaded model; `socket` serves the OpenAI protocol, `pid` is the process that holds it."""

    def __init__(
        self,
        socket: Path,
        bundle: ExportManifest,
        size: int,
        http: httpx.Client,
        pid: int | None = None,
    ) -> None:
        self.socket, self.bundle, self.size = socket, bundle, size
        self.pid, self._http = pid or os.getpid(), http
        self._marker: str = self._get("/props")["media_marker"]

    def prompt(self, question: str, with_image: bool) -> tuple[str, ...]:
        """Return the prompt by the model's own chat template, split at the image."""
        content: Any = question
        if with_image:
            content = [{"type": "image_url", "image_url": {"url": _PIXEL}}]
            content.append({"type": "text", "text": f"\n{question}"})
        messages = [{"role": "user", "content": content}]
        prompt: str = self._post("/apply-template", {"messages": messages})["prompt"]
        return tuple(prompt.split(self._marker))

    def tokenize(self, prompt: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each piece of a prompt."""
        return [
            self._post(
                "/tokenize",
                {"content": piece, "add_special": number == 0, "parse_special": True},
            )["tokens"]
            for number, piece in enumerate(prompt)
        ]

    def answer(
        self,
        prompt: Sequence[str],
        image: Image.Image | None,
        max_tokens: int,
        top: int = 0,
        ignore_end: bool = False,
    ) -> Reply:
        """Answer greedily; the image is preprocessed here, before llama.cpp receives it."""
        request: dict[str, Any] = {
            "prompt": self._marker.join(prompt),
            "n_predict": max_tokens,
            "temperature": 0,
            "n_probs": top,
            "return_tokens": True,
            "cache_prompt": False,
            "ignore_eos": ignore_end,
        }
        if image is not None:
            data = base64.b64encode(self.file_of(image)).decode()
            request["prompt"] = {"prompt_string": request["prompt"], "multimodal_data": [data]}
        answer = self._post("/completion", request)
        probabilities = answer.get("completion_probabilities") or []
        steps = list(parse_steps(answer["tokens"], probabilities))
        return Reply(answer["content"], answer["tokens"], steps, answer["timings"])

    def file_of(self, image: Image.Image) -> bytes:
        """Return the preprocessed image as the PNG that llama.cpp receives."""
        return encode_png(square_image(image, self.size, self.bundle.preprocessing))

    def _get(self, path: str) -> dict[str, Any]:
        return self._parse_response(path, self._http.get(path))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._parse_response(path, self._http.post(path, json=body))

    def _parse_response(self, path: str, response: httpx.Response) -> dict[str, Any]:
        content: dict[str, Any] = response.json()
        if response.is_error:
            message = content.get("error", {}).get("message", response.text)
            remedy = "shorten the question, or allow a larger context"
            raise UserError(f"{self.bundle.name}{path}", f"llama.cpp error: {message}", remedy)
        return content


# One pixel: the template only checks whether there is an image.
_PIXEL = "data:image/png;base64," + base64.b64encode(encode_png(Image.new("RGB", (1, 1)))).decode()


@contextmanager
def open_runtime(
    folder: Path, precision: Precision, size: int, settings: RuntimeSettings | None = None
) -> Iterator[Runtime]:
    """Load one precision and resolution of an export; unload it at the end of the block."""
    import xllamacpp

    settings = settings or RuntimeSettings()
    manifest = read_export_manifest(folder)
    text, vision = model_files(folder, manifest, precision, size, settings)
    with private_socket() as socket:
        parameters = _parameters(text, vision, precision, settings)
        parameters.hostnames, parameters.model_alias = [str(socket)], {manifest.name}
        try:
            with huge_pages():
                server = xllamacpp.Server(parameters)
        except Exception as error:
            # The binding raises exceptions of its own and plain ones.
            problem = f"llama.cpp cannot load it with {vision.name} ({error})"
            remedy = "see llama.cpp's message above; export the model again if a file is damaged"
            raise UserError(text, problem, remedy) from error
        try:
            with open_client(socket, ANSWER_TIMEOUT_S) as http:
                yield Runtime(socket, manifest, size, http)
        finally:
            del server


def model_files(
    folder: Path,
    manifest: ExportManifest,
    precision: Precision,
    size: int,
    settings: RuntimeSettings,
) -> tuple[Path, Path]:
    """Return the language model's file, the first of several parts, and the vision tower's."""
    chosen = manifest.text(precision), manifest.vision(precision, size, settings.vision)
    text, vision = (folder / network.files[0].name for network in chosen)
    for path in (text, vision):
        if not path.exists():
            raise UserError(path, "does not exist", "export the model again (imp-data export)")
    return text, vision


def _parameters(text: Path, vision: Path, precision: Precision, settings: RuntimeSettings) -> Any:
    import xllamacpp

    found = xllamacpp.CommonParams()
    found.verbosity, found.cache_ram_mib = settings.verbosity, settings.prompt_cache_mib
    found.model.path, found.mmproj.path = str(text), str(vision)
    found.n_ctx, found.n_parallel = settings.context, 1
    found.ui, found.warmup = False, False
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = settings.threads
    flash = xllamacpp.llama_flash_attn_type
    on, off = flash.LLAMA_FLASH_ATTN_TYPE_ENABLED, flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
    found.flash_attn_type = on if settings.flash_attention else off
    # Do not measure the device's memory and silently reduce the context.
    found.fit_params = False
    if precision is not Precision.F16:
        # With mmap, a matrix that llama.cpp repacks for the processor would be in memory twice.
        found.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    if settings.exact:
        found.cache_type_k = found.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return found
