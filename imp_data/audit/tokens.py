"""Count the tokens of each record as the trainer does, with a tokenizer and a chat template."""

import pickle
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from imp_data.audit.texts import Lengths, sample_frames
from imp_data.errors import UserError
from imp_data.manifests.model import load_model
from imp_data.parallel import map_ordered
from imp_data.parallel.progress import progress
from imp_data.storage.tables import arrow_batch_count

# As the trainer of Imp's models counts: SigLIP's 384 px in patches of 14 px.
IMAGE_TOKENS = 729
_UNLIMITED = 1 << 30


class TokenOptions(NamedTuple):
    """How to count tokens: the tokenizer, the chat template, the tokens of each image, the limit.

    `tokenizer` is a folder, or the name of a repository that is in the cache of the Hub.
    """

    tokenizer: str
    template: str = "phi2"
    image_tokens: int = IMAGE_TOKENS
    max_tokens: int | None = None
    revision: str | None = None


def model_token_options(manifest: Path, tokenizer: str | None = None) -> TokenOptions:
    """Return what a model's manifest states, with another tokenizer if one is named.

    Raise UserError if there is none.
    """
    model = load_model(manifest)
    weights = model.language_model.weights
    revision = None
    if tokenizer is None:
        if weights is None or model.tokenizer is not None:
            problem = "its tokenizer is trained with the model"
            raise UserError(manifest, problem, "name the folder of the model: --tokenizer FOLDER")
        tokenizer, revision = weights.hub or str(weights.folder), weights.revision
    return TokenOptions(tokenizer, model.template, model.image_tokens, model.max_length, revision)


def load_tokenizer(options: TokenOptions) -> Any:
    """Load the tokenizer and prepare it for the template, without a request to the network.

    Raise UserError if it is not there, or if a package for it is not installed.
    """
    from imp_data.training.data.chat_templates import TEMPLATES
    from imp_data.training.model.tokenizers import load_cached_tokenizer

    if options.template not in TEMPLATES:
        problem = f"{options.template!r} is no chat template"
        raise UserError("--template", problem, f"use one of {', '.join(TEMPLATES)}")
    template = TEMPLATES[options.template]
    return load_cached_tokenizer(options.tokenizer, options.revision, template)


class _Task(NamedTuple):
    """Arguments of a worker; the tokenizer is in a file, since it is large."""

    tokenizer: Path
    template: str
    image_tokens: int


def token_figures(
    records: Mapping[str, Path], options: TokenOptions, tokenizer: Any, scratch: Path
) -> dict[str, Any]:
    """Return the figures of tokens of the records that can be read; see `text_figures`.

    A record that the trainer refuses, such as one with a system turn in a template without one, is
    counted by the reason.
    """
    kept = scratch / "tokenizer.pickle"
    kept.write_bytes(pickle.dumps(tokenizer))
    task = _Task(kept, options.template, options.image_tokens)
    lengths, refused = Lengths(), Counter[str]()
    for source, path in records.items():
        pieces = [(path, number) for number in range(arrow_batch_count(path))]
        with progress(f"tokens/{source}", "samples") as bar:
            for frame in map_ordered(partial(_count_batch, task=task), pieces):
                counted = frame.filter(pl.col("problem").is_null())
                lengths.add(source, counted["upstream_id"], counted["tokens"])
                refused.update(frame["problem"].drop_nulls().to_list())
                bar.add(len(frame))
    limit = options.max_tokens
    return {
        "tokenizer": options.tokenizer,
        "template": options.template,
        "image_tokens": options.image_tokens,
        **lengths.figures(),
        "max_tokens": limit,
        "above_max_tokens": None if limit is None else lengths.above(limit),
        "not_counted": dict(sorted(refused.items())),
    }


def _count_batch(piece: tuple[Path, int], task: _Task) -> pl.DataFrame:
    """Count the tokens of one batch of Samples; runs in any process."""
    from imp_data.training.data.chat_templates import TEMPLATES
    from imp_data.training.data.encoding import RefusedSample, encode

    tokenizer = _load_pickle(task.tokenizer, task.tokenizer.stat().st_mtime_ns)
    template = TEMPLATES[task.template]
    rows = list[tuple[str | None, int, str | None]]()
    for frame in sample_frames(piece[0], piece[1]):
        for identity, turns, images in frame.iter_rows():
            tokens = task.image_tokens if images else 0
            found = encode(tokenizer, template, turns, tokens, _UNLIMITED, images)
            if isinstance(found, RefusedSample):
                rows.append((identity, 0, found.reason))
            else:
                rows.append((identity, len(found.input_ids), None))
    schema = {"upstream_id": pl.String, "tokens": pl.Int64, "problem": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@lru_cache(maxsize=1)
def _load_pickle(path: Path, changed_ns: int) -> Any:
    """Load the tokenizer, once per process; this run wrote the file, so unpickling is safe."""
    return pickle.loads(path.read_bytes())
