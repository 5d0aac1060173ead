"""Operations over the batch axis of a `vmap` that has a name: `pmean` and `psum`."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import numpy as fnp
from .. import tree as trees
from ..core import Region, Tracer
from ..core.batch import Batch
from ..core.tracer import tracers_of
from ..errors import TraceError
from ..messages import describe


class _Mean(Region):
    """The mean over the batch axis of one `vmap`: linear, and its own adjoint. What all examples share is its own mean."""

    name = "pmean"
    fresh = True

    def __init__(self, level: Batch) -> None:
        self.level = level

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        (x,) = leaves
        if (
            isinstance(x, Tracer) and x.level is self.level
        ):  # the batch is the array below, and its mean is no batch any more
            average = (
                fnp.mean if self.level.size else fnp.sum
            )  # 0 over no examples, as the losses of a rank without any
            return (average(self.level.below(x), axis=0),)
        return super().__call__(x) if any(tracer.level is self.level for tracer in tracers_of(x)) else (x,)

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return self(*leaves)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        return self(*leaves), ()

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        return self(*cotangents)

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return self(*leaves), self(*tangents)

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        return self


def pmean(tree: Any, axis_name: str) -> Any:
    """The mean of every leaf over the examples of the `fd.vmap` that has this `axis_name`: (...) -> (...), the same for all examples.

    So an example sees its batch: `x - fd.pmean(x, "batch")`. The result has no batch axis: `out_axes` may be None for it. A gradient
    within the `vmap` is that of the sum over all examples, as in JAX.

    Raises TraceError for a leaf that is not mapped under this name. A value that all examples share is its own mean. Over no examples
    the mean is 0.
    """
    return trees.map(lambda x: _Mean(_level_of(x, axis_name, "pmean"))(x)[0], tree)


def psum(tree: Any, axis_name: str) -> Any:
    """The sum of every leaf over the examples of the `fd.vmap` that has this `axis_name`. Everything else is as in `pmean`."""

    def total(x: Any) -> Any:
        level = _level_of(x, axis_name, "psum")
        return _Mean(level)(x)[0] * level.size

    return trees.map(total, tree)


def axis_size(x: Any, axis_name: str) -> int:
    """How many examples the `fd.vmap` with this `axis_name` maps `x` over. Raises TraceError as `pmean` does."""
    return _level_of(x, axis_name, "axis_size").size


def _level_of(x: Any, axis_name: str, function: str) -> Batch:
    levels = [tracer.level for tracer in tracers_of(x)]
    for level in levels:
        if isinstance(level, Batch) and level.axis_name == axis_name:
            return level
    _refuse(x, axis_name, function, levels)


def _refuse(x: Any, axis_name: str, function: str, levels: Sequence[Any]) -> NoReturn:
    known = [repr(level.axis_name) for level in levels if isinstance(level, Batch) and level.axis_name is not None]
    recorded = next((level.name for level in levels if hasattr(level, "instructions")), None)
    hint = f'Name the axis: fd.vmap(f, axis_name="{axis_name}").'
    if recorded:
        hint = f"{recorded} is recorded for one example, so names of a vmap around it do not reach it: put fd.vmap inside it."
    elif known:
        hint = f"It is mapped over {', '.join(known)}."
    raise TraceError(
        f"{function} over {axis_name!r}: the value {describe(x)} is not mapped over an axis of this name. {hint}"
    )
