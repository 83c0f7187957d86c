"""The lmms-eval adapter, if lmms-eval is installed: it has the model's own answers."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")
pytest.importorskip("lmms_eval", reason="pip install lmms_eval")

from conftest import World
from training_world import COLOURS, QUESTION, shape

from imp_data.errors import UserError
from imp_data.training.evaluation.generate import AnswerGenerator
from tests.training.test_merge import merged


def request(question: str, images: int, **options: object) -> SimpleNamespace:
    """Return a request of an lmms-eval task, for document 0 of its only split."""
    visuals = [shape(COLOURS["red"], 1)] * images
    return SimpleNamespace(args=(question, options, lambda doc: visuals, 0, "cards", "test"))


def test_lmms_eval_gets_the_models_answers(world: World, tmp_path: Path) -> None:
    from lmms_eval.models import get_model

    folder = merged("phi", world, tmp_path)
    model = get_model("imp").create_from_arg_string(
        f"pretrained={folder}", {"batch_size": 1, "max_batch_size": None, "device": None}
    )
    model.task_dict = {"cards": {"test": [{}]}}
    image, other = shape(COLOURS["red"], 1), "Say it in a word."
    answer = AnswerGenerator(folder).answer(image, QUESTION, 8)
    requests = [request(QUESTION, 1, max_new_tokens=8), request(other, 0, max_new_tokens=3)]
    requests.append(request(f"<image>\n{QUESTION}", 1, max_new_tokens=8, until=[answer[3:]]))
    unseen = AnswerGenerator(folder).answer(None, other, 3)
    assert model.generate_until(requests) == [answer, unseen, answer[:3].strip()]
    with pytest.raises(UserError, match="cards 0: shows more than one still image"):
        model.generate_until([request(QUESTION, 2)])
