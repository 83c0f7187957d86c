"""The images of Samples as path hashes: any number of images for each Sample."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.fingerprint_cache import HashKeys, hash_image_paths

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


class SampleImages(NamedTuple):
    """Path hashes of Samples' images: Sample n has `keys[bounds[n] : bounds[n + 1]]`."""

    keys: HashKeys
    bounds: npt.NDArray[np.int32]

    @property
    def counts(self) -> npt.NDArray[np.int32]:
        """The number of images of each Sample."""
        counts: npt.NDArray[np.int32] = np.diff(self.bounds)
        return counts

    def take(self, rows: npt.NDArray[np.int32]) -> "SampleImages":
        """Return the images of some Samples, in the order of `rows`."""
        counts = self.counts[rows]
        ends = np.cumsum(counts)
        shifts = np.repeat(self.bounds[rows] - (ends - counts), counts)
        return join_images(self.keys[np.arange(len(shifts)) + shifts], counts)

    def between(self, here: slice) -> "SampleImages":
        """Return the images of a range of Samples."""
        bounds = self.bounds[here.start : here.stop + 1]
        return SampleImages(self.keys[bounds[0] : bounds[-1]], bounds - bounds[0])

    def single_keys(self) -> HashKeys:
        """Return one key for each Sample of one image at most, 0 for text without an image."""
        keys = np.zeros(len(self.bounds) - 1, np.uint64)
        keys[self.counts > 0] = self.keys
        return keys

    def excuse_own(self, passing: Mask, duplicate_of: HashKeys) -> Mask:
        """Return `passing`, true also for a near-duplicate of an image of the same Sample.

        Frames of one film, or two images to compare, are one Sample because they are alike.
        `duplicate_of` has for each image the path hash of the kept image that it resembles, else 0.
        """
        excused = passing.copy()
        has_others = np.repeat(self.counts > 1, self.counts)
        for place in np.flatnonzero(~passing & has_others & (duplicate_of != 0)).tolist():
            sample = int(np.searchsorted(self.bounds, place, side="right")) - 1
            own = self.keys[self.bounds[sample] : self.bounds[sample + 1]]
            excused[place] = duplicate_of[place] in own
        return excused

    def all_pass(self, passing: Mask) -> Mask:
        """Return for each Sample whether all its images pass; `passing` has one entry an image."""
        failed = np.append(0, np.cumsum(~passing))
        passed: Mask = failed[self.bounds[1:]] == failed[self.bounds[:-1]]
        return passed

    def first_failing(self, passing: Mask) -> Places:
        """Return for each Sample the place in `keys` of its first image that does not pass.

        Each of the Samples must have one.
        """
        failing = np.flatnonzero(~passing)
        places: Places = failing[np.searchsorted(failing, self.bounds[:-1])]
        return places


def hash_images(images: Sequence[Sequence[str]]) -> SampleImages:
    """Return the images of Samples, given their paths."""
    counts = np.fromiter(map(len, images), np.int32, len(images))
    return join_images(hash_image_paths([*chain.from_iterable(images)]), counts)


def join_images(keys: HashKeys, counts: npt.NDArray[np.int32]) -> SampleImages:
    """Return the images of Samples, given their path hashes and the number of each Sample."""
    return SampleImages(keys, np.append(0, np.cumsum(counts)).astype(np.int32))
