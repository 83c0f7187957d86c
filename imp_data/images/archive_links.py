"""Links within an archive: which member is meant by a name that is, or leads through, a link."""

import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, takewhile

# As many as Linux follows before it takes them for a loop.
_MOST_LINKS = 40
# No file of any system has a longer path; following links through it takes a time of its square.
MOST_PATH_CHARACTERS = 4096
# A link to a folder gives all its files another name, so that many links give names without end.
_MOST_NAMES, _MOST_NAMES_A_FILE = 100_000, 4


def link_target(name: str, target: str) -> str | None:
    """Where a symbolic link leads, from the archive's root; None if out of the archive."""
    if len(target) > MOST_PATH_CHARACTERS:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return None if path.startswith(("/", "../")) or path == ".." else path


def followed(name: str, links: Mapping[str, str]) -> str | None:
    """The name with every link in it followed; None where links lead round."""
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
    """Names that files have by one link: the link's own, or those below the folder it leads to.

    Four a file of them, or 100,000: others are found as they are spelled, and no other way.
    """
    files = sorted(names) if links else []
    most = max(_MOST_NAMES, _MOST_NAMES_A_FILE * len(files))
    return islice(_linked_names(files, links), most)


def _linked_names(files: list[str], links: Mapping[str, str]) -> Iterator[str]:
    known = set(files)
    for link in links:
        target = followed(link, links)
        if target in known:
            yield link
        elif target is not None:
            below = "" if target == "." else f"{target}/"
            inside = takewhile(
                lambda name, below=below: name.startswith(below),  # type: ignore[misc]
                islice(files, bisect_left(files, below), None),
            )
            yield from (f"{link}/{name[len(below) :]}" for name in inside)
