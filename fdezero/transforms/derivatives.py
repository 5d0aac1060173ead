"""Whole derivatives for users: Jacobians, Hessians, Hessian-vector products, and derivatives entry by entry."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import unwrap
from ..core.owners import seal
from ..core.wrapping import Transformed, as_function
from ..errors import DTypeError, ShapeError, StructureError
from ..foreign import accepted
from ..messages import describe
from ..values import dtype_of, is_complex, shape_of, with_shape
from .arguments import as_arguments, check_holomorphic, name_of, numbers_of, split_aux
from .batching import mapped
from .forward import pushed_forward
from .reverse import P, conjugated, gradient_of, pulled_back

Argnums = int | Sequence[int]


class _Inputs:
    """The leaves of the arguments that a function is differentiated with respect to, and the way back to trees."""

    def __init__(self, name: str, args: tuple[Any, ...], argnums: Argnums, holomorphic: bool) -> None:
        self.name, self.args = name, args
        self.numbers = numbers_of(name, argnums, args)
        self.single = not isinstance(argnums, Sequence)
        self.chosen = tuple(args[n] for n in self.numbers)
        leaves, self.treedef = trees.flatten_trainable(self.chosen)
        self.all = list(map(accepted, leaves))
        self.places = [i for i, leaf in enumerate(self.all) if trees.is_differentiable(leaf)]
        self.leaves = [self.all[i] for i in self.places]
        if not self.leaves:
            found = trees.flatten_with_path(self.chosen[0] if self.single else self.chosen)
            named = ", ".join(f"{path}: {describe(leaf)}" if path else describe(leaf) for path, leaf in found)
            raise DTypeError(
                f"{name}: argument {argnums} has nothing to differentiate ({named or 'no leaf'}); a derivative needs "
                "floating numbers. Use x.astype(float), or 2.0 instead of 2."
            )

        if holomorphic:
            check_holomorphic(name, "argument", self.chosen[0] if self.single else self.chosen)

    def call(self, function: Callable[..., Any], leaves: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The function at other values of the leaves."""
        full = list(self.all)
        for place, leaf in zip(self.places, leaves, strict=True):
            full[place] = leaf
        args = list(self.args)
        for n, value in zip(self.numbers, trees.unflatten(self.treedef, full), strict=True):
            args[n] = value
        return function(*args, **kwargs)

    def tree(self, blocks: Sequence[Any]) -> Any:
        """The tree of the chosen arguments with one block for each leaf, and None for leaves without a derivative."""
        full: list[Any] = [None] * len(self.all)
        for place, block in zip(self.places, blocks, strict=True):
            full[place] = block
        tree = trees.unflatten(self.treedef, full)
        return tree[0] if self.single else tree


def _size(leaf: Any) -> int:
    return int(np.prod(shape_of(leaf), dtype=int))


def _basis(leaves: Sequence[Any]) -> list[Any]:
    """The unit vectors of the space of all leaves: for each leaf an array (entries of all leaves, *shape)."""
    total, start, basis = sum(map(_size, leaves)), 0, []
    for leaf in leaves:
        n, plain = _size(leaf), unwrap(leaf)
        # In C order whatever the leaf's order, because `reshape` would copy otherwise.
        rows = np.zeros_like(with_shape(plain), order="C", shape=(total, *shape_of(leaf)))
        rows.reshape(-1)[start * n : (start + n) * n : n + 1] = 1
        basis.append(rows)
        start += n
    return basis


def _spans(leaves: Sequence[Any]) -> list[slice]:
    """The positions of each leaf's entries among the entries of all leaves."""
    ends = np.cumsum([0, *map(_size, leaves)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]


def _outputs(name: str, output: Any, holomorphic: bool) -> list[Any]:
    """The leaves of a function's result, which must all have a derivative, and with `holomorphic` be complex."""
    for path, leaf in trees.flatten_with_path(output):
        if not trees.is_differentiable(leaf):
            raise DTypeError(
                f"{name}: the output{f' at {path!r}' if path else ''} is {describe(leaf)} and has no derivative. Return floating arrays, "
                "and return everything else through has_aux=True."
            )
    if holomorphic:
        check_holomorphic(name, "output", output)
    return trees.leaves(output)


def _refuse_complex(name: str, what: str, leaves: Sequence[Any], instead: str) -> None:
    for leaf in leaves:
        if is_complex(leaf):
            raise DTypeError(
                f"{name}: {what} is {describe(leaf)}, which has a single complex derivative only if the function is holomorphic. "
                f"Pass holomorphic=True if it is{instead}."
            )


def _in_columns(inputs: _Inputs, function: Callable[..., Any], kwargs: dict[str, Any], holomorphic: bool) -> Any:
    """The Jacobian by forward mode: all columns at once."""
    if not holomorphic:
        _refuse_complex(inputs.name, "an argument", inputs.leaves, ", or use jacrev where the outputs are real")

    def column(*direction: Any) -> Any:
        derivative = pushed_forward(
            inputs.name, lambda *leaves: inputs.call(function, leaves, kwargs), inputs.leaves, direction
        )[1]
        _outputs(inputs.name, derivative, holomorphic)
        return derivative

    columns = mapped(inputs.name, column, _basis(inputs.leaves), {}, out_axes=-1)
    spans = _spans(inputs.leaves)

    def blocks(columns: Any) -> Any:
        shape = columns.shape[:-1]
        return inputs.tree(
            [
                _as(columns[..., span].reshape(shape + shape_of(x)), x)
                for x, span in zip(inputs.leaves, spans, strict=True)
            ]
        )

    return trees.map(blocks, columns)


def _in_rows(inputs: _Inputs, output: Any, pullback: Callable[..., Any], holomorphic: bool) -> Any:
    """The Jacobian by reverse mode: all rows at once."""
    leaves, treedef = _outputs(inputs.name, output, holomorphic), trees.flatten(output)[1]
    if not holomorphic:
        _refuse_complex(inputs.name, "the output", leaves, ", or use jacfwd where the arguments are real")

    def row(*direction: Any) -> tuple[Any, ...]:
        gradients: tuple[Any, ...] = pullback(trees.unflatten(treedef, direction))
        return gradients

    basis = _basis(leaves)
    if sum(map(_size, leaves)) == 1:  # a scalar needs no batch
        rows = tuple(g.reshape((1, *g.shape)) for g in row(*[t.reshape(t.shape[1:]) for t in basis]))
    else:
        rows = mapped(inputs.name, row, basis, {})
    if holomorphic:  # because a pullback is the conjugate transpose
        rows = conjugated(rows)
    blocks = [
        inputs.tree([g[span].reshape(shape_of(y) + shape_of(x)) for g, x in zip(rows, inputs.leaves, strict=True)])
        for y, span in zip(leaves, _spans(leaves), strict=True)
    ]
    return trees.unflatten(treedef, blocks)


def _as(block: Any, x: Any) -> Any:
    dtype = dtype_of(x)
    return block if block.dtype == dtype or (block.dtype.kind == "c" and dtype.kind != "c") else block.astype(dtype)


def jacfwd(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by forward mode: one run with a batch of tangents, one for each input entry. See `jacobian`."""
    return _by_columns(jacfwd, function, argnums, has_aux, holomorphic)


def _by_columns(
    transform: Callable[..., Any], function: Callable[..., Any], argnums: Argnums, has_aux: bool, holomorphic: bool
) -> Transformed:
    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = _Inputs(name_of(transform.__name__, function), args, argnums, holomorphic)
        if not has_aux:
            return _in_columns(inputs, function, kwargs, holomorphic)
        # Aux may be anything and cannot go through the batch, so it gets its own run.
        J = _in_columns(
            inputs, lambda *args, **kwargs: split_aux(inputs.name, function(*args, **kwargs))[0], kwargs, holomorphic
        )
        return J, function(*args, **kwargs)[1]

    return Transformed(transform, function, run, argnums, has_aux=has_aux, holomorphic=holomorphic)


def jacrev(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by reverse mode: one walk back with a batch of cotangents, one for each output entry. See `jacobian`."""
    return _by_rows(jacrev, function, argnums, has_aux, holomorphic)


def jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """All partial derivatives: a tree like the outputs, with a tree like the arguments `argnums` in place of each leaf.

    A block has the shape `output.shape + input.shape` and the dtype of the input. Integers, booleans and `Frozen` subtrees get None.
    Forward mode is used if there are no more inputs than outputs, reverse mode otherwise, each in one batch. With `has_aux` you get
    `(jacobian, aux)`. Complex functions need `holomorphic=True`, unless all inputs or all outputs are real.

    Raises DTypeError for arguments or outputs without floating numbers, and with `holomorphic` for real ones.
    """
    return _by_rows(jacobian, function, argnums, has_aux, holomorphic, by_shape=True)


def _by_rows(
    transform: Callable[..., Any],
    function: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    by_shape: bool = False,
) -> Transformed:
    """The Jacobian by rows. With `by_shape`, by columns if there are fewer columns."""

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = _Inputs(name_of(transform.__name__, function), args, argnums, holomorphic)

        def both(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) if has_aux else (function(*args, **kwargs), None)

        output, pullback, aux = pulled_back(
            inputs.name,
            lambda *leaves: inputs.call(both, leaves, kwargs),
            inputs.leaves,
            has_aux=True,
            trusted=False,
        )
        if by_shape and _forward_is_better(inputs.leaves, trees.leaves(output), holomorphic):
            pullback.release()
            J = _in_columns(inputs, lambda *args, **kwargs: both(*args, **kwargs)[0], kwargs, holomorphic)
        else:
            J = _in_rows(inputs, output, pullback, holomorphic)
            pullback.release()
        return (J, aux) if has_aux else J

    return Transformed(transform, function, run, argnums, has_aux=has_aux, holomorphic=holomorphic)


def _forward_is_better(inputs: Sequence[Any], outputs: Sequence[Any], holomorphic: bool) -> bool:
    if not holomorphic and any(map(is_complex, outputs)):
        return True
    if not holomorphic and any(map(is_complex, inputs)):
        return False
    return sum(map(_size, inputs)) <= sum(map(_size, outputs))


def hessian(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """All second derivatives, by forward mode over reverse mode: one batch of tangents, one for each input entry.

    The result is a tree like the outputs, with a tree like the arguments in each leaf, and again in each leaf of that tree. A block has the
    shape `output.shape + input.shape + input.shape`: for a function from an array (n,) to a number, (n, n). See `jacobian`.
    """
    first = _by_rows(hessian, function, argnums, has_aux, holomorphic)
    second = _by_columns(hessian, first, argnums, has_aux, holomorphic)
    return Transformed(hessian, function, second.run, argnums, has_aux=has_aux, holomorphic=holomorphic)


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """The Hessian of a scalar function at `primals` times `tangents`: a tuple, one entry per primal. `has_aux`: `(product, aux)`.

    A tangent is a tree like its primal, or None for a primal that is held fixed, whose entry is then None. The cost is a few
    gradients, and the Hessian is never formed: forward mode over reverse mode. Source: Pearlmutter, Neural Computation 6 (1994) 147.

    Raises StructureError or ShapeError, naming the path, if a tangent does not match its primal.
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
    run = gradient_of("hvp", of_active, tuple(range(len(active))), has_aux=has_aux, with_value=False)
    gradient = functools.wraps(function)(lambda *given: run(given, {}))
    found = pushed_forward(name, gradient, [primals[i] for i in active], [tangents[i] for i in active], has_aux=has_aux)
    product: list[Any] = [None] * len(primals)
    for i, t in zip(active, found[1], strict=True):
        product[i] = t
    return (tuple(product), found[2]) if has_aux else tuple(product)


def check_tangents(name: str, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> list[int]:
    """The positions of the primals that move. Raises StructureError or ShapeError, naming the path, for a tangent unlike its primal."""
    if len(primals) != len(tangents):
        raise StructureError(
            f"{name}: {len(primals)} primals, but {len(tangents)} tangents. Pass None for a primal that is held fixed."
        )
    active = [i for i, t in enumerate(tangents) if t is not None]
    if not active:
        raise StructureError(
            f"{name}: all tangents are None, so nothing moves. Pass a tree like the primal for at least one."
        )
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
                raise ShapeError(
                    f"{name}: tangent {where} is {describe(t)}, but its primal is {describe(x)}; the shapes must be equal."
                )
        if not any(map(trees.is_differentiable, leaves)):
            raise DTypeError(f"{name}: primal {i} has no floating numbers that could move; pass None for its tangent.")
    return active


def elementwise_grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """The derivative of a function that works entry by entry, x (...) -> y (...): the array of all dy/dx.

    If an entry of the input affects several entries of the output, for example by broadcasting, you get the sum of their derivatives.
    """

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = _Inputs(name_of("elementwise_grad", function), args, argnums, holomorphic)
        output, pullback = pulled_back(
            inputs.name, lambda *leaves: inputs.call(function, leaves, kwargs), inputs.leaves, trusted=False
        )
        leaves = _outputs(inputs.name, output, holomorphic)
        if not holomorphic:
            _refuse_complex(inputs.name, "the output", leaves, "")
        gradients = pullback(trees.map(lambda y: seal(np.ones_like(with_shape(y))), output))
        pullback.release()
        return inputs.tree(conjugated(gradients) if holomorphic else gradients)

    return Transformed(elementwise_grad, function, run, argnums, holomorphic=holomorphic)


def grad_and_aux(function: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, tuple[Any, Any]]:
    """`(gradient, aux)` of a function that returns `(value, aux)`: `grad(function, argnums, has_aux=True)`."""
    run = gradient_of("grad_and_aux", function, argnums, has_aux=True, with_value=False)
    return as_function(grad_and_aux, function, run, argnums)
