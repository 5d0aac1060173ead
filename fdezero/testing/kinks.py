"""Kinks, the points without a derivative: the user declares them, or one-sided differences reveal them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import tree as trees
from ..devices import to_numpy
from .comparison import entry
from .differences import TOLERANCE, Line, axes_of, numbers

Kinks: TypeAlias = Callable[..., Any] | Sequence[float] | None
NEAR = 1e-6  # A point closer than this to a declared kink counts as the kink.


def declared(kinks: Kinks, args: tuple[Any, ...]) -> str:
    """The reason why `args` are at a declared kink; empty if they are not.

    `kinks` may be a function of the arguments: a predicate, true anywhere in its result at a kink, or the distance to the nearest
    kink. It may also be a list of points; an entry of a floating argument at one of them is at a kink.
    """
    if kinks is None:
        return ""
    if callable(kinks):
        for leaf in trees.leaves(to_numpy(kinks(*args))):
            found = np.asarray(leaf)
            if np.any(found if found.dtype.kind == "b" else np.abs(found) <= NEAR):
                return "declared by kinks"
        return ""
    for path, leaf in trees.flatten_with_path(trees.trainable(args)):
        for point in kinks:
            if np.any(np.abs(numbers(leaf)[0] - point) <= NEAR * (1 + abs(point))):
                return f"declared by kinks: {path} has an entry {point}"
    return ""


def suspected(line: Line) -> bool:
    """Whether the one-sided slopes look like those at a kink; central differences need these values anyway."""
    h = line.step
    if not line.is_finite(0.0, h, h / 2, -h / 2, -h):
        return True
    far, near = _jumps(line, h), _jumps(line, h / 2)
    return any(((b > 0.75 * a) & (b > _noise(line, k))).any() for k, (a, b) in enumerate(zip(far, near, strict=True)))


def detected(line: Line) -> str:
    """The evidence that the middle of `line` is a kink, from two steps far apart in size; empty if there is none.

    At a smooth point the slopes on the two sides approach each other as the step shrinks. At a kink or a jump they stay apart.
    At a vertical tangent they grow, and at the edge of a domain one side does not have a slope.
    """
    far = line.step / 4
    near = far / (500 if line.name == "float64" else 8)
    if not line.is_finite(0.0):
        return "its value is not finite"
    if not line.is_finite(near) or not line.is_finite(-near):
        return "it is defined on one side only"
    if not line.is_finite(far) or not line.is_finite(-far):
        far = near * 4
        if not line.is_finite(far) or not line.is_finite(-far):
            return "it is defined on one side only"  # Even the smallest differences do not exist on both sides.
    slopes = zip(_jumps(line, far), _jumps(line, near), line.slopes(far), line.slopes(near), strict=True)
    for k, (coarse, fine, slow, steep) in enumerate(slopes):
        noise = _noise(line, k)
        apart = (fine > noise * (1 + np.abs(steep))) & (fine > 0.2 * coarse)
        if apart.any():
            at = np.unravel_index(int(np.where(apart, fine, -1.0).argmax()), fine.shape)
            ahead = ((line(near)[k] - line(0.0)[k]) / near)[at]
            behind = ((line(0.0)[k] - line(-near)[k]) / near)[at]
            return f"its slopes on the two sides are {behind:.4g} and {ahead:.4g}{_of_entry(line, k, at)}"
        upright = (np.abs(steep) > 10 * (1 + np.abs(slow))) & (np.abs(steep) > noise)
        if upright.any():
            at = np.unravel_index(int(np.where(upright, np.abs(steep), -1.0).argmax()), fine.shape)
            return f"its slope grows without bound, from {slow[at]:.4g} to {steep[at]:.4g}{_of_entry(line, k, at)}"
    return ""


def located(line: Line) -> str:
    """The kink along a single entry of the arguments, if there is one; it explains more than a kink along a random direction."""
    for path, index, value, basis in axes_of(line.args):
        if reason := detected(Line(line.function, line.args, basis, line.step, line.limit)):
            return f"along {path}{entry(index)}, which is {value:.6g}, {reason}"
    return ""


def _of_entry(line: Line, leaf: int, at: tuple[Any, ...]) -> str:
    where = f"leaf {leaf} of the output" if len(line(0.0)) > 1 else "the output"
    return f" at {where}{entry(tuple(map(int, at)))}" if at or len(line(0.0)) > 1 else ""


def _jumps(line: Line, h: float) -> list[np.ndarray]:
    """The difference between the slopes ahead and behind, entry by entry."""
    with np.errstate(all="ignore"):
        return [np.abs(a - 2 * x + b) / h for a, x, b in zip(line(h), line(0.0), line(-h), strict=True)]


def _noise(line: Line, leaf: int) -> float:
    return float(TOLERANCE[line.name] * (1 + np.abs(line(0.0)[leaf]).max(initial=0.0)))
