"""Recordings of a function for export: its arguments as parameters and inputs, and its program with regions and compositions opened."""

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..compiler.api import Compiled, is_input
from ..compiler.graph import Graph, Instruction
from ..compiler.passes.constants import fold_constants
from ..compiler.passes.dead import drop_dead
from ..compiler.passes.expand import expand
from ..compiler.passes.inline import inline
from ..compiler.passes.sums import with_plain_sums
from ..compiler.program import Program
from ..compiler.recording.examples import identifier, of_leaves
from ..compiler.recording.record import record
from ..compiler.running.errors import without_warnings
from ..core import Region
from ..errors import ExportError, ShapeError
from ..messages import called, describe
from ..tree import Module


@attrs.frozen
class Argument:
    """A leaf of the arguments that is an input of the program: its path, its value, and whether it is a parameter of the function."""

    path: str
    value: Any
    is_parameter: bool


@attrs.frozen
class Call:
    """A function with its arguments. `kinds` says for each argument whether it holds parameters."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kinds: tuple[bool, ...]
    names: tuple[str, ...]
    bound: int  # how many arguments stand in front of the examples
    count: int  # how many examples there are
    static: frozenset[str] = frozenset()  # the settings of a compiled function
    documentation: str = ""  # the first line of its docstring

    def is_bound(self, number: int) -> bool:
        """Whether an argument comes with the function, and is none of the examples."""
        return not self.bound <= number < self.bound + self.count

    def is_setting(self, number: int) -> bool:
        """Whether numbers in an argument are a part of the program."""
        return self.is_bound(number) or self.names[number] in self.static


def call_of(function: Any, examples: Sequence[Any], parameters: Sequence[str] = ()) -> Call:
    """The function, its arguments, and which of these are parameters.

    Parameters are a model that is called itself, the model of a bound method, what functools.partial has bound, every argument that is a
    model, and those that `parameters` names.
    """
    bound: list[Any] = []
    keywords: dict[str, Any] = {}
    static: frozenset[str] = frozenset()
    while isinstance(function, functools.partial | Compiled):
        if isinstance(function, Compiled):
            static, function = static | frozenset(function.static), function.function
            continue
        bound, keywords = [*function.args, *bound], {**function.keywords, **keywords}
        function = function.func
    if not callable(function):
        raise ExportError(f"export expects a function or a model, got {describe(function)}.")
    if inspect.isclass(function) and issubclass(function, Module):
        raise ExportError(
            f"export expects a model, got the class {function.__name__}. Make one first: {function.__name__}.init(key, ...)."
        )
    documentation = (inspect.getdoc(function) or "").split("\n")[0].translate({ord('"'): "'", ord("\\"): "/"})
    name = type(function).__name__.lower() if isinstance(function, Module) else called(function)
    if isinstance(function, Module):
        model, function = function, type(function).__call__
        bound = [model, *bound]
    elif isinstance(getattr(function, "__self__", None), Module):
        bound, function = [function.__self__, *bound], function.__func__
    args = (*bound, *examples)
    _check_examples(function, args, keywords)
    inner = _parameters_of(function)
    parameters = [parameters] if isinstance(parameters, str) else parameters
    names = [*inner[: len(args)], *[f"argument{i}" for i in range(len(inner), len(args))], *keywords]
    if unknown := [name for name in parameters if name not in names]:
        raise ExportError(f"export: parameters names {', '.join(unknown)}, but the arguments are {', '.join(names)}.")
    count, keys = len(args), list(keywords)

    def run(*given: Any) -> Any:
        return function(*given[:count], **dict(zip(keys, given[count:], strict=True)))

    args = (*args, *keywords.values())
    kinds = [
        not len(bound) <= i < count or isinstance(arg, Module) or names[i] in parameters for i, arg in enumerate(args)
    ]
    run.__name__ = name if name.isidentifier() else "program"
    return Call(run, args, tuple(kinds), tuple(names), len(bound), len(examples), static, documentation)


def _check_examples(function: Any, args: Sequence[Any], keywords: dict[str, Any]) -> None:
    """Raise TypeError if the examples are not the arguments of the function."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function in C
        return
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        raise TypeError(
            f"export: {called(function)}: {error}. Give one example for each argument, and options by name, such as path=."
        ) from None


def _parameters_of(function: Any) -> list[str]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def arguments_of(call: Call, places: Sequence[int]) -> list[Argument]:
    """The leaves at `places` with their paths. The path of a parameter begins within its argument, if only one argument holds some."""
    alone = sum(bool(trees.leaves(arg)) for arg, kind in zip(call.args, call.kinds, strict=True) if kind) == 1
    found = []
    for name, arg, kind in zip(call.names, call.args, call.kinds, strict=True):
        for path, leaf in trees.flatten_with_path(arg):
            whole = path if kind and alone and path else "/".join(filter(None, (name, path)))
            found.append(Argument(whole, leaf, kind))
    return [found[i] for i in places]


def recorded(call: Call, args: Sequence[Any]) -> tuple[Graph, tuple[int, ...], Any]:
    """The program for these arguments, the places of its inputs among the leaves, and the structure of its results."""
    leaves, treedef = trees.flatten(tuple(args))
    # A number that is bound to the function is a setting, such as a number of rounds.
    settings = [call.is_setting(number) for number, arg in enumerate(args) for _ in trees.leaves(arg)]
    places = tuple(
        [i for i, leaf in enumerate(leaves) if is_input(leaf) and (hasattr(leaf, "dtype") or not settings[i])]
    )
    flat, structure = of_leaves(lambda tree: call.function(*tree), treedef, leaves, places)
    names = tuple([identifier(argument.path) for argument in arguments_of(call, places)])
    with without_warnings():
        made = record(flat, [leaves[i] for i in places], called(call.function), names)
    if made.captures:
        raise ExportError("export: the function uses a value that is traced. Export it outside grad, vmap and compile.")
    if not made.graph.outputs:
        raise ExportError("export: the function returns nothing. Return an array, or a tree of arrays.")
    return made.graph, places, structure[0]


def resized(call: Call, axes: Sequence[int | None], batch: int) -> tuple[Any, ...]:
    """The arguments with `batch` members: members are left out, or used again."""
    changed = []
    for arg, axis in zip(call.args, axes, strict=True):
        if axis is None:
            changed.append(arg)
            continue
        changed.append(trees.map(lambda leaf, axis=axis: _resized(leaf, axis, batch), arg))
    return tuple(changed)


def _resized(leaf: Any, axis: int, batch: int) -> Any:
    if not getattr(leaf, "shape", ()):
        return leaf
    return np.take(leaf, np.arange(batch) % leaf.shape[axis], axis=axis)


def batch_of(call: Call, axes: Sequence[int | None]) -> int:
    """The size of the batch in the examples. Raises ShapeError if there are several sizes, or none."""
    sizes: dict[int, str] = {}
    for name, arg, axis in zip(call.names, call.args, axes, strict=True):
        if axis is None:
            continue
        for path, leaf in trees.flatten_with_path(arg):
            shape = getattr(leaf, "shape", ())
            place = "/".join(filter(None, (name, path)))
            if shape and not -len(shape) <= axis < len(shape):
                raise ShapeError(f"export.onnx: batch_axis is {axis}, but {place} is {describe(leaf)}.")
            if shape:
                sizes.setdefault(shape[axis], f"{place} has {shape[axis]} ({describe(leaf)})")
    if len(sizes) > 1:
        raise ShapeError(
            f"export.onnx: the sizes of the batch differ: {', '.join(sizes.values())}. Give batch_axis for each argument."
        )
    if not sizes:
        raise ShapeError("export.onnx: batch_axis is given, but no argument has a batch.")
    if 0 in sizes:
        raise ShapeError(f"export.onnx: {sizes[0]}, an empty batch. Give examples with at least one member.")
    return next(iter(sizes))


def _is_axis(axis: Any) -> bool:
    return axis is None or (isinstance(axis, int | np.integer) and not isinstance(axis, bool))


def axes_of(call: Call, batch_axis: int | Sequence[int | None] | None) -> tuple[int | None, ...]:
    """The batch axis of each argument; None for parameters."""
    inputs = [i for i, kind in enumerate(call.kinds) if not kind]
    if not all(_is_axis(axis) for axis in (batch_axis if isinstance(batch_axis, tuple | list) else [batch_axis])):
        raise ShapeError(
            f"export.onnx: batch_axis is {batch_axis!r}, but it must be an integer, or a tuple with an integer or None for each input."
        )
    axes: list[Any] = list(batch_axis) if isinstance(batch_axis, tuple | list) else [batch_axis] * len(inputs)
    if len(axes) != len(inputs):
        raise ShapeError(
            f"export.onnx: batch_axis has {len(axes)} entries for {len(inputs)} inputs. Give one for each, or one for all."
        )
    found = dict(zip(inputs, axes, strict=True))
    return tuple([found.get(i) for i in range(len(call.args))])


def opened(graph: Graph, opens: Callable[[Instruction], bool]) -> Graph:
    """The program with regions that are programs opened, and operations for which `opens` holds, also within loops and branches."""
    # One operation for each sum: which one eager code takes depends on the size of the batch.
    graph = with_plain_sums(fold_constants(expand(inline(graph), opens=opens)))
    steps = [attrs.evolve(step, operation=_opened_within(step.operation, opens)) for step in graph.instructions]
    return drop_dead(attrs.evolve(graph, instructions=tuple(steps)))


def _opened_within(operation: Any, opens: Callable[[Instruction], bool]) -> Any:
    if not isinstance(operation, Region):
        return operation
    changed = copy.copy(operation)
    for name, value in vars(operation).items():
        if isinstance(value, Program):
            setattr(changed, name, SimpleNamespace(graph=opened(value.graph, opens)))
    return changed
