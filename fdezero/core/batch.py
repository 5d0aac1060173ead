"""Batching: the same operations run once for a whole batch of values.

One rule serves all operations, because their parameters name trailing axes only. The batch axis stands in front, axes of length 1
are put behind it until the loop axes line up, and the same operation runs. A matrix product says how one product serves the batch.
"""

from typing import Any, NoReturn

from ..errors import TraceError
from ..messages import describe
from ..values import shape_of
from .tracer import Level, Tracer


class BatchTracer(Tracer):
    """A batch of values. The batch axis of `value` is in front."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.value.shape
        return shape[1:]

    def __bool__(self) -> bool:
        self._refuse_number("the truth (if, while, and, or, not)")

    def _refuse_number(self, what: str) -> NoReturn:
        raise TraceError(
            f"{what} of a value {describe(self)} traced by {self.level.name}: the value stands for a whole batch, so it differs from "
            "example to example. Use fd.numpy.where(condition, a, b) or fd.cond, or do this outside vmap, with its results."
        )


class Batch(Level):
    """The level of `vmap`."""

    shows_values = False
    __slots__ = ("axis_name", "size")

    def __init__(self, name: str, size: int, axis_name: str | None = None) -> None:
        super().__init__(name)
        self.size = size
        self.axis_name = axis_name  # by which `pmean` finds the axis

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        shapes = [shape_of(arg) for arg in args]
        loops = [len(s) - core for s, core in zip(shapes, primitive.core_axes(args, params), strict=True)]
        most = max(loops)
        values = []
        for arg, shape, loop in zip(args, shapes, loops, strict=True):
            if arg.__class__ is BatchTracer and arg.level is self:
                value = arg.value
                if loop < most:
                    value = value.reshape((self.size,) + (1,) * (most - loop) + shape)
                values.append(value)
            else:
                values.append(arg)
        operation = primitive if primitive.batched is None else primitive.batched
        return BatchTracer(self, operation(*values, **params))

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        run = region.batched(self.size, tuple(map(self.owns, leaves)))
        return tuple([BatchTracer(self, y) for y in run(*map(self.below, leaves))])
