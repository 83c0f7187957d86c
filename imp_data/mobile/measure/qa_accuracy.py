"""Score an export, or its model in PyTorch, on questions with known answers."""

from pathlib import Path
from typing import NamedTuple

from imp_data.mobile.measure.pytorch_reference import PytorchReference
from imp_data.mobile.runtime.in_process import Runtime
from imp_data.training.evaluation.evaluate import AnswerFunction, answer_questions
from imp_data.training.evaluation.questions import read_questions
from imp_data.training.evaluation.scoring import score

# Maximum tokens of an answer; the known answers are short.
_MAX_TOKENS = 32


class QuestionSet(NamedTuple):
    """A file of questions with answers, in the format of `imp-data evaluate`, and their images."""

    questions: Path
    images: Path

    def score(self, model: AnswerFunction) -> float:
        """Return the percentage of correct answers by the measure `exact`."""
        questions = read_questions(self.questions)
        answers = answer_questions(model, questions, self.images)
        return score("exact", questions, answers, None)["accuracy"]


def llama_cpp_model(runtime: Runtime) -> AnswerFunction:
    """Return the export as a function from image and question to answer."""
    return lambda image, text: (
        runtime.answer(runtime.prompt(text, image is not None), image, _MAX_TOKENS).text
    )


def pytorch_model(reference: PytorchReference, size: int) -> AnswerFunction:
    """Return the exported model in PyTorch as such a function, at this resolution."""
    return lambda image, text: reference.answer(
        reference.tokenize(reference.prompt(text, image is not None)), image, size, _MAX_TOKENS
    )
