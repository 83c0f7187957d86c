"""A hostile archive and its expected result."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

OWL, JAY = b"owl" * 40, b"jay" * 30
# Of one that is not given: no such member, its bytes are damaged, it is too large; of them all: the
# archive is refused by name.
MISSING, DAMAGED, TOO_LARGE, REFUSED = "missing", "damaged", "too large", "refused"


class Case(NamedTuple):
    """An archive of `owl.png` and, as a rule, `jay.png`, of which the second is the odd one.

    `found`: what reading these two in place gives, bytes or why not. `laid`: what unpacking all of
    it lays, by name; or REFUSED; None where it does not matter.
    """

    make: Callable[[], bytes]
    found: tuple[bytes | str, bytes | str]
    laid: Mapping[str, bytes] | str | None
    file: str = "b.tar"
