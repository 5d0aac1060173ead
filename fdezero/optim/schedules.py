"""Schedules: frozen functions `rate = schedule(step)` of the number of steps so far, which also take traced steps.

A rate counts from step 0 on. Rates after the last step of a schedule stay as they are. Every setting is data: a compiled
step that gets a schedule as an argument serves all settings with one recording.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, dataclass_transform

import attrs
import numpy as np

from .. import numpy as fnp
from ..core import Tracer
from ..errors import RangeError, StructureError
from ..tree import static
from .leaves import weak
from .settings import Number, Rate, Settings, checked_rate, number, rate

__all__ = [
    "Schedule", "constant", "cosine", "cosine_restarts", "exponential", "inverse_sqrt", "join", "linear", "one_cycle", "piecewise",
    "polynomial", "step", "warmup",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


Step: TypeAlias = Any  # int | Array, of no axes


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, number, rate))
class Schedule(Settings):
    """Base of schedules. Any function of the step is a schedule; a subclass also has settings, a text, and pickles."""

    def __call__(self, step: Step) -> Any:
        """The rate of a step, which is a number of steps so far."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(step).")


class constant(Schedule):
    """The same rate at each step."""

    value: Number = number()

    def __call__(self, step: Step) -> Any:
        """The value."""
        return self.value


class polynomial(Schedule):
    """From `start` to `end` in `steps` steps: end + (start - end) * (1 - step / steps)**power."""

    start: Number = number()
    end: Number = number()
    steps: Number = number(least=1)
    power: Number = number(default=1.0, least=0)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        return self.end + (self.start - self.end) * (1 - _share(step, self.steps)) ** self.power


class linear(Schedule):
    """From `start` to `end` in `steps` steps, along a line."""

    start: Number = number()
    end: Number = number()
    steps: Number = number(least=1)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        return self.start + (self.end - self.start) * _share(step, self.steps)


class step(Schedule):
    """`start`, times `factor` after every so many steps: PyTorch's StepLR."""

    start: Number = number()
    every: Number = number(least=1)
    factor: Number = number(default=0.1, least=0)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        return self.start * self.factor ** (step // self.every)


class exponential(Schedule):
    """start * factor**(step / every), but not beyond `end` if that is given."""

    start: Number = number()
    factor: Number = number(least=0)
    every: Number = number(default=1, least=1)
    end: Number | None = number(default=None, optional=True)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        rate = self.start * self.factor ** (step / self.every)
        if self.end is None:
            return rate
        return _chosen(self.start > self.end, fnp.maximum(rate, self.end), fnp.minimum(rate, self.end))


class cosine(Schedule):
    """From `start` to `end` in `steps` steps, along half a cosine."""

    start: Number = number()
    steps: Number = number(least=1)
    end: Number = number(default=0.0)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        return _half_wave(self.start, self.end, _share(step, self.steps))


class cosine_restarts(Schedule):
    """Cosines that begin anew. A cycle is `longer` times as long as the one before, and its start is `factor` times as high.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """

    start: Number = number()
    steps: Number = number(least=1)
    end: Number = number(default=0.0)
    longer: int = number(default=1, least=1, whole=True, fixed=True)
    factor: Number = number(default=1.0, least=0)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        m, first = self.longer, self.steps
        if m == 1:
            cycle, place, length = step // first, step % first, first
        else:
            # The logarithm may be off by one at the ends of cycles, so it is compared with them.
            cycle = fnp.floor(fnp.log(1 + step * (m - 1) / first) / math.log(m))
            cycle = fnp.where(step < _begin(cycle, first, m), cycle - 1, cycle)
            cycle = fnp.where(step >= _begin(cycle + 1, first, m), cycle + 1, cycle)
            place, length = step - _begin(cycle, first, m), first * m**cycle
        return _half_wave(self.start * self.factor**cycle, self.end, place / length)


def _begin(cycle: Any, first: Any, m: int) -> Any:
    """The step at which a cycle begins, if each is m times as long as the one before."""
    return first * (m**cycle - 1) / (m - 1)


class inverse_sqrt(Schedule):
    """A linear rise to `peak` in `warmup` steps, then peak * sqrt(warmup / step); steps count from 1 here.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 5.3.
    """

    peak: Number = number()
    warmup: Number = number(least=1)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        return self.peak * fnp.minimum((step + 1) / self.warmup, fnp.sqrt(self.warmup / (step + 1)))


class one_cycle(Schedule):
    """Up from peak / divide to `peak` in the share `rise` of all steps, then down to peak / divide / divide_end; both along cosines.

    PyTorch's OneCycleLR. Source: Smith and Topin, "Super-Convergence", 2017.
    """

    peak: Number = number()
    steps: Number = number(least=2)
    rise: Number = number(default=0.3, least=0, most=1)
    divide: Number = number(default=25.0, above=0)
    divide_end: Number = number(default=1e4, above=0)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        start, top, last = self.peak / self.divide, self.rise * self.steps - 1, self.steps - 1
        up = _half_wave(start, self.peak, fnp.clip(step / _chosen(top > 0, top, 1), 0, 1))
        down = _half_wave(
            self.peak, start / self.divide_end, fnp.clip((step - top) / _chosen(last > top, last - top, 1), 0, 1)
        )
        return fnp.where(step <= top, up, down)


class warmup(Schedule):
    """From `start` to the first rate of `then` in `steps` steps, along a line; then the rates of `then`, a number or a schedule.

    `warmup(500, cosine(0.1, 10_000))` takes 10,500 steps.
    """

    steps: Number = number(least=0)
    then: Rate = rate()
    start: Number = number(default=0.0)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.steps, float) and 0 < self.steps < 1:
            raise RangeError(f"warmup: steps is a number of steps, got {self.steps}. The order is warmup(steps, then).")

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        peak, after = _number(_at(self.then, 0)), _at(self.then, fnp.maximum(step - self.steps, 0))
        rising = self.start + (peak - self.start) * step / _chosen(self.steps > 0, self.steps, 1)
        return fnp.where(step < self.steps, rising, after)


def _boundaries(values: Any) -> tuple[int, ...]:
    found = tuple(values)
    if any(isinstance(b, bool) or not isinstance(b, int | np.integer) for b in found) or any(
        b <= a for a, b in zip((-1, *found), found, strict=False)
    ):
        raise RangeError(f"boundaries are numbers of steps that grow, such as (1000, 2000); got {found}.")
    return tuple(map(int, found))


class join(Schedule):
    """Schedules one after the other: each takes over at its boundary, and counts its steps from there.

    `join([linear(0, 0.1, 500), cosine(0.1, 5000)], [500])` has one boundary between two schedules.
    """

    schedules: Sequence[Rate] = attrs.field(converter=tuple)
    boundaries: Sequence[int] = static(converter=_boundaries)

    def __attrs_post_init__(self) -> None:
        if len(self.boundaries) != len(self.schedules) - 1:
            raise StructureError(
                f"join: {len(self.schedules)} schedules have {max(len(self.schedules) - 1, 0)} boundaries between them; "
                f"got {len(self.boundaries)}."
            )
        for schedule in self.schedules:
            checked_rate(schedule, "join: a part")

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        rate = _at(self.schedules[0], step)
        for schedule, boundary in zip(self.schedules[1:], self.boundaries, strict=True):
            rate = fnp.where(step < boundary, rate, _at(schedule, fnp.maximum(step - boundary, 0)))
        return rate


class piecewise(Schedule):
    """A constant rate from each boundary on: `piecewise({0: 0.1, 1000: 0.01, 2000: 0.001})`."""

    rates: Mapping[int, Number]

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.rates, Mapping) or 0 not in self.rates:
            raise StructureError(
                f"piecewise: say the rate from each step on, and begin with step 0: {{0: 0.1, 1000: 0.01}}; got {self.rates!r}."
            )
        _boundaries(self.rates)
        for boundary, value in self.rates.items():
            checked_rate(value, f"piecewise: the rate from step {boundary} on", schedules=False)

    def __call__(self, step: Step) -> Any:
        """The rate of a step."""
        rate: Any = None
        for boundary, value in sorted(self.rates.items()):
            rate = value if rate is None else fnp.where(step < boundary, rate, value)
        return rate


def _share(step: Step, steps: Any) -> Any:
    """The share of the steps that are done, at most 1."""
    return fnp.minimum(step / steps, 1.0)


def _half_wave(start: Any, end: Any, share: Any) -> Any:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (0.5 + 0.5 * fnp.cos(np.pi * share))


def _chosen(condition: Any, yes: Any, no: Any) -> Any:
    """One of two numbers, by a condition that does not depend on the step."""
    if isinstance(condition, bool | np.bool_):
        return yes if condition else no
    return _number(fnp.where(_number(condition), yes, no))


def _number(value: Any) -> Any:
    """A value without axes as a number: unlike an array, it goes together with a step on a GPU."""
    return weak(value) if not isinstance(value, Tracer) else value[()]


def _at(schedule: Rate, step: Step) -> Any:
    """The rate of a step, by a schedule or a constant."""
    return schedule(step) if callable(schedule) else schedule
