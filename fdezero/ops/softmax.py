"""softmax and log_softmax as operations, forwards and backwards: one launch on a GPU, and on the CPU one array that is written in place.

Lines lie along `axes`, counted from the end. float16 is computed in float32. In native code they are compositions, which join the
loops around them.
"""

from typing import Any

import numpy as np

from ..core import Nonlinear, nonlinear
from . import block_kernels
from .memory_order import BLOCK, total, total_of_product
from .raw_kernels import serves
from .shape import stretched

Axes = tuple[int, ...]

_GREATEST_AND_SUM = """
A most = (A)(-1.0 / 0.0), sum = 0;
each { most = fmax(most, (A)@x); }
most = greatest(most, room);
each { sum += exp((A)@x - most); }
sum = total(sum, room);
"""
BODIES = {
    "softmax": _GREATEST_AND_SUM + "each { @y = exp((A)@x - most) / sum; }",
    "log_softmax": _GREATEST_AND_SUM + "sum = log(sum);\neach { @y = (A)@x - most - sum; }",
    "softmax_pull": "A sum = 0;\neach { sum += (A)@t * (A)@x; }\nsum = total(sum, room);\neach { @y = (A)@x * ((A)@t - sum); }",
    "log_softmax_pull": "A sum = 0;\neach { sum += (A)@t; }\nsum = total(sum, room);\neach { @y = (A)@t - exp((A)@x) * sum; }",
}


def _launched(name: str, operands: dict[str, Any], axes: Axes) -> Any:
    """The result of a kernel for operands of one shape; None if there is no kernel for them."""
    arrays = list(operands.values())
    if not serves(*arrays) or any(x.dtype.kind != "f" for x in arrays):
        return None
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    y = np.empty_like(arrays[-1], shape=shape, dtype=np.result_type(*arrays))
    if y.size:
        block_kernels.launch(name, operands, {"y": y}, axes, BODIES[name])
    return y


def _computed(name: str, write: Any, compose: Any) -> Any:
    """The implementation: a kernel on a GPU, in place on arrays of the CPU, otherwise a composition."""

    def implementation(*operands: Any, axes: Axes) -> Any:
        if (y := _launched(name, dict(zip(("x",) if len(operands) == 1 else ("t", "x"), operands, strict=True)), axes)) is not None:
            return y
        if any(type(x) is not np.ndarray or x.dtype != operands[-1].dtype for x in operands):
            return compose(*operands, axes=axes)
        y = np.empty_like(operands[-1], shape=np.broadcast_shapes(*[x.shape for x in operands]))
        write(y, *operands, axes=axes)
        return y

    return implementation


def _written(steps: Any) -> Any:
    """`write` of an operation whose `steps(out, *operands, axes)` are done for some lines at a time, which stay in the cache."""

    def write(out: Any, *operands: Any, axes: Axes) -> None:
        whole = tuple([axis % out.ndim for axis in axes])
        operands = tuple([stretched(x, out.shape) for x in operands])
        if out.nbytes <= BLOCK or 0 in whole:
            steps(out, *operands, axes=whole)
            return
        step = max(1, BLOCK * len(out) // out.nbytes)
        for start in range(0, len(out), step):
            steps(*[x[start : start + step] for x in (out, *operands)], axes=whole)

    return write


def _below(x: Any, axes: Axes, out: Any = None) -> Any:
    return np.subtract(x, x.max(axis=axes, keepdims=True), out=out)


def _softmax_composed(x: Any, *, axes: Axes) -> Any:
    e = np.exp(_below(x, axes))
    return e / e.sum(axis=axes, keepdims=True)


@_written
def _write_softmax(out: Any, x: Any, *, axes: Axes) -> None:
    e = np.exp(_below(x, axes, out), out=out)
    np.divide(e, total(e, axes), out=out)


def _log_softmax_composed(x: Any, *, axes: Axes) -> Any:
    below = _below(x, axes)
    return below - np.log(np.exp(below).sum(axis=axes, keepdims=True))


@_written
def _write_log_softmax(out: Any, x: Any, *, axes: Axes) -> None:
    below = _below(x, axes, out)
    np.subtract(below, np.log(total(np.exp(below), axes)), out=out)


def _softmax_pull_composed(t: Any, y: Any, *, axes: Axes) -> Any:
    return y * (t - (t * y).sum(axis=axes, keepdims=True))


@_written
def _write_softmax_pull(out: Any, t: Any, y: Any, *, axes: Axes) -> None:
    np.subtract(t, total_of_product(t, y, axes, out), out=out)
    np.multiply(y, out, out=out)


def _log_softmax_pull_composed(t: Any, y: Any, *, axes: Axes) -> Any:
    return t - np.exp(y) * t.sum(axis=axes, keepdims=True)


@_written
def _write_log_softmax_pull(out: Any, t: Any, y: Any, *, axes: Axes) -> None:
    e = np.exp(y, out=out)
    np.subtract(t, np.multiply(e, total(t, axes), out=e), out=out)


def _softmax_pull_tangent(dt: Any, dy: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> Any:
    of_t = None if dt is None else softmax_pull(dt, y, axes=axes)
    if dy is None:
        return of_t
    of_y = dy * (t - (t * y).sum(axis=axes, keepdims=True)) - y * (t * dy).sum(axis=axes, keepdims=True)
    return of_y if of_t is None else of_t + of_y


def _softmax_pull_adjoint(s: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> tuple[Any, Any]:
    of_y = s * (t - (t * y).sum(axis=axes, keepdims=True)) - t * (s * y).sum(axis=axes, keepdims=True)
    return softmax_pull(s, y, axes=axes), of_y


def _log_softmax_pull_tangent(dt: Any, dy: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> Any:
    of_t = None if dt is None else log_softmax_pull(dt, y, axes=axes)
    if dy is None:
        return of_t
    of_y = -(np.exp(y) * dy) * t.sum(axis=axes, keepdims=True)
    return of_y if of_t is None else of_t + of_y


def _log_softmax_pull_adjoint(s: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> tuple[Any, Any]:
    u = s * np.exp(y)
    return s - u.sum(axis=axes, keepdims=True), -u * t.sum(axis=axes, keepdims=True)


def _lines(args: tuple[Any, ...], params: dict[str, Any]) -> tuple[int, ...]:
    return (-min(params["axes"]),) * len(args)


# t, y (..., *n) -> (..., *n): y (t - sum(t y)), the derivative of y = softmax(x) times t; it is symmetric, so both modes use it.
softmax_pull: Nonlinear = nonlinear(
    "softmax_pull",
    _computed("softmax_pull", _write_softmax_pull, _softmax_pull_composed),
    _softmax_pull_tangent,
    _softmax_pull_adjoint,
    core=_lines,
    write=_write_softmax_pull,
    expand="native",
    fresh=True,
)
# t, y (..., *n) -> (..., *n): t - exp(y) sum(t), the cotangent of x from that of y = log_softmax(x).
log_softmax_pull: Nonlinear = nonlinear(
    "log_softmax_pull",
    _computed("log_softmax_pull", _write_log_softmax_pull, _log_softmax_pull_composed),
    _log_softmax_pull_tangent,
    _log_softmax_pull_adjoint,
    core=_lines,
    write=_write_log_softmax_pull,
    expand="native",
    fresh=True,
)
softmax: Nonlinear = nonlinear(
    "softmax",
    _computed("softmax", _write_softmax, _softmax_composed),
    lambda t, y, x, *, axes: softmax_pull(t, y, axes=axes),
    lambda t, y, x, *, axes: (softmax_pull(t, y, axes=axes),),
    core=_lines,
    write=_write_softmax,
    expand="native",
    fresh=True,
)
log_softmax: Nonlinear = nonlinear(
    "log_softmax",
    _computed("log_softmax", _write_log_softmax, _log_softmax_composed),
    lambda t, y, x, *, axes: t - (np.exp(y) * t).sum(axis=axes, keepdims=True),
    lambda t, y, x, *, axes: (log_softmax_pull(t, y, axes=axes),),
    core=_lines,
    write=_write_log_softmax,
    expand="native",
    fresh=True,
)
