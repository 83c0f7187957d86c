"""Run trials of hostile input, damaged files, killed runs and bad servers; count the failures.

    python benchmarks/hardening.py [--seconds 600] [--seed 0] [--only stage_files archives …]

Each kind has an equal share of the time; a kind that is done early leaves its rest to the others.
The last line is JSON: {"seed": …, "seconds": …, "kinds": {kind: {"trials": …, "failures": …}}}.
Ends with status 1 if any trial failed.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
import time
from pathlib import Path

import trials
from trials import Outcome


def main() -> None:
    """Run the selected kinds one after another."""
    kinds = sorted(module.name for module in pkgutil.iter_modules(trials.__path__))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=600, help="time limit of all kinds together"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random trials")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds, metavar="KIND")
    asked = parser.parse_args()
    begun = time.monotonic()
    counts = dict[str, dict[str, int]]()
    for done, kind in enumerate(asked.only):
        left = asked.seconds - (time.monotonic() - begun)
        outcomes = run_kind(kind, asked.seed, left / (len(asked.only) - done))
        failed = [outcome for outcome in outcomes if outcome.failure]
        counts[kind] = {"trials": len(outcomes), "failures": len(failed)}
        print(f"{kind:20} {len(outcomes):6,} trials {len(failed):4,} failures", flush=True)
        for outcome in failed:
            print(f"    {outcome.trial}: {outcome.failure}", flush=True)
    seconds = round(time.monotonic() - begun, 1)
    print(json.dumps({"seed": asked.seed, "seconds": seconds, "kinds": counts}))
    sys.exit(any(count["failures"] for count in counts.values()))


def run_kind(kind: str, seed: int, seconds: float) -> list[Outcome]:
    """Return the outcomes of one kind's trials within the time limit."""
    until = time.monotonic() + seconds
    module = importlib.import_module(f"trials.{kind}")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix=f"{kind}-") as folder:
        for outcome in module.trials(Path(folder), seed):
            outcomes.append(outcome)
            if time.monotonic() > until:
                break
    return outcomes


if __name__ == "__main__":
    main()
