"""Moments and sums of lines on a GPU: one launch each, added up in float64."""

import functools
from collections.abc import Callable
from typing import Any

from . import block_kernels
from .raw_kernels import serves

Axes = tuple[int, ...]

_MEAN_AND_VARIANCE = """
A mean = 0, square = 0;
each { mean += (A)@x; }
mean = total(mean, room) / (A)length;
each { A rest = (A)@x - mean; square += rest * rest; }
square = total(square, room) / (A)length;
"""
_MEAN_SQUARE = """
A mean = 0, square = 0;
each { square += (A)@x * (A)@x; }
square = total(square, room) / (A)length;
"""


def statistics_of(centred: bool) -> str:
    """Statements for a line's mean and variance, `mean` and `square`; without `centred` 0 and the mean square."""
    return _MEAN_AND_VARIANCE if centred else _MEAN_SQUARE


def or_lines(kernel: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of a function that writes a result: on a GPU the `kernel` writes it. Operands may be numbers."""

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def chosen(out: Any, *operands: Any, **params: Any) -> None:
            arrays = [x for x in operands if hasattr(x, "dtype")]
            ours = serves(out, *arrays) and out.size and all(x.dtype.kind == "f" and x.size for x in arrays)
            (kernel if ours else write)(out, *operands, **params)

        return chosen

    return decorate


def write_moments(out: Any, x: Any, *, axes: Axes, centred: bool) -> None:
    """The mean in two parts, and the mean square of what is left."""
    outs = {"near": out[..., 0], "far": out[..., 1], "variance": out[..., 2]}
    body = f"""{statistics_of(centred)}
if (there && ALONG == 0) {{
    *near_ = mean;
    *far_ = mean - (A)*near_;
    *variance_ = square;
}}"""
    block_kernels.launch("moments" if centred else "squares", {"x": x}, outs, axes, body, kind="double")


def write_sums(out: Any, t: Any, x: Any, c: Any, a: Any, e: Any, w: Any, *, axes: Axes) -> None:
    """The sums of t w, and of t w ((x - c) a + e); c, a, e, w may be numbers."""
    named = {"t": t, "x": x, "c": c, "a": a, "e": e, "w": w}
    arrays = {name: y for name, y in named.items() if hasattr(y, "dtype")}
    text = {name: f"(A)@{name}" if name in arrays else f"({float(y)!r})" for name, y in named.items()}
    body = f"""
A first = 0, second = 0;
each {{
    A u = {text["t"]} * {text["w"]};
    first += u;
    second += u * (({text["x"]} - {text["c"]}) * {text["a"]} + {text["e"]});
}}
first = total(first, room);
second = total(second, room);
if (there && ALONG == 0) {{
    *plain_ = first;
    *product_ = second;
}}"""
    outs = {"plain": out[..., 0], "product": out[..., 1]}
    block_kernels.launch("sums", arrays, outs, axes, body, kind="double")
