"""L-BFGS with a line search for the strong Wolfe conditions, for losses of all data at once."""

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import attrs
import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...errors import DTypeError, RangeError, StructureError
from ...messages import describe
from ...numpy.elementwise import cast
from ...numpy.precision import widened
from ...transforms import value_and_grad
from ...transforms.arguments import name_of
from ...tree import Module
from ...values import dtype_of
from ..leaves import applied, leafwise, side_by_side, times, times_all, zeros_of
from ..settings import Number, number, text_of
from .line_search import Point, searched

__all__ = ["lbfgs"]

Params = TypeVar("Params")
State = dict[str, Any]

CURVED = 1e-10  # the least cosine between a move and the change of the gradient for a pair that is remembered
ONE = np.float64(1)  # times an array without axes, it gives a number: so a compiled step is recorded once
ENTRIES = ("step", "value", "gradient", "moves", "changes", "inverse", "scale", "evaluations")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, number))
class _Settings(Module):
    """Base that lets type checkers know the fields."""


class lbfgs(_Settings):
    """L-BFGS for a loss of all data: `params, state = opt.step(loss, params, state)`, also within `fd.compile`.

    A step goes along the quasi-Newton direction of the last `memory_size` moves, to a point that meets the strong Wolfe conditions
    with `c1` and `c2`. The first trial is `lr` times that direction. The loss must stay the same from step to step, because the
    state keeps its `value` and `gradient`; after a change start anew with `opt.init(params)`. If `max_evaluations` find no lower
    value, the params stay, and the next step begins with the gradient alone.

    The state has the number of steps, `moves` and `changes` of the gradient with an axis of `memory_size` in front, and the number of
    `evaluations` so far. Source: Nocedal, Mathematics of Computation 35 (1980) 773.
    """

    lr: Number = number(default=1.0, above=0)
    memory_size: int = number(default=10, least=1, whole=True, fixed=True)
    c1: Number = number(default=1e-4, above=0, below=1)
    c2: Number = number(default=0.9, above=0, below=1)
    max_evaluations: Number = number(default=20, least=1, whole=True)

    def __attrs_post_init__(self) -> None:
        numbers = [c for c in (self.c1, self.c2) if isinstance(c, float | int)]
        if numbers != sorted(numbers):
            raise RangeError(f"lbfgs: c1 is smaller than c2; got c1={self.c1!r} and c2={self.c2!r}.")

    def __repr__(self) -> str:
        return text_of(self)

    def init(self, params: Any) -> State:
        """The state before the first step. Raises DTypeError for params without a floating leaf."""
        zeros = trees.map(zeros_of, trees.trainable(params))
        leaves = trees.leaves(zeros)
        if not leaves:
            raise DTypeError("lbfgs: the params have no floating leaf, so there is nothing to minimise over.")
        rows = lambda: trees.map(lambda z: fnp.stack([z] * self.memory_size), zeros)
        inverse = fnp.zeros_like(fnp.real(leaves[0]), shape=(self.memory_size,), dtype=np.float64)
        numbers = {"value": np.float64(np.nan), "scale": np.float64(1), "evaluations": np.int64(0)}
        return {
            "step": np.int64(0),
            "gradient": zeros,
            "moves": rows(),
            "changes": rows(),
            "inverse": inverse,
            **numbers,
        }

    def step(self, loss: Callable[[Params], Any], params: Params, state: State) -> tuple[Params, State]:
        """The params and the state after one search. `loss(params)` is a scalar, or a pair (value, gradient) of your own.

        Raises StructureError for a state of other params, ShapeError for a loss that is not a scalar.
        """
        from ...control.cond import cond  # imported here because it loads the compiler

        name_of("lbfgs.step", loss)  # which raises for what is no function
        leaves, _, treedef = side_by_side(params, self._checked(state, params), "grads")
        evaluate = lambda p: _evaluated(loss, p)
        value, gradient = cond(
            state["step"] == 0,
            lambda p, value, gradient: evaluate(p),
            lambda p, value, gradient: (value, gradient),
            params,
            state["value"],
            state["gradient"],
        )
        direction = times_all(_newton(gradient, state), -1.0)
        slope = _dot(gradient, direction)
        is_downhill = slope < 0
        direction = trees.map(lambda d, g: fnp.where(is_downhill, d, -g), direction, gradient)
        length = _dot(gradient, gradient)
        slope = fnp.where(is_downhill, slope, -length)
        # Without a memory the direction has the units of the gradient.
        size = fnp.sqrt(length)
        is_new = fnp.max(state["inverse"]) == 0
        first = self.lr * fnp.where(is_new & (size > 1), 1 / fnp.where(size > 1, size, 1.0), 1.0)

        def at(step: Any) -> Any:
            return applied(params, leaves, treedef, trees.map(lambda d: times(d, step), direction))

        def along(step: Any) -> tuple[Any, Any, Any]:
            value, gradient = evaluate(at(step))
            return value, _dot(gradient, direction), gradient

        start = Point(fnp.zeros_like(slope) * ONE, value, slope)  # on the device of the params
        found, after, count = searched(
            along, start, gradient, first, self.c1, self.c2, self.max_evaluations, _rounding(gradient)
        )
        moved = at(found.step)
        return moved, {
            "step": state["step"] + 1,
            "value": found.value * ONE,
            "gradient": after,
            **self._remembered(state, _difference(moved, params), _difference(after, gradient)),
            "evaluations": state["evaluations"] + count + (state["step"] == 0),
        }

    def _checked(self, state: State, params: Any) -> Any:
        """Gradients as the state holds them, in the dtypes of the params. Raises StructureError for another state."""
        if not isinstance(state, dict) or state.keys() != set(ENTRIES):
            got = ", ".join(map(str, state)) if isinstance(state, dict) else describe(state)
            raise StructureError(
                f"lbfgs got the state of another optimiser, or no state: it has {got or 'nothing'}, but lbfgs keeps {', '.join(ENTRIES)}. "
                "Pass the state from its own init(params), or from its last step."
            )
        rows = trees.leaves(state["inverse"])[0].shape
        if rows != (self.memory_size,):
            raise StructureError(
                f"lbfgs: the state remembers {rows[0]} moves, memory_size is {self.memory_size}. Start with opt.init(params)."
            )
        like = trees.trainable(params)
        return leafwise(
            lambda p, g: cast(g, p.dtype) if hasattr(p, "dtype") else g,
            like,
            state["gradient"],
            names=("the state's gradient",),
        )

    def _remembered(self, state: State, move: Any, change: Any) -> State:
        """The memory with one pair more, if the loss is curved between its ends; without any if the params did not move."""
        product, square, length = _dot(move, change), _dot(change, change), _dot(move, move)
        is_curved = product > CURVED * fnp.sqrt(square * length)
        has_moved = length > 0

        def pushed(rows: Any, row: Any) -> Any:
            return fnp.where(is_curved, fnp.concatenate([rows[1:], fnp.asarray(row)[None]]), rows)

        inverse = pushed(state["inverse"], 1 / fnp.where(is_curved, product, 1.0) + 0 * state["inverse"][0])
        scale = fnp.where(is_curved, product / fnp.where(is_curved, square, 1.0), state["scale"])
        return {
            "moves": trees.map(pushed, state["moves"], move),
            "changes": trees.map(pushed, state["changes"], change),
            "inverse": fnp.where(has_moved, inverse, 0.0),
            "scale": fnp.where(has_moved, scale, 1.0) * ONE,
        }


def _evaluated(loss: Callable[[Any], Any], params: Any) -> tuple[Any, Any]:
    """The value, float64, and the gradient, float32 for float16 params."""
    found = loss(params)
    if not isinstance(found, tuple):
        found = value_and_grad(loss)(params)
    if len(found) != 2:
        raise StructureError(f"lbfgs: the loss returns a scalar or (value, gradient), got a tuple of {len(found)}.")
    value, gradient = found
    side_by_side(params, gradient, "grads")
    return cast(value, np.float64) * ONE, trees.map(widened, trees.trainable(gradient))


def _newton(gradient: Any, state: State) -> Any:
    """The product of the inverse Hessian's estimate and a gradient. A pair that is not there yet has the inverse 0."""
    from ...control.scan import scan  # imported here because it loads the compiler

    rows = state["moves"], state["changes"], state["inverse"]

    def back(q: Any, row: Any) -> Any:
        move, change, inverse = row
        weight = inverse * _dot(move, q)
        return trees.map(lambda q, y: q - times(y, weight), q, change), weight

    def forth(r: Any, row: Any) -> Any:
        (move, change, inverse), weight = row
        rest = weight - inverse * _dot(change, r)
        return trees.map(lambda r, s: r + times(s, rest), r, move), ()

    q, weights = scan(back, gradient, rows, reverse=True)
    return scan(forth, times_all(q, state["scale"]), (rows, weights))[0]


def _rounding(gradient: Any) -> float:
    """The size of rounding in values of a loss, relative to the value: that of the narrowest leaf."""
    widths = [dtype_of(leaf) for leaf in trees.leaves(gradient)]
    return 10 * max(float(np.finfo(dtype).eps) for dtype in widths)


def _difference(a: Any, b: Any) -> Any:
    """a - b of floating leaves; float32 for float16."""
    return trees.map(lambda x, y: widened(x) - widened(y), trees.trainable(a), trees.trainable(b))


def _dot(a: Any, b: Any) -> Any:
    """The real inner product of two trees, float64."""
    total: Any = np.float64(0)
    for x, y in zip(trees.leaves(a), trees.leaves(b), strict=True):
        product = fnp.real(fnp.conj(x) * y) if fnp.iscomplexobj(x) else x * y
        total = total + cast(fnp.sum(product), np.float64)
    return total
