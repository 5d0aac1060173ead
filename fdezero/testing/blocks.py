"""Reads a derivative that was written by hand, an array, a tree, a sparse matrix or a linear operator, as a map of directions."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .. import tree as trees
from ..devices import to_numpy
from ..messages import describe
from .differences import Leaves, numbers

Apply: TypeAlias = Callable[[Leaves], Leaves]


def dense(value: Any) -> Any:
    """`value` with arrays in place of sparse matrices."""
    return trees.map(lambda leaf: leaf.toarray() if hasattr(leaf, "toarray") else leaf, value)


def rows_joined(value: Any) -> Any:
    """`dense(value)`; a list of numbers or of rows of one length, which SciPy's users write, becomes one array."""
    value = dense(value)
    if isinstance(value, list | tuple) and trees.leaves(value):
        try:
            joined = np.asarray(value)
        except (TypeError, ValueError):  # of several lengths: a tree
            return value
        return joined if joined.dtype.kind in "iufc" else value
    return value


def flat_list(x: Any) -> bool:
    """Whether `x` is a list or tuple of plain numbers, which SciPy's users pass for an array."""
    return (
        isinstance(x, list | tuple)
        and bool(x)
        and all(isinstance(n, int | float | complex) and not isinstance(n, bool) for n in x)
    )


def applied(what: str, derivative: Any, value: Any, x: Any) -> Apply:
    """The map from a direction to the derivative along it, leaf by leaf of `value`.

    The derivative has an array for each leaf of `value` and each leaf of `x`. Its shape is that of the one followed by that of the
    other. A real function of complex numbers has the gradient df/dx + i df/dy, and every other derivative is a complex one.
    Raises AssertionError that says which leaf is missing or has another shape.
    """
    if hasattr(derivative, "matvec"):
        return _of_operator(what, derivative, value, x)
    inputs = _differentiable(x)
    outputs = _differentiable(value)
    if derivative is None:
        raise AssertionError(f"the {what} is None. Does its function end without return?")
    given = _leaves(derivative)
    blocks: dict[tuple[str, str], np.ndarray] = {}
    for out, y in outputs.items():
        for path, leaf in inputs.items():
            place = "/".join(part for part in (out, path) if part)
            if place not in given:
                raise AssertionError(
                    f"the {what} has nothing at {place or 'the root'}: expected a tree with {_listed(outputs, inputs)}, "
                    f"got {describe(derivative)}."
                )
            blocks[out, path] = _fitted(what, place, given[place], y.shape, leaf.shape)
    known = {
        "/".join(part for part in (out, path) if part) for out in outputs for path, _ in trees.flatten_with_path(x)
    }
    if strangers := sorted(set(given) - known):
        raise AssertionError(f"the {what} has a leaf at {strangers[0]}, but x does not.")

    def apply(direction: Leaves) -> Leaves:
        found = []
        for out, y in outputs.items():
            total: Any = 0.0
            for (path, leaf), v in zip(inputs.items(), direction, strict=True):
                moving = v.ravel() != 0  # a NaN in another entry does not count
                block = blocks[out, path].reshape(y.size, leaf.size)[:, moving]
                paired = np.conj(block) if np.iscomplexobj(leaf) and not np.iscomplexobj(y) else block
                term = (paired @ v.ravel()[moving]).reshape(y.shape)
                total = total + (term if np.iscomplexobj(y) else term.real)
            found.append(np.asarray(total))
        return found

    return apply


def _leaves(derivative: Any) -> dict[str, np.ndarray]:
    """The leaves of a derivative by path; a list of plain numbers as one array."""
    if flat_list(derivative):
        return {"": np.asarray(derivative)}
    found = {}
    for path, leaf in trees.flatten_with_path(derivative):
        found[path] = np.asarray(to_numpy(leaf))
    return found


def _differentiable(tree: Any) -> dict[str, np.ndarray]:
    paths = trees.paths(trees.trainable(tree))
    return dict(zip(paths, numbers(tree), strict=True))


def _listed(outputs: dict[str, Any], inputs: dict[str, Any]) -> str:
    places = ["/".join(part for part in (out, path) if part) or "the root" for out in outputs for path in inputs]
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def _fitted(what: str, place: str, block: np.ndarray, of: tuple[int, ...], by: tuple[int, ...]) -> np.ndarray:
    """`block`, if its shape is `of + by`; a number may be an array with one entry."""
    if block.dtype.kind not in "iufc":
        raise AssertionError(f"the {what}{f' at {place}' if place else ''} must hold numbers, got {block.dtype}.")
    if block.shape == of + by or (np.prod(of, dtype=int) == 1 and block.shape == by):
        return block
    if np.prod(of, dtype=int) == 1 and block.shape == (1, *by):
        return block
    wanted = f"shape {of + by}" + (
        f", which is that of the output, {of}, and that of x, {by}" if of and by else ", like x"
    )
    turned = " It looks transposed." if block.shape == by + of and of != by else ""
    raise AssertionError(
        f"the {what}{f' at {place}' if place else ''} has shape {block.shape}, but must have {wanted}.{turned}"
    )


def _of_operator(what: str, operator: Any, value: Any, x: Any) -> Apply:
    """The map of a `LinearOperator`; its adjoint, if there is one, must fit."""
    (leaf,), (y,) = (numbers(tree) if len(numbers(tree)) == 1 else _refused(what) for tree in (x, value))
    rng = np.random.default_rng(0)
    v, t = rng.standard_normal(leaf.size), rng.standard_normal(y.size)
    forward = np.asarray(operator.matvec(v))
    try:
        backward = np.asarray(operator.rmatvec(t))
    except NotImplementedError:
        backward = None
    if backward is not None:
        left, right = np.vdot(t, forward), np.vdot(backward, v)
        if not abs(left - right) <= 1e-8 * (1 + np.abs(t) @ np.abs(forward)):
            raise AssertionError(
                f"the {what}: rmatvec is not the adjoint of matvec: <t, J v> is {left:.7g}, <J^H t, v> is {right:.7g}."
            )
    return lambda direction: [np.asarray(operator.matvec(direction[0].ravel())).reshape(y.shape)]


def _refused(what: str) -> Any:
    raise AssertionError(f"the {what} is a linear operator, which fits one array x and one array, not trees.")
