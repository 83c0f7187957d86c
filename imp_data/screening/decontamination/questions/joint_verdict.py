"""Join what is known of a record's image and of its questions into one verdict."""

from enum import StrEnum
from typing import NamedTuple

from imp_data.ledger import Reason, Verdict
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.screening.decontamination.questions.matches import QuestionMatch

# The reasons for which a record's image is a benchmark's.
IMAGE_REASONS = (Reason.BENCHMARK_ID, Reason.BENCHMARK_BYTES, Reason.BENCHMARK_HASH)


class Seen(StrEnum):
    """What of a benchmark a record has, the gravest first; a record has one of them."""

    IMAGE_AND_QUESTION = "image_and_question"
    IMAGE = "image"
    ANSWER = "answer"
    QUESTION = "question"


class JointVerdict(NamedTuple):
    """What a record has of a benchmark, the verdict with its evidence, and whether it is dropped.

    A record that is not dropped is reported.
    """

    seen: Seen
    verdict: Verdict
    dropped: bool


def joint_verdict(
    image_match: Verdict | None,
    question_match: QuestionMatch | None,
    policy: ContaminationPolicy,
) -> JointVerdict | None:
    """Return the verdict on a record, or None if it has nothing of the benchmark.

    Both matches are with the same benchmark. A generic question counts only beside the image.
    """
    if image_match is not None:
        if question_match is None:
            return JointVerdict(Seen.IMAGE, image_match, policy.image == "drop")
        evidence = {**image_match.evidence, "question": question_match.evidence()}
        verdict = image_match._replace(evidence=evidence)
        return JointVerdict(Seen.IMAGE_AND_QUESTION, verdict, policy.image_and_question == "drop")
    if question_match is None or question_match.generic:
        return None
    evidence = {"benchmark": question_match.benchmark, **question_match.evidence()}
    if question_match.has_answer:
        verdict = Verdict(Reason.BENCHMARK_ANSWER, evidence)
        return JointVerdict(Seen.ANSWER, verdict, policy.answer == "drop")
    verdict = Verdict(Reason.BENCHMARK_QUESTION, evidence)
    return JointVerdict(Seen.QUESTION, verdict, policy.question == "drop")
