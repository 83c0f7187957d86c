"""Normalize and check the image paths of records."""

import re

# Not str.isspace: a file name may contain a no-break space.
BLANK = " \t\n\r\v\f"
_URL = re.compile(r"https?://", re.IGNORECASE)


def normalize_path(path: str) -> str:
    """Strip blanks around a path, replace `\\` by `/`, and remove empty components and `.`.

    Keep a leading or trailing slash and `..`, which `leads_outside` detects.
    """
    path = path.strip(BLANK).replace("\\", "/")
    first, *between = path.split("/")
    if not between or not first:
        return path
    last = between.pop()
    return "/".join(step for step in (first, *filter(None, between), last) if step != ".")


def is_url(path: str) -> bool:
    """Return whether a record states a URL in place of an image's path."""
    return _URL.match(path.lstrip(BLANK)) is not None


def add_prefix(prefix: str, path: str) -> str:
    """Return an image's path with the prefix of its source; a URL stays as it is."""
    return prefix + path if prefix and not is_url(path) else path


def leads_outside(path: str) -> bool:
    """Return whether an image's path is empty, absolute, or contains `..`."""
    steps = path.replace("\\", "/").split("/")
    # An empty component: an empty path, a slash at either end, or, after a prefix, two slashes.
    outside = "" in steps or ".." in steps or "\0" in path
    return outside or (len(steps[0]) == 2 and steps[0][1] == ":")
