"""An image's path as a record spells it: its normal form, and whether it may be used at all."""

# Not str.isspace: a no-break space may belong to a file's name.
BLANK = " \t\n\r\v\f"


def normal_path(path: str) -> str:
    """The path without blanks around it, with `/` for `\\`, without empty steps and steps `.`.

    What is absolute, empty or ends in a slash stays so, and `..` stays: see `leads_outside`.
    """
    path = path.strip(BLANK).replace("\\", "/")
    first, *between = path.split("/")
    if not between or not first:
        return path
    last = between.pop()
    return "/".join(step for step in (first, *filter(None, between), last) if step != ".")


def leads_outside(path: str) -> bool:
    """Whether an image's path is empty, absolute, or climbs."""
    steps = path.replace("\\", "/").split("/")
    # An empty step: nothing at all, or a slash at either end; behind a prefix two in the middle.
    outside = "" in steps or ".." in steps or "\0" in path
    return outside or (len(steps[0]) == 2 and steps[0][1] == ":")
