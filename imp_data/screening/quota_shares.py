"""Sample a source by the quota that its manifest states: a number, all, a multiple, by subset."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.manifests import Amount, SourceQuota
from imp_data.screening.quota_sampling import QuotaSample, sample_quota
from imp_data.screening.sample_images import Mask
from imp_data.screening.text_filters import Rows
from imp_data.storage.tables import read_batches

Passes = Callable[[Rows], Mask]


def sample_source(records: Path, order: Rows, quota: SourceQuota, passes: Passes) -> QuotaSample:
    """Take rows in sampling order as the quota says; `passes` decides the images of rows.

    With quotas by subset, the subsets follow each other by name, each in sampling order. The
    result depends on the order of the rows and on what passes, and on nothing else.
    """
    if not quota.by_subset:
        return _sample_amount(order, quota.amount, passes)
    codes = _subset_codes(records, list(quota.by_subset))[order]
    amounts = enumerate(quota.by_subset.values())
    return _join([_sample_amount(order[codes == n], one, passes) for n, one in amounts])


def _sample_amount(order: Rows, amount: Amount, passes: Passes) -> QuotaSample:
    most = len(order) if amount.most is None else amount.most
    sampled = sample_quota(order, most, passes)
    if amount.multiple == 1:
        return sampled
    copies = np.array(amount.copies(len(sampled.passed)), np.int32)
    taken = copies > 0
    return sampled._replace(passed=sampled.passed[taken], copies=copies[taken])


def _join(parts: list[QuotaSample]) -> QuotaSample:
    counts = None
    if any(part.copies is not None for part in parts):
        counts = np.concatenate([copies_of(part) for part in parts])
    return QuotaSample(
        np.concatenate([part.passed for part in parts]),
        sum(part.examined for part in parts),
        np.concatenate([part.refused for part in parts]),
        counts,
    )


def copies_of(sampled: QuotaSample) -> npt.NDArray[np.int32]:
    """Return how often each row that passed occurs in the mixture."""
    return np.ones(len(sampled.passed), np.int32) if sampled.copies is None else sampled.copies


def _subset_codes(records: Path, names: list[str]) -> npt.NDArray[np.int32]:
    """Return for each row the place of its subset among the names, -1 for other subsets."""
    known = pa.array(names, pa.string())
    codes = [np.zeros(0, np.int32)]
    for batch in read_batches(records, ["subset"]):
        found = pc.index_in(batch.column("subset"), known)
        codes.append(pc.fill_null(found, -1).to_numpy(zero_copy_only=False))
    return np.concatenate(codes)
