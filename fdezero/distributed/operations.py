"""Operations over the ranks of a world, on arrays and whole trees: sums, gathers, broadcasts, permutations, and a barrier."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Tracer, unwrap
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..foreign import accepted
from ..messages import describe
from ..ops import collectives
from ..values import dtype_of, is_complex, is_inexact, kind_of, shape_of, with_shape

__all__ = ["all_gather", "all_reduce", "barrier", "broadcast", "permute", "reduce_scatter"]

OPS = ("sum", "mean", "max", "min")


def all_reduce(tree: Any, world: Any, op: str = "sum") -> Any:
    """Every leaf reduced over all ranks, entry by entry: the same result on every rank. `op` is "sum", "mean", "max" or "min".

    All leaves of a dtype travel in one message. dtypes stay, but bools are counted in int64, and the mean of integers is
    float64. float16 and bfloat16 are added in float32. Ranks that share an extreme share its derivative.

    A gradient is that of the sum of all ranks' functions. So the gradient of a sum over ranks is a sum over ranks.
    Raises StructureError, naming the leaf, for one that is not an array or a number; DTypeError for the greatest of complex numbers.
    """
    _check_world(world, "all_reduce")
    if op not in OPS:
        raise RangeError(f"all_reduce: op is one of {', '.join(OPS)}; got {op!r}.")

    def prepared(x: Any) -> Any:
        kind = dtype_of(x).kind
        if op in ("max", "min") and is_complex(x):
            raise DTypeError(f"all_reduce: complex numbers do not have a {op}, but the leaf is {describe(x)}.")
        if op == "sum" and kind == "b":
            return _cast(x, np.int64)
        if op == "mean" and not is_inexact(dtype_of(x)):
            return _cast(x, np.float64)
        return x

    made = collectives.AllReduce if op in ("sum", "mean") else collectives.Extreme
    return _over(tree, world, "all_reduce", lambda leaves: made(world, op), prepared)


def all_gather(tree: Any, world: Any, axis: int = 0) -> Any:
    """The arrays of all ranks joined along `axis`, in the order of ranks: x (n, ...) -> (size * n, ...). Numbers become (size,).

    Shapes must be equal on all ranks. Raises StructureError as `all_reduce` does; ShapeError for an axis that a leaf does not have.
    """
    _check_world(world, "all_gather")
    whole = _whole_number(axis, "all_gather", "axis")

    def prepared(x: Any) -> Any:
        x = with_shape(x)
        return x.reshape((1,)) if not x.shape else x

    return _over(
        tree, world, "all_gather", lambda leaves: collectives.AllGather(world, _axes(leaves, whole)), prepared, whole
    )


def reduce_scatter(tree: Any, world: Any, axis: int = 0) -> Any:
    """This rank's part, along `axis`, of the sum over ranks: x (size * n, ...) -> (n, ...). The inverse of `all_gather` for shapes.

    Raises ShapeError, naming the leaf, if its length along the axis is not a multiple of the number of ranks.
    """
    _check_world(world, "reduce_scatter")
    whole = _whole_number(axis, "reduce_scatter", "axis")

    def prepared(x: Any) -> Any:
        x = with_shape(x)
        shape = shape_of(x)
        if -len(shape) <= whole < len(shape) and shape[whole] % world.size:
            raise ShapeError(
                f"reduce_scatter cuts axis {axis} into {world.size} equal parts, one for each rank, but the leaf is {describe(x)}."
            )
        return x.astype(np.int64) if dtype_of(x).kind == "b" else x

    made = lambda leaves: collectives.ReduceScatter(world, _axes(leaves, whole))
    return _over(tree, world, "reduce_scatter", made, prepared, whole)


def broadcast(tree: Any, world: Any, root: int = 0) -> Any:
    """The leaves of rank `root`, on every rank. All ranks pass a tree of the same structure, shapes and dtypes.

    The gradient of the root's leaves is the sum over ranks; that of all others is 0.
    """
    _check_world(world, "broadcast")
    number = _whole_number(root, "broadcast", "root")
    if not 0 <= number < world.size:
        raise RangeError(f"broadcast: root is a rank from 0 to {world.size - 1}; got {root}.")
    return _over(tree, world, "broadcast", lambda leaves: collectives.Broadcast(world, number))


def permute(tree: Any, world: Any, to: int | Sequence[int]) -> Any:
    """The leaves of another rank: what rank r has goes to rank `to[r]`. A number n is a ring, where rank r sends to r + n.

    Raises RangeError if `to` does not name every rank once.
    """
    _check_world(world, "permute")
    if hasattr(to, "__index__") and not np.ndim(to):
        step = operator.index(to)
        places = tuple([(rank + step) % world.size for rank in range(world.size)])
    elif isinstance(to, Iterable) and not isinstance(to, str | Mapping | Set):
        places = tuple([_whole_number(rank, "permute", "to") for rank in to])
    else:
        raise RangeError(f"permute: to is a number of ranks to go on, or one rank for each rank; got {to!r}.")
    if sorted(places) != list(range(world.size)):
        raise RangeError(f"permute: to names every rank from 0 to {world.size - 1} once; got {list(places)}.")
    return _over(tree, world, "permute", lambda leaves: collectives.Permute(world, places))


def barrier(world: Any) -> None:
    """Wait until all ranks have come here."""
    _check_world(world, "barrier")
    if world.size > 1:
        collectives.Barrier(world)()


def _check_world(world: Any, name: str) -> None:
    if not hasattr(world, "messages"):
        hint = " Call it: fd.distributed.world()." if callable(world) else ""
        raise StructureError(f"{name}: a world is what fd.distributed.world() returns, got {describe(world)}.{hint}")


def _over(
    tree: Any,
    world: Any,
    name: str,
    made: Callable[[list[Any]], Any],
    prepared: Callable[[Any], Any] = lambda x: x,
    axis: int | None = None,
) -> Any:
    """The collective `made(leaves)` on the prepared leaves of a tree. In a world of one it is the identity."""
    leaves, treedef = trees.flatten(tree)
    try:
        for place, leaf in enumerate(leaves):
            leaves[place] = prepared(_checked(leaf, name))
            _check_axis(leaves[place], name, axis)
    except (DTypeError, ShapeError, StructureError) as error:
        raise error.under(trees.paths(tree)[place]) from None
    if world.size == 1:
        return trees.unflatten(treedef, [_own(x) for x in leaves])
    if not leaves:
        return tree
    collective = made(leaves)
    collective.tree = treedef
    return trees.unflatten(treedef, collective(*leaves))


def _own(x: Any) -> Any:
    """The leaf as the result of a world of one: an array of its own, as in a world of many."""
    if isinstance(x, Tracer):
        plain = unwrap(x)
        is_dense = not hasattr(plain, "strides") or plain.strides == np.empty_like(plain).strides
        return x if is_dense or plain.dtype.kind == "b" else np.positive(x)  # which lies in memory as a plain copy does
    if isinstance(x, np.generic):
        return x
    return x.copy("K") if hasattr(x, "dtype") else np.asarray(x)[()]


def _cast(x: Any, dtype: Any) -> Any:
    return x.astype(dtype) if hasattr(x, "astype") else dtype(x)


def _checked(x: Any, name: str) -> Any:
    x = accepted(x)
    dtype = getattr(x, "dtype", None)
    if isinstance(x, bool | int | float | complex):
        if isinstance(x, int) and np.asarray(x).dtype == object:
            raise DTypeError(f"{name}: the whole number {x} does not fit into 64 bits. Pass a float.")
        return x
    if hasattr(x, "shape") and (kind_of(dtype) in "biufc" if isinstance(dtype, np.dtype) else hasattr(x, "level")):
        return x if dtype is None or dtype.isnative else x.astype(dtype.newbyteorder("="))  # as NumPy's sums are
    raise StructureError(f"{name} takes arrays and numbers, but a leaf is {describe(x)}.")


def _check_axis(x: Any, name: str, axis: int | None) -> None:
    if axis is not None and not -len(shape_of(x)) <= axis < len(shape_of(x)):
        raise ShapeError(f"{name} works along axis {axis}, which the leaf {describe(x)} does not have.")


def _axes(leaves: Sequence[Any], axis: int) -> tuple[int, ...]:
    """The axis of each leaf, counted from the end."""
    return tuple([axis if axis < 0 else axis - len(x.shape) for x in leaves])


def _whole_number(value: Any, name: str, argument: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise RangeError(f"{name}: {argument} is a whole number; got {value!r}.")
    return operator.index(value)
