"""Normalised lines as operations of one launch, forwards and backwards, for arrays on a GPU.

Lines lie along `axes`, counted from the end. Let z = (x - mean) a with a = 1 / sqrt(variance + eps), or without `centred` x a with
a = 1 / sqrt(mean square + eps). The derivative of z times t is a P(t), where P takes from t its mean and its part along z.
"""

from typing import Any

import numpy as np

from ..core import Nonlinear, nonlinear
from . import block_kernels
from .line_kernels import statistics_of
from .memory_order import is_number
from .normalisation import moments
from .raw_kernels import serves

Axes = tuple[int, ...]


def _kernel_of(name: str, given: dict[str, Any], axes: Axes, centred: bool, eps: float, body: str) -> Any:
    """The result of a kernel for operands of which some may be numbers; None if there is no kernel for them."""
    arrays = {x: y for x, y in given.items() if not is_number(y)}
    if not serves(*arrays.values()) or any(x.dtype.kind != "f" or not x.size for x in arrays.values()):
        return None
    dtype = np.result_type(*arrays.values())
    y = np.empty_like(given["x"], shape=np.broadcast_shapes(*[x.shape for x in arrays.values()]), dtype=dtype)
    for x, value in given.items():
        body = body.replace(f"#{x}", f"(F)@{x}" if x in arrays else f"(F)({float(value)!r})")
    single = "double" if dtype == np.float64 else "float"
    text = f"""typedef {single} F;
{statistics_of(centred)}
const A root = 1 / sqrt(square + (A)eps);
const F near = (F)mean, far = (F)(mean - (A)near), a = (F)root;
{body}"""
    block_kernels.launch(name, arrays, {"y": y}, axes, text, kind="double", numbers={"eps": eps})
    return y


def _statistics(x: Any, axes: Axes, eps: float, centred: bool) -> tuple[Any, Any]:
    """z and a."""
    found = moments(x, axes=axes, centred=centred)
    a = 1 / np.sqrt(found[..., 2] + eps)
    return (x - found[..., 0] - found[..., 1] if centred else x) * a, a


def _projected(t: Any, z: Any, axes: Axes, centred: bool) -> Any:
    """P(t)."""
    along = z * (t * z).mean(axis=axes, keepdims=True)
    return t - t.mean(axis=axes, keepdims=True) - along if centred else t - along


def _lines(x: Any, w: Any, b: Any, *, axes: Axes, eps: float, centred: bool) -> Any:
    body = "each { @y = ((F)@x - near - far) * a * #w + #b; }"
    y = _kernel_of("normalised" if centred else "scaled", {"x": x, "w": w, "b": b}, axes, centred, eps, body)
    return _statistics(x, axes, eps, centred)[0] * w + b if y is None else y


def _lines_tangent(tx: Any, tw: Any, tb: Any, y: Any, x: Any, w: Any, b: Any, *, axes: Axes, eps: float, centred: bool) -> Any:
    z, a = _statistics(x, axes, eps, centred)
    terms = [
        None if tx is None else _projected(tx, z, axes, centred) * a * w,
        None if tw is None else z * tw,
        tb,
    ]
    given = [term for term in terms if term is not None]
    return sum(given[1:], given[0])


def _lines_adjoint(t: Any, y: Any, x: Any, w: Any, b: Any, *, axes: Axes, eps: float, centred: bool) -> tuple[Any, ...]:
    params: dict[str, Any] = {"axes": axes, "eps": eps, "centred": centred}
    of_w = None if is_number(w) else t * normalised_lines(x, 1, -0.0, **params)
    return normalised_lines_pull(t, x, w, **params), of_w, None if is_number(b) else t


def _pull(t: Any, x: Any, w: Any, *, axes: Axes, eps: float, centred: bool) -> Any:
    mean = "const F middle = (F)(total(plain, room) / (A)length);" if centred else "const F middle = 0;"
    body = f"""
A plain = 0, product = 0;
each {{
    const A u = (A)((F)@t * #w);
    plain += u;
    product += u * (A)(((F)@x - near - far) * a);
}}
{mean}
const F slope = (F)(total(product, room) / (A)length);
each {{ @y = a * ((F)@t * #w - middle - ((F)@x - near - far) * a * slope); }}"""
    y = _kernel_of(f"{'normalised' if centred else 'scaled'}_pull", {"t": t, "x": x, "w": w}, axes, centred, eps, body)
    if y is not None:
        return y
    z, a = _statistics(x, axes, eps, centred)
    return a * _projected(t * w, z, axes, centred)


def _pull_tangent(dt: Any, dx: Any, dw: Any, y: Any, t: Any, x: Any, w: Any, *, axes: Axes, eps: float, centred: bool) -> Any:
    params: dict[str, Any] = {"axes": axes, "eps": eps, "centred": centred}
    terms = [
        None if dt is None else normalised_lines_pull(dt, x, w, **params),
        None if dw is None else normalised_lines_pull(t, x, dw, **params),
    ]
    if dx is not None:
        z, a = _statistics(x, axes, eps, centred)
        u, dz = t * w, a * _projected(dx, z, axes, centred)
        moved = dz * (u * z).mean(axis=axes, keepdims=True) + z * (u * dz).mean(axis=axes, keepdims=True)
        terms.append(-a * (z * dx).mean(axis=axes, keepdims=True) * y - a * moved)
    given = [term for term in terms if term is not None]
    return sum(given[1:], given[0])


def _pull_adjoint(s: Any, y: Any, t: Any, x: Any, w: Any, *, axes: Axes, eps: float, centred: bool) -> tuple[Any, ...]:
    z, a = _statistics(x, axes, eps, centred)
    u, pulled = t * w, normalised_lines_pull(s, x, 1, axes=axes, eps=eps, centred=centred)  # P is symmetric

    def mean(v: Any) -> Any:
        return v.mean(axis=axes, keepdims=True)

    of_x = -a * (z * mean(s * y) + mean(u * z) * pulled + mean(s * z) * y)
    return pulled if is_number(w) else pulled * w, of_x, None if is_number(w) else t * pulled


# x (..., *n), w and b that broadcast to it, or the numbers 1 and -0.0 -> (..., *n): z w + b.
normalised_lines: Nonlinear = nonlinear(
    "normalised_lines",
    _lines,
    _lines_tangent,
    _lines_adjoint,
    core=lambda args, params: (-min(params["axes"]),) * 3,
    fresh=True,
)
# t, x (..., *n), w that broadcasts to them, or the number 1 -> (..., *n): a P(t w), the cotangent of x from that of z w.
normalised_lines_pull: Nonlinear = nonlinear(
    "normalised_lines_pull",
    _pull,
    _pull_tangent,
    _pull_adjoint,
    core=lambda args, params: (-min(params["axes"]),) * 3,
    fresh=True,
)
