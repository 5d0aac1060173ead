"""Reverse mode for users: grad, value_and_grad, vjp, stop_gradient."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import tree as trees
from ..core import Tracer, unwrap
from ..core.cotangents import cast, zeros_like
from ..core.kinds import Aval
from ..core.owners import Guard, own
from ..core.tape import Node, Tape
from ..core.wrapping import as_function
from ..errors import DTypeError, ShapeError, StructureError
from ..foreign import accepted
from ..messages import describe
from ..numpy.arguments import as_array
from ..ops.elementwise import stop_gradient as stop_gradient_op
from ..tree.marks import mark
from ..tree.structure import first_where
from ..values import is_complex, shape_of
from .arguments import check_holomorphic, check_scalar, name_of, numbers_of, split_aux

P = ParamSpec("P")
T = TypeVar("T")


class _Trace:
    """The inputs of a function under a tape: the leaves that are differentiated, and the way back to a tree.

    `holders` are the tuples of this library that hold the arguments. With None, nobody else can write into the arguments.
    """

    def __init__(
        self, name: str, arguments: Any, holders: Sequence[Sequence[Any]] | None, guard: Guard | None = None
    ) -> None:
        self.tape = Tape(name, guard)
        leaves, self.treedef = trees.flatten_trainable(arguments)
        self.leaves = list(map(accepted, leaves))
        self.holders = holders
        self.nodes: list[Node | None] = [None] * len(self.leaves)

    def inputs(self) -> Any:
        """The tree of traced inputs. From here on, `leaves` are the plain values that the tape sees."""
        leaves, guard = self.leaves, self.tape.guard
        floating = list(map(trees.is_differentiable, leaves))
        if self.holders is not None:
            holders = (leaves, *self.holders)
            for i in range(len(leaves)):
                if floating[i] and isinstance(leaves[i], np.ndarray):
                    guard.lock(leaves, i, holders)
                    leaves[i] = guard.keep(leaves[i])
            self.holders = None
        traced = list(leaves)
        for i in range(len(leaves)):
            if floating[i]:
                traced[i] = tracer = self.tape.input(leaves[i])
                self.nodes[i] = tracer.node
        return trees.unflatten(self.treedef, traced)

    def gradients(self, *, conjugate: bool = True, handed_out: bool = True) -> Any:
        """The gradients of the inputs: their cotangents, conjugated; zeros if none arrived; None for leaves without a gradient."""
        gradients: list[Any] = []
        for leaf, node in zip(self.leaves, self.nodes, strict=True):
            t = None
            if node is not None:
                t, node.cotangent = node.cotangent, None
                if t is None:
                    t = zeros_like(leaf)
                elif node.dtype is None:
                    t = cast(t, np.dtype(float))
                if conjugate and t.dtype.kind == "c":
                    t = np.conjugate(t)
            gradients.append(t)
        t = leaf = None
        return trees.unflatten(self.treedef, own(gradients) if handed_out else gradients)


def _check_differentiable(trace: _Trace, argnums: int | Sequence[int], arguments: Any) -> None:
    if any(trees.is_differentiable(leaf) for leaf in trace.leaves):
        return
    found = [(path, leaf) for path, leaf in trees.flatten_with_path(arguments) if leaf is not None]
    path, leaf = found[0] if found else ("", None)
    hint = "Say x.astype(float)." if hasattr(leaf, "dtype") else "Give a float, an array, or a tree of these."
    if any(trees.is_differentiable(leaf) for _, leaf in found):
        raise DTypeError(
            f"{trace.tape.name}: argument {argnums} has nothing to differentiate: all its floating numbers are frozen or statistics. "
            "nn.thaw(model) makes a frozen model trainable."
        )
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        hint = f"Say {leaf}.0."
    if not found and (lazy := first_where(arguments, lambda node: hasattr(type(node), "unmade"))):
        raise StructureError(
            f"{trace.tape.name}: argument {argnums} holds {lazy[1]!r}, which has no parameters yet: {type(lazy[1]).unmade}."
        )
    if type(leaf).__module__ not in ("builtins", "numpy"):
        hint = f"A class of your own is a leaf. Write `class {type(leaf).__name__}(fd.Module)`, and its fields have gradients."
    where = f" at {path!r}" if path else ""
    raise DTypeError(
        f"{trace.tape.name}: argument {argnums} has nothing to differentiate: got {describe(leaf)}{where}, but a gradient "
        f"needs floating numbers. {hint}"
    )


def value_and_grad(
    function: Callable[P, T], argnums: int | Sequence[int] = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[P, tuple[T, Any]]:
    """The function that returns `(function(...), its gradient)`; with `has_aux`, `((value, aux), gradient)`.

    The gradient is with respect to the positional arguments `argnums`: one tree, or a tuple of trees. It has the
    structure, shapes and dtypes of the argument, with None for integers, booleans and `Frozen` subtrees. For a complex
    argument z = x + iy it is df/dx + i df/dy, so z - lr * gradient descends (PyTorch's convention; JAX returns the conjugate).
    With `holomorphic` arguments and value are complex, and the gradient is the complex derivative df/dz.

    Raises:
        DTypeError: an argument without floating leaves, a complex value without `holomorphic`, a real argument or value with it.
        ShapeError: the value is not a scalar.
    """
    run = gradient_of("value_and_grad", function, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return as_function(value_and_grad, function, run, argnums, has_aux=has_aux, holomorphic=holomorphic)


def gradient_of(
    transform: str,
    function: Callable[..., Any],
    argnums: int | Sequence[int],
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
    with_value: bool = True,
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """The function of `(args, kwargs)` that returns value and gradient, or the gradient alone. Messages name the `transform`."""

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = name_of(transform, function)
        single = not isinstance(argnums, Sequence)
        numbers = numbers_of(name, argnums, args)
        chosen = args[numbers[0]] if single else tuple(args[n] for n in numbers)
        trace = _Trace(name, chosen, (args,) if single else (args, chosen), Guard(brief=True))
        _check_differentiable(trace, argnums, chosen)
        if holomorphic:
            check_holomorphic(name, "argument", chosen)
        del chosen  # a reference that a lock would count as the user's
        tape = trace.tape
        try:
            try:
                for n in range(len(args)):
                    if n not in numbers:
                        tape.guard.lock(args, n, (args,))
                traced = trace.inputs()
                full = list(args)
                for n, value in zip(numbers, (traced,) if single else traced, strict=True):
                    full[n] = value
                result = function(*full, **kwargs)
                value, aux = split_aux(name, result) if has_aux else (result, None)
                check_scalar(name, value, holomorphic)
                plain = tape.below(value)
                leaves, treedef = trees.flatten(aux)
                leaves, mask = tape.plain(leaves)
                tape.alive = False
                tape.guard.check()
                if tape.owns(value):
                    tape.seed(value.node, _one(plain))
                    # These tracers hold nodes, which hold all other nodes. Without them, the walk frees each array after its last use.
                    del full, traced, result, value, aux
                    tape.backward(keep=False)
                gradients = trace.gradients(conjugate=not holomorphic)
                mark(gradients)
            finally:
                tape.close()
        finally:
            tape.close()  # again, because an interrupt may have ended the first call
        aux = trees.unflatten(treedef, own(leaves, mask)) if has_aux else None
        if not with_value:
            return (gradients, aux) if has_aux else gradients
        value = own([plain])[0]
        return ((value, aux) if has_aux else value), gradients

    return run


def _one(value: Any) -> Any:
    return np.ones_like(value) if hasattr(value, "shape") else np.float64(1.0)


def grad(
    function: Callable[P, Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False, holomorphic: bool = False
) -> Callable[P, Any]:
    """The gradient of a scalar function; with `has_aux`, `(gradient, aux)`. See `value_and_grad`.

        >>> fd.grad(lambda x: x ** 3)(2.0)
        np.float64(12.0)

    For a complex argument z = x + iy of a real-valued function the gradient is df/dx + i df/dy: `z - lr * grad(f)(z)` descends.

        >>> fd.grad(lambda z: abs(z) ** 2)(3.0 + 4.0j)
        np.complex128(6+8j)
        >>> fd.grad(lambda z: z ** 3, holomorphic=True)(1j)
        np.complex128(-3+0j)
    """
    run = gradient_of("grad", function, argnums, has_aux=has_aux, holomorphic=holomorphic, with_value=False)
    return as_function(grad, function, run, argnums, has_aux=has_aux, holomorphic=holomorphic)


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`(function(*primals), pullback)`, where `pullback(cotangents)` is a tuple of gradients, one for each primal.

    `cotangents` has the structure and shapes of the output. You may call the pullback any number of times. No write into an array
    changes its results: what it needs of your arrays is copied, or a large array is read-only while the pullback lives. With
    `has_aux` you get `(output, pullback, aux)`. For complex numbers the pullback is the adjoint of the derivative in the inner product
    Re(sum(conj(a) b)), as in PyTorch: J^H applied to the cotangents.
    """
    return pulled_back(name_of("vjp", function), function, primals, has_aux=has_aux, trusted=False)


def pulled_back(
    name: str,
    function: Callable[..., Any],
    primals: Sequence[Any],
    *,
    has_aux: bool = False,
    trusted: bool = True,
    guard: Guard | None = None,
) -> Any:
    """`vjp`; messages use the name of the transform that the user called.

    `trusted`: nobody but the library can write into the primals and the results.
    """
    primals = tuple(primals)
    trace = _Trace(name, primals, None if trusted else (primals,), guard)
    tape, finished = trace.tape, False
    try:
        try:
            result = function(*trace.inputs())
            tape.alive = False
            output, aux = split_aux(tape.name, result) if has_aux else (result, None)
            leaves, treedef = trees.flatten(output)
            nodes = [leaf.node if tape.owns(leaf) else None for leaf in leaves]
            leaves, mask = tape.plain(leaves)
            extras, extras_def = trees.flatten(aux)
            extras, extras_mask = tape.plain(extras)
            pullback = Pullback(trace, treedef, nodes, leaves)
            del result, output, aux
            if not trusted:
                own(leaves, mask)
                own(extras, extras_mask)
            value = trees.unflatten(treedef, leaves)
            found = (value, pullback, trees.unflatten(extras_def, extras)) if has_aux else (value, pullback)
            finished = True
        finally:
            if not finished:
                tape.close()
    finally:
        if not finished:
            tape.close()  # again, because an interrupt may have ended the first call
    return found


class Pullback:
    """The gradients of a function's primals from the cotangents of its output: `pullback(cotangents)`."""

    def __init__(self, trace: _Trace, treedef: Any, nodes: list[Node | None], values: list[Any]) -> None:
        self.trace, self.treedef, self.nodes = trace, treedef, nodes
        # Only shapes and dtypes stay here, so that an output can be the caller's alone.
        self.values = [Aval(y) if hasattr(y, "shape") else y for y in map(unwrap, values)]
        self.shapes = list(map(shape_of, values))

    def __call__(self, cotangents: Any) -> tuple[Any, ...]:
        return self._pulled(conjugated(cotangents), conjugate=True)

    def transposed(self, cotangents: Any) -> tuple[Any, ...]:
        """The gradients without conjugation, as rules on a tape need them."""
        return self._pulled(cotangents, conjugate=False)

    def release(self) -> None:
        """Make the kept arrays writable now, instead of when the pullback is collected. No call may follow."""
        self.trace.tape.guard.release()

    def _pulled(self, cotangents: Any, *, conjugate: bool) -> tuple[Any, ...]:
        tape = self.trace.tape
        given, treedef = trees.flatten(cotangents)
        if treedef != self.treedef:
            names = f"the output of {tape.name}", "the cotangent tree"
            raise trees.structure_error(trees.unflatten(self.treedef, self.values), cotangents, *names)
        for (path, t), value, shape in zip(trees.flatten_with_path(cotangents), self.values, self.shapes, strict=True):
            if np.shape(unwrap(t)) != shape_of(value) and shape_of(t) != shape:
                at = f" at {path!r}" if path else ""
                raise ShapeError(
                    f"{tape.name}: the cotangent{at} is {describe(t)}, but the output is {describe(value)}."
                )
        for node, t in zip(self.nodes, given, strict=True):
            if node is not None:
                tape.seed(node, as_dtype(tape.name, t, node.dtype))
        tape.backward(keep=True)
        gradients: tuple[Any, ...] = self.trace.gradients(conjugate=conjugate, handed_out=conjugate)
        return gradients


def conjugated(tree: Any) -> Any:
    """`tree` with its complex leaves conjugated: this turns cotangents of a tape into those of users, and back."""
    leaves, treedef = trees.flatten(tree)
    if not any(map(is_complex, leaves)):
        return tree
    return trees.unflatten(treedef, [np.conjugate(leaf) if is_complex(leaf) else leaf for leaf in leaves])


def as_dtype(name: str, t: Any, dtype: Any) -> Any:
    """A tangent or cotangent in the dtype of its primal. A number becomes NumPy's scalar, which works with arrays of every device.

    Raises DTypeError for a complex one of a real primal (a dtype of None is that of a Python float): half of it would be lost.
    """
    if is_complex(t) and (dtype is None or dtype.kind != "c"):
        raise DTypeError(
            f"{name}: {describe(t)} is no tangent or cotangent of real numbers, because half of it would be lost. Pass its real part, "
            "fd.numpy.real(t), or make those numbers complex."
        )
    return cast(as_array(t) if isinstance(t, Tracer) or hasattr(t, "shape") else as_array(t)[()], dtype)


def stop_gradient(tree: Any) -> Any:
    """`tree` as constants: the same values, without a derivative."""
    return trees.map(lambda leaf: stop_gradient_op(leaf) if isinstance(leaf, Tracer) else leaf, tree)
