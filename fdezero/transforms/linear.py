"""Linear maps for users: `linearize` keeps the derivative at a point, `linear_transpose` transposes a linear function."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Elementwise, Multilinear, Reduction, Tracer, unwrap
from ..core.cotangents import zeros_like
from ..core.owners import Guard
from ..core.tape import Node, TapeTracer
from ..errors import DTypeError, StructureError
from ..messages import describe
from .arguments import name_of
from .derivatives import check_tangents
from .reverse import pulled_back


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """`(function(*primals), pushforward)`: `pushforward(*tangents)` is the derivative along the tangents, which are like the primals.

    The function runs once, and you may call the pushforward any number of times. Writes into arrays do not change its results: see
    `vjp`. The pushforward is the transpose of the pullback, so the function must have a reverse mode. A tangent None holds its
    primal fixed.

    Raises StructureError or ShapeError, naming the path, if a tangent does not match its primal.
    """
    name = name_of("linearize", function)
    output, pullback = pulled_back(name, function, primals, trusted=False)
    leaves, treedef = trees.flatten(output)
    floating = [i for i, y in enumerate(leaves) if trees.is_differentiable(y)]

    def pulled(*cotangents: Any) -> list[Any]:
        full = [zeros_like(y) for y in leaves]
        for i, t in zip(floating, cotangents, strict=True):
            full[i] = t
        return trees.leaves(pullback(trees.unflatten(treedef, full)))

    # The second tape need not copy what the first one keeps.
    guard = Guard(known=pullback.trace.tape.kept())
    _, transpose = pulled_back(name, pulled, [zeros_like(leaves[i]) for i in floating], guard=guard)

    def pushforward(*tangents: Any) -> Any:
        """The derivative of the output along the tangents."""
        active = set(check_tangents(name, primals, tangents))
        directions: list[Any] = []
        for i, (x, t) in enumerate(zip(primals, tangents, strict=True)):
            xs = trees.flatten_trainable(x)[0]
            ts = trees.flatten_trainable(t)[0] if i in active else [None] * len(xs)
            directions += [
                zeros_like(x) if t is None else t for x, t in zip(xs, ts, strict=True) if trees.is_differentiable(x)
            ]
        moved = [zeros_like(y) for y in leaves]
        for i, t in zip(floating, transpose(directions), strict=True):
            moved[i] = t
        return trees.unflatten(treedef, moved)

    vars(pushforward)["pullback"] = pullback  # which stays alive, and so does what its tape keeps
    return output, pushforward


def linear_transpose(function: Callable[..., Any], *examples: Any) -> Callable[..., Any]:
    """The transpose of a linear function: `transpose(cotangents)` is a tuple, one tree for each of `examples`.

    The examples are trees of arrays, or of anything with a shape and a dtype. Only these are used: the function runs on zeros.
    For complex arrays you get the conjugate transpose, as with `vjp`.

    Raises StructureError, naming the operation, if the function is not linear.
    """
    name = name_of("linear_transpose", function)

    def watched(*args: Any) -> Any:
        output = function(*args)
        _refuse_nonlinear(
            name,
            [leaf.node for leaf in trees.leaves(output) if isinstance(leaf, TapeTracer) and leaf.level in levels(args)],
        )
        return output

    zeros = [trees.map(_zeros, example) for example in examples]
    if not any(trees.is_differentiable(leaf) for leaf in trees.leaves(zeros)):
        raise DTypeError(
            f"{name}: a transpose needs floating numbers, got {', '.join(map(describe, trees.leaves(zeros)))}."
        )
    output, pullback = pulled_back(name, watched, zeros)
    for path, y in trees.flatten_with_path(output):
        if np.any(unwrap(y) != 0):
            where = f" at {path!r}" if path else ""
            raise StructureError(
                f"{name}: the function is not linear: at zero it returns {unwrap(y)!r}{where}. Subtract the constant part, f(x) - f(0)."
            )
    pulled: Callable[..., Any] = pullback
    return pulled


def levels(tree: Any) -> set[Any]:
    """The levels that trace leaves of the tree."""
    return {leaf.level for leaf in trees.leaves(tree) if isinstance(leaf, Tracer)}


def _zeros(example: Any) -> Any:
    described = hasattr(example, "shape") and not hasattr(example, "strides") and not isinstance(example, Tracer)
    return np.zeros(example.shape, example.dtype) if described else zeros_like(example)


def _refuse_nonlinear(name: str, nodes: list[Node]) -> None:
    """Raise StructureError for the first operation on the way to these nodes that is not linear in its traced arguments."""
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if node.primitive is not None and not _is_linear(node):
            raise StructureError(
                f"{name}: the function is not linear: it computes {node.primitive.name} of values that depend on its argument. For the "
                "transpose of a derivative, use fd.vjp."
            )
        new = {parent for parent in node.parents if parent is not None} - seen
        seen |= new
        nodes.extend(new)


def _is_linear(node: Node) -> bool:
    """Whether an operation is linear in its traced arguments. For a region there is no way to tell."""
    active = [i for i, parent in enumerate(node.parents) if parent is not None]
    match node.primitive:
        case Multilinear():
            return len(active) == 1
        case Elementwise(partials=partials):
            # It is linear if no partial derivative uses the result or a traced argument.
            looks = {0, *[i + 1 for i in active]}
            return all(looks.isdisjoint(partial.takes) for i in active if (partial := partials[i]) is not None)
        case Reduction():
            return False
    return True
