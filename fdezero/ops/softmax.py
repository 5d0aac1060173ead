"""softmax and log_softmax as operations of one launch, forwards and backwards, for arrays on a GPU; on the CPU they are compositions.

Lines lie along `axes`, counted from the end. float16 is computed in float32.
"""

from typing import Any

import numpy as np

from ..core import Nonlinear, nonlinear
from ..devices import backend_of
from . import block_kernels
from .raw_kernels import serves

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


def is_served(x: Any) -> bool:
    """Whether x, which may be traced, is a real array on a device with kernels."""
    return backend_of(x).fuses_into_kernels and x.dtype.kind == "f"


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


def _below(x: Any, axes: Axes) -> Any:
    return x - x.max(axis=axes, keepdims=True)


def _softmax(x: Any, *, axes: Axes) -> Any:
    if (y := _launched("softmax", {"x": x}, axes)) is not None:
        return y
    e = np.exp(_below(x, axes))
    return e / e.sum(axis=axes, keepdims=True)


def _log_softmax(x: Any, *, axes: Axes) -> Any:
    if (y := _launched("log_softmax", {"x": x}, axes)) is not None:
        return y
    below = _below(x, axes)
    return below - np.log(np.exp(below).sum(axis=axes, keepdims=True))


def _softmax_pull(t: Any, y: Any, *, axes: Axes) -> Any:
    if (pulled := _launched("softmax_pull", {"t": t, "x": y}, axes)) is not None:
        return pulled
    return y * (t - (t * y).sum(axis=axes, keepdims=True))


def _softmax_pull_tangent(dt: Any, dy: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> Any:
    of_t = None if dt is None else softmax_pull(dt, y, axes=axes)
    if dy is None:
        return of_t
    of_y = dy * (t - (t * y).sum(axis=axes, keepdims=True)) - y * (t * dy).sum(axis=axes, keepdims=True)
    return of_y if of_t is None else of_t + of_y


def _softmax_pull_adjoint(s: Any, _: Any, t: Any, y: Any, *, axes: Axes) -> tuple[Any, Any]:
    of_y = s * (t - (t * y).sum(axis=axes, keepdims=True)) - t * (s * y).sum(axis=axes, keepdims=True)
    return softmax_pull(s, y, axes=axes), of_y


def _log_softmax_pull(t: Any, y: Any, *, axes: Axes) -> Any:
    if (pulled := _launched("log_softmax_pull", {"t": t, "x": y}, axes)) is not None:
        return pulled
    return t - np.exp(y) * t.sum(axis=axes, keepdims=True)


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
    "softmax_pull", _softmax_pull, _softmax_pull_tangent, _softmax_pull_adjoint, core=_lines, fresh=True
)
# t, y (..., *n) -> (..., *n): t - exp(y) sum(t), the cotangent of x from that of y = log_softmax(x).
log_softmax_pull: Nonlinear = nonlinear(
    "log_softmax_pull", _log_softmax_pull, _log_softmax_pull_tangent, _log_softmax_pull_adjoint, core=_lines, fresh=True
)
softmax: Nonlinear = nonlinear(
    "softmax",
    _softmax,
    lambda t, y, x, *, axes: softmax_pull(t, y, axes=axes),
    lambda t, y, x, *, axes: (softmax_pull(t, y, axes=axes),),
    core=_lines,
    fresh=True,
)
log_softmax: Nonlinear = nonlinear(
    "log_softmax",
    _log_softmax,
    lambda t, y, x, *, axes: t - (np.exp(y) * t).sum(axis=axes, keepdims=True),
    lambda t, y, x, *, axes: (log_softmax_pull(t, y, axes=axes),),
    core=_lines,
    fresh=True,
)
