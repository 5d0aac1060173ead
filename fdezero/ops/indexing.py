"""Indexing by integer arrays: gather, its adjoint scatter_add, and put. Their implementations handle the loop axes.

gather:      x (..., n1..nk, *rest), k indices (..., *points)     -> (..., *points, *rest)
scatter_add: x (..., *points, *rest), k indices (..., *points)    -> (..., n1..nk, *rest), zeros elsewhere
put:         x (..., n), v (..., m), index (..., m)               -> (..., n), x with v at index; the last duplicate wins
"""

import math
from typing import Any

import numpy as np

from ..core import Linear, discrete, linear, unwrap
from ..core.pieces import Gathers
from ..devices import array_module, backend_of
from ..errors import RangeError
from . import gathering, native_rows, scattering
from .shape import common_loops, stretched


def _full_index(loops: tuple[int, ...], indices: tuple[Any, ...], points: int, rest: int) -> tuple[Any, ...]:
    """The index with positions of the loop axes in front, if the indices differ along them."""
    trailing = (slice(None),) * rest
    if all(index.ndim == points for index in indices):
        return (..., *indices, *trailing)
    xp, ndim = array_module(*indices), len(loops) + points
    grid = [xp.arange(n).reshape((n,) + (1,) * (ndim - axis - 1)) for axis, n in enumerate(loops)]
    return (*grid, *indices, *trailing)


def _uploaded(x: Any, indices: tuple[Any, ...], sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """The indices on the device of x. Raises IndexError for one out of range that lies on the CPU, where looking costs no wait."""
    for index, n in zip(indices, sizes, strict=True):
        if isinstance(index, np.ndarray | np.generic) and index.size and not -n <= index.min() <= index.max() < n:
            wrong = index.max() if index.max() >= n else index.min()
            raise IndexError(f"index {wrong} is out of bounds for an axis of length {n}.")
    return tuple([array_module(x).asarray(index) for index in indices])


WORTH_A_CHECK = 1 << 15  # bytes of a result from which on memory of its own costs more than a look at the indices


def _inside(index: Any, n: int) -> Any:
    return (index >= -n) & (index < n)


def _gather(x: Any, *indices: Any, points: int, rest: int) -> Any:
    core = len(indices) + rest
    loops = common_loops((x, core), *[(index, points) for index in indices])
    if any(index.ndim > points for index in indices):
        x = stretched(x, loops + x.shape[x.ndim - core :])
    if not backend_of(x).refuses_indices and gathering.takes(x, indices):
        indices = _uploaded(x, indices, x.shape[len(loops) : x.ndim - rest])
        return gathering.gathered(array_module(x), x, indices, loops, points, rest)
    if _is_taken(x, indices, points):
        return x.take(indices[0], x.ndim - 1 - rest)
    y = x[_full_index(loops, indices, points, rest)]
    return y if y.shape else y[()]  # a single entry is a number, also if the index is an array without axes


def _is_taken(x: Any, indices: tuple[Any, ...], points: int) -> bool:
    """Whether `take` does the same, up to three times as fast: it copies an array with other strides, and takes no uint64."""
    if len(indices) != 1 or not isinstance(x, np.ndarray) or not x.flags.c_contiguous:
        return False
    index = indices[0]
    return bool(index.ndim == points and (index.dtype.kind == "i" or index.dtype.itemsize < 8))


def _write_gather(out: Any, x: Any, *indices: Any, points: int, rest: int) -> None:
    axis = x.ndim - 1 - rest
    if out.nbytes < WORTH_A_CHECK or not (_is_taken(x, indices, points) and out.flags.c_contiguous and x.shape[axis]):
        out[...] = _gather(x, *indices, points=points, rest=rest)
        return
    index, n = indices[0], x.shape[axis]
    if index.min() < -n or index.max() >= n:
        x.take(index, axis)  # which raises NumPy's error
    x.take(index, axis, out=out, mode="wrap")  # the mode "raise" would write into a copy of `out` first


def _gather_adjoint(t: Any, x: Any, *indices: Any, points: int, rest: int) -> Any:
    core = len(indices) + rest
    shape = x.shape[len(x.shape) - core : len(x.shape) - rest]
    return scatter_add(t, *indices, points=points, rest=rest, shape=shape)


def _scatter_add(x: Any, *indices: Any, points: int, rest: int, shape: tuple[int, ...]) -> Any:
    loops = common_loops((x, points + rest), *[(index, points) for index in indices])
    whole = loops + shape + x.shape[x.ndim - rest :]
    x = stretched(x, loops + x.shape[x.ndim - points - rest :])
    if isinstance(x, np.ndarray) and scattering.takes(x, x, indices):
        y = np.zeros(whole, x.dtype)  # the system's zeros: no pass over them
        scattering.scattered(y, x, indices, loops, points, rest, zeroed=True)
        return y
    y = np.empty_like(x, shape=whole, order="C")
    _write_scatter_add(y, x, *indices, points=points, rest=rest, shape=shape)
    return y


def _write_scatter_add(out: Any, x: Any, *indices: Any, points: int, rest: int, shape: tuple[int, ...]) -> None:
    loops = common_loops((x, points + rest), *[(index, points) for index in indices])
    body = x.shape[x.ndim - points - rest :]
    x = stretched(x, loops + body)
    if isinstance(out, np.ndarray) and scattering.takes(out, x, indices):
        scattering.scattered(out, x, indices, loops, points, rest)
        return
    out.fill(0)
    # Call the module's own function, because through NumPy's protocol CuPy refuses a tuple as index.
    xp = array_module(out)
    if not backend_of(out).refuses_indices and indices:
        indices = _uploaded(out, indices, shape)
        if gathering.takes(out, indices, adds=True):
            gathering.scattered(xp, out, x, indices, loops, points, rest)
            return
        for index, n in zip(indices, shape, strict=True):  # CuPy's scatter wraps around: let it add zeros
            inside = _inside(index, n)
            x = np.where(inside.reshape(inside.shape + (1,) * rest), x, x.dtype.type(0))
        indices = tuple([np.where(_inside(index, n), index, 0) for index, n in zip(indices, shape, strict=True)])
    index = _full_index(loops, indices, points, rest)
    if out.dtype.kind != "c" or backend_of(out).adds_complex_at:
        xp.add.at(out, index, x)
    else:
        xp.add.at(out.real, index, x.real)
        xp.add.at(out.imag, index, x.imag)


def _cores(args: tuple[Any, ...], params: dict[str, Any]) -> tuple[int, ...]:
    return (len(args) - 1 + params["rest"], *[params["points"]] * (len(args) - 1))


def _may_be_outside(operands: Any) -> bool:
    """Whether an index may lie outside the array: one that is neither a constant nor checked."""
    return not all(hasattr(index, "value") for index in operands[1:])


def _key(args: Any, params: dict[str, Any]) -> Any:
    """What gathers of one array share if their indices can be put together. None if an index differs along loop axes."""
    indices = args[1:]
    if any(index.ndim != params["points"] for index in indices):
        return None
    return (params["rest"], *[(index.dtype, isinstance(unwrap(index), np.ndarray | np.generic)) for index in indices])


def _joined_adjoints(pieces: list[Any]) -> Any:
    """The sum of the adjoints of several gathers: one scatter_add, of all terms in their order."""
    if len(pieces) == 1:
        ((t, args, params),) = pieces
        return _gather_adjoint(t, *args, **params)
    rest, x = pieces[0][2]["rest"], pieces[0][1][0]
    flat = [
        t.reshape(
            (*t.shape[: t.ndim - params["points"] - rest], math.prod(_points(t, params)), *t.shape[t.ndim - rest :])
        )
        for t, _, params in pieces
    ]
    indices = [
        np.concatenate([index.reshape((-1,)) for index in column])
        for column in zip(*[args[1:] for _, args, _ in pieces], strict=True)
    ]
    return _gather_adjoint(np.concatenate(flat, axis=-1 - rest), x, *indices, points=1, rest=rest)


def _points(t: Any, params: dict[str, Any]) -> Any:
    end = t.ndim - params["rest"]
    return t.shape[end - params["points"] : end]


gather: Linear = linear(
    "gather",
    _gather,
    _gather_adjoint,
    core=_cores,
    write=_write_gather,
    raises=_may_be_outside,
    piece=Gathers(_key, _joined_adjoints),
)
scatter_add: Linear = linear(
    "scatter_add",
    _scatter_add,
    lambda t, x, *indices, points, rest, shape: gather(t, *indices, points=points, rest=rest),
    core=lambda args, params: (params["points"] + params["rest"], *[params["points"]] * (len(args) - 1)),
    write=_write_scatter_add,
    native=native_rows.scatter_add(_write_scatter_add),
    raises=_may_be_outside,
)


def _winners(index: Any, *, size: int) -> Any:
    """For each point of `index`, the number of the last point with the same index."""
    xp, m = array_module(index), index.shape[-1]
    loops = index.shape[:-1]
    last = xp.zeros((*loops, size), dtype=np.int64)
    full = _full_index(loops, (index,), 1, 0) if loops else (index,)
    numbers = xp.broadcast_to(xp.arange(m), index.shape)
    if backend_of(index).keeps_last_duplicate:
        last[full] = numbers
    else:
        xp.maximum.at(last, full, numbers)
    return last[full]


def _write_labels(out: Any, x: Any, *, classes: int, of: str) -> None:
    if backend_of(x).reads_at_once and x.size and not 0 <= x.min() <= x.max() < classes:
        place = tuple(map(int, np.argwhere((x < 0) | (x >= classes))[0]))
        first = f" The first wrong one is {x[place]}, at index {place}." if place else ""
        raise RangeError(
            f"{of}: labels lie between {x.min()} and {x.max()}, but there are {classes} classes.{first}"
        )
    out[...] = x


def _labels(x: Any, *, classes: int, of: str) -> Any:
    if not backend_of(x).reads_at_once:  # a look at the labels would wait: only `debug` looks
        return x
    y = np.empty_like(x)
    _write_labels(y, x, classes=classes, of=of)
    return y


# x, if its entries are labels of so many classes. It is an operation, so compiled code also checks, and `debug` does on a GPU.
labels = discrete("labels", _labels, write=_write_labels, raises=True, checked=True)


def _write_ids(out: Any, x: Any, *, count: int, of: str, holder: str) -> None:
    if backend_of(x).reads_at_once and x.size and not 0 <= x.min() <= x.max() < count:
        raise RangeError(refused_ids(x, count=count, of=of, holder=holder))
    out[...] = x


def refused_ids(x: Any, *, count: int, of: str, holder: str) -> str:
    """The message for ids out of range; `holder` says what has `count` rows."""
    return f"{of}: ids lie between {int(x.min())} and {int(x.max())}, but {holder}, so ids go from 0 to {count - 1}."


def _ids(x: Any, *, count: int, of: str, holder: str) -> Any:
    if not backend_of(x).reads_at_once:  # a negative id would count from the end; so it is as far outside as one too large
        return x if x.dtype.kind == "u" else np.where(x < 0, np.int64(count), x)
    y = np.empty_like(x)
    _write_ids(y, x, count=count, of=of, holder=holder)
    return y


# x, if its entries are numbers of `count` rows: as `labels`.
ids = discrete("ids", _ids, write=_write_ids, raises=True, checked=True)

winners = discrete("winners", _winners, core=1)


def _searchsorted(x: Any, v: Any, *, points: int, side: str) -> Any:
    xp = array_module(x, v)
    if xp is not np and (isinstance(x, np.ndarray) or isinstance(v, np.ndarray)):
        raise TypeError("arrays of two devices")  # which CuPy says by NotImplementedError
    if x.ndim == 1:
        return xp.searchsorted(x, v, side=side)
    loops = common_loops((x, 1), (v, points))
    lines, sought = np.broadcast_to(x, loops + x.shape[-1:]), np.broadcast_to(v, loops + v.shape[v.ndim - points :])
    y = xp.empty(sought.shape, dtype=np.int64)
    for loop in np.ndindex(loops):
        y[loop] = xp.searchsorted(lines[loop], sought[loop], side=side)
    return y


# x (..., n) sorted, v (..., *points) -> (..., *points): the position in x where each v belongs.
searchsorted = discrete("searchsorted", _searchsorted, core=lambda args, params: (1, params["points"]))


def _put(x: Any, v: Any, index: Any) -> Any:
    loops = common_loops((x, 1), (v, 1), (index, 1))
    if not backend_of(x).refuses_indices and x.shape[-1]:
        return _put_on_gpu(x, v, index, loops)
    y = np.broadcast_to(x, loops + x.shape[-1:]).astype(np.result_type(x.dtype, v.dtype), copy=True)
    y[_full_index(loops, (index,), 1, 0)] = v
    return y


def _put_on_gpu(x: Any, v: Any, index: Any, loops: tuple[int, ...]) -> Any:
    """`put` where every duplicate writes the winner's value, and an index out of range writes into one more entry, which is cut off."""
    n = x.shape[-1]
    (index,) = _uploaded(x, (index,), (n,))
    index = np.broadcast_to(np.where(_inside(index, n), np.where(index < 0, index + n, index), n), loops + index.shape[-1:])
    v = np.take_along_axis(np.broadcast_to(v, index.shape), _winners(index, size=n + 1), axis=-1)
    y = np.empty_like(x, shape=(*loops, n + 1), dtype=np.result_type(x.dtype, v.dtype))
    y[..., :n] = x
    y[_full_index(loops, (index,), 1, 0)] = v
    return y[..., :n].copy()


def _put_adjoint_of_v(t: Any, x: Any, v: Any, index: Any) -> Any:
    taken = gather(t, index, points=1, rest=0)
    numbers = np.broadcast_to(array_module(index).arange(index.shape[-1]), index.shape)
    return np.where(winners(index, size=x.shape[-1]) == numbers, taken, 0)


put: Linear = linear(
    "put",
    _put,
    lambda t, x, v, index: put(t, np.zeros_like(gather(t, index, points=1, rest=0)), index),
    _put_adjoint_of_v,
    None,
    core=1,
    raises=lambda operands: not hasattr(operands[-1], "value"),
)
