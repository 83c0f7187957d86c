"""Decide each image once, in sampling order, and write the decision beside its fingerprint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.images.fingerprint import FINGERPRINT_SCHEMA
from imp_data.images.fingerprint_cache import HashKeys, fingerprint_writer
from imp_data.ledger import Reason, Verdict, evidence_json
from imp_data.manifests import Limits
from imp_data.screening.exclusion_rules import PreparedRule
from imp_data.screening.image_filters import BenchmarkMatcher, image_verdicts
from imp_data.screening.near_duplicates import NearDuplicateIndex, hashed_images
from imp_data.screening.sample_images import hash_images
from imp_data.storage.sorted_lookup import find_sorted

# `reason` is null for an image that passes. `evidence` is that of the ledger, except that of a
# near-duplicate: it lacks the path of the kept image, whose path hash is `duplicate_of`.
DECISION_SCHEMA = pa.schema(
    [
        pa.field("reason", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("duplicate_of", pa.uint64()),
    ]
)
DECIDED_SCHEMA = pa.schema([*FINGERPRINT_SCHEMA, *DECISION_SCHEMA])
_ROW_GROUP = 1 << 15

# Return a table of fingerprints, one row for each image, in the order of the images.
Fingerprints = Callable[[Sequence[str]], pa.Table]
WriteTable = Callable[[pa.Table], None]


class ImageFilter:
    """Decide which images pass; compute, judge and write each image once.

    The order of the images is the sampling order: the near-duplicate index depends on it.
    Memory: 17 bytes an image.
    """

    def __init__(
        self,
        fingerprints: Fingerprints,
        write: WriteTable,
        limits: Limits,
        benchmarks: Sequence[BenchmarkMatcher],
        near_duplicates: NearDuplicateIndex | None = None,
        exclusion_rules: Sequence[PreparedRule] = (),
        url_failures: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    ) -> None:
        self._fingerprints, self._write = fingerprints, write
        self._rules = (limits, benchmarks, near_duplicates, exclusion_rules, url_failures)
        self._names = self._duplicate_of = np.zeros(0, np.uint64)
        self._passing = np.zeros(0, np.bool_)

    def passes(self, images: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
        """Return for the images of each Sample whether it may stay: whether all of them pass."""
        samples, flat = hash_images(images), [*chain.from_iterable(images)]
        names = samples.keys
        distinct, first = np.unique(names, return_index=True)
        # In the given order, so that the file does not depend on path hashes.
        new = np.sort(first[find_sorted(self._names, distinct) < 0])
        if len(new):
            table = decide_images(self._fingerprints([flat[n] for n in new.tolist()]), *self._rules)
            self._write(table)
            self._remember(names[new], table)
        places = find_sorted(self._names, names)
        passing = samples.excuse_own(self._passing[places], self._duplicate_of[places])
        return samples.all_pass(passing)

    def _remember(self, new: HashKeys, table: pa.Table) -> None:
        names = np.append(self._names, new)
        passing = np.append(self._passing, table["reason"].is_null().to_numpy())
        duplicate_of = np.append(
            self._duplicate_of, table["duplicate_of"].fill_null(0).to_numpy().astype(np.uint64)
        )
        order = np.argsort(names, kind="stable")
        self._names, self._passing = names[order], passing[order]
        self._duplicate_of = duplicate_of[order]


def decide_images(
    fingerprints: pa.Table,
    limits: Limits,
    benchmarks: Sequence[BenchmarkMatcher],
    near_duplicates: NearDuplicateIndex | None = None,
    exclusion_rules: Sequence[PreparedRule] = (),
    url_failures: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> pa.Table:
    """Add the columns of DECISION_SCHEMA to a table of fingerprints.

    The images follow all those that the near-duplicate index has seen before. `url_failures` is
    evidence on missing images, by image.
    """
    verdicts = image_verdicts(fingerprints, limits, benchmarks, exclusion_rules, url_failures)
    originals: dict[int, int] = {}
    if near_duplicates is not None:
        rows = np.setdiff1d(np.arange(fingerprints.num_rows), np.fromiter(verdicts, np.int64))
        passing = fingerprints.take(pa.array(rows))
        for place, found in near_duplicates.refuse(hashed_images(passing)).items():
            image = passing["image"][place].as_py()
            evidence = {"image": image, "distance_bits": found.distance_bits}
            verdicts[int(rows[place])] = Verdict(Reason.NEAR_DUPLICATE, evidence)
            originals[int(rows[place])] = found.name
    decisions: tuple[dict[int, Any], ...] = (
        {row: verdict.reason.value for row, verdict in verdicts.items()},
        {row: evidence_json(verdict.evidence) for row, verdict in verdicts.items()},
        originals,
    )
    table = fingerprints
    for field, values in zip(DECISION_SCHEMA, decisions, strict=True):
        table = table.append_column(field, _column(values, field.type, table.num_rows))
    return table


def _column(values: dict[int, Any], type_: pa.DataType, count: int) -> pa.Array:
    return pa.array((values.get(row) for row in range(count)), type_)


@contextmanager
def decision_writer(path: Path) -> Iterator[WriteTable]:
    """Open a fingerprint file with decisions and yield the function that writes a table to it."""
    with fingerprint_writer(path, DECIDED_SCHEMA) as writer:
        yield lambda table: writer.write_table(table.cast(writer.schema), _ROW_GROUP)
