"""The training data of a stage: a tokenizer, the mixture's rows, and their order."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from imp_data.errors import UserError
from imp_data.manifests.model import Model, Stage
from imp_data.sample import IMAGE_TOKEN
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.training.data.batch_sampler import Packing
from imp_data.training.data.chat_templates import TEMPLATES, Template
from imp_data.training.data.collator import Collator, PackedCollator
from imp_data.training.data.dataset import ImageSource, InputSpec, MixtureDataset
from imp_data.training.data.mixture_input import MixtureInput
from imp_data.training.data.preflight import (
    AcceptedRows,
    format_report,
    preflight,
    read_accepted_rows,
)
from imp_data.training.data.sampling import modality_length_order, random_order
from imp_data.training.data.shards import Shards
from imp_data.training.data.source_shares import SHARES, compute_shares, format_shares
from imp_data.training.data.token_weights import StepWeights
from imp_data.training.loop.devices import is_first
from imp_data.training.loop.stage import StageData
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer

Rows = npt.NDArray[np.int64]


def load_stage_tokenizer(
    model: Model, mixtures: Sequence[MixtureInput], before: Path | None
) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the model, prepared for its chat template.

    It is the one of the previous stage, or of the language model, or one trained on all mixtures.
    """
    template = TEMPLATES[model.template]
    if before:
        return AutoTokenizer.from_pretrained(before)
    weights = model.language_model.weights
    if model.tokenizer is None and weights:
        try:
            found = AutoTokenizer.from_pretrained(
                weights.hub or weights.folder, revision=weights.revision
            )
        except OSError as error:
            raise UserError(
                f"{model.name}, language_model.weights",
                f"the tokenizer cannot be loaded: {str(error).strip()}",
                "add tokenizer.json to the weights",
            ) from error
        return prepare_tokenizer(found, template)
    assert model.tokenizer is not None
    texts = (text for mixture in mixtures for text in _template_texts(mixture, template))
    return prepare_tokenizer(byte_level_bpe(texts, model.tokenizer.vocab_size), template)


def _template_texts(mixture: MixtureInput, template: Template) -> Iterator[str]:
    """Yield the text that a model reads, with the template's words, which are the most frequent."""
    rows = Shards(mixture.folder)
    for number in range(len(rows)):
        turns = rows.row(number, ["conversations"])["conversations"]
        if any(turn["from"] == "tool" for turn in turns):
            continue  # the preflight refuses it
        for segment in template.segments(turns):
            yield from segment.text.removesuffix(template.stop).split(IMAGE_TOKEN)


def prepare_data(
    model: Model,
    stage: Stage,
    mixture: MixtureInput,
    tokenizer: PreTrainedTokenizerBase,
    images: ImageSource,
    folder: Path,
) -> StageData:
    """Return the stage's data, after a preflight of every row of the mixture."""
    template = TEMPLATES[stage.template or model.template]
    found = preflight(
        mixture.folder, tokenizer, template, model.image_tokens, model.max_length, folder
    )
    table = read_accepted_rows(folder)
    rows, lengths = table.rows, table.lengths
    if not len(rows):
        raise UserError(mixture.folder, "holds no row to train on", "see preflight.parquet")
    figures = InputSpec(
        model.image_size, model.image_tokens, model.image_preprocessing, model.max_length
    )
    dataset = MixtureDataset(mixture.folder, images, tokenizer, template, figures)
    order = partial(epoch_order, stage, table)
    weighting = StepWeights(_scatter_to_rows(rows, table.learned, len(dataset)), stage.loss_batch)
    if is_first():
        shares = compute_shares(stage, table, order, weighting)
        write_text(folder / SHARES, json_text(shares))
        print(f"{format_report(found.figures)}\n{format_shares(shares)}")
    if stage.sampler != "packed":
        return StageData(dataset, Collator(tokenizer, figures), order, weighting.weigh_rows)
    packing = Packing(_scatter_to_rows(rows, lengths, len(dataset)), model.max_length)
    return StageData(
        dataset, PackedCollator(tokenizer, figures), order, weighting.weigh_rows, packing
    )


def _scatter_to_rows(rows: Rows, values: Rows, count: int) -> Rows:
    """Return an array over all rows with these rows' values, 0 elsewhere."""
    found = np.zeros(count, np.int64)
    found[rows] = values
    return found


def epoch_order(stage: Stage, table: AcceptedRows, epoch: int) -> list[int]:
    """Return the rows of an epoch in order.

    A sample's weight depends on its micro-batch, which depends on the lengths that sort the rows.
    So micro-batches use the original's length estimates, although token counts are known. Without
    micro-batches, batches affect padding alone, and use token counts.
    """
    if not stage.by_modality:
        return table.rows[random_order(len(table.rows), stage.seed, epoch)].tolist()
    batch = stage.micro_batch_size or stage.per_device_batch
    lengths = table.estimates if stage.micro_batch_size else table.lengths
    chunks = stage.global_batch // batch
    places = modality_length_order(lengths, batch, chunks, stage.seed, epoch)
    return table.rows[places].tolist()
