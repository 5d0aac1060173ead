"""Gradient transformations: pure pairs of `init` and `update`, how they chain, and how updates are applied."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..errors import ShapeError, describe

Tree: TypeAlias = Any
State: TypeAlias = Any


@attrs.frozen
class GradientTransformation:
    """`init(params) -> state` and `update(grads, state, params) -> (updates, state)`: updates are added to the params."""

    init: Callable[[Tree], State]
    update: Callable[[Tree, State, Tree], tuple[Tree, State]]

    def step(self, params: Tree, grads: Tree, state: State) -> tuple[Tree, State]:
        """The new params and the new state. Raises StructureError or ShapeError at the first leaf where grads do not fit."""
        check_gradients(params, grads)
        updates, state = self.update(grads, state, params)
        return apply_updates(params, updates), state


def check_gradients(params: Tree, grads: Tree) -> None:
    """Raise the error that names the first path at which `grads` is no gradient of `params`."""
    leaves, treedef = trees.flatten_trainable(params)
    found, other = trees.flatten_trainable(grads)
    if other != treedef:
        raise trees.structure_error(trees.trainable(params), grads, "params", "grads")
    for i, (leaf, gradient) in enumerate(zip(leaves, found, strict=True)):
        if gradient is not None and getattr(gradient, "shape", ()) != getattr(leaf, "shape", ()):
            path = trees.flatten_with_path(params, none_is_leaf=True, namespace=trees.TRAINABLE)[i][0]
            what = f"the gradient of {path or 'the parameter'} is {describe(gradient)}, the parameter {describe(leaf)}"
            raise ShapeError(f"{what}; shapes must agree.")


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """params + updates, leaf by leaf in the dtype of the parameter; leaves without update (None) stay as they are."""
    leaves, treedef = trees.flatten_trainable(params)
    found, other = trees.flatten_trainable(updates)
    if other != treedef:
        raise trees.structure_error(trees.trainable(params), updates, "params", "updates")
    return trees.unflatten(treedef, [p if u is None else as_dtype(p + u, p) for p, u in zip(leaves, found, strict=True)])


def as_dtype(x: Any, like: Any) -> Any:
    """`x` in the dtype of `like`; as it is, if `like` is a Python number."""
    return fnp.astype(x, like.dtype) if hasattr(like, "dtype") and x.dtype != like.dtype else x


def stateless(update: Callable[[Tree, Tree], Tree]) -> GradientTransformation:
    """The transformation of a function of gradients and params."""
    return GradientTransformation(lambda params: (), lambda grads, state, params: (update(grads, params), state))


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """One after the other: `chain(clip_by_global_norm(1.0), adam(1e-3))`."""

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        states = []
        for transformation, part in zip(transformations, state, strict=True):
            grads, part = transformation.update(grads, part, params)
            states.append(part)
        return grads, tuple(states)

    return GradientTransformation(lambda params: tuple(t.init(params) for t in transformations), update)


def global_norm(tree: Tree) -> Any:
    """The Euclidean norm of all leaves together, computed in float32 or wider."""
    total: Any = np.float32(0)
    for leaf in trees.leaves(tree):
        wide = fnp.astype(leaf, np.float32) if str(leaf.dtype) == "float16" else leaf
        total = total + fnp.sum(fnp.square(wide))
    return fnp.sqrt(total)
