"""A framework for tests that need no installation: its arrays are NumPy's, and fdezero differentiates its functions.

Faults can be planted, which the properties must find: in a rule (`Rule`), or in what the framework does with functions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.testing.backends import Arrays, Backend, NotOffered, Run


class Toy(Backend):
    """NumPy's arrays under another name; `lacks` names what its functions do not offer."""

    name = "toy"
    layouts = ("transposed", "strided")
    compiles = True

    def __init__(self, *lacks: str) -> None:
        self.lacks = lacks

    def array(self, x: Any) -> Any:
        return np.asarray(x)

    def numpy(self, x: Any) -> Any:
        return np.asarray(x)

    def is_array(self, leaf: Any) -> bool:
        return False

    def copy(self, x: Any) -> Any:
        return np.array(x, order="C")

    def dtype(self, x: Any) -> str:
        return str(x.dtype)

    def need(self, what: str) -> None:
        if what in self.lacks:
            raise NotOffered(f"no {what} here")

    def vjp(self, run: Run, xs: Arrays, which: Sequence[int]) -> Any:
        self.need("rev")
        ys, pullback = fd.vjp(_of(run, xs, which), *[xs[i] for i in which])
        return ys, lambda ts: list(pullback([np.zeros_like(y) if t is None else t for y, t in zip(ys, ts, strict=True)]))

    def jvp(self, run: Run, xs: Arrays, which: Sequence[int], vs: Arrays) -> Any:
        self.need("fwd")
        ys, dys = fd.jvp(_of(run, xs, which), tuple(xs[i] for i in which), tuple(vs))
        return ys, [dy if fd.tree.is_differentiable(y) else None for y, dy in zip(ys, dys, strict=True)]

    def vmap(self, run: Run, axes: Sequence[int | None]) -> Run:
        self.need("vmap")
        mapped = fd.vmap(lambda *xs: run(list(xs)), tuple(axes))
        return lambda xs: list(mapped(*xs))

    def compile(self, run: Run) -> Run:
        self.need("compiled")
        return lambda xs: list(fd.compile(lambda *xs: run(list(xs)))(*xs))

    def refusal(self, error: Exception, *, of_tangent: bool = False) -> str:
        return str(error) if isinstance(error, NotOffered) else ""

    def lay_out(self, x: Any, layout: str) -> Any:
        if x.ndim < 2 or x.size < 2:
            return None
        return np.asarray(x, order="F") if layout == "transposed" else np.repeat(x, 2, 0)[::2]

    def spread(self, x: Any) -> Any:
        return np.broadcast_to(x.ravel()[0], x.shape).copy() if x.size else x


def _of(run: Run, xs: Arrays, which: Sequence[int]) -> Any:
    return lambda *floats: run([dict(zip(which, floats, strict=True)).get(i, x) for i, x in enumerate(xs)])


class Rule(Toy):
    """A toy whose backward passes go through `changed(gradients, cotangents, inputs, which)`, as a wrong rule would."""

    def __init__(self, changed: Any, *lacks: str) -> None:
        super().__init__(*lacks)
        self.changed = changed

    def vjp(self, run: Run, xs: Arrays, which: Sequence[int]) -> Any:
        ys, pullback = super().vjp(run, xs, which)
        return ys, lambda ts: self.changed(pullback(ts), ts, xs, which)
