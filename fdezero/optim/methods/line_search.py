"""A line search for the strong Wolfe conditions, as one loop with one evaluation in each round.

Source: Nocedal and Wright, "Numerical Optimization", 2006, algorithms 3.5 and 3.6. Where values differ only by rounding, the
approximate conditions of Hager and Zhang, SIAM J. Optim. 16 (2005) 170, take the place of a sufficient decrease.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import numpy as fnp
from ... import tree as trees

__all__: list[str] = []  # for lbfgs

NARROW = 0.1  # of an interval: a new step keeps this distance from both ends
BACK = 0.2  # of an interval, where the far end is not finite
LEAST, MOST = 2.0, 10.0  # times the last step, while steps are too short


class Point(NamedTuple):
    """A step along the line, the value there, and the slope along the line."""

    step: Any
    value: Any
    slope: Any


class _Search(NamedTuple):
    """Between `low`, the best step so far, and `high` lies a step that fits, if `is_bracketed`. `gradient` is that at `low`."""

    trial: Any
    low: Point
    high: Point
    gradient: Any
    is_bracketed: Any
    is_done: Any
    count: Any


def searched(
    evaluate: Callable[[Any], tuple[Any, Any, Any]],
    start: Point,
    gradient: Any,
    first: Any,
    c1: Any,
    c2: Any,
    most: Any,
    rounding: float,
) -> tuple[Point, Any, Any]:
    """The point that fits, the gradient there, and the number of evaluations.

    `evaluate(step)` is (value, slope, gradient). An increase below `rounding` times the value is none. After `most` evaluations the
    point is the best one that was seen, which may be the start.
    """
    from ...control.while_loop import while_loop  # imported here because it loads the compiler

    slack = rounding * abs(start.value)

    def going(s: _Search) -> Any:
        return (s.is_done == False) & (s.count < most)  # noqa: E712, a traced value has no `not`

    def following(s: _Search) -> _Search:
        value, slope, found = evaluate(s.trial)
        is_finite = fnp.isfinite(value) & fnp.isfinite(slope)
        here = Point(s.trial, fnp.where(is_finite, value, start.value), fnp.where(is_finite, slope, 0.0))
        falls = (here.value <= start.value + c1 * here.step * start.slope) & (here.value < s.low.value)
        is_rounding = (here.value <= start.value + slack) & (here.slope <= (2 * c1 - 1) * start.slope)
        fits = is_finite & (falls | is_rounding)
        is_done = fits & (abs(here.slope) <= -c2 * start.slope)
        # Beyond a step that fits and from where the value rises towards the far end, the best step is the new far end.
        away = fnp.where(s.is_bracketed, s.high.step - s.low.step, 1.0)
        turns = fits & (here.slope * away >= 0)
        low = _chosen(fits, here, s.low)
        high = _chosen(fits, _chosen(turns, s.low, s.high), here)
        is_bracketed = s.is_bracketed | turns | (fits == False)  # noqa: E712, as above
        longer = here.step * fnp.clip(_ratio(here.slope, s.low, here), LEAST, MOST)
        inside = fnp.where(is_finite | fits, _between(low, high), low.step + BACK * (high.step - low.step))
        best = trees.map(lambda new, old: fnp.where(fits, new, old), found, s.gradient)
        return _Search(fnp.where(is_bracketed, inside, longer), low, high, best, is_bracketed, is_done, s.count + 1)

    no = start.step != 0
    end = while_loop(going, following, _Search(first, start, start, gradient, no, no, np.int64(0)))
    return end.low, end.gradient, end.count


def _chosen(condition: Any, a: Point, b: Point) -> Point:
    return Point(*[fnp.where(condition, x, y) for x, y in zip(a, b, strict=True)])


def _ratio(slope: Any, low: Point, here: Point) -> Any:
    """The step at which the slope would be 0 if it went on as from `low` to `here`, relative to that of `here`."""
    change = slope - low.slope
    rises = change > 0
    ahead = -slope * (here.step - low.step) / fnp.where(rises, change, 1.0)
    return fnp.where(rises, 1 + ahead / here.step, MOST)


def _between(low: Point, high: Point) -> Any:
    """The minimum of the cubic polynomial through two points and their slopes, or the middle, away from both points."""
    width = high.step - low.step
    is_open = width != 0
    steepness = low.slope + high.slope - 3 * (high.value - low.value) / fnp.where(is_open, width, 1.0)
    square = steepness**2 - low.slope * high.slope
    root = fnp.sign(width) * fnp.sqrt(fnp.maximum(square, 0.0))
    below = high.slope - low.slope + 2 * root
    has_minimum = is_open & (square >= 0) & (below != 0)
    share = 1 - (high.slope + root - steepness) / fnp.where(has_minimum, below, 1.0)
    return low.step + width * fnp.where(has_minimum, fnp.clip(share, NARROW, 1 - NARROW), 0.5)
