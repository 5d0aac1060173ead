"""Floating numbers that depend on the size of a batch, such as those of means and of variances: 1 / n, n / (n - 1)."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

FORMS = [(over, inverse) for inverse in (False, True) for over in (True, False)]


@attrs.frozen(eq=False)
class Share:
    """`more + per * n` for the size n of the batch, or with `over` `more + per / n`; with `inverse` one over that."""

    more: np.ndarray
    per: np.ndarray
    over: bool
    inverse: bool
    dtype: Any

    def at(self, n: int) -> np.ndarray:
        """The numbers for a batch."""
        y = self.more + (self.per / n if self.over else self.per * n)
        return 1 / y if self.inverse else y


def share_of(values: Sequence[Any], batches: Sequence[int]) -> Share | None:
    """What these numbers, one for each size of the batch, have in common; None if nothing is known. Simple forms come first."""
    dtype = np.asarray(values[0]).dtype
    if dtype.kind != "f":
        return None
    arrays = [np.asarray(value, float) for value in values]
    with np.errstate(all="ignore"):
        for alone in (True, False):
            for over, inverse in FORMS:
                found = _fitted(arrays, batches, over, inverse, alone, dtype)
                again = [found.at(batch) for batch in batches]
                precision = 8 * float(np.finfo(dtype).eps)
                if all(np.allclose(x, y, rtol=precision, atol=0) for x, y in zip(arrays, again, strict=True)):
                    return found
    return None


def _fitted(
    arrays: Sequence[np.ndarray], batches: Sequence[int], over: bool, inverse: bool, alone: bool, dtype: Any
) -> Share:
    """The form through the first numbers: through one if the batch stands `alone`, otherwise through two."""
    a, b = (1 / n if over else float(n) for n in batches[:2])
    first, second = (1 / x if inverse else x for x in arrays[:2])
    per = first / a if alone else (second - first) / (b - a)
    return Share(np.zeros_like(first) if alone else first - per * a, per, over, inverse, dtype)
