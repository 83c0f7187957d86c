"""Show how the verdicts of the build's matcher on labelled pairs differ from the committed table.

    python benchmarks/verdicts.py            (status 1 if one differs)
    python benchmarks/verdicts.py --renew    (also write the table)

The table is tests/screening/certificate/verdicts.tsv; a test compares it. Renew it with the change
of the matcher that alters a verdict, so that the difference is part of the review."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from imp_data.screening.decontamination.certificate.labelled_pairs import (
    changes,
    verdict_table,
    verdicts,
)
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher
from imp_data.storage.atomic_write import write_text

TABLE = Path(__file__).parents[1] / "tests" / "screening" / "certificate" / "verdicts.tsv"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true", help="write the table")
    parser.add_argument("--all", action="store_true", help="print every pair with its distance")
    args = parser.parse_args()
    present = verdicts(BuildMatcher())
    if args.all:
        for one in present:
            value = "beyond" if one.value is None else f"{one.value:g}"
            print(f"{one.right:9} {one.verdict:9} {value:>6}  {one.image}  |  {one.reference}")
    earlier = TABLE.read_text() if TABLE.exists() else ""
    lines = changes(earlier, present)
    print("\n".join(lines) or "no verdict differs from the table")
    for (right, verdict), count in sorted(
        Counter((one.right, one.verdict) for one in present).items()
    ):
        print(f"right: {right}, verdict: {verdict}: {count}")
    if args.renew:
        write_text(TABLE, verdict_table(present))
    elif lines:
        sys.exit(1)


if __name__ == "__main__":
    main()
