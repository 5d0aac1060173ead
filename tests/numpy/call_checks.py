"""Compares a random call with NumPy's: value, dtype, shape, the kind of error, and that no argument changes."""

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd

from .drawing import Draw

KINDS_OF_ERROR = (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError, np.linalg.LinAlgError, AttributeError, NotImplementedError)


class Outcome(NamedTuple):
    """What a call gave: its result, or its error."""

    result: Any = None
    error: Exception | None = None

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}" if self.error else shown(self.result)


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Outcome:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return Outcome(function(*args, **kwargs))
        except Exception as error:
            return Outcome(error=error)


def shown(x: Any) -> str:
    """An argument or a result, short enough for a message."""
    if isinstance(x, list | tuple):
        return f"{type(x).__name__}({', '.join(map(shown, x))})"
    if isinstance(x, np.ndarray | np.generic):
        order = "" if not isinstance(x, np.ndarray) or x.flags.c_contiguous else f", strides {x.strides}"
        numbers = str(np.asarray(x).tolist()) if x.size < 40 else f"{np.ravel(x)[:20].tolist()}..."
        return f"{'' if isinstance(x, np.ndarray) else 'number '}{x.dtype}{list(x.shape)} {numbers}{order}"
    return f"{x.__name__}" if callable(x) else repr(x)


def substituted(tree: Any, new: dict[int, Any]) -> Any:
    """`tree` of lists, tuples and dictionaries with other arrays in place of those whose identity is in `new`."""
    if id(tree) in new:
        return new[id(tree)]
    if isinstance(tree, dict):
        return {name: substituted(part, new) for name, part in tree.items()}
    return type(tree)([substituted(part, new) for part in tree]) if type(tree) in (list, tuple) else tree


def parts(x: Any) -> list[Any]:
    """The arrays and numbers of a result."""
    return [leaf for part in x for leaf in parts(part)] if isinstance(x, list | tuple) else [x]


def called_plainly(function: Any, args: Any, kwargs: Any, arrays: list[Any]) -> Any:
    return function(*args, **kwargs)


def called_under_vjp(function: Any, args: Any, kwargs: Any, arrays: list[Any]) -> Any:
    """The result under `vjp`; the cotangents must have the shapes and dtypes of their primals."""
    chosen = [x for x in arrays if x.dtype.kind in "fc"]
    whole: list[Any] = []

    def traced(*values: Any) -> Any:
        new = {id(x): value for x, value in zip(chosen, values, strict=True)}
        y = function(*substituted(args, new), **substituted(kwargs, new))
        whole[:] = [y]
        return [part for part in parts(y) if np.dtype(getattr(part, "dtype", type(part))).kind in "fc"]

    if not chosen:
        return function(*args, **kwargs)
    values, back = fd.vjp(traced, *chosen)
    for x, t in zip(chosen, back([np.ones_like(y) for y in values]), strict=True):
        assert (t.shape, t.dtype) == (x.shape, x.dtype), f"the cotangent of {shown(x)} is {shown(t)}"
    left = iter(values)
    return _filled(whole[0], left)


def _filled(y: Any, values: Any) -> Any:
    if isinstance(y, list | tuple):
        inside = [_filled(part, values) for part in y]
        return type(y)(*inside) if hasattr(y, "_fields") else type(y)(inside)
    return next(values) if np.dtype(getattr(y, "dtype", type(y))).kind in "fc" else y


def called_compiled(function: Any, args: Any, kwargs: Any, arrays: list[Any]) -> Any:
    """The result of a compiled call; the second call, which runs the program, must give the same bits."""

    def recorded(*values: Any) -> Any:
        new = {id(x): value for x, value in zip(arrays, values, strict=True)}
        return function(*substituted(args, new), **substituted(kwargs, new))

    if not arrays:
        return function(*args, **kwargs)
    compiled = fd.compile(recorded)
    first = copy.deepcopy(compiled(*arrays))
    again = compiled(*arrays)
    for x, y in zip(map(np.asarray, parts(first)), map(np.asarray, parts(again)), strict=True):
        same = (x.shape, x.dtype) == (y.shape, y.dtype) and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
        assert same, f"compiled: {shown(x)}, then {shown(y)}"
    return again


def called_under_vmap(function: Any, args: Any, kwargs: Any, arrays: list[Any]) -> Any:
    """The result for one of two equal examples."""

    def batched(*values: Any) -> Any:
        new = {id(x): value for x, value in zip(arrays, values, strict=True)}
        return function(*substituted(args, new), **substituted(kwargs, new))

    if not arrays:
        return function(*args, **kwargs)
    ys = fd.vmap(batched)(*[np.stack([x, x]) for x in arrays])
    return _second(ys)


def _second(y: Any) -> Any:
    if isinstance(y, list | tuple):
        inside = [_second(part) for part in y]
        return type(y)(*inside) if hasattr(y, "_fields") else type(y)(inside)
    return y[1]


WAYS = {"plain": called_plainly, "vjp": called_under_vjp, "dispatched": called_under_vjp, "compile": called_compiled, "vmap": called_under_vmap}


def restyled(d: Draw, reference: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The same call with arguments by NumPy's names in place of positions, or the other way round."""
    try:
        parameters = list(inspect.signature(reference).parameters.values())
    except (TypeError, ValueError):
        return args, kwargs
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return args, kwargs
    style = d.rng.random()
    if style < 0.12:  # by name
        keep = next((i for i, p in enumerate(parameters) if p.kind is not p.POSITIONAL_ONLY), len(parameters))
        keep = max(keep, d.integer(0, len(args)))
        named = {p.name: a for p, a in zip(parameters[keep:], args[keep:], strict=False)}
        if len(named) == len(args[keep:]):
            return args[:keep], named | kwargs
    elif style < 0.24:  # by position, as far as they go
        args, kwargs = list(args), dict(kwargs)
        for p in parameters[len(args) :]:
            if p.kind is p.KEYWORD_ONLY or p.name not in kwargs:
                break
            args.append(kwargs.pop(p.name))
    return args, kwargs


def difference(ours: Outcome, theirs: Outcome, scale: float, own_dtype: bool = False) -> str:
    """What differs; empty if nothing does. With `own_dtype`, the expected result is rounded to the dtype of ours."""
    if theirs.error is not None:
        if ours.error is None:
            return f"gives {ours} where NumPy raises {theirs}"
        kinds = [kind for kind in KINDS_OF_ERROR if isinstance(theirs.error, kind)]
        if kinds and not any(isinstance(ours.error, kind) for kind in kinds):
            return f"raises {ours} where NumPy raises {theirs}"
        return ""
    if ours.error is not None:
        return f"raises {ours} where NumPy gives {theirs}"
    return unlike(ours.result, theirs.result, scale, own_dtype)


def unlike(y: Any, wanted: Any, scale: float, own_dtype: bool = False) -> str:
    if isinstance(wanted, list | tuple) != isinstance(y, list | tuple) or (isinstance(wanted, list | tuple) and len(y) != len(wanted)):
        return f"gives {shown(y)}, not {shown(wanted)}"
    if isinstance(wanted, list | tuple):
        if isinstance(wanted, list) != isinstance(y, list) or getattr(wanted, "_fields", 0) != getattr(y, "_fields", 0):
            return f"gives a {type(y).__name__}, not a {type(wanted).__name__}"
        return next(filter(None, (unlike(a, b, scale, own_dtype) for a, b in zip(y, wanted, strict=True))), "")
    if isinstance(wanted, type | np.dtype | str | None):
        return "" if y == wanted else f"gives {y!r}, not {wanted!r}"
    if not isinstance(wanted, np.ndarray | np.generic) and not isinstance(y, np.ndarray | np.generic):
        return "" if type(y) is type(wanted) and (y == wanted or y != y) else f"gives {y!r}, not {wanted!r}"
    a, b = np.asarray(y), np.asarray(wanted)
    if own_dtype and a.dtype.kind == b.dtype.kind == "f":
        coarser = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        with np.errstate(all="ignore"):
            a, b = a.astype(coarser), b.astype(coarser)
    if a.dtype != b.dtype:
        return f"gives {shown(y)}, not {shown(wanted)} (dtype)"
    if a.shape != b.shape:
        return f"gives {shown(y)}, not {shown(wanted)} (shape)"
    if not close(a, b, scale):
        return f"gives {shown(y)}, not {shown(wanted)}"
    return ""


def close(a: np.ndarray, b: np.ndarray, scale: float) -> bool:
    """Whether the numbers agree, to a few places of their dtype relative to the greatest of them."""
    if b.dtype.kind == "c":
        a, b = (np.where(np.isnan(x.real) | np.isnan(x.imag), np.nan + 1j * np.nan, x) for x in (a, b))
        return close(a.real, b.real, scale) and close(a.imag, b.imag, scale)
    if b.dtype.kind != "f":
        return bool((a == b).all())
    finite = np.isfinite(b)
    if not ((a == b) | (np.isnan(a) & np.isnan(b)))[~finite].all():
        return False
    wide = [x[finite].astype(np.float64) for x in (a, b)]
    size = max(1.0, np.abs(wide[1]).max(initial=0))
    return bool((np.abs(wide[0] - wide[1]) <= scale * float(np.finfo(b.dtype).eps) * size).all())
