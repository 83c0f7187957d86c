"""Decide which images a release may contain: those whose licence allows to pass them on."""

from collections.abc import Collection
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.mixture.mixture_images import ImageOrigin, ImageOrigins

# SPDX identifiers, or beginnings of them, of licences that allow everyone to pass on unaltered
# copies, some of them for non-commercial purposes alone. All other terms count as a refusal.
_ALLOWING = (
    *("CC0-", "CC-BY-", "PDDL-", "ODC-By-", "ODbL-"),
    *("Apache-2.0", "MIT", "BSD-", "GPL-3.0", "AGPL-3.0", "Unlicense"),
)


def allows_sharing(license: str) -> bool:
    """Return whether a licence, as a manifest states it, allows to pass on unaltered images."""
    return license.startswith(_ALLOWING)


class SharingChoice(NamedTuple):
    """Names of collections and sources whose images the user includes or leaves out himself."""

    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()

    @classmethod
    def of(cls, include: Collection[str], exclude: Collection[str]) -> "SharingChoice":
        """Return the choice. Raise UserError if a name is in both."""
        if both := sorted(set(include) & set(exclude)):
            raise UserError(
                "--include", f"{', '.join(both)} is also left out", "name it in one option"
            )
        return cls(frozenset(include), frozenset(exclude))


class SharedImages:
    """Decides for each image whether a release contains it, and counts the decisions by origin.

    Raise UserError if the choice names what no manifest describes: a misspelled name would share
    images that are to be left out.
    """

    def __init__(self, origins: ImageOrigins, choice: SharingChoice) -> None:
        if unknown := sorted((choice.include | choice.exclude) - origins.names()):
            remedy = "name a collection or a source as its manifest does"
            raise UserError(", ".join(unknown), "is no collection of images or source", remedy)
        self._origins, self._choice = origins, choice
        self.counts: dict[ImageOrigin, int] = {}

    def is_shared(self, image: str) -> bool:
        """Return whether the release contains an image; count it."""
        origin = self._origins.find(image) or ImageOrigin("", "not stated")
        self.counts[origin] = self.counts.get(origin, 0) + 1
        return self.shares(origin)

    def shares(self, origin: ImageOrigin) -> bool:
        """Return whether the release contains the images of an origin."""
        if origin.name in self._choice.exclude:
            return False
        return origin.name in self._choice.include or allows_sharing(origin.license)
