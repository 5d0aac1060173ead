"""The methods of NumPy's ufuncs: `add.reduce`, `accumulate`, `outer`, `reduceat` and `at`, on arrays and traced values.

Those that have a function of their own, such as the sum, are that function; any other binary operation is folded over
the entries in turn.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ImmutableError, ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise
from .arguments import Array, as_array, plain_values, trailing_axes, trailing_axis
from .elementwise import cast
from .indexing import at as updated
from .shape import broadcast_to, concatenate, expand_dims, reshape, slice_axis, squeeze

__all__: list[str] = []

OWN = {
    ("add", "reduce"): "sum", ("multiply", "reduce"): "prod",
    ("maximum", "reduce"): "max", ("minimum", "reduce"): "min",
    ("logical_and", "reduce"): "all", ("logical_or", "reduce"): "any", ("logaddexp", "reduce"): "logsumexp",
    ("add", "accumulate"): "cumsum", ("multiply", "accumulate"): "cumprod",
    ("maximum", "accumulate"): "cummax", ("minimum", "accumulate"): "cummin",
}  # fmt: skip
UPDATES = {
    "add": "add",
    "subtract": "add",
    "multiply": "multiply",
    "maximum": "max",
    "minimum": "min",
}  # methods of fd.at(x)[index]


def methods_of(face: dict[str, Any]) -> dict[tuple[Any, str], Callable[..., Any]]:
    """The methods of each binary ufunc whose function `face` has: {(NumPy's ufunc, name of the method): function}."""
    made: dict[tuple[Any, str], Callable[..., Any]] = {}
    for name, function in face.items():
        ufunc = vars(np).get(name)
        if not isinstance(ufunc, np.ufunc) or ufunc.nin != 2 or ufunc.nout != 1 or ufunc.signature is not None:
            continue
        own = {method: face[OWN[name, method]] for method in ("reduce", "accumulate") if (name, method) in OWN}
        reduce = functools.partial(_reduce, own.get("reduce"), function, name)
        for method, made_by in (
            ("reduce", reduce),
            ("accumulate", functools.partial(_accumulate, own.get("accumulate"), function)),
            ("reduceat", functools.partial(_reduceat, reduce)),
            ("outer", functools.partial(_outer, function)),
            ("at", functools.partial(_at, name)),
        ):
            made[ufunc, method] = made_by
    return made


def _reduce(
    own: Any, function: Any, name: str, a: Any, axis: Any = 0, dtype: Any = None, out: None = None,
    keepdims: bool = False, initial: Any = None, where: Any = True,
) -> Any:  # fmt: skip
    """Combine the entries of `a` over `axis`: a (..., n) -> (...)."""
    refuse_out(out)
    a = as_array(a) if dtype is None else cast(a, dtype)
    given = ({} if initial is None else {"initial": initial}) | ({} if where is True else {"where": where})
    if own is not None and not (given and name == "logaddexp"):
        widened = {"dtype": dtype} if dtype is not None and name in ("add", "multiply") else {}
        return own(a, axis=axis, keepdims=keepdims, **given, **widened)
    if where is not True:
        raise NotImplementedError(f"np.{name}.reduce takes no where= here. Use fd.numpy.where(condition, y, x) first.")
    axes, start = trailing_axes(axis, a.ndim), [] if initial is None else [initial]
    for place in axes:
        rows = [*start, *[slice_axis(a, place, i, i + 1) for i in range(a.shape[place])]]
        if not rows:
            raise ShapeError(f"np.{name}.reduce of no entries, in {describe(a)}, needs initial=.")
        shape = tuple(1 if i == place else n for i, n in enumerate(a.shape, -a.ndim))
        a, start = broadcast_to(functools.reduce(function, rows), shape), []
    return a if keepdims else squeeze(a, axes)


def _accumulate(own: Any, function: Any, a: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Array:
    """Combine each entry of `a` along `axis` with all before it: a (..., n) -> (..., n)."""
    refuse_out(out)
    a = as_array(a) if dtype is None else cast(a, dtype)
    if not a.ndim:
        raise TypeError("cannot accumulate on a scalar")
    if own is not None:
        return own(a, axis=axis) if dtype is None else cast(own(a, axis=axis), dtype)
    axis = trailing_axis(axis, a.ndim)
    rows = [slice_axis(a, axis, i, i + 1) for i in range(a.shape[axis])]
    return concatenate(list(itertools.accumulate(rows, function)), axis) if rows else a


def _reduceat(reduce: Any, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Array:
    """Reduce the stretches of `array` along `axis` from each of `indices` up to the next: (..., n), (m,) -> (..., m).

    Where the next index is not greater, the entry itself is taken, as in NumPy. Indices are plain integers.
    """
    refuse_out(out)
    array, axis = as_array(array), trailing_axis(axis, as_array(array).ndim)
    n = array.shape[axis]
    places = [int(i) for i in np.asarray(plain_values(as_array(indices), "reduceat"))]
    if not all(0 <= i < n for i in places):
        raise IndexError(f"reduceat: indices must lie between 0 and {n - 1}, got {places}.")
    stretches = [(i, j if j > i else i + 1) for i, j in zip(places, [*places[1:], n], strict=True)]
    parts = [expand_dims(reduce(slice_axis(array, axis, i, j), axis=axis, dtype=dtype), axis) for i, j in stretches]
    return concatenate(parts, axis) if parts else slice_axis(array, axis, 0, 0)


def _outer(function: Any, A: Any, B: Any, /, *, out: None = None) -> Any:
    """Combine every entry of `A` with every entry of `B`: (*n), (*m) -> (*n, *m)."""
    refuse_out(out)
    A, B = as_array(A), as_array(B)
    return function(reshape(A, (*A.shape, *(1 for _ in B.shape))), B)


def _at(name: str, a: Any, indices: Any, b: Any, /, *, inplace: bool = True) -> Array:
    """`a` with its entries at `indices` combined with `b`, also with several values for one entry.

    You must say `inplace=False`, as for `fill_diagonal`, because NumPy's method writes into `a`.
    """
    method = UPDATES.get(name)
    way = f"fd.at(a)[indices].{method}({'-b' if name == 'subtract' else 'b'})"
    if inplace:
        instead = f"Write a = {way}." if method else "fd.at(a)[indices] has set, add, multiply, min and max."
        raise ImmutableError(f"np.{name}.at would write into {describe(a)}, but arrays are immutable here. {instead}")
    if method is None:
        raise NotImplementedError(f"{name}.at is not here. fd.at(a)[indices] has set, add, multiply, min and max.")
    return getattr(updated(as_array(a))[indices], method)(
        elementwise.negative(as_array(b)) if name == "subtract" else b
    )
