"""A record has one verdict on its image and its questions together."""

import pytest

from imp_data.ledger import Reason, Verdict
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.screening.decontamination.questions.joint_verdict import (
    JointVerdict,
    Seen,
    joint_verdict,
)
from imp_data.screening.decontamination.questions.matches import QuestionMatch, Rule

IMAGE = Verdict(Reason.BENCHMARK_ID, {"benchmark": "quiz", "id": "a1"})
ASKED = QuestionMatch("quiz", "q1", Rule.QUESTION)
ANSWERED = QuestionMatch("quiz", "q1", Rule.ANSWER)
GENERIC = QuestionMatch("quiz", "q1", Rule.QUESTION, generic=True)
DEFAULT = ContaminationPolicy()
STRICT = ContaminationPolicy(question="drop", answer="drop")


@pytest.mark.parametrize(
    ("image", "question", "seen", "reason"),
    [
        (IMAGE, None, Seen.IMAGE, Reason.BENCHMARK_ID),
        (IMAGE, ASKED, Seen.IMAGE_AND_QUESTION, Reason.BENCHMARK_ID),
        (IMAGE, GENERIC, Seen.IMAGE_AND_QUESTION, Reason.BENCHMARK_ID),
        (IMAGE, ANSWERED, Seen.IMAGE_AND_QUESTION, Reason.BENCHMARK_ID),
        (None, ANSWERED, Seen.ANSWER, Reason.BENCHMARK_ANSWER),
        (None, ASKED, Seen.QUESTION, Reason.BENCHMARK_QUESTION),
    ],
)
def test_what_is_seen_decides_the_class_and_the_reason(
    image: Verdict | None, question: QuestionMatch | None, seen: Seen, reason: Reason
) -> None:
    found = joint_verdict(image, question, DEFAULT)
    assert found is not None
    assert (found.seen, found.verdict.reason) == (seen, reason)


@pytest.mark.parametrize("question", [None, GENERIC])
def test_a_generic_question_alone_is_nothing(question: QuestionMatch | None) -> None:
    assert joint_verdict(None, question, STRICT) is None


def test_images_are_dropped_and_questions_reported_unless_the_policy_says_otherwise() -> None:
    for image, question in ((IMAGE, None), (IMAGE, ASKED), (None, ASKED), (None, ANSWERED)):
        found, strict = (joint_verdict(image, question, p) for p in (DEFAULT, STRICT))
        assert found is not None and found.dropped is (image is not None)
        assert strict is not None and strict.dropped


def test_the_evidence_of_an_image_gains_that_of_its_question() -> None:
    assert joint_verdict(IMAGE, GENERIC, DEFAULT) == JointVerdict(
        Seen.IMAGE_AND_QUESTION,
        IMAGE._replace(
            evidence={
                "benchmark": "quiz",
                "id": "a1",
                "question": {"id": "q1", "rule": "question", "generic": True},
            }
        ),
        dropped=True,
    )


def test_the_evidence_of_a_question_names_its_benchmark() -> None:
    found = joint_verdict(None, ASKED, DEFAULT)
    assert found is not None
    assert found.verdict.evidence == {"benchmark": "quiz", "id": "q1", "rule": "question"}
