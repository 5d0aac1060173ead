"""Functions without a closure: recording turns the traced values of a closure into arguments."""

from collections.abc import Callable
from typing import Any

from ... import tree as trees
from ...core import Tracer
from ...messages import called
from ..graph import evaluate
from .examples import example_of, of_leaves
from .record import record, tried, unheard


def closure_converted(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`(pure, captured)`: `pure(captured, *args)` equals `function(*args)`, and `captured` are the traced values of the closure.

    Without such values `pure` calls the function itself. Otherwise `pure` runs the recording, for arguments like these.
    """
    leaves, treedef = trees.flatten(args)
    examples = [example_of(leaf) for leaf in leaves]
    values = unheard(tried, function, *trees.unflatten(treedef, examples))
    if not any(isinstance(leaf, Tracer) for leaf in trees.leaves(values)):
        return (lambda captured, *args: function(*args)), ()
    flat, structure = of_leaves(lambda args: function(*args), treedef, leaves, range(len(leaves)))
    made = unheard(record, flat, examples, called(function))

    def pure(captured: Any, *args: Any) -> Any:
        return trees.unflatten(structure[0], evaluate(made.graph, (*trees.leaves(args), *captured)))

    return pure, made.captures
