"""Adafactor, which remembers a matrix of mean squares as two vectors."""

import math
from functools import cached_property
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...numpy.precision import widened
from ...ops.roots import length, root_of_mean
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of, magnitude, refuse_parts, times, weak, zeros_of
from ..masks import Mask, as_mask
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State
from .adamw import decay

__all__ = ["adafactor", "adafactor_direction"]

LEAST = 1e-15  # of a root that gradients are divided by: the root of the paper's 1e-30


class adafactor_direction(GradientTransformation):
    """The direction of `adafactor`: gradients divided by roots of mean squares, clipped, in proportion to the parameter.

    Leaves of two axes or more keep mean squares of the rows and of the columns of their last two axes; others keep each entry's. The
    direction's root mean square is at most `clip`, times that of the parameter, or `least` if the parameter's is smaller. The mean
    square of step t decays by 1 - t ** -power. The state has the number of steps, and the roots `rows`, `columns` and `root`, float32
    for float16 parameters; where a leaf does not have one of them, it is None.
    """

    power: Number = number(default=0.8, least=0)
    clip: Number = number(default=1.0, least=1e-6)
    least: Number = number(default=1e-3, least=0)

    entries = ("step", "rows", "columns", "root")

    def init(self, params: Any) -> State:
        """Zeros."""
        refuse_parts(self.name, params)
        params = trees.map(fnp.real, trees.trainable(params))
        return {
            "step": np.int64(0),
            "rows": trees.map(lambda p: zeros_of(fnp.sum(p, -1)) if _is_matrix(p) else None, params),
            "columns": trees.map(lambda p: zeros_of(fnp.sum(p, -2)) if _is_matrix(p) else None, params),
            "root": trees.map(lambda p: None if _is_matrix(p) else zeros_of(p), params),
        }

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new roots."""
        step = state["step"] + 1
        fresh = weak(step**-self.power)
        leaves, treedef = trees.flatten(grads, none_is_leaf=True)
        lists = [leaves]
        for name, tree in ("params", trees.trainable(params)), *((name, state[name]) for name in self.entries[1:]):
            found, structure = trees.flatten(tree, none_is_leaf=True)
            if structure != treedef:
                raise trees.structure_error(grads, tree, "grads", name if name == "params" else f"the state's {name}")
            lists.append(found)
        made = [
            (None,) * 4 if g is None else self.leaf(g, p, rows, columns, root, fresh)
            for g, p, rows, columns, root in zip(*lists, strict=True)
        ]
        direction, *roots = (treedef.unflatten(column) for column in zip(*made, strict=True))
        return direction, {"step": step, **dict(zip(self.entries[1:], roots, strict=True))}

    def leaf(self, g: Any, p: Any, rows: Any, columns: Any, root: Any, fresh: Any) -> tuple[Any, Any, Any, Any]:
        """The direction of one leaf, and its new roots."""
        size = fnp.asarray(magnitude(g))
        grown = lambda root, now: root_of_mean(root, now, in_dtype_of(root, 1 - fresh), in_dtype_of(root, fresh))
        if rows is None:
            root = grown(root, size)
            direction = widened(g) / fnp.maximum(root, LEAST)
        else:
            rows, columns = grown(rows, _rms(size, (-1,))), grown(columns, _rms(size, (-2,)))
            mean = _rms(rows, (-1,))[..., None]
            share = fnp.maximum(rows / fnp.where(mean > 0, mean, 1), LEAST)
            # One vector after the other, so that the direction lies in memory as the gradient does.
            direction = widened(g) / share[..., None] / fnp.maximum(columns, LEAST)[..., None, :]
        scale = fnp.maximum(_rms(p), self.least) / fnp.maximum(_rms(direction) / self.clip, 1)
        return times(direction, scale), rows, columns, root


def _is_matrix(p: Any) -> bool:
    return len(getattr(p, "shape", ())) > 1


def _rms(x: Any, axes: tuple[int, ...] | None = None) -> Any:
    """The root mean square over `axes`, or over all entries."""
    x = fnp.asarray(magnitude(x))
    over = tuple(range(-x.ndim, 0)) if axes is None else axes
    count = math.prod(x.shape[axis] for axis in over)
    return length(x, axes=over, keepdims=False) / max(count, 1) ** 0.5


class adafactor(Composite):
    """`chain(adafactor_direction(power, clip, least), weight_decay(weight_decay), descend(lr))`; `lr` as for `sgd`.

    A rate of 0.01 changes parameters by about a hundredth of their size. The paper's own rate is
    `lambda step: np.minimum(0.01, (step + 1) ** -0.5)`.
    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", ICML 2018, algorithm 5.
    """

    lr: Rate = rate(default=1e-2)
    power: Number = number(default=0.8, least=0)
    clip: Number = number(default=1.0, least=1e-6)
    least: Number = number(default=1e-3, least=0)
    weight_decay: Number = number(default=0.0, least=0)
    mask: Mask = static(default=None, converter=as_mask)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction, weight decay and rate."""
        direction = adafactor_direction(self.power, self.clip, self.least)
        return direction, *decay(self.weight_decay, self.mask), descend(self.lr)
