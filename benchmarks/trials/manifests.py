"""Hostile manifests: each is valid or one named error, in bounded time and memory.

Read by a process of its own, whose memory is bounded, so that what would fill it fails the trial
and not the machine. What is drawn at random are alterations of the manifests of this repository
(bytes deleted, doubled, put in) and nested values in random forms.
"""

import json
import os
import random
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trials import Outcome

_BENCHMARKS = str(Path(__file__).parents[1])
_MANIFESTS = Path(__file__).parents[2] / "manifests"
_MOST_BYTES = 1 << 30
# Far more than the slowest takes on a busy machine; what never ends is what is looked for.
_MOST_SECONDS = 60
_ALTERED, _DRAWN = 1_500, 1_000


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Run the named hostile manifests, then random ones."""
    reader = _Reader()
    try:
        for name, lay in _hostile().items():
            path = folder / name / "mixtures" / "small.yaml"
            path.parent.mkdir(parents=True)
            lay(path)
            yield Outcome(name, reader.failure(path, "mixtures"))
        for number, (room, name, content) in enumerate(_random(random.Random(seed))):
            path = folder / "random" / room / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            failure = reader.failure(path, room)
            kept = f"; its bytes: {content[:200]!r}" if failure else ""
            yield Outcome(f"random {number} of {room}/{name}", failure and failure + kept)
            path.unlink()
    finally:
        reader.close()


class _Reader:
    """A process that reads one manifest after another; a new one after each failure."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def failure(self, path: Path, room: str) -> str | None:
        """What failed: another error than a UserError with its place, too long, too much memory."""
        if self._process is None:
            self._process = _started()
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([str(path), room]) + "\n")
        process.stdin.flush()
        answers, _, _ = select.select([process.stdout], [], [], _MOST_SECONDS)
        answer = process.stdout.readline() if answers else f"takes more than {_MOST_SECONDS} s"
        if answer == "held\n":
            return None
        self.close()
        return answer.strip() or f"its process ended (status {process.returncode})"

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _started() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from trials.manifests import read_all; read_all()"]
    paths = os.pathsep.join(filter(None, (_BENCHMARKS, os.environ.get("PYTHONPATH"))))
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def read_all() -> None:
    """Read the manifests that stdin names, and answer for each: `held`, or what did not."""
    from imp_data.errors import UserError
    from imp_data.manifests import ROOMS, load
    from imp_data.manifests.model import Model

    rooms = {**ROOMS, "models": Model}
    # On top of what the libraries have mapped.
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MOST_BYTES,) * 2)
    for line in sys.stdin:
        path, room = json.loads(line)
        try:
            load(Path(path), rooms[room])
            answer = "held"
        except UserError as error:
            named = error.where == path and error.problem and error.remedy
            answer = "held" if named else f"does not name the file: {error.where}"
        except BaseException as error:  # whatever else it is, it is what the trial looks for
            answer = f"{type(error).__name__}: {str(error)[:200]!r}"
        print(answer, flush=True)


def _hostile() -> dict[str, Callable[[Path], Any]]:
    laughs = 'a0: &a0 ["lol", "lol"]\n' + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 60)
    )
    quadratic = "a: &a [" + "x, " * 50_000 + "]\nb: [" + "*a, " * 50_000 + "]\n"
    merges = (
        "b: &b {" + ", ".join(f"k{n}: 1" for n in range(20_000)) + "}\n"
        "c: {" + ", ".join(["<<: *b"] * 20_000) + "}\n"
    )
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 20_000))
    texts = {
        "circular": "name: &x [*x]\n",
        "circular-through-a-merge": "a: &a {<<: *a}\n",
        "billion-laughs": laughs,
        "quadratic-blowup": quadratic,
        "long-text-aliased": f"a: &a {'x' * 500_000}\nb: [{'*a, ' * 50_000}]\n",
        "merges": merges,
        "aliases-in-a-chain": chain,
        "brackets": "[" * 1_000_000,
        "braces": "{" * 1_000_000,
        "braces-with-keys": "{a: " * 250_000,
        "dashes": "- " * 500_000,
        "questions": "? " * 500_000,
        "indentation": "".join(f"{' ' * n}a:\n" for n in range(1_300)),
        "integer": f"seed: {'9' * 1_000_000}\n",
        "hexadecimal": f"seed: 0x{'f' * 1_000_000}\n",
        "float": f"seed: {'9' * 500_000}.{'9' * 500_000}\n",
        "key": "k" * 1_000_000 + ": 1\n",
        "quoted-key": '"' + "k" * 1_000_000 + '": 1\n',
        "text": f"name: {'x' * 1_000_000}\n",
        "words": f"name: {'x ' * 100_000}\n",
        "quotes": '"' * 1_000_000,
        "escapes": 'name: "' + "\\x41" * 250_000 + '"\n',
        "unclosed": 'name: "' + "x" * 1_000_000,
        "comments": "#\n" * 500_000,
        "documents": "---\n" * 250_000,
        "anchors": "".join(f"a{n}: &a{n} 1\n" for n in range(60_000)),
        "unknown-fields": "".join(f"k{n}: 1\n" for n in range(20_000)),
        "wrong-parts": "name: small\nparts:\n" + "- 1\n" * 20_000,
        "tag-object": "name: !!python/object/apply:os.system ['true']\n",
        "tag-module": "name: !!python/name:os.system\n",
        "tag-unknown-handle": "name: !x!y z\n",
        "date-key": "2024-01-31: x\n",
        "key-of-a-list": "? [a]\n: b\n",
        "tabs": "name: small\n\tseed: 1\n",
        "infinite": "seed: .inf\n",
        "escape-beyond-unicode": 'name: "\\UFFFFFFFF"\n',
        "directive": "%YAML 1.1\n---\nname: small\n",
        "empty": "",
        "blank": "\n \n",
        "null": "---\n",
        "list": "- name: small\n",
    }
    raw = {
        "nul": b"name: small\0\n",
        "binary": bytes(range(256)) * 4_000,
        "utf-16": "name: small\n".encode("utf-16"),
        "utf-32": "name: small\n".encode("utf-32"),
        "latin-1": b"title: caf\xe9\n",
        "surrogate": b"title: \xed\xa0\x80\n",
        "overlong": b"title: \xc0\xaf\n",
    }

    def laid(content: bytes) -> Callable[[Path], Any]:
        return lambda path: path.write_bytes(content)

    files: dict[str, Callable[[Path], Any]] = {
        "folder": lambda path: path.mkdir(),
        "pipe": lambda path: os.mkfifo(path),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "gigabyte": lambda path: (path.touch(), os.truncate(path, 1 << 30)),
        "loop": lambda path: path.symlink_to(path.name),
        "nowhere": lambda path: path.symlink_to("gone.yaml"),
        "absent": lambda path: None,
        "two-names": lambda path: (path.touch(), path.with_name("SMALL.yaml").touch()),
    }
    contents = {**{name: text.encode() for name, text in texts.items()}, **raw}
    return {**files, **{name: laid(content) for name, content in contents.items()}}


def _random(draw: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """Yield (kind, file name, content)."""
    shipped = [
        (path.parent.name, path.name, path.read_bytes())
        for path in sorted(_MANIFESTS.glob("*/*.yaml"))
    ]
    for number in range(max(_ALTERED, _DRAWN)):
        if number < _ALTERED:
            room, name, content = draw.choice(shipped)
            yield room, name, _altered(draw, content)
        if number < _DRAWN:
            value = {"name": "small", "seed": 1, **_drawn_mapping(draw, 6)}
            yield "mixtures", "small.yaml", _spelled(draw, value, 0).encode("utf-8", "replace")


# Signs of YAML, and beginnings of what means something in it.
_SIGNS = [sign.encode() for sign in "[]{}:,-?&*!|>'\"%@`#\n\t \\~=<.0\0\x7f\x85\ufeff\u2028"]
_WORDS = (b"<<: *a", b"&a ", b"*a", b"!!set ", b"---\n", b"...\n", b"? ", b"- ", b".nan", b"0o7")


def _altered(draw: random.Random, content: bytes) -> bytes:
    """Delete, double or insert up to four pieces."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(changed) + 1)
        end = min(len(changed), start + draw.choice([1, 1, 2, 8, 64, 512]))
        way = draw.choice(["delete", "double", "sign", "word", "byte", "move"])
        if way == "delete":
            del changed[start:end]
        elif way == "double":
            changed[start:start] = changed[start:end] * draw.choice([1, 1, 2, 50])
        elif way == "sign":
            changed[start:start] = draw.choice(_SIGNS)
        elif way == "word":
            changed[start:start] = draw.choice(_WORDS)
        elif way == "byte" and start < len(changed):
            changed[start] = draw.randrange(256)
        else:
            piece = changed[start:end]
            del changed[start:end]
            place = draw.randrange(len(changed) + 1)
            changed[place:place] = piece
    return bytes(changed)


_FIELDS = ("name", "title", "seed", "parts", "source", "quota", "limits", "drawn", "0", "a b", "é")
_SCALARS = (
    "010",
    "on",
    "1:30",
    "1_0",
    ".inf",
    "null",
    "~",
    "1e3",
    "2024-01-31",
    "'",
    '"',
    "\u2028",
)


def _drawn_value(draw: random.Random, depth: int) -> Any:
    way = draw.random()
    if depth and way < 0.25:
        return _drawn_mapping(draw, depth - 1)
    if depth and way < 0.5:
        return [_drawn_value(draw, depth - 1) for _ in range(draw.randint(0, 4))]
    if way < 0.8:
        return draw.choice(_SCALARS)
    return draw.choice([None, True, 0, -1, 10**40, 0.5, "x" * draw.randint(0, 300)])


def _drawn_mapping(draw: random.Random, depth: int) -> dict[str, Any]:
    return {draw.choice(_FIELDS): _drawn_value(draw, depth) for _ in range(draw.randint(0, 5))}


def _spelled(draw: random.Random, value: Any, depth: int) -> str:
    """The value as YAML, in blocks or in brackets, with quotes or without, sometimes anchored."""
    mark = draw.choice(["&a ", "*a #", "!!str "]) if draw.random() < 0.03 else ""
    pad = "  " * depth
    if isinstance(value, dict) and value and draw.random() < 0.7:
        fields = (f"{pad}{key}: {_spelled(draw, v, depth + 1)}" for key, v in value.items())
        return f"{mark}\n" + "\n".join(fields) if depth else "\n".join(fields)
    if isinstance(value, list) and value and draw.random() < 0.7:
        items = (f"{pad}- {_spelled(draw, v, depth + 1)}" for v in value)
        return f"{mark}\n" + "\n".join(items)
    if isinstance(value, str) and draw.random() < 0.6:
        return mark + value
    return mark + json.dumps(value, ensure_ascii=False)
