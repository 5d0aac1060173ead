"""Forms of indexing by integer arrays: gather, its adjoint, and put."""

from typing import Any

import numpy as np

from ..sizes import is_sized
from .shapes import stretched
from .table import form


def _index(w: Any, atom: Any) -> str:
    return str(w.read(atom, np.int64))


@form("gather")
def _gather(w: Any, step: Any) -> str:
    x, *indices = step.inputs
    points, rest = step.params["points"], step.params["rest"]
    if len(indices) == 1 and len(indices[0].shape) == points:
        return str(w.emit("Gather", w.read(x), _index(w, indices[0]), axis=len(x.shape) - rest - 1))
    loops, shape = _of_points(step, points, rest, step.output.shape)
    core = len(indices) + rest
    source = stretched(w, w.read(x), x.shape, (*loops, *x.shape[len(x.shape) - core :]))
    return str(w.emit("GatherND", source, _places(w, indices, (*loops, *shape)), batch_dims=len(loops)))


def _of_points(step: Any, points: int, rest: int, whole: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The loop axes of `whole` (*loops, *points, *rest), and its points."""
    stop = len(whole) - rest
    return tuple(whole[: stop - points]), tuple(whole[stop - points : stop])


def _places(w: Any, indices: Any, shape: tuple[int, ...]) -> str:
    """k indices as one array (*shape, k)."""
    last = w.ints([-1])
    columns = [w.emit("Unsqueeze", stretched(w, _index(w, index), index.shape, shape), last) for index in indices]
    return str(w.emit("Concat", *columns, axis=-1) if len(columns) > 1 else columns[0])


def _with_loops(w: Any, places: str, loops: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The places with the positions of the loop axes in front."""
    grid = []
    for axis, n in enumerate(loops):
        column = [-1 if i == axis else 1 for i in range(len(shape) + 1)]
        if is_sized(n):
            count = w.emit("Squeeze", w.size(n))
            line = w.emit("Range", w.constant(np.int64(0)), count, w.constant(np.int64(1)))
            line = w.emit("Reshape", line, w.ints(column))
        else:
            line = w.constant(np.arange(n).reshape(column))
        grid.append(w.emit("Expand", line, w.ints([*shape, 1])))
    return str(w.emit("Concat", *grid, places, axis=-1) if grid else places)


@form("scatter_add")
def _scatter_add(w: Any, step: Any) -> str:
    x, *indices = step.inputs
    params, y = step.params, step.output
    loops, shape = _of_points(step, params["points"], params["rest"], x.shape)
    outer, most = len(y.shape) - len(params["shape"]) - params["rest"], len(loops) + params["points"]
    alone = outer > len(loops) or any(len(index.shape) > most for index in indices)
    if alone:
        raise w.give_up("has loop axes that only the indices have, which has no form in ONNX.")
    places = _with_loops(w, _places(w, indices, (*loops, *shape)), loops, (*loops, *shape))
    zeros = w.emit("Expand", w.constant(np.zeros((), y.dtype)), w.ints(y.shape))
    return str(w.emit("ScatterND", zeros, places, w.read(x, y.dtype), reduction="add"))


@form("put")
def _put(w: Any, step: Any) -> str:
    x, v, index = step.inputs
    y = step.output
    loops = tuple(y.shape[:-1])
    shape = (*loops, index.shape[-1])
    places = _with_loops(w, _places(w, [index], shape), loops, shape)
    data = stretched(w, w.read(x, y.dtype), x.shape, y.shape)
    return str(w.emit("ScatterND", data, places, stretched(w, w.read(v, y.dtype), v.shape, shape)))
