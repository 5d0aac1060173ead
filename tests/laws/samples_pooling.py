"""Samples of the operations of pooling and normalisation, for `samples.py`."""

from typing import Any

import numpy as np

import fdezero.functions  # noqa: F401, which declares them

LINE = ((3, 3, 2, 1, 1),)  # windows of 3 that overlap, over 6 entries, the first with one entry of padding
IMAGE = ((2, 2, 3, 0, 1), (3, 2, 1, 1, 2))  # over (5, 4): rows apart with a row between, columns that overlap
FEW = ((1, 4, 1, 0, 1), (2, 3, 2, 1, 1))  # over (4, 4): fewer windows than entries of a window


def add(sample: Any, between: Any, normal: Any) -> None:
    for windows, lengths in ((LINE, (6,)), (IMAGE, (5, 4)), (FEW, (4, 4))):
        sizes = tuple(window[0] for window in windows)
        x = between(-2, 2, 2, *lengths)
        sample("greatest", x, windows=windows)
        sample("summed", x, windows=windows)
        sample("spread", normal(2, *sizes), windows=windows, shape=lengths)
        index = np.array([3, 1, 2, 1, 2, 3, 1, 1, 2, 1, 2, 1])[: 2 * int(np.prod(sizes))].reshape(2, *sizes) if windows is IMAGE else np.ones((2, *sizes), int)
        sample("placed_at", normal(2, *sizes), index, windows=windows, shape=lengths)
        sample("chosen_of", normal(2, *lengths), index, windows=windows)
        sample("first_greatest", between(-2, 2, *lengths).round(), between(-2, 2, *sizes).round(), windows=windows)
    x, t, line = normal(2, 3, 4), normal(2, 3, 4), (2, 1, 4)
    sample("moments", x, axes=(-2,), centred=True)
    sample("moments", x, axes=(-3, -1), centred=True)
    sample("moments", x, axes=(-1,), centred=False)
    sample("sums", t, x, normal(*line), normal(*line), normal(*line), normal(1, 3, 4), axes=(-2,))
    sample("sums", t, x, normal(*line), normal(*line), normal(*line), normal(1, 3, 4), axes=(-3, -1))
    sample("shifted", x, normal(1, 4), normal(1, 4), normal(3, 1), normal(4), normal(2, 1, 1))
    sample("mixed", t, normal(4), normal(3, 1), x, normal(1, 4), normal(2, 1, 1), normal(4))
