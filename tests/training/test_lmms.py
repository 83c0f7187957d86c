"""lmms-eval, where it is installed, finds the model and has the answers that the model gives."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")
pytest.importorskip("lmms_eval", reason="pip install lmms_eval")

from conftest import World
from training_world import COLOURS, QUESTION, shape

from imp_data.errors import UserError
from imp_data.training.evaluation.generate import Speaker
from tests.training.test_merge import merged


def request(question: str, images: int, **options: object) -> SimpleNamespace:
    """As a task of lmms-eval asks: of the document 0 of its only split."""
    shown = [shape(COLOURS["red"], 1)] * images
    return SimpleNamespace(args=(question, options, lambda doc: shown, 0, "cards", "test"))


def test_its_answers_are_the_models(world: World, tmp_path: Path) -> None:
    from lmms_eval.models import get_model

    folder = merged("phi", world, tmp_path)
    model = get_model("imp").create_from_arg_string(
        f"pretrained={folder}", {"batch_size": 1, "max_batch_size": None, "device": None}
    )
    model.task_dict = {"cards": {"test": [{}]}}
    image, other = shape(COLOURS["red"], 1), "Say it in a word."
    said = Speaker(folder).answer(image, QUESTION, 8)
    asked = [request(QUESTION, 1, max_new_tokens=8), request(other, 0, max_new_tokens=3)]
    asked.append(request(f"<image>\n{QUESTION}", 1, max_new_tokens=8, until=[said[3:]]))
    unseen = Speaker(folder).answer(None, other, 3)
    assert model.generate_until(asked) == [said, unseen, said[:3].strip()]
    with pytest.raises(UserError, match="cards 0: shows more than one still image"):
        model.generate_until([request(QUESTION, 2)])
