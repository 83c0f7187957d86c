"""Links within an archive: which member is meant by a name that is, or leads through, a link."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

# As many as Linux follows before it takes them for a loop.
_MOST_LINKS = 40


def link_target(name: str, target: str) -> str | None:
    """Where a symbolic link leads, from the archive's root; None if out of the archive."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return None if path.startswith(("/", "../")) or path == ".." else path


def followed(name: str, links: Mapping[str, str]) -> str | None:
    """The name with every link in it followed; None where links lead round."""
    for _ in range(_MOST_LINKS):
        steps = name.split("/")
        heads = ("/".join(steps[:n]) for n in range(1, len(steps) + 1))
        head = next((head for head in heads if head in links), None)
        if head is None:
            return name
        name = posixpath.normpath(links[head] + name[len(head) :])
    return None


def linked_names(names: Iterable[str], links: Mapping[str, str]) -> Iterator[str]:
    """Names that files have by one link: the link's own, or those below the folder it leads to."""
    files = list(names) if links else []
    known = set(files)
    for link in links:
        target = followed(link, links)
        if target in known:
            yield link
        elif target is not None:
            below = "" if target == "." else f"{target}/"
            inside = (name for name in files if name.startswith(below))
            yield from (f"{link}/{name[len(below) :]}" for name in inside)
