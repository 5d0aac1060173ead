"""Moments and sums of lines on a GPU: one reduction for each number, added up in float64."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import backend_of
from .kernels import C_TYPES, HALVES, OPTIONS
from .raw_kernels import serves
from .shape import stretched

Axes = tuple[int, ...]


def or_reductions(kernel: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of a function that writes a result: on a GPU the `kernel` writes it. Operands may be numbers."""

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def chosen(out: Any, *operands: Any, **params: Any) -> None:
            arrays = [x for x in operands if hasattr(x, "dtype")]
            ours = serves(out, *arrays) and out.size and all(x.dtype.kind == "f" and x.size for x in arrays)
            (kernel if ours else write)(out, *operands, **params)

        return chosen

    return decorate


@functools.lru_cache(256)
def _reduction(cupy: Any, name: str, inputs: tuple[str, ...], out: str, text: str, after: str) -> Any:
    parameters = ", ".join(f"{dtype} x{i}" for i, dtype in enumerate(inputs))
    return cupy.ReductionKernel(
        parameters, f"{out} result", text, "a + b", f"result = {after}", "0", f"fdezero_{name}", reduce_type="double",
        preamble=HALVES if "float16" in (*inputs, out) else "", options=OPTIONS,
    )  # fmt: skip


def _total(name: str, operands: list[Any], text: str, out: Any, axes: Axes, count: int = 1) -> None:
    """Write the sum over the axes of an expression of the operands x0, x1, ..., divided by the count."""
    ndim = max(x.ndim for x in operands)
    after = f"a / {count}.0" if count > 1 else "a"
    if out.dtype.itemsize < 8:
        after = f"(float)({after})"
    kernel = _reduction(backend_of(out).module, name, tuple(x.dtype.name for x in operands), out.dtype.name, text, after)
    kernel(*operands, axis=tuple([axis % ndim for axis in axes]), out=out, keepdims=True)


@functools.lru_cache(16)
def _parts_kernel(cupy: Any, dtype: str) -> Any:
    kind = "float" if dtype == "float16" else C_TYPES[dtype]
    text = f"{kind} near = ({kind})mean; first = near; second = ({kind})(mean - (double)near)"
    preamble = HALVES if dtype == "float16" else ""
    return cupy.ElementwiseKernel(
        "float64 mean", f"{dtype} first, {dtype} second", text, "fdezero_parts", preamble=preamble, options=OPTIONS
    )


def write_moments(out: Any, x: Any, *, axes: Axes, centred: bool) -> None:
    """The mean in two parts, and the mean square of what is left."""
    count = math.prod([x.shape[axis] for axis in axes])
    if not centred:
        out[..., :2] = 0
        _total("squares", [x], "(double)x0 * (double)x0", out[..., 2], axes, count)
        return
    mean = backend_of(x).module.empty(out.shape[:-1], "float64")
    _total("mean", [x], "(double)x0", mean, axes, count)
    _total("variance", [x, mean], "((double)x0 - x1) * ((double)x0 - x1)", out[..., 2], axes, count)
    _parts_kernel(backend_of(x).module, out.dtype.name)(mean, out[..., 0], out[..., 1])


def write_sums(out: Any, t: Any, x: Any, c: Any, a: Any, e: Any, w: Any, *, axes: Axes) -> None:
    """The sums of t w, and of t w ((x - c) a + e); c, a, e, w may be numbers."""
    operands: list[Any] = []
    shape = np.broadcast_shapes(*[np.shape(y) for y in (t, x, c, a, e, w)])
    t, x = stretched(t, shape), stretched(x, shape)

    def named(y: Any) -> str:
        if not hasattr(y, "dtype"):
            return repr(float(y))
        operands.append(y)
        return f"(double)x{len(operands) - 1}"

    u = f"{named(t)} * {named(w)}"
    of_u = list(operands)
    z = f"(({named(x)} - {named(c)}) * {named(a)} + {named(e)})"
    _total("total", of_u, u, out[..., 0], axes)
    _total("products", operands, f"{u} * {z}", out[..., 1], axes)
