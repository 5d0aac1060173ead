"""Leaf by leaf: how updates are computed and applied, in which dtype, and whether trees fit the parameters.

Gradients and updates of float16 and bfloat16 parameters are float32 on their way through transformations, and so is what a state holds of
them. The parameter is rounded once, after the update is added.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..devices import CPU, backend_of
from ..errors import DTypeError, ShapeError, StructureError
from ..messages import describe
from ..numpy.elementwise import cast
from ..numpy.precision import SINGLE, narrowed, widened
from ..ops.roots import length
from ..tree import Frozen
from ..tree.marks import is_marked
from ..tree.wholes import has_parts, lone
from ..values import WIDE, is_half, is_inexact

__all__ = ["apply_updates", "global_norm"]


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf; a leaf whose update is None stays as it is. Raises as `step` does."""
    return applied(params, *trees.flatten_trainable(params), updates)


def refuse_parts(name: str, params: Any) -> None:
    """Raise StructureError for a layer that is cut over ranks: norms and means would be those of parts, and ranks would drift apart."""
    if not lone(params):
        raise StructureError(
            f"{name} looks at whole arrays, but this rank holds a part of {has_parts(params)}, so ranks would drift apart. Use what moves "
            "each entry on its own, such as adam and clip."
        )


def applied(params: Any, leaves: list[Any], treedef: Any, updates: Any) -> Any:
    """`apply_updates` for parameters that are flattened already."""
    found = fitted(params, leaves, treedef, updates, "updates")
    return trees.unflatten(treedef, [p if u is None else moved(p, u) for p, u in zip(leaves, found, strict=True)])


def moved(p: Any, move: Any) -> Any:
    """p + move in the dtype of p."""
    half = half_dtype(p)
    return p + move if half is None else narrowed(widened(p) + move, half)


def half_dtype(p: Any) -> Any:
    """The dtype of a parameter that is float16 or bfloat16, else None."""
    dtype = getattr(p, "dtype", None)
    return dtype if dtype not in WIDE and is_half(dtype) else None


def moved_in_place(p: Any, move: Any) -> Any:
    """p + move in the dtype of p, written into the array of `move`, which nobody else holds."""
    if p.__class__ is move.__class__ is np.ndarray:
        move += p
        return move if p.dtype == move.dtype else move.astype(p.dtype)
    return moved(p, move)


def global_norm(tree: Any) -> Any:
    """The Euclidean norm of all leaves together, computed in float32 or wider: a tree -> a scalar.

    Complex leaves count by their absolute values. Squares that would overflow or vanish do no harm. The derivative at 0 is 0.
    """
    total: Any = np.float32(0)
    for leaf in map(fnp.asarray, trees.leaves(tree)):
        x = magnitude(leaf if is_inexact(leaf.dtype) else cast(leaf, float))
        total = fnp.hypot(total, length(x, axes=tuple(range(-x.ndim, 0)), keepdims=False))
    return total


# Trees that fit


def side_by_side(params: Any, others: Any, name: str) -> tuple[list[Any], list[Any], Any]:
    """The leaves of `params`, those of their `grads` or `updates`, and the structure. Raises if they do not fit."""
    leaves, treedef = trees.flatten_trainable(params)
    return leaves, fitted(params, leaves, treedef, others, name), treedef


def fitted(params: Any, leaves: list[Any], treedef: Any, others: Any, name: str) -> list[Any]:
    """The leaves of the `grads` or `updates`. Raises if they do not fit the parameters, whose leaves and structure are given."""
    found, structure = trees.flatten_trainable(others)
    if structure != treedef:
        error = trees.structure_error(trees.trainable(params), others, "params", name)
        are_dicts = isinstance(params, dict) and isinstance(others, dict)
        if name == "grads" and (type(params) is not type(others) or (are_dicts and not params.keys() & others.keys())):
            error = StructureError(f"{error} {ORDER}")
        raise error
    if name == "grads" and is_marked(params) and not is_marked(others):
        path = next(iter(trees.paths(params)), "")
        raise StructureError(
            f"step got gradients in place of the parameters, as grad made them, at {path or 'the root'}, and other values in place of "
            f"the gradients. {ORDER} To step from a gradient on purpose, copy it: fd.tree.map(np.copy, gradient)."
        )
    for i, (leaf, other) in enumerate(zip(leaves, found, strict=True)):
        if other is not None and not _fits(leaf, narrowed_like(leaf, other)):
            path = trees.flatten_with_path(params, none_is_leaf=True, namespace=trees.TRAINABLE)[i][0]
            raise _misfit({"grads": "gradient", "updates": "update"}[name], path, leaf, other)
        if leaf.__class__ is float:
            found[i] = weak(other)  # so that their sum is a Python float again
    return found


def narrowed_like(leaf: Any, update: Any) -> Any:
    """A gradient or an update in float16 or bfloat16 if the parameter is: float32 fits as well."""
    half = half_dtype(leaf)
    return update if half is None else narrowed(update, half)


def _fits(leaf: Any, other: Any) -> bool:
    try:
        return bool(leaf.shape == other.shape and leaf.dtype == other.dtype) and is_inexact(leaf.dtype)
    except AttributeError:  # a Python number
        return trees.is_differentiable(leaf) and getattr(leaf, "shape", ()) == getattr(other, "shape", ())


def _misfit(what: str, path: str, leaf: Any, other: Any) -> Exception:
    if leaf is None or isinstance(other, Frozen):
        return StructureError(
            f"the {what} of {path or 'the parameter'} is {describe(other)}, the parameter {describe(leaf)}: gradients have None for "
            f"integers and what is frozen, parameters do not. Are params and grads swapped? {ORDER}"
        )
    text = f"the {what} of {path or 'the parameter'} is {describe(other)}, the parameter {describe(leaf)}"
    if not trees.is_differentiable(leaf):
        return DTypeError(f"{text}, which has no {what}: give None there.")
    if getattr(leaf, "shape", ()) != getattr(other, "shape", ()):
        return ShapeError(f"{text}; shapes must agree.")
    return DTypeError(f"{text}; dtypes must agree: {what}.astype({str(leaf.dtype)!r}).")


def leafwise(
    function: Callable[..., Any], grads: Any, *others: Any, names: tuple[str, ...], first: str = "grads"
) -> Any:
    """The tree of `function(gradient, *leaves_of_others)`. `names` say in errors what the others are, as in "the state's mean".
    `first` is the name of the first tree there, if its leaves are no gradients.

    Raises StructureError or ShapeError with the path at which another tree has another structure, or a leaf another shape.
    """
    leaves, treedef = trees.flatten(grads)
    columns = [leaves]
    for other, name in zip(others, names, strict=True):
        column, structure = trees.flatten(other)
        if structure != treedef:
            raise trees.structure_error(grads, other, first, name)
        if [_shape(g) for g in leaves] != [_shape(leaf) for leaf in column]:
            raise _other_shape(grads, column, name, first)
        columns.append(column)
    return trees.unflatten(treedef, [function(*row) for row in zip(*columns, strict=True)])


ORDER = "The order is step(params, grads, state)."
_NUMBER = ()  # the shape of a number


def _shape(leaf: Any) -> Any:
    return getattr(leaf, "shape", _NUMBER)


def _other_shape(grads: Any, column: list[Any], name: str, first: str) -> ShapeError:
    known = zip(trees.flatten_with_path(grads), column, strict=True)
    path, g, leaf = next((path, g, leaf) for (path, g), leaf in known if _shape(g) != _shape(leaf))
    if first != "grads":
        return ShapeError(
            f"{name} of {path or 'the parameter'} is {describe(leaf)}, {first} has {describe(g)} there; shapes must agree."
        )
    return ShapeError(
        f"{name} of {path or 'the parameter'} is {describe(leaf)}, its gradient {describe(g)}; shapes must agree. "
        "Pass the state that this optimiser made of these parameters, opt.init(params), or its last one."
    )


# Numbers


def weak(number: Any) -> Any:
    """A NumPy number as a Python number, whose dtype is weak; anything else as it is."""
    return number.item() if isinstance(number, np.generic | np.ndarray) and number.ndim == 0 else number


def times(x: Any, factor: Any) -> Any:
    """x * factor in the dtype of x, or in float32 for float16."""
    x = widened(x)
    return x * in_dtype_of(x, factor)


def times_all(tree: Any, factor: Any) -> Any:
    """Every leaf times `factor`, as `times` does it."""
    return trees.map(lambda x: times(x, factor), tree)


def zeros_of(p: Any) -> Any:
    """Zeros for a state: in the shape and dtype of the parameter, or in float32 for float16."""
    return fnp.zeros_like(p, dtype=None if half_dtype(p) is None else SINGLE)


def zero_beside(params: Any, dtype: Any) -> Any:
    """The number 0 where operations on these parameters leave numbers: a NumPy number, or an array without axes on their GPU."""
    for leaf in trees.leaves(trees.trainable(params)):
        if backend_of(leaf) is not CPU:
            return fnp.zeros_like(leaf, dtype=dtype, shape=())
    return np.zeros((), dtype)[()]


def in_dtype_of(x: Any, number: Any) -> Any:
    """`number` in the dtype of x, unless it or x is a Python number, whose dtype is weak."""
    if not (hasattr(number, "dtype") and hasattr(x, "dtype")):
        return number
    y = cast(number, x.dtype)
    return y[()] if y.shape == () and backend_of(x) is not backend_of(y) is CPU else y  # an array cannot go to a GPU


def magnitude(x: Any) -> Any:
    """|x| for a complex x, x itself for a real one: what squares are made of. float16 becomes float32."""
    return fnp.absolute(x) if getattr(x, "dtype", np.dtype(float)).kind == "c" else widened(x)
