"""Models merged by the trainer, exported for the phone: the independent parts fit together."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft", reason="pip install 'imp-data[train]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

import torch
from conftest import World
from PIL import Image
from training_world import COLOURS, LORA, MODEL, QUESTION, STAGES, build_shapes, model, shape

from imp_data.manifests.model import LORA_TARGETS
from imp_data.manifests.model_parts import Architecture
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.export_manifest import ExportManifest
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.parity import TOLERANCES, compare_export
from imp_data.mobile.measure.qa_accuracy import QuestionSet
from imp_data.mobile.measure.quality import measure_quality
from imp_data.mobile.measure.quality_chart import chart_svg
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.phone_folder import write_phone_folder
from imp_data.mobile.runtime.in_process import RuntimeSettings, open_runtime
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import EncodedSample, encode_prompt
from imp_data.training.data.mixture_input import MixtureInput, open_mixture
from imp_data.training.evaluation.generate import AnswerGenerator
from imp_data.training.evaluation.metrics import is_exact_match
from imp_data.training.loop.run import Run, train
from imp_data.training.model.merge import merge
from imp_data.training.model.model_folder import load_processor

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
QUIET = RuntimeSettings(context=512, threads=1, exact=True)
KINDS: list[tuple[Architecture, str]] = [("phi", "phi2"), ("qwen2", "qwen"), ("phi3", "phi3")]
SIZE = MODEL["image_size"]
QUESTIONS = [(QUESTION, True), (QUESTION, False), ("Two\nlines, 東京?", True)]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """Return a world whose mixture `small` has 10 rows."""
    world = World(tmp_path_factory.mktemp("shapes"))
    build_shapes(world, 8, 2)
    return world


@pytest.fixture(scope="module")
def corpus(shapes: World) -> MixtureInput:
    return open_mixture(shapes.data.mixture("small"))


def of_kind(architecture: Architecture, template: str) -> dict[str, Any]:
    """Return the fields in which a tiny model with this decoder differs from one with Phi-2."""
    config = dict(MODEL["language_model"]["config"])
    if architecture != "phi":
        del config["partial_rotary_factor"]
    lora = {**LORA, "targets": sorted(LORA_TARGETS[architecture])}
    return {
        "stages": {**STAGES, "adapter": {**STAGES["adapter"], "lora": lora}},
        "language_model": {"architecture": architecture, "config": config},
        "template": template,
    }


class Delivered:
    """A model merged by the trainer, and its export."""

    def __init__(
        self, world: World, corpus: MixtureInput, kind: tuple[Architecture, str], at: Path
    ):
        recipe = model(world, **of_kind(*kind))
        train(Run(recipe, world.manifests, [corpus], at / "run", max_steps=2, workers=0))
        self.merged, self.out, self.template = at / "merged", at / "out", TEMPLATES[kind[1]]
        merge(at / "run", self.merged)
        self.bundle: ExportManifest = export(self.merged, self.out, resolutions=[SIZE, 2 * SIZE])


@pytest.fixture(scope="module", params=KINDS, ids=[name for name, _ in KINDS])
def delivered(
    shapes: World,
    corpus: MixtureInput,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Delivered:
    return Delivered(shapes, corpus, request.param, tmp_path_factory.mktemp(request.param[0]))


def test_every_file_answers_as_the_trained_model(delivered: Delivered) -> None:
    report = compare_export(delivered.merged, delivered.out, default_cases(), QUIET)
    assert report.passed, "\n".join(report.lines())
    assert {row.precision for row in report.rows} == set(Precision)


def test_the_export_manifest_has_the_provenance_of_imp_json(
    delivered: Delivered, corpus: MixtureInput
) -> None:
    bundle = delivered.bundle
    assert (bundle.name, bundle.license) == ("small", "CC0-1.0")
    assert (bundle.template, bundle.preprocessing) == (delivered.template.name, "square")
    assert bundle.trained_resolution == SIZE
    assert bundle.mixture_digest == corpus.digest
    phone = write_phone_folder(delivered.out, Precision.Q4_K_M, SIZE)
    assert phone.mixture_digest == corpus.digest
    assert corpus.digest in (delivered.out / "mobile" / "LICENSE").read_text(encoding="utf-8")


def test_llama_cpp_gets_the_tokens_of_training(delivered: Delivered) -> None:
    tokenizer = load_processor(delivered.merged).tokenizer
    image = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    with open_runtime(delivered.out, Precision.F16, SIZE, QUIET) as runtime:
        for question, imaged in [
            (QUESTION, True),
            (QUESTION, False),
            ("Two\nlines, 東京?", True),
        ]:
            asked = f"{IMAGE_TOKEN}\n{question}" if imaged else question
            trained = encode_prompt(tokenizer, delivered.template, asked, int(imaged))
            assert isinstance(trained, EncodedSample)
            pieces = runtime.tokenize(runtime.prompt(question, imaged))
            joined = [t for n, piece in enumerate(pieces) for t in [*[image] * n, *piece]]
            assert joined == trained.input_ids.tolist()


def regret(speaker: AnswerGenerator, image: Image.Image, said: list[int]) -> float:
    """Return the most by which the speaker prefers another token to one of these, in nats."""
    inputs = speaker._inputs(image, QUESTION)
    ids = torch.cat([inputs["input_ids"], torch.tensor([said])], dim=1)
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        at = speaker._network(**inputs).logits[0, -len(said) - 1 : -1].log_softmax(-1)
    return float((at.amax(-1) - at[torch.arange(len(said)), said]).max())


def test_llama_cpp_answers_as_the_trainers_own_generator(delivered: Delivered) -> None:
    """The tokens may differ if equally likely: a model after two steps has no preference."""
    speaker = AnswerGenerator(delivered.merged)
    with open_runtime(delivered.out, Precision.F16, SIZE, QUIET) as runtime:
        for number, colour in enumerate(COLOURS.values()):
            image = shape(colour, number).crop((0, 0, 64, 40))
            said = runtime.answer(runtime.prompt(QUESTION, True), image, 8)
            difference = regret(speaker, image, said.tokens)
            assert difference < TOLERANCES[Precision.F16].most
            same = said.text.strip() == speaker.answer(image, QUESTION, max_new_tokens=8)
            assert same or difference > 0


def test_the_score_is_reported_for_every_file_and_for_pytorch(
    delivered: Delivered, tmp_path: Path
) -> None:
    speaker, rows = AnswerGenerator(delivered.merged), []
    for number, colour in enumerate(COLOURS.values()):
        image = shape(colour, number)
        image.save(tmp_path / f"{number}.png")
        # Its own answer counts as correct; the expected answer of the last question is wrong.
        answer = speaker.answer(image, QUESTION, max_new_tokens=32) if number < 3 else "no shape"
        rows.append({"question_id": number, "image": f"{number}.png", "text": QUESTION})
        rows[-1]["answer"] = answer
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    exam = QuestionSet(questions, tmp_path)
    report = measure_quality(delivered.merged, delivered.out, default_cases()[:1], QUIET, exam)
    assert report.pytorch[SIZE] == 75
    (finest,) = [r for r in report.rows if (r.precision, r.resolution) == (Precision.F16, SIZE)]
    with open_runtime(delivered.out, Precision.F16, SIZE, QUIET) as runtime:
        asked = runtime.prompt(QUESTION, True)
        said = [runtime.answer(asked, shape(c, n), 32).text for n, c in enumerate(COLOURS.values())]
    right = [is_exact_match(one, row["answer"]) for one, row in zip(said, rows, strict=True)]
    assert finest.score == 25 * sum(right)
    assert all(row.score is not None for row in report.rows)
    assert any("PyTorch" in line and "75.0 %" in line for line in report.lines())
    assert "right answers" in chart_svg(report)
