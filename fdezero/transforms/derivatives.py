"""Whole derivatives for users: jacobian and hessian, products with a Hessian, and gradients entry by entry."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import unwrap
from ..errors import DTypeError, ShapeError, StructureError
from ..messages import describe
from ..values import dtype_of, is_complex, shape_of, with_shape
from .batching import mapped
from .forward import pushed_forward
from .reverse import P, as_arguments, conjugated, gradient_alone, name_of, numbers_of, pulled_back, split_aux

Argnums = int | Sequence[int]


class _Inputs:
    """The leaves of some arguments that a function is differentiated by, and the way back to trees."""

    def __init__(self, name: str, args: tuple[Any, ...], argnums: Argnums) -> None:
        self.name, self.args = name, args
        self.numbers = numbers_of(name, argnums, args)
        self.single = not isinstance(argnums, Sequence)
        self.chosen = tuple(args[n] for n in self.numbers)
        self.all, self.treedef = trees.flatten_trainable(self.chosen)
        self.places = [i for i, leaf in enumerate(self.all) if trees.is_differentiable(leaf)]
        self.leaves = [self.all[i] for i in self.places]
        if not self.leaves:
            found = trees.flatten_with_path(self.chosen[0] if self.single else self.chosen)
            named = ", ".join(f"{path}: {describe(leaf)}" if path else describe(leaf) for path, leaf in found)
            raise DTypeError(
                f"{name}: argument {argnums} has nothing to differentiate ({named or 'no leaf'}); a derivative needs "
                "floating numbers. Say x.astype(float), or 2.0 in place of 2."
            )

    def call(self, function: Callable[..., Any], leaves: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The function at other leaves."""
        full = list(self.all)
        for place, leaf in zip(self.places, leaves, strict=True):
            full[place] = leaf
        args = list(self.args)
        for n, value in zip(self.numbers, trees.unflatten(self.treedef, full), strict=True):
            args[n] = value
        return function(*args, **kwargs)

    def tree(self, blocks: Sequence[Any]) -> Any:
        """The tree of the chosen arguments with a block for each leaf, None for what has no derivative."""
        full: list[Any] = [None] * len(self.all)
        for place, block in zip(self.places, blocks, strict=True):
            full[place] = block
        tree = trees.unflatten(self.treedef, full)
        return tree[0] if self.single else tree


def _size(leaf: Any) -> int:
    return int(np.prod(shape_of(leaf), dtype=int))


def _basis(leaves: Sequence[Any]) -> list[Any]:
    """For each leaf an array (entries of all leaves, *shape): the unit vectors of the space that the leaves span together."""
    total, start, basis = sum(map(_size, leaves)), 0, []
    for leaf in leaves:
        n, plain = _size(leaf), unwrap(leaf)
        # Row by row whatever the leaf's order, or `reshape` below would copy.
        rows = np.zeros_like(with_shape(plain), order="C", shape=(total, *shape_of(leaf)))
        rows.reshape(-1)[start * n : (start + n) * n : n + 1] = 1
        basis.append(rows)
        start += n
    return basis


def _spans(leaves: Sequence[Any]) -> list[slice]:
    """Where the entries of each leaf stand among those of all."""
    ends = np.cumsum([0, *map(_size, leaves)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]


def _outputs(name: str, output: Any) -> list[Any]:
    """The leaves of what a function returned, all of which must have a derivative."""
    for path, leaf in trees.flatten_with_path(output):
        if not trees.is_differentiable(leaf):
            raise DTypeError(
                f"{name}: the output{f' at {path!r}' if path else ''} is {describe(leaf)} and has no derivative. Return floating arrays, "
                "and what else there is by has_aux=True."
            )
    return trees.leaves(output)


def _refuse_complex(name: str, what: str, leaves: Sequence[Any], instead: str) -> None:
    for leaf in leaves:
        if is_complex(leaf):
            raise DTypeError(
                f"{name}: {what} is {describe(leaf)}, and has one complex derivative only where the function is holomorphic. "
                f"Say holomorphic=True if it is{instead}."
            )


def _in_columns(inputs: _Inputs, function: Callable[..., Any], kwargs: dict[str, Any], holomorphic: bool) -> Any:
    """The Jacobian by forward mode: all columns at once."""
    if not holomorphic:
        _refuse_complex(inputs.name, "an argument", inputs.leaves, ", or use jacrev where the outputs are real")

    def column(*direction: Any) -> Any:
        derivative = pushed_forward(inputs.name, lambda *leaves: inputs.call(function, leaves, kwargs), inputs.leaves, direction)[1]
        _outputs(inputs.name, derivative)
        return derivative

    columns = mapped(inputs.name, column, _basis(inputs.leaves), {}, out_axes=-1)
    spans = _spans(inputs.leaves)

    def blocks(columns: Any) -> Any:
        shape = columns.shape[:-1]
        return inputs.tree([_as(columns[..., span].reshape(shape + shape_of(x)), x) for x, span in zip(inputs.leaves, spans, strict=True)])

    return trees.map(blocks, columns)


def _in_rows(inputs: _Inputs, output: Any, pullback: Callable[..., Any], holomorphic: bool) -> Any:
    """The Jacobian by reverse mode: all rows at once."""
    leaves, treedef = _outputs(inputs.name, output), trees.flatten(output)[1]
    if not holomorphic:
        _refuse_complex(inputs.name, "the output", leaves, ", or use jacfwd where the arguments are real")

    def row(*direction: Any) -> tuple[Any, ...]:
        gradients: tuple[Any, ...] = pullback(trees.unflatten(treedef, direction))
        return gradients

    basis = _basis(leaves)
    if sum(map(_size, leaves)) == 1:  # a scalar: no batch of one
        rows = tuple(g.reshape((1, *g.shape)) for g in row(*[t.reshape(t.shape[1:]) for t in basis]))
    else:
        rows = mapped(inputs.name, row, basis, {})
    if holomorphic:  # a pullback is the conjugate transpose
        rows = conjugated(rows)
    blocks = [
        inputs.tree([g[span].reshape(shape_of(y) + shape_of(x)) for g, x in zip(rows, inputs.leaves, strict=True)])
        for y, span in zip(leaves, _spans(leaves), strict=True)
    ]
    return trees.unflatten(treedef, blocks)


def _as(block: Any, x: Any) -> Any:
    dtype = dtype_of(x)
    return block if block.dtype == dtype or (block.dtype.kind == "c" and dtype.kind != "c") else block.astype(dtype)


def jacfwd(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The Jacobian by forward mode, one run of a batch of as many tangents as there are inputs. See `jacobian`."""
    return _by_columns("jacfwd", function, argnums, has_aux, holomorphic)


def _by_columns(transform: str, function: Callable[..., Any], argnums: Argnums, has_aux: bool, holomorphic: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        inputs = _Inputs(name_of(transform, function), args, argnums)
        if not has_aux:
            return _in_columns(inputs, function, kwargs, holomorphic)
        # Aux, which may be anything, does not go through the batch: it takes a run of its own.
        J = _in_columns(inputs, lambda *args, **kwargs: split_aux(inputs.name, function(*args, **kwargs))[0], kwargs, holomorphic)
        return J, function(*args, **kwargs)[1]

    return jacobian_of


def jacrev(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The Jacobian by reverse mode, one walk back of a batch of as many cotangents as there are outputs. See `jacobian`."""
    return _by_rows("jacrev", function, argnums, has_aux, holomorphic)


def jacobian(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The function that returns all partial derivatives: the tree of the outputs, in each leaf the tree of the arguments `argnums`.

    A block has the shape `output.shape + input.shape` and the dtype of the input; None stands for integers, booleans and `Frozen`
    subtrees. Forward mode if there are no more inputs than outputs, else reverse mode; either in one batch. With `has_aux`,
    `(jacobian, aux)`. Complex functions need `holomorphic=True`, but for those with real inputs or real outputs alone.

    Raises DTypeError for arguments or outputs without floating numbers.
    """
    return _by_rows("jacobian", function, argnums, has_aux, holomorphic, by_shape=True)


def _by_rows(
    transform: str, function: Callable[..., Any], argnums: Argnums, has_aux: bool, holomorphic: bool, by_shape: bool = False
) -> Callable[..., Any]:
    """The Jacobian by rows; with `by_shape` by columns where these are fewer."""

    @functools.wraps(function)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        inputs = _Inputs(name_of(transform, function), args, argnums)

        def both(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) if has_aux else (function(*args, **kwargs), None)

        output, pullback, aux = pulled_back(inputs.name, lambda *leaves: inputs.call(both, leaves, kwargs), inputs.leaves, has_aux=True)
        if by_shape and _forward_is_better(inputs.leaves, trees.leaves(output), holomorphic):
            pullback.release()
            J = _in_columns(inputs, lambda *args, **kwargs: both(*args, **kwargs)[0], kwargs, holomorphic)
        else:
            J = _in_rows(inputs, output, pullback, holomorphic)
            pullback.release()
        return (J, aux) if has_aux else J

    return jacobian_of


def _forward_is_better(inputs: Sequence[Any], outputs: Sequence[Any], holomorphic: bool) -> bool:
    if not holomorphic and any(map(is_complex, outputs)):
        return True
    if not holomorphic and any(map(is_complex, inputs)):
        return False
    return sum(map(_size, inputs)) <= sum(map(_size, outputs))


def hessian(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The function that returns all second derivatives: forward mode over reverse mode, one batch of as many tangents as inputs.

    The tree of the outputs, in each leaf the tree of the arguments, in each leaf of that the tree of the arguments again, with blocks
    `output.shape + input.shape + input.shape`: for a function of an array (n,) to a number, an array (n, n). See `jacobian`.
    """
    first = _by_rows("hessian", function, argnums, has_aux, holomorphic)
    return _by_columns("hessian", first, argnums, has_aux, holomorphic)


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """The Hessian of a scalar function at `primals` times `tangents`: a tuple, one entry a primal; with `has_aux`, `(product, aux)`.

    A tangent is a tree like its primal, or None for a primal that is held fixed, whose entry is None then. Costs a few gradients, and
    never forms the Hessian: forward mode over reverse mode. Source: Pearlmutter, Neural Computation 6 (1994) 147.

    Raises StructureError or ShapeError, naming the path, where tangents are not like primals.
    """
    name = name_of("hvp", function)
    primals, tangents = as_arguments(name, "primals", primals), as_arguments(name, "tangents", tangents)
    active = check_tangents(name, primals, tangents)

    def of_active(*given: Any) -> Any:
        full = list(primals)
        for i, x in zip(active, given, strict=True):
            full[i] = x
        return function(*full)

    functools.update_wrapper(of_active, function, updated=())
    gradient = gradient_alone("hvp", of_active, tuple(range(len(active))), has_aux=has_aux)
    found = pushed_forward(name, gradient, [primals[i] for i in active], [tangents[i] for i in active], has_aux=has_aux)
    product: list[Any] = [None] * len(primals)
    for i, t in zip(active, found[1], strict=True):
        product[i] = t
    return (tuple(product), found[2]) if has_aux else tuple(product)


def check_tangents(name: str, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> list[int]:
    """Which primals move; StructureError or ShapeError, naming the path, where a tangent is not like its primal."""
    if len(primals) != len(tangents):
        raise StructureError(f"{name}: {len(primals)} primals, but {len(tangents)} tangents; None stands for a primal that is held fixed.")
    active = [i for i, t in enumerate(tangents) if t is not None]
    if not active:
        raise StructureError(f"{name}: all tangents are None, so that nothing moves; give a tree like the primal for one at least.")
    for i in active:
        leaves, treedef = trees.flatten_trainable(primals[i])
        directions, other = trees.flatten_trainable(tangents[i])
        if treedef != other:
            error = trees.structure_error(primals[i], tangents[i], f"primal {i}", f"tangent {i}", trees.TRAINABLE)
            raise StructureError(f"{name}: {error}")
        paths = trees.flatten_with_path(primals[i], none_is_leaf=True, namespace=trees.TRAINABLE)
        for (path, x), t in zip(paths, directions, strict=True):
            if t is not None and trees.is_differentiable(x) and shape_of(t) != shape_of(x):
                where = f"{i}/{path}" if path else str(i)
                raise ShapeError(f"{name}: tangent {where} is {describe(t)}, its primal {describe(x)}; shapes must agree.")
        if not any(map(trees.is_differentiable, leaves)):
            raise DTypeError(f"{name}: primal {i} has no floating numbers that could move; give None for its tangent.")
    return active


def elementwise_grad(function: Callable[..., Any], argnums: Argnums = 0, *, holomorphic: bool = False) -> Callable[..., Any]:
    """The derivative of a function that works entry by entry, x (...) -> y (...): the array of dy/dx, as `function` is of y.

    Where an entry of the input meets several of the output, by broadcasting or otherwise, their derivatives are added up.
    """

    @functools.wraps(function)
    def derivative(*args: Any, **kwargs: Any) -> Any:
        inputs = _Inputs(name_of("elementwise_grad", function), args, argnums)
        output, pullback = pulled_back(inputs.name, lambda *leaves: inputs.call(function, leaves, kwargs), inputs.leaves)
        leaves = _outputs(inputs.name, output)
        if not holomorphic:
            _refuse_complex(inputs.name, "the output", leaves, "")
        gradients = pullback(trees.map(lambda y: np.ones_like(with_shape(y)), output))
        pullback.release()
        return inputs.tree(conjugated(gradients) if holomorphic else gradients)

    return derivative


def grad_and_aux(function: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, tuple[Any, Any]]:
    """`(gradient, aux)` of a function that returns `(value, aux)`: `grad(function, argnums, has_aux=True)`."""
    return gradient_alone("grad_and_aux", function, argnums, has_aux=True)
