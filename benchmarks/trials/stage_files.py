"""Flip bits in stage files: the same mixture results, or an error names the file.

Two small mixtures are built in one data directory. Each trial damages one file there that a stage
wrote (a flip, a page of zeros, an end that is missing; half of them without another size or time),
lets some stage after it be due, and builds again; where an error named the file, once more. Then
both mixtures must have the bytes they had, or `verify` must name what is damaged. FLIPS, a variable
of the environment, is the number of trials.
"""

import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from trials import Outcome

NAMES = ("small", "other")
FLIPS = int(os.environ.get("FLIPS", "200"))
# Trials of one process: starting one costs more than a trial.
BATCH = 20
PAGE = 4096
# Stages that read what one of a box wrote.
READERS = {
    "records": ["images", "screened", "mixture"],
    "ledger": ["mixture"],
    "benchmarks": ["images", "screened", "mixture"],
    "fingerprints": ["screened", "mixture", "duplicates"],
    "screened": ["mixture"],
    "mixtures": ["duplicates", "card"],
    "reports": ["card"],
    "journal": ["images", "screened", "mixture"],
}


class Trial(NamedTuple):
    """What is done to which file, whether its size and time stay, and what is to be built again."""

    file: str
    damage: str
    unseen: bool
    taken_over: bool
    seed: int

    def __str__(self) -> str:
        seen = "size and time kept" if self.unseen else "time changed"
        return f"{self.damage} in {self.file}, {seen}, seed {self.seed}"


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """FLIPS trials, drawn by the seed."""
    os.environ["IMP_WORKERS"] = "1"
    lay_world(folder)
    apart(lambda tell: tell(build_whole(folder)))
    whole = folder / "whole"
    files = sorted(str(p.relative_to(whole)) for p in whole.rglob("*") if is_stage_file(whole, p))
    boxes = sorted({box_of(file) for file in files})
    drawn = [a_trial(files, boxes, random.Random(f"{seed} {n}"), n) for n in range(FLIPS)]
    for begin in range(0, len(drawn), BATCH):
        yield from in_batch(folder, drawn[begin : begin + BATCH])


def a_trial(files: Sequence[str], boxes: Sequence[str], chance: random.Random, seed: int) -> Trial:
    """Boxes are drawn alike, though some have many files."""
    box = chance.choice(boxes)
    damage = chance.choice(["a flip"] * 6 + ["zeros", "a cut"])
    unseen = damage != "a cut" and chance.random() < 0.6
    file = chance.choice([file for file in files if box_of(file) == box])
    return Trial(file, damage, unseen, chance.random() < 0.5, seed)


def is_stage_file(whole: Path, path: Path) -> bool:
    """Whether a stage wrote it, and it is not what upstream publishes."""
    top = path.relative_to(whole).parts[0]
    return path.is_file() and top != "raw" and path.suffix != ".lock" and path.stat().st_size > 0


def box_of(file: str) -> str:
    """`fingerprints` of `fingerprints/small/photos.parquet`."""
    return "journal" if ".journal/" in file else file.split("/")[0]


def in_batch(folder: Path, batch: Sequence[Trial]) -> Iterator[Outcome]:
    """The trials one after another in a process of their own; one that dies has failed."""
    left = list(batch)
    while left:
        ended = yield from told_by(folder, left)
        del left[: ended.done]
        if left:
            yield Outcome(str(left.pop(0)), f"the process ended ({ended.how})")


class Ended(NamedTuple):
    """How many trials a process has told of, and how it ended."""

    done: int
    how: str


def told_by(folder: Path, batch: Sequence[Trial]) -> Iterator[Outcome]:
    """The outcomes that a process tells of; returns an Ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        in_child(lambda tell: [tell(failure_of(folder, trial)) for trial in batch], writing)
    os.close(writing)
    done = 0
    try:
        with os.fdopen(reading) as lines:
            for line in lines:
                yield Outcome(str(batch[done]), json.loads(line))
                done += 1
    except GeneratorExit:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    return Ended(done, f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "early")


def apart(work: Callable[[Callable[[Any], None]], Any]) -> None:
    """Do it in a process of its own, so that this one has no threads when it is forked."""
    child = os.fork()
    if child == 0:
        in_child(work, os.open(os.devnull, os.O_WRONLY))
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("the mixtures to damage could not be built")


def in_child(work: Callable[[Callable[[Any], None]], Any], writing: int) -> None:
    """Do the work, tell what it tells as lines of JSON, and end this process."""
    status = 1
    try:
        with os.fdopen(writing, "w", buffering=1) as out:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            work(lambda value: print(json.dumps(value), file=out))
        status = 0
    finally:
        os._exit(status)


def failure_of(folder: Path, trial: Trial) -> str | None:
    """What did not hold in a trial."""
    root = folder / "trial"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "whole", root, copy_function=os.link)
    let_be_due(root, trial)
    damaged(root / trial.file, trial)
    try:
        return rebuilt(folder, root, trial)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def let_be_due(root: Path, trial: Trial) -> None:
    """Take away the stamps of what reads the file; of the other mixture all, to be taken over."""
    box = box_of(trial.file)
    if box != "journal":
        for path in root.glob("fingerprints/*/.*.journal"):
            shutil.rmtree(path)
    for name in NAMES:
        for reader in READERS.get(box, ()):
            gone = root / ".stamps" / "mixtures" / name / reader
            shutil.rmtree(gone, ignore_errors=True)
            gone.with_suffix(".json").unlink(missing_ok=True)
    if trial.taken_over and "/other" not in trial.file:
        for gone in (root / ".stamps" / "mixtures" / "other", *root.glob("*/other")):
            shutil.rmtree(gone, ignore_errors=True)


def damaged(path: Path, trial: Trial) -> None:
    """Write the damaged file."""
    if not path.exists():
        return
    chance, stat = random.Random(f"damage {trial.seed}"), path.stat()
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    if trial.damage == "a flip":
        data[place] ^= 1 << chance.randrange(8)
    elif trial.damage == "a cut":
        del data[place:]
    else:
        begin = place // PAGE * PAGE
        end = min(begin + PAGE, len(data))
        data[begin:end] = bytes(end - begin)
    path.unlink()
    path.write_bytes(data)
    if trial.unseen:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def rebuilt(folder: Path, root: Path, trial: Trial) -> str | None:
    """Build both mixtures, a second time where an error named the file; what is then wrong."""
    from imp_data.errors import UserError
    from imp_data.mixture.verify import verify

    expected = json.loads((folder / "expected.json").read_text())
    for attempt in (1, 2):
        try:
            build_both(folder, root)
            break
        except UserError as error:
            if Path(trial.file).name not in str(error) and box_of(trial.file) not in str(error):
                return f"an error that does not name the file: {error}"
            if attempt == 2:
                return f"the second run ends as the first: {error}"
    for name in NAMES:
        mixture = root / "mixtures" / name
        # A card that is not as it was written may be a person's, and is kept under another name.
        if expected[name].items() <= digests(mixture).items():
            continue
        if trial.file.startswith(f"mixtures/{name}/"):
            if verify(mixture) and (wrong := readers_fail_well(mixture)) is None:
                continue
            return wrong if verify(mixture) else "verify approves of another mixture"
        return f"another mixture {name}"
    return None


def readers_fail_well(mixture: Path) -> str | None:
    """What a reader of a damaged mixture gets that is neither an answer nor an error naming it."""
    from imp_data.errors import UserError
    from imp_data.mixture.duplicates.report import neighbours
    from imp_data.mixture.ledger_queries import diff, explain
    from imp_data.training.data.mixture_input import open_mixture

    for reader in (
        lambda: explain(mixture, "1"),
        lambda: diff(mixture, mixture),
        lambda: neighbours(mixture, []),
        lambda: open_mixture(mixture),
    ):
        try:
            reader()
        except UserError as error:
            if str(mixture) not in str(error):
                return f"an error that does not name the mixture: {error}"
    return None


def digests(mixture: Path) -> dict[str, str]:
    """Return the sha256 of each file of a mixture."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in mixture.iterdir()}


def build_both(folder: Path, root: Path) -> None:
    """Build both mixtures in a data directory."""
    from imp_data.manifests import load_recipe
    from imp_data.pipeline.build import Build
    from imp_data.pipeline.run_all import rebuild
    from imp_data.storage.data_dir import DataDir

    for name in NAMES:
        rebuild(Build(load_recipe(folder / f"manifests/mixtures/{name}.yaml"), DataDir(root)))


def build_whole(folder: Path) -> None:
    """Build what is to be damaged, and a journal as an interrupted run leaves it."""
    import pyarrow.parquet as pq

    from imp_data.images.decoding import decoder
    from imp_data.storage.data_dir import DataDir
    from imp_data.storage.tables import parquet_writer

    whole = folder / "whole"
    build_both(folder, whole)
    expected = {name: digests(whole / "mixtures" / name) for name in NAMES}
    (folder / "expected.json").write_text(json.dumps(expected))
    data = DataDir(whole).of("small")
    stamp = orjson.loads(data.stamp("mixtures/small/images/photos").read_bytes())
    table = pq.read_table(data.fingerprints("small", "photos"))
    schema = table.schema.with_metadata({"decoder": decoder()})
    place = data.journal("photos") / stamp["inputs"]["images"]
    with parquet_writer(place / "000001.parquet", schema) as writer:
        writer.write_table(table.cast(schema))


def lay_world(folder: Path) -> None:
    """Manifests and upstream files of two sources and a benchmark."""
    import numpy as np
    from PIL import Image

    raw = folder / "whole" / "raw"
    shown = {f"photos/{n}.png": n for n in range(24)} | {"quiz/00000000000000aa.png": 3}
    for name, seed in shown.items():
        path = raw / name.replace("/", "/loose/")
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC).save(path)
    records = [record(n, f"photos/{n % 24}.png") for n in range(40)]
    lay(raw / "photos/records.json", [*records, record("gone", "photos/gone.png")])
    lay(raw / "chats/records.json", [*(record(n) for n in range(30)), "no record"])
    lay(raw / "quiz/ids.json", {"data": [{"image_id": "00000000000000aa"}]})
    for room in ("photos", "quiz"):
        lay_manifest(folder, "images", room, folders=[{"path": room, "inside": "loose"}])
    source = {"layout": "llava", "records": ["records.json"], "files": by_hand("records.json")}
    lay_manifest(folder, "sources", "photos", images=["photos"], **source)
    lay_manifest(folder, "sources", "chats", **source)
    quiz = {"id_pattern": "[0-9a-f]{16}", "image_paths": ["quiz/{id}.png"], "images": ["quiz"]}
    lay_manifest(
        *(folder, "benchmarks", "quiz"), files=by_hand("ids.json"), id_files=["ids.json"], **quiz
    )
    for seed, name in enumerate(NAMES):
        quotas = {"photos": 20, "chats": 20}
        parts = [{"source": s, "quota": q, "paper": q, "group": "All"} for s, q in quotas.items()]
        kept_out = [{"benchmark": "quiz", "max_distance_bits": 10, "altered_images": 0}]
        rules = {"seed": seed, "shard_rows": 15, "decontaminate": kept_out}
        stated = {"name": name, "title": "A small mixture", "parts": parts, **rules}
        lay(folder / f"manifests/mixtures/{name}.yaml", stated)


def record(identity: Any, image: str | None = None) -> dict[str, Any]:
    """Return a record in LLaVA's format."""
    asked = "What is it?" if image is None else "<image>\nWhat is it?"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"Thing {identity}."}]
    return {"id": identity, **({} if image is None else {"image": image}), "conversations": turns}


def by_hand(path: str) -> list[dict[str, str]]:
    """A file that is there already."""
    return [{"path": path, "by_hand": "put it there"}]


def lay_manifest(folder: Path, room: str, name: str, **fields: Any) -> None:
    """A manifest with what all of them state."""
    published = {"title": "A", "homepage": "https://example.org", "license": "CC0-1.0"}
    lay(folder / "manifests" / room / f"{name}.yaml", {"name": name, **published, **fields})


def lay(path: Path, value: Any) -> None:
    """Write a value as JSON or YAML, by the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    as_yaml = path.suffix == ".yaml"
    path.write_text(yaml.safe_dump(value) if as_yaml else json.dumps(value), encoding="utf-8")
