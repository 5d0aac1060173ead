"""Gradient transformations: pairs of `init` and `update`, their chains, and how updates are applied.

Gradients and updates of float16 parameters are float32 on their way through transformations, and so is what a state holds of
them. The parameter is rounded once, after the update is added.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..errors import DTypeError, ShapeError, StructureError
from ..messages import describe
from ..numpy.elementwise import cast
from ..numpy.precision import HALF, SINGLE, narrowed, widened
from ..ops.roots import length

Tree: TypeAlias = Any
State: TypeAlias = Any
Params = TypeVar("Params")
Rate: TypeAlias = Any  # float | Array | Callable[[step], float | Array]

__all__ = ["GradientTransformation", "apply_updates", "chain", "global_norm"]


@attrs.frozen
class GradientTransformation:
    """`init(params) -> state` and `update(grads, state, params) -> (updates, state)`, pure functions.

    `step` adds the updates to the params. Gradients and updates have the structure of `fd.tree.trainable(params)`: None for
    integers and Frozen subtrees. The updates of float16 parameters are float32.
    """

    init: Callable[[Tree], State]
    update: Callable[[Tree, State, Tree], tuple[Tree, State]]

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the new state.

        Raises StructureError, ShapeError or DTypeError that names the first leaf whose gradient does not fit.
        """
        side_by_side(params, grads, "grads")
        updates, state = self.update(grads, state, params)
        return apply_updates(params, updates), state


@attrs.frozen
class Scaling(GradientTransformation):
    """Gradients times a number. Its step reads each tree once, so it costs little more than a loop over the leaves."""

    factor: Any

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        leaves, found, treedef = side_by_side(params, grads, "grads")
        factor = self.factor
        moved = [p if g is None else _plus(p, times(g, factor)) for p, g in zip(leaves, found, strict=True)]
        return trees.unflatten(treedef, moved), state


def _plus(p: Any, move: Any) -> Any:
    """p + move in the dtype of p, written into the array of `move`, which nobody else holds."""
    if p.__class__ is move.__class__ is np.ndarray:
        move += p
        return move if p.dtype == move.dtype else move.astype(p.dtype)
    return _moved(p, move)


def _moved(p: Any, move: Any) -> Any:
    """p + move in the dtype of p."""
    return narrowed(widened(p) + move) if getattr(p, "dtype", None) == HALF else p + move


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """params + updates, leaf by leaf; a leaf whose update is None stays as it is. Raises as `step` does."""
    leaves, found, treedef = side_by_side(params, updates, "updates")
    return trees.unflatten(treedef, [p if u is None else _moved(p, u) for p, u in zip(leaves, found, strict=True)])


def side_by_side(params: Tree, others: Tree, name: str) -> tuple[list[Any], list[Any], Any]:
    """The leaves of `params`, those of their `grads` or `updates`, and the structure. Raises if they do not fit."""
    leaves, treedef = trees.flatten_trainable(params)
    found, structure = trees.flatten_trainable(others)
    if structure != treedef:
        raise trees.structure_error(trees.trainable(params), others, "params", name)
    for i, (leaf, other) in enumerate(zip(leaves, found, strict=True)):
        if other is not None and not _fits(leaf, other if name == "grads" else narrowed_like(leaf, other)):
            path = trees.flatten_with_path(params, none_is_leaf=True, namespace=trees.TRAINABLE)[i][0]
            raise _misfit({"grads": "gradient", "updates": "update"}[name], path, leaf, other)
        if leaf.__class__ is float:
            found[i] = weak(other)  # so that their sum is a Python float again
    return leaves, found, treedef


def narrowed_like(leaf: Any, update: Any) -> Any:
    """`update`, in float16 if the parameter is: float32 fits as well."""
    return narrowed(update) if getattr(leaf, "dtype", None) == HALF else update


def _fits(leaf: Any, other: Any) -> bool:
    try:
        return bool(leaf.shape == other.shape and leaf.dtype == other.dtype) and leaf.dtype.kind in "fc"
    except AttributeError:  # a Python number
        return trees.is_differentiable(leaf) and getattr(leaf, "shape", ()) == getattr(other, "shape", ())


def _misfit(what: str, path: str, leaf: Any, other: Any) -> ShapeError | DTypeError:
    text = f"the {what} of {path or 'the parameter'} is {describe(other)}, the parameter {describe(leaf)}"
    if not trees.is_differentiable(leaf):
        return DTypeError(f"{text}, which has no {what}: give None there.")
    if getattr(leaf, "shape", ()) != getattr(other, "shape", ()):
        return ShapeError(f"{text}; shapes must agree.")
    return DTypeError(f"{text}; dtypes must agree: {what}.astype({str(leaf.dtype)!r}).")


def weak(number: Any) -> Any:
    """A NumPy number as a Python number, whose dtype is weak; anything else as it is."""
    return number.item() if isinstance(number, np.generic | np.ndarray) and number.ndim == 0 else number


def times(x: Any, factor: Any) -> Any:
    """x * factor in the dtype of x, or in float32 for float16."""
    x = widened(x)
    return x * in_dtype_of(x, factor)


def zeros_of(p: Any) -> Any:
    """Zeros for a state: in the shape and dtype of the parameter, or in float32 for float16."""
    return fnp.zeros_like(p, dtype=SINGLE if getattr(p, "dtype", None) == HALF else None)


def in_dtype_of(x: Any, number: Any) -> Any:
    """`number` in the dtype of x, unless it or x is a Python number, whose dtype is weak."""
    return cast(number, x.dtype) if hasattr(number, "dtype") and hasattr(x, "dtype") else number


def magnitude(x: Any) -> Any:
    """|x| for a complex x, x itself for a real one: what squares are made of. float16 becomes float32."""
    return fnp.absolute(x) if getattr(x, "dtype", np.dtype(float)).kind == "c" else widened(x)


def stateless(update: Callable[[Tree, Tree], Tree]) -> GradientTransformation:
    """The transformation without state that a function of gradients and params makes."""
    return GradientTransformation(lambda params: (), lambda grads, state, params: (update(grads, params), state))


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """Transformations one after the other: `chain(clip_by_global_norm(1.0), adam(1e-3))`."""

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        if not isinstance(state, tuple) or len(state) != len(transformations):
            raise StructureError(
                f"this chain of {len(transformations)} parts got the state of another optimiser, {type(state).__name__} of "
                f"{len(trees.leaves(state))} leaves: pass the state from its own init(params), or from its last step."
            )
        states = []
        for transformation, part in zip(transformations, state, strict=True):
            grads, part = transformation.update(grads, part, params)
            states.append(part)
        return grads, tuple(states)

    return GradientTransformation(lambda params: tuple(t.init(params) for t in transformations), update)


def global_norm(tree: Tree) -> Any:
    """The Euclidean norm of all leaves together, computed in float32 or wider: a tree -> a scalar.

    Complex leaves count by their absolute values. Squares that would overflow or vanish do no harm. The derivative at 0 is 0.
    """
    total: Any = np.float32(0)
    for leaf in map(fnp.asarray, trees.leaves(tree)):
        x = magnitude(leaf if leaf.dtype.kind in "fc" else cast(leaf, float))
        total = fnp.hypot(total, length(x, axes=tuple(range(-x.ndim, 0)), keepdims=False))
    return total


def times_all(tree: Any, factor: Any) -> Any:
    """Every leaf times `factor`, as `times` does it."""
    return trees.map(lambda x: times(x, factor), tree)
