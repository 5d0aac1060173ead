"""Batching for users: vmap."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core.batch import Batch, BatchTracer
from ..core.cotangents import total
from ..core.owners import own
from ..core.wrapping import Transformed
from ..errors import ShapeError, StructureError
from ..foreign import accepted
from ..messages import describe
from ..values import shape_of, with_shape
from .arguments import name_of

Axes = Any  # an int, None, or a tree of them that is a prefix of the argument


def vmap(
    function: Callable[..., Any],
    in_axes: Axes = 0,
    out_axes: Axes = 0,
    *,
    axis_size: int | None = None,
    axis_name: str | None = None,
) -> Callable[..., Any]:
    """Map `function` over a batch axis of its arguments. The function runs once, on batched operations.

    `in_axes`: the batch axis of every positional argument, or a tuple with one entry for each argument. An entry is an int,
    None (not batched), or a tree of these that is a prefix of the argument. Keyword arguments are not batched.
    `out_axes`: the position of the batch axis in the results, in the same form; None for a result without the batch axis.
    `axis_size`: the size of the batch, needed only if no argument has a batch axis.
    `axis_name`: a name for the batch axis, for `fd.pmean` and `fd.psum` inside the function.

    Raises ShapeError if there is no batch axis or if sizes differ, naming the leaves; StructureError if axes are not a prefix of
    an argument or a result.
    """

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return mapped(name_of("vmap", function), function, args, kwargs, in_axes, out_axes, axis_size, axis_name)

    return Transformed(vmap, function, run, in_axes, out_axes, axis_size=axis_size, axis_name=axis_name)


def mapped(
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    in_axes: Axes = 0,
    out_axes: Axes = 0,
    axis_size: int | None = None,
    axis_name: str | None = None,
) -> Any:
    """The results of `vmap(function)(*args, **kwargs)`; messages use the name of the transform that the user called."""
    per_argument = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    if len(per_argument) != len(args):
        raise ShapeError(f"{name}: in_axes names {len(per_argument)} arguments, but {len(args)} were given.")
    leaves, treedef = trees.flatten(args)
    axes = [
        axis for i, (axis, arg) in enumerate(zip(per_argument, args, strict=True))
        for axis in _spread(name, axis, arg, "in_axes", f"argument {i}")
    ]  # fmt: skip
    taken = [leaf if axis is None else accepted(leaf) for leaf, axis in zip(leaves, axes, strict=True)]
    if any(new is not old for new, old in zip(taken, leaves, strict=True)):
        leaves, args = taken, trees.unflatten(treedef, taken)
    level = Batch(name, _batch_size(name, args, axes, axis_size), axis_name)
    traced = [
        leaf if axis is None else BatchTracer(level, _to_front(leaf, axis))
        for leaf, axis in zip(leaves, axes, strict=True)
    ]
    try:
        result = function(*trees.unflatten(treedef, traced), **kwargs)
    finally:
        level.alive = False
    outputs, out_def = trees.flatten(result)
    places = _spread(name, out_axes, result, "out_axes", "the result")
    mask = [level.owns(leaf) or axis is not None for leaf, axis in zip(outputs, places, strict=True)]
    found = [_out(level, leaf, axis) for leaf, axis in zip(outputs, places, strict=True)]
    del result, outputs
    return trees.unflatten(out_def, own(found, mask))


def _spread(name: str, axes: Axes, tree: Any, called: str, of: str) -> list[int | None]:
    """One axis for each leaf of `tree`, from a prefix tree of axes."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        return [axes] * len(trees.leaves(tree))
    prefix, treedef = trees.flatten(axes, none_is_leaf=True)
    if len(prefix) == 1 and prefix[0] is axes:
        raise StructureError(
            f"{name}: {called} has {axes!r} for {of}; an axis is an int, or None for an argument without a batch axis."
        )
    try:
        parts = treedef.flatten_up_to(tree)
    except ValueError:
        raise StructureError(
            f"{name}: {called} {axes!r} is not a prefix of {of}, whose leaves are {', '.join(trees.paths(tree)) or 'none'}. Pass one axis "
            "for all leaves, or a tree of the same containers."
        ) from None
    return [axis for entry, part in zip(prefix, parts, strict=True) for axis in _spread(name, entry, part, called, of)]


def _batch_size(name: str, args: Any, axes: list[int | None], axis_size: int | None) -> int:
    sizes: dict[int, str] = {} if axis_size is None else {axis_size: f"axis_size={axis_size}"}
    for (path, leaf), axis in zip(trees.flatten_with_path(args), axes, strict=True):
        if axis is None:
            continue
        shape = shape_of(leaf)
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                f"{name}: argument {path} is {describe(leaf)} and has no axis {axis} to map over. "
                "Pass in_axes=None for arguments without a batch axis, as in in_axes=(None, 0)."
            )
        sizes.setdefault(shape[axis], f"argument {path} {describe(leaf)} (axis {axis})")
    if not sizes:
        raise ShapeError(
            f"{name}: no argument has a batch axis: in_axes is None for all of them. Pass in_axes or axis_size."
        )
    if len(sizes) > 1:
        raise ShapeError(f"{name}: the batch axes differ in size: {', '.join(sizes.values())}.")
    return next(iter(sizes))


def _to_front(leaf: Any, axis: int) -> Any:
    return leaf if axis == 0 else np.moveaxis(leaf, axis, 0)


def _out(level: Batch, leaf: Any, axis: int | None) -> Any:
    is_batched = level.owns(leaf)
    if axis is None:
        if is_batched:
            raise ShapeError(
                f"{level.name}: out_axes is None for the result {describe(leaf)}, which is batched; pass the axis."
            )
        return leaf
    leaf = with_shape(leaf)
    value = leaf.value if is_batched else np.broadcast_to(leaf, (level.size, *leaf.shape))
    if not -value.ndim <= axis < value.ndim:
        raise ShapeError(
            f"{level.name}: out_axes is {axis}, but with its batch axis the result has {value.ndim} axes: {describe(value)}."
        )
    return value if axis == 0 else np.moveaxis(value, 0, axis)


def in_axes_of(is_batched: Sequence[bool]) -> tuple[int | None, ...]:
    """The `in_axes` of arguments that have their batch axis in front or have none."""
    return tuple([0 if batched else None for batched in is_batched])


def over_the_batch(gradients: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
    """Gradients of batched arguments from the gradients of each example. An argument shared by all examples gets their sum."""
    return tuple(
        [t if t is None or axis == 0 else total(t, (0,), False) for t, axis in zip(gradients, axes, strict=True)]
    )
