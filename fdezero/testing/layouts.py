"""The ways in which the entries of a NumPy array may lie in memory."""

import numpy as np

LAYOUTS = ("C", "F", "reversed", "strided", "readonly")


def lay_out(array: np.ndarray, layout: str) -> np.ndarray:
    """A copy of `array` with another memory layout."""
    if layout == "F":
        return array.copy(order="F")
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "strided" and array.ndim:
        made = np.zeros([2 * n for n in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
        made[...] = array
        return made
    made = array.copy()
    made.flags.writeable = layout != "readonly"
    return made
