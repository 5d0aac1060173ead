"""Rows of the laws of collectives: each operation beside a model in NumPy, which has the arrays of all ranks in a list."""

from typing import Any, NamedTuple

import numpy as np

from fdezero import distributed


class Row(NamedTuple):
    """`call(tree, world)` is the library's; `model(xs)` takes a list with the array of each rank, and returns such a list.

    `shape(size)` is a shape that the operation takes. `linear` is whether the global map is linear.
    """

    name: str
    call: Any
    model: Any
    shape: Any = lambda size: (2, 3)
    linear: bool = True

    def __str__(self) -> str:
        return self.name


def alike(reduced: Any) -> Any:
    return lambda xs: [reduced(np.stack(xs))] * len(xs)


def scattered(axis: int) -> Any:
    def model(xs: list[Any]) -> list[Any]:
        return np.split(np.stack(xs).sum(0), len(xs), axis=axis)

    return model


def rolled(step: int) -> Any:
    return lambda xs: [xs[(rank - step) % len(xs)] for rank in range(len(xs))]


def mirrored(xs: list[Any]) -> list[Any]:
    return xs[::-1]


ROWS = [
    Row("all_reduce-sum", lambda x, w: w.all_reduce(x), alike(lambda x: x.sum(0))),
    Row("all_reduce-mean", lambda x, w: distributed.all_reduce(x, w, "mean"), alike(lambda x: x.mean(0))),
    Row("all_reduce-max", lambda x, w: w.all_reduce(x, "max"), alike(lambda x: x.max(0)), linear=False),
    Row("all_reduce-min", lambda x, w: w.all_reduce(x, op="min"), alike(lambda x: x.min(0)), linear=False),
    Row("all_gather", lambda x, w: w.all_gather(x), lambda xs: [np.concatenate(xs)] * len(xs)),
    Row("all_gather-axis1", lambda x, w: distributed.all_gather(x, w, axis=1), lambda xs: [np.concatenate(xs, axis=1)] * len(xs)),
    Row("all_gather-last", lambda x, w: w.all_gather(x, axis=-1), lambda xs: [np.concatenate(xs, axis=-1)] * len(xs)),
    Row("reduce_scatter", lambda x, w: w.reduce_scatter(x), scattered(0), lambda size: (2 * size, 3)),
    Row("reduce_scatter-last", lambda x, w: distributed.reduce_scatter(x, w, axis=-1), scattered(-1), lambda size: (2, 3 * size)),
    Row("broadcast", lambda x, w: w.broadcast(x), lambda xs: [xs[0]] * len(xs)),
    Row("broadcast-last", lambda x, w: distributed.broadcast(x, w, root=w.size - 1), lambda xs: [xs[-1]] * len(xs)),
    Row("permute-ring", lambda x, w: w.permute(x, 1), rolled(1)),
    Row("permute-back", lambda x, w: w.permute(x, -1), rolled(-1)),
    Row("permute-mirror", lambda x, w: distributed.permute(x, w, range(w.size - 1, -1, -1)), mirrored),
]  # fmt: skip
NAMES = [row.name for row in ROWS]


def row_of(name: str) -> Row:
    """Tests take the name of a row, because rows do not travel to other processes."""
    return ROWS[NAMES.index(name)]


def arrays(world: Any, row: Row, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    """The arrays of all ranks: every rank draws all of them, so each one knows the model's results."""
    rng = np.random.default_rng(seed)
    return [drawn(rng, row.shape(world.size), np.dtype(dtype)) for _ in range(world.size)]


def drawn(rng: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, 20, shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def matrix(row: Row, size: int) -> Any:
    """The global linear map of a row, column by column: all ranks' entries side by side."""
    shape = row.shape(size)
    count = size * int(np.prod(shape))
    return np.stack([flat(row.model(list(unit.reshape(size, *shape)))) for unit in np.eye(count)], axis=1)


def flat(xs: Any) -> Any:
    return np.concatenate([np.ravel(x) for x in xs])


def parts(vector: Any, size: int, rank: int, shape: tuple[int, ...]) -> Any:
    """One rank's part of the entries of all ranks."""
    return vector.reshape(size, -1)[rank].reshape(shape)
