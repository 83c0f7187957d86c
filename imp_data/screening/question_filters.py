"""Apply a mixture's policies to the benchmark questions that its Samples repeat."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Verdict, evidence_json
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.screening.decontamination.questions.joint_verdict import (
    IMAGE_REASONS,
    JointVerdict,
    Seen,
    joint_verdict,
)
from imp_data.screening.decontamination.questions.matches import QuestionMatch, QuestionMatches
from imp_data.screening.refusal_table import Refusals, refusals_from_columns

_BY_NAME = {reason.value: reason for reason in IMAGE_REASONS}
_IMAGE_REASONS = pa.array([*_BY_NAME], pa.string())


class QuestionScreen(NamedTuple):
    """The benchmark questions in a source, and the policy on each benchmark that has questions."""

    matches: QuestionMatches
    policies: Mapping[str, ContaminationPolicy]

    def drops(
        self, refused: Mapping[int, Verdict], decided: npt.NDArray[np.bool_]
    ) -> dict[int, Verdict]:
        """Return the verdicts on rows that a policy drops and that no other rule has decided.

        Rows that are refused for an image of the benchmark are among them: their evidence gains
        the question.
        """
        verdicts = {
            row: joint.verdict
            for row, verdict in refused.items()
            if verdict.reason in IMAGE_REASONS and (joint := self._beside(row, verdict))
        }
        for row in self.matches.rows[~decided[self.matches.rows]].tolist():
            dropped = [joint.verdict for joint in self._alone(row) if joint.dropped]
            if dropped:
                verdicts[row] = dropped[0]
        return verdicts

    def join_refusals(self, refusals: Refusals) -> Refusals:
        """Add the questions of the rows to the evidence of refusals for a benchmark's image."""
        reasons, texts = refusals.columns()
        evidence = texts.to_pylist()
        for place in np.flatnonzero(pc.is_in(reasons, _IMAGE_REASONS)).tolist():
            reason = _BY_NAME[reasons[place].as_py()]
            verdict = Verdict(reason, orjson.loads(evidence[place]))
            joint = self._beside(int(refusals.keys[place]), verdict)
            if joint:
                evidence[place] = evidence_json(joint.verdict.evidence)
        return refusals_from_columns(refusals.keys, reasons, pa.array(evidence, pa.large_string()))

    def reports(self, kept: npt.NDArray[np.bool_]) -> dict[int, dict[str, Any]]:
        """Return the evidence on the kept rows that have questions of benchmarks."""
        return {
            row: {"reported": [joint.verdict.evidence for joint in self._alone(row)]}
            for row in self.matches.rows[kept[self.matches.rows]].tolist()
        }

    def counts(
        self, refused: Sequence[Refusals], kept: npt.NDArray[np.bool_]
    ) -> dict[str, dict[str, dict[str, int]]]:
        """Count by benchmark what Samples have of it, over all Samples and over the kept ones."""
        samples, in_mixture = Counter[tuple[str, Seen]](), Counter[tuple[str, Seen]]()
        by_image: set[tuple[str, int]] = set()
        for row, evidence in _image_evidence(refused):
            name = evidence["benchmark"]
            by_image.add((name, row))
            seen = Seen.IMAGE_AND_QUESTION if "question" in evidence else Seen.IMAGE
            samples[name, seen] += 1
        for row in self.matches.rows.tolist():
            for name, match in self.matches.of_row(row).items():
                if (name, row) not in by_image and (joint := self._joint(None, match)):
                    samples[name, joint.seen] += 1
                    in_mixture[name, joint.seen] += bool(kept[row])
        return {
            name: {
                seen.value: {"samples": samples[name, seen], "kept": in_mixture[name, seen]}
                for seen in Seen
            }
            for name in self.policies
        }

    def _beside(self, row: int, verdict: Verdict) -> JointVerdict | None:
        """Return the verdict on a row with a benchmark's image; None if its questions differ."""
        name = verdict.evidence["benchmark"]
        if name not in self.policies:
            return None
        match = self.matches.of_row(row).get(name)
        match = match or self.matches.about_image(row, name, verdict.evidence["id"])
        return self._joint(verdict, match) if match else None

    def _alone(self, row: int) -> list[JointVerdict]:
        """Return the verdict on a row by each benchmark, in the order of the manifest."""
        found = self.matches.of_row(row)
        joints = [self._joint(None, found[name]) for name in self.policies if name in found]
        return [joint for joint in joints if joint]

    def _joint(self, image: Verdict | None, match: QuestionMatch) -> JointVerdict | None:
        return joint_verdict(image, match, self.policies[match.benchmark])


def _image_evidence(refused: Sequence[Refusals]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield row and evidence of the refusals for a benchmark's image."""
    for table in refused:
        reasons, texts = table.columns()
        places = np.flatnonzero(pc.is_in(reasons, _IMAGE_REASONS))
        rows = table.keys[places].tolist()
        for row, text in zip(rows, texts.take(pa.array(places)).to_pylist(), strict=True):
            yield row, orjson.loads(text)


def merge_evidence(evidence: pa.Array, more: Mapping[int, Mapping[str, Any]]) -> pa.Array:
    """Add fields to the evidence of some rows."""
    if not more:
        return evidence
    texts = evidence.to_pylist()
    for row, fields in more.items():
        texts[row] = evidence_json({**(orjson.loads(texts[row]) if texts[row] else {}), **fields})
    return pa.array(texts, evidence.type)
