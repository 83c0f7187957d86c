"""Resolve links within an archive: names that are a link, or lead through one."""

import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, takewhile

# Linux follows this many before it reports a loop.
_MOST_LINKS = 40
# No system allows a longer path; resolving its links takes time quadratic in its length.
MOST_PATH_CHARACTERS = 4096
# A link to a folder gives all its files another name, so names multiply with the links.
_MOST_NAMES, _MOST_NAMES_A_FILE = 100_000, 4


def link_target(name: str, target: str) -> str | None:
    """Return the target of a symbolic link from the archive's root; None if it is outside."""
    if len(target) > MOST_PATH_CHARACTERS:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return None if path.startswith(("/", "../")) or path == ".." else path


def resolve_links(name: str, links: Mapping[str, str]) -> str | None:
    """Return the name with every link in it resolved; None if the links form a loop."""
    for _ in range(_MOST_LINKS):
        if len(name) > MOST_PATH_CHARACTERS:
            return None
        steps = name.split("/")
        heads = ("/".join(steps[:n]) for n in range(1, len(steps) + 1))
        head = next((head for head in heads if head in links), None)
        if head is None:
            return name
        name = posixpath.normpath(links[head] + name[len(head) :])
    return None


def linked_names(names: Iterable[str], links: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that files have through one link: its own, or those below its folder.

    At most four for each file, or 100,000 in all; other such names match only their exact spelling.
    """
    files = sorted(names) if links else []
    most = max(_MOST_NAMES, _MOST_NAMES_A_FILE * len(files))
    return islice(_linked_names(files, links), most)


def _linked_names(files: list[str], links: Mapping[str, str]) -> Iterator[str]:
    known = set(files)
    for link in links:
        target = resolve_links(link, links)
        if target in known:
            yield link
        elif target is not None:
            below = "" if target == "." else f"{target}/"
            inside = takewhile(
                lambda name, below=below: name.startswith(below),  # type: ignore[misc]
                islice(files, bisect_left(files, below), None),
            )
            yield from (f"{link}/{name[len(below) :]}" for name in inside)
