"""Run two builds at once in one empty data directory, and kill some of them.

Both must end well with the bytes that each has alone, leave nothing unfinished behind, and say that
they wait where they do. In half of the trials one of the two is killed at a moment drawn by the
seed, and started again.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trials import Outcome
from trials.replacing import build_of, told_apart
from trials.stage_files import NAMES, apart, lay_world

PAIRS = int(os.environ.get("PAIRS", "16"))
# A build of these mixtures takes some seconds, most of them for what Python imports.
_LONGEST_SECONDS = 4.0
_PATIENCE_SECONDS = 300
_UNFINISHED = (".partial", ".part", ".journal", ".replaced", ".before")


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """First a wait, then PAIRS pairs."""
    os.environ["IMP_WORKERS"] = "1"
    lay_world(folder)
    expected = alone(folder)
    yield Outcome("a run at the stage of another says that it waits", of_a_wait(folder, expected))
    chance = random.Random(seed)
    for number in range(PAIRS):
        pair = (NAMES[0], NAMES[number // 2 % 2])
        moment = chance.random() * _LONGEST_SECONDS if number % 2 else None
        killed = "" if moment is None else f", the first killed after {moment:.1f} s"
        yield Outcome(f"{'-'.join(pair)}{killed}", of_a_pair(folder, expected, pair, moment))


def alone(folder: Path) -> dict[str, str]:
    """The digest of each mixture, built where nothing else is."""
    for name in NAMES:
        apart(lambda _, name=name: whole(folder, f"alone-{name}", name))
    return {name: digest_of(folder / f"alone-{name}" / "mixtures" / name) for name in NAMES}


def whole(folder: Path, root: str, name: str) -> None:
    """Build a mixture from what is published, in a data directory of that name."""
    from imp_data.pipeline.run_all import rebuild

    raw = folder / root / "raw"
    if not raw.exists():
        shutil.copytree(folder / "whole" / "raw", raw)
    rebuild(build_of(folder, root, name))


def digest_of(mixture: Path) -> str:
    """What mixture.json says, by which every byte of the mixture is covered."""
    return (mixture / "mixture.json").read_text()


def started(folder: Path, name: str, said: Path, hold: bool = False) -> int:
    """A process that builds in `pair`; what it says is in a file."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            if hold:
                hold_records(folder)
            whole(folder, "pair", name)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def hold_records(folder: Path) -> None:
    """Let this process be at the first records until the other has said something."""
    from imp_data.pipeline import build

    make = build.build_records

    def held(*arguments: Any) -> Any:
        print("is at the records", flush=True)
        wait_for("waits for", folder / "said-1")
        return make(*arguments)

    build.build_records = held


def wait_for(word: str, said: Path) -> None:
    """Wait until a process has printed a word."""
    until = time.monotonic() + _PATIENCE_SECONDS / 2
    while word not in text_of(said) and time.monotonic() < until:
        time.sleep(0.01)


def ended(child: int) -> bool:
    """Return whether it exited with status 0."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def laid(folder: Path) -> Path:
    """An empty data directory but for what is published."""
    root = folder / "pair"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "whole" / "raw", root / "raw")
    for said in folder.glob("said-*"):
        said.unlink()
    return root


def of_a_wait(folder: Path, expected: dict[str, str]) -> str | None:
    """What did not hold of a run that comes to a stage at which another is."""
    laid(folder)
    first = started(folder, NAMES[0], folder / "said-0", hold=True)
    wait_for("is at the records", folder / "said-0")
    second = started(folder, NAMES[0], folder / "said-1")
    done = [ended(child) for child in (first, second)]
    word = f"waits for process {first} on this machine (mixture {NAMES[0]}), running since"
    if not all(done):
        return f"a run failed: {text_of(folder / 'said-0')}{text_of(folder / 'said-1')}"
    if word not in text_of(folder / "said-1"):
        return f"the second run says no word: {text_of(folder / 'said-1')}"
    return wrong(folder, expected, NAMES[:1])


def of_a_pair(
    folder: Path, expected: dict[str, str], pair: tuple[str, str], moment: float | None
) -> str | None:
    """What did not hold of two runs at once."""
    laid(folder)
    children = [started(folder, name, folder / f"said-{n}") for n, name in enumerate(pair)]
    if moment is not None:
        time.sleep(moment)
        os.killpg(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
        children[0] = started(folder, pair[0], folder / "said-0")
    for number, child in enumerate(children):
        if not ended(child):
            return f"a run failed: {text_of(folder / f'said-{number}')[-500:]}"
    return wrong(folder, expected, pair)


def text_of(path: Path) -> str:
    """What a process has said so far."""
    return path.read_text() if path.exists() else ""


def wrong(folder: Path, expected: dict[str, str], names: tuple[str, ...]) -> str | None:
    """What is wrong with the mixtures, or left in the data directory."""
    root = folder / "pair"
    for name in names:
        if digest_of(root / "mixtures" / name) != expected[name]:
            return f"{name} has other bytes than alone"
    for problem in told_apart(lambda: unsound(folder, names)):
        return problem.failure
    left = [str(p.relative_to(root)) for p in root.rglob("*") if p.name.endswith(_UNFINISHED)]
    return f"left behind: {left}" if left else None


def unsound(folder: Path, names: tuple[str, ...]) -> Iterator[Outcome]:
    """What `verify` finds, and what would be built again."""
    from imp_data.mixture.verify import verify
    from imp_data.pipeline.run_all import rebuild

    for name in names:
        for problem in verify(folder / "pair" / "mixtures" / name):
            yield Outcome(name, f"verify: {problem}")
        for asset, result in rebuild(build_of(folder, "pair", name)).items():
            if result.built:
                yield Outcome(name, f"{asset} is built again")
