"""Look up many values at once in a sorted array."""

from typing import Any

import numpy as np
import numpy.typing as npt


def find_sorted(ascending: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the first place of each value in the ascending array, or -1 where it is absent."""
    if not len(ascending):
        return np.full(len(values), -1)
    places = np.searchsorted(ascending, values)
    places[places == len(ascending)] = 0
    places[ascending[places] != values] = -1
    return places
