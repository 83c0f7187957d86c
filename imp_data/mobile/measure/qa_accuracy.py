"""Questions with known answers, as `imp-data evaluate` asks them, put to an export."""

from pathlib import Path
from typing import NamedTuple

from imp_data.mobile.measure.pytorch_reference import PytorchReference
from imp_data.mobile.runtime.in_process import Runtime
from imp_data.training.evaluation.evaluate import Model, answered
from imp_data.training.evaluation.questions import read_questions
from imp_data.training.evaluation.scoring import score

# What an answer may have; those that are known are short.
_TOKENS = 32


class QuestionSet(NamedTuple):
    """A file of questions with an `answer` each, and the folder of their images."""

    questions: Path
    images: Path

    def score(self, model: Model) -> float:
        """Right answers in percent, by the measure `exact`."""
        asked = read_questions(self.questions)
        return score("exact", asked, answered(model, asked, self.images), None)["accuracy"]


def llama_cpp_model(runtime: Runtime) -> Model:
    """An export that answers."""
    return lambda image, text: (
        runtime.answer(runtime.prompt(text, image is not None), image, _TOKENS).text
    )


def pytorch_model(reference: PytorchReference, size: int) -> Model:
    """The model that it was made of, at this resolution."""
    return lambda image, text: reference.answer(
        reference.tokenize(reference.prompt(text, image is not None)), image, size, _TOKENS
    )
