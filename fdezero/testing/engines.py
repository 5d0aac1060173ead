"""How a check differentiates: fdezero's own transforms for functions of NumPy, a backend for functions of another framework."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from .. import tree as trees
from ..errors import StructureError
from ..messages import called, describe
from ..transforms import jvp, vjp
from ..values import is_differentiable
from .backends import Arrays, Backend, NotOffered

Function = Callable[..., Any]


class Engine(Protocol):
    """Derivatives of functions whose arguments and results are trees of NumPy arrays."""

    def vjp(self, function: Any, args: tuple[Any, ...], cotangents: Any) -> tuple[Any, Any]:
        """The value, and the gradients of the arguments."""

    def jvp(self, function: Any, args: tuple[Any, ...], direction: Any) -> tuple[Any, Any]:
        """The value, and its tangent."""

    def pulled(self, function: Any, args: tuple[Any, ...], cotangents: Any) -> Any:
        """The function that gives the gradients, to be differentiated again."""

    def pushed(self, function: Any, args: tuple[Any, ...], direction: Any) -> Any:
        """The function that gives the tangent, to be differentiated again."""


class Native:
    """Functions of NumPy and fdezero."""

    def vjp(self, function: Function, args: tuple[Any, ...], cotangents: Any) -> tuple[Any, Any]:
        value, pullback = vjp(function, *args)
        gradient = pullback(cotangents)
        pullback.release()
        return value, gradient

    def jvp(self, function: Function, args: tuple[Any, ...], direction: Any) -> tuple[Any, Any]:
        value, tangent = jvp(function, args, direction)
        return value, tangent

    def pulled(self, function: Function, args: tuple[Any, ...], cotangents: Any) -> Function:
        return lambda *args: vjp(function, *args)[1](cotangents)

    def pushed(self, function: Function, args: tuple[Any, ...], direction: Any) -> Function:
        return lambda *args: jvp(function, args, direction)[1]


class Foreign:
    """A function of a framework as one of flat lists of its arrays. Called with trees of NumPy arrays, it returns such trees.

    Whatever is no array among the arguments is a constant: numbers, strings, modules, random keys. `arrays` has None there.
    """

    def __init__(self, backend: Backend, function: Function, args: tuple[Any, ...]) -> None:
        self.backend, self.function = backend, function

        def crosses(leaf: Any) -> bool:
            return hasattr(leaf, "__array_interface__") or backend.is_array(leaf)

        arrays, self.constants = trees.partition(args, crosses)
        leaves, self.treedef = trees.flatten(arrays)
        numbers = [backend.numpy(leaf) if backend.is_array(leaf) else leaf for leaf in leaves]
        self.arrays: tuple[Any, ...] = trees.unflatten(self.treedef, numbers)
        self.made: Any = None  # the structure of the last value

    def given(self, xs: Arrays) -> tuple[Any, ...]:
        """The arguments of `function`: arrays of the framework, and the constants in their places."""
        combined: tuple[Any, ...] = trees.combine(trees.unflatten(self.treedef, xs), self.constants)
        return combined

    def given_args(self) -> tuple[Any, ...]:
        """The arguments as the function gets them."""
        return self.given([self.backend.array(leaf) for leaf in trees.leaves(self.arrays)])

    def whole(self, function: Any) -> Any:
        """A function of all arguments as one of the arrays alone; anything else as it is."""
        return (lambda *arrays: function(*trees.combine(arrays, self.constants))) if callable(function) else function

    def run(self, xs: Arrays) -> Arrays:
        """The arrays in the value of `function`."""
        leaves, self.made = trees.flatten(self.function(*self.given(xs)))
        return [self.checked(leaf) for leaf in leaves]

    def checked(self, leaf: Any) -> Any:
        if isinstance(leaf, bool | int | float | complex | np.ndarray | np.generic):
            return self.backend.array(np.asarray(leaf))
        if isinstance(leaf, str) or not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            raise StructureError(
                f"{named(self.function)} returned {describe(leaf)}. With backend={self.backend.name!r}, return its arrays, numbers, or "
                "trees of them (dicts, lists, tuples)."
            )
        return leaf

    def tree(self, ys: Arrays) -> Any:
        """The arrays of a value as a tree of NumPy arrays."""
        return trees.unflatten(self.made, [None if y is None else self.backend.numpy(y) for y in ys])

    def __call__(self, *args: Any) -> Any:
        return self.tree(self.run([self.backend.array(leaf) for leaf in trees.leaves(args)]))


class _Pulled(Foreign):
    """The gradients of the arguments as a function of the arguments."""

    def __init__(self, of: Foreign, args: tuple[Any, ...], cotangents: Arrays) -> None:
        self.backend, self.of, self.cotangents, self.args = of.backend, of, cotangents, args

    def run(self, xs: Arrays) -> Arrays:
        copies = [None if t is None else self.backend.copy(t) for t in self.cotangents]  # a rule may write into them
        return self.backend.vjp(self.of.run, xs, which(self.args))[1](copies)

    def tree(self, ys: Arrays) -> Any:
        return gradient_tree(self.backend, self.args, ys)


class _Pushed(Foreign):
    """The tangent of the value as a function of the arguments; outputs of integers do not have one."""

    def __init__(self, of: Foreign, args: tuple[Any, ...], tangents: Arrays) -> None:
        self.backend, self.of, self.tangents, self.args = of.backend, of, tangents, args
        self.has_tangent: list[bool] = []

    def run(self, xs: Arrays) -> Arrays:
        _, dys = self.backend.jvp(self.of.run, xs, which(self.args), self.tangents)
        self.has_tangent = [dy is not None for dy in dys]
        return [dy for dy in dys if dy is not None]

    def tree(self, ys: Arrays) -> Any:
        rest = iter(ys)
        return self.of.tree([next(rest) if yes else None for yes in self.has_tangent])


class Frameworks:
    """The engine of a backend: its functions are `Foreign`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def vjp(self, function: Foreign, args: tuple[Any, ...], cotangents: Any) -> tuple[Any, Any]:
        with self.asked(function):
            ys, pullback = self.backend.vjp(function.run, self.arrays(args), which(args))
            value = function.tree(ys)
            gradient = pullback(self.cotangents(cotangents))
        return value, gradient_tree(self.backend, args, gradient)

    def jvp(self, function: Foreign, args: tuple[Any, ...], direction: Any) -> tuple[Any, Any]:
        with self.asked(function):
            ys, dys = self.backend.jvp(function.run, self.arrays(args), which(args), self.tangents(direction))
        return function.tree(ys), function.tree(dys)

    def pulled(self, function: Foreign, args: tuple[Any, ...], cotangents: Any) -> Foreign:
        return _Pulled(function, args, self.cotangents(cotangents))

    def pushed(self, function: Foreign, args: tuple[Any, ...], direction: Any) -> Foreign:
        return _Pushed(function, args, self.tangents(direction))

    @contextlib.contextmanager
    def asked(self, function: Any = None) -> Iterator[None]:
        """Turn the framework's way to say that a function does not offer something into `NotOffered`."""
        try:
            yield
        except Exception as error:
            if reason := self.backend.refusal(error, of_tangent=isinstance(function, _Pushed)):
                raise NotOffered(reason) from None
            raise

    def arrays(self, tree: Any) -> Arrays:
        """The leaves of a tree as arrays of the framework."""
        return [self.backend.array(x) for x in trees.leaves(tree)]

    def tangents(self, tree: Any) -> Arrays:
        """The floating leaves of a tree, with memory of their own."""
        return [self.backend.copy(self.backend.array(x)) for x in trees.leaves(tree) if is_differentiable(x)]

    def cotangents(self, tree: Any) -> Arrays:
        """Like `tangents`, but with None in the places of integers."""
        leaves = trees.leaves(tree)
        return [self.backend.copy(self.backend.array(x)) if is_differentiable(x) else None for x in leaves]


def named(function: Function) -> str:
    """How a message calls a function: a method of a class with the class's name, such as `Softplus.apply` of an autograd Function."""
    owner = getattr(function, "__self__", None)
    return f"{owner.__name__}.{called(function)}" if isinstance(owner, type) else called(function)


def which(args: tuple[Any, ...]) -> list[int]:
    """The numbers of the leaves that can be differentiated."""
    return [i for i, leaf in enumerate(trees.leaves(args)) if is_differentiable(leaf)]


def gradient_tree(backend: Backend, args: tuple[Any, ...], gradients: Arrays) -> Any:
    """Gradients as a tree of NumPy arrays like `args`, with None in the places of integers."""
    leaves, treedef = trees.flatten(args)
    rest = iter(gradients)
    found = [backend.numpy(next(rest)) if is_differentiable(leaf) else None for leaf in leaves]
    return trees.unflatten(treedef, found)
