"""Kill runs that replace a folder: the old or the new one remains, or an error names the problem.

The first trials kill before each change that a run makes to the disk, the first, the second, and so
on, until one ends: of a folder of four files with files of others in it, on file systems that
exchange names, that rename folders, and that do neither; then of a mixture, in its stage. The last
kill at random moments. After each kill the folder must be whole, or readers must say what happened
and what to do; no file of others may be gone; and the next run must end in the new folder.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from trials import Outcome
from trials.stage_files import apart, lay_world

WAYS = ("exchange", "two renames", "file by file")
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.link", "os.mkdir", "os.truncate", "exchange"}
FOREIGN = {"notes.md": b"mine", "cache-1.arrow": b"of datasets", "plots/a.svg": b"<svg/>"}
RANDOM_KILLS = 60
# Files of the folder that is replaced at random moments: enough that the kills spread over them.
FILES = 300
_SAID = ("a run was killed while replacing it", "a build is replacing this mixture")


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Every change of each way, then kills at moments drawn by the seed."""
    import imp_data.storage.atomic_write  # noqa: F401 (once, and not in each fork)

    for way in WAYS:
        yield from kills(f"a folder, {way}", partial(of_a_folder, folder / "folder", way))
    os.environ["IMP_WORKERS"] = "1"
    lay_world(folder)
    apart(lambda _: prepared(folder))
    yield from told_apart(lambda: mixtures(folder))
    chance = random.Random(seed)
    for number in range(RANDOM_KILLS):
        moment = chance.random() * 0.06
        failure = at_a_moment(folder / "moment", moment)
        yield Outcome(f"killed after {moment * 1000:.1f} ms, trial {number}", failure)


def kills(name: str, trial: Callable[[int], tuple[bool, str | None]]) -> Iterator[Outcome]:
    """Trials killed before change 1, 2, …; the last is one that ends by itself."""
    number, ended = 0, False
    while not ended:
        number += 1
        ended, failure = trial(number)
        yield Outcome(f"{name}, before change {number}", failure)


def killed_at(number: int, work: Callable[[], object], way: str = "exchange") -> bool:
    """Whether the work ended in a fork of this process, which is killed before that change.

    They are counted from when the new folder is whole.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            quiet()
            count(number, way)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the run ended with an error")
    return os.WIFEXITED(status)


def quiet() -> None:
    """What a run says is not for whoever counts."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def count(number: int, way: str) -> None:
    """Let this process die before its change of that number, and replace folders in that way."""
    from imp_data.storage import atomic_write
    from imp_data.storage import replace_folder as replace_folder_module

    left, begun = number, False

    def hook(event: str, _: Any) -> None:
        nonlocal left, begun
        begun = begun or event == "replacing"
        if begun and event in CHANGES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def exchanged(one: Path, other: Path, real: Any = replace_folder_module._exchanged) -> bool:
        sys.audit("exchange")
        return bool(real(one, other))

    def replace_folder(*arguments: Any, real: Any = replace_folder_module.replace_folder) -> None:
        sys.audit("replacing")
        real(*arguments)

    atomic_write.replace_folder = replace_folder
    replace_folder_module._exchanged = exchanged if way == WAYS[0] else lambda *_: False
    if way == WAYS[2]:
        replace_folder_module._renamed = lambda *_: False
    sys.addaudithook(hook)


def of_ours(path: Path) -> bool:
    """Return whether a file belongs to the replaced folder."""
    return path.suffix == ".ours"


def files_of(version: str, number: int = 4) -> dict[str, bytes]:
    """Some files, of which every other one has another name in another version."""
    names = [f"{n}{version if n % 2 else ''}.ours" for n in range(number)]
    return {name: f"{version} {name}".encode() * 50 for name in (*names, "last.ours")}


def lay(folder: Path, files: dict[str, bytes]) -> None:
    """Write these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def replace(folder: Path, files: dict[str, bytes]) -> None:
    """The folder, with these files of ours."""
    from imp_data.storage.atomic_write import written_aside

    with written_aside(folder, "last.ours", alone=True, ours=of_ours) as aside:
        aside.mkdir()
        lay(aside, files)


def of_a_folder(root: Path, way: str, number: int) -> tuple[bool, str | None]:
    """Whether the run ended, and what did not hold."""
    shutil.rmtree(root, ignore_errors=True)
    folder, old, new = root / "folder", files_of("old"), files_of("new")
    lay(folder, {**old, **FOREIGN})
    ended = killed_at(number, lambda: replace(folder, new), way)
    return ended, wrong_folder(folder, old, new)


def wrong_folder(folder: Path, old: dict[str, bytes], new: dict[str, bytes]) -> str | None:
    """What is wrong after a kill, or after the next run."""
    from imp_data.errors import UserError
    from imp_data.storage.replace_folder import check_not_moved

    if not set(FOREIGN.values()) <= set(contents(folder.parent).values()):
        return "a file of others is gone"
    ours = {name: c for name, c in contents(folder).items() if name.endswith(".ours")}
    if ours not in (old, new) and "last.ours" in ours:
        return "neither the old nor the new folder, and no sign of it"
    try:
        check_not_moved(folder)
        if not folder.is_dir():
            return "the folder is gone without a word"
    except UserError as error:
        if _SAID[0] not in str(error):
            return f"another word: {error}"
    replace(folder, new)
    if contents(folder) != {**new, **FOREIGN}:
        return "the next run does not end in the new folder and others' files"
    left = [path.name for path in folder.parent.iterdir() if path != folder]
    return f"left behind: {left}" if left else None


def prepared(folder: Path) -> None:
    """A mixture in `whole`, all but the mixture of its successor, and the successor in `new`."""
    build = build_of(folder, "whole")
    from imp_data.pipeline.run_all import rebuild

    rebuild(build)
    manifest = folder / "manifests/mixtures/small.yaml"
    manifest.write_text(manifest.read_text().replace("seed: 0", "seed: 5"))
    lay(folder / "whole/mixtures/small", FOREIGN)
    build = build_of(folder, "whole")
    for source in build.recipe.sources:
        build.images(source)
        build.screened(source)
    shutil.copytree(folder / "whole", folder / "new")
    rebuild(build_of(folder, "new"))


def build_of(folder: Path, root: str, name: str = "small") -> Any:
    """The build of a mixture in the data directory of that name."""
    from imp_data.manifests import load_recipe
    from imp_data.pipeline.build import Build
    from imp_data.storage.data_dir import DataDir

    recipe = load_recipe(folder / f"manifests/mixtures/{name}.yaml")
    return Build(recipe, DataDir(folder / root))


def of_a_mixture(folder: Path, way: str, number: int) -> tuple[bool, str | None]:
    """Whether the stage ended, and what did not hold."""
    root = folder / "trial"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "whole", root)
    ended = killed_at(number, lambda: build_of(folder, "trial").mixture(), way)
    try:
        return ended, wrong_mixture(folder)
    except Exception as error:
        return ended, f"{type(error).__name__}: {error}"


def told_apart(work: Callable[[], Iterator[Outcome]]) -> Iterator[Outcome]:
    """What a fork of this process tells, whose threads and modules end with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            quiet()
            with os.fdopen(writing, "w", buffering=1) as out:
                for outcome in reported(work):
                    print(json.dumps(outcome), file=out)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield from (Outcome(*json.loads(line)) for line in told)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def reported(work: Callable[[], Iterator[Outcome]]) -> Iterator[Outcome]:
    """The outcomes, and an error that ends them."""
    try:
        yield from work()
    except Exception as error:
        yield Outcome("a process", f"{type(error).__name__}: {error}")


def mixtures(folder: Path) -> Iterator[Outcome]:
    """The trials on a mixture."""
    from imp_data.training.data.shards import Shards  # noqa: F401 (once, and not in each fork)

    for way in WAYS:
        yield from kills(f"a mixture, {way}", partial(of_a_mixture, folder, way))


def wrong_mixture(folder: Path) -> str | None:
    """What is wrong after a kill, or after the next run."""
    from imp_data.errors import UserError
    from imp_data.mixture.duplicates.report import neighbours
    from imp_data.mixture.ledger_queries import diff, explain
    from imp_data.mixture.verify import verify
    from imp_data.pipeline.card_stage import write_card
    from imp_data.training.data.mixture_input import open_mixture
    from imp_data.training.data.shards import Shards

    mixture = folder / "trial/mixtures/small"
    found, said = set[str](), set[str]()
    readers: list[Callable[[], Any]] = [
        lambda: verify(mixture),
        lambda: explain(mixture, "1"),
        lambda: diff(mixture, mixture),
        lambda: neighbours(mixture, []),
        lambda: open_mixture(mixture),
        lambda: Shards(mixture),
    ]
    if not set(FOREIGN.values()) <= set(contents(mixture.parent).values()):
        return "a file of others is gone"
    for read in readers:
        try:
            if read is readers[0] and (problems := read()):
                return f"verify: {problems[0]}"
            read()
            found.add((mixture / "mixture.json").read_text())
        except UserError as error:
            said.add(str(error))
    if len(found) + len(said) != 1:
        return f"readers disagree: {said}"
    if said and not any(text in next(iter(said)) for text in _SAID):
        return f"another word: {said}"
    whole = [(folder / n / "mixtures/small/mixture.json").read_text() for n in ("whole", "new")]
    if found and next(iter(found)) not in whole:
        return "verify approves of a third mixture"
    build = build_of(folder, "trial")
    build.mixture()
    write_card(build)
    if contents(mixture) != contents(folder / "new/mixtures/small"):
        return "the next run does not end in the new mixture and others' files"
    left = [path.name for path in mixture.parent.iterdir() if path != mixture]
    return f"left behind: {left}" if left else None


def at_a_moment(root: Path, moment: float) -> str | None:
    """What is wrong after a run that replaces a folder is killed at that moment."""
    shutil.rmtree(root, ignore_errors=True)
    folder, old, new = root / "folder", files_of("old", FILES), files_of("new", FILES)
    lay(folder, {**old, **FOREIGN})
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from imp_data.storage import atomic_write
            from imp_data.storage import replace_folder as replace_folder_module

            def begun(*arguments: Any) -> None:
                os.write(writing, b"1")
                replace_folder_module.replace_folder(*arguments)

            atomic_write.replace_folder = begun
            replace(folder, new)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    os.read(reading, 1)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    return wrong_folder(folder, old, new)
