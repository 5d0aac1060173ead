"""What a framework must be able to do so that its functions can be tested: a handful of methods over flat lists of arrays.

A tree of arguments becomes a list of its arrays above this seam, in `..functions`. So a framework sees lists alone.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = list[Any]
Run: TypeAlias = Callable[[Arrays], Arrays]
Pullback: TypeAlias = Callable[[Arrays], Arrays]


class NotOffered(Exception):  # noqa: N818, it says what a function does not offer; no fault
    """A function does not offer a derivative, a batching rule or compilation. The text says what the framework answered."""


class Backend(ABC):
    """A framework: how arrays cross, and how its functions are differentiated, batched and compiled."""

    name: str
    layouts: tuple[str, ...] = ()  # memory layouts in which arrays can be passed besides the plain one
    compiles = False  # whether `compile` is cheap enough to be asked by default

    @abstractmethod
    def array(self, x: Any) -> Any:
        """The NumPy array `x` as an array of the framework, without a copy where memory can be shared."""

    @abstractmethod
    def numpy(self, x: Any) -> np.ndarray:
        """An array of the framework as a NumPy array, without a copy where memory can be shared."""

    @abstractmethod
    def is_array(self, leaf: Any) -> bool:
        """Whether `leaf` is an array of the framework that NumPy can hold."""

    @abstractmethod
    def copy(self, x: Any) -> Any:
        """An array of the framework with contiguous memory of its own."""

    @abstractmethod
    def dtype(self, x: Any) -> str:
        """The dtype of an array of the framework by NumPy's name, such as `float32`."""

    @abstractmethod
    def vjp(self, run: Run, xs: Arrays, which: Sequence[int]) -> tuple[Arrays, Pullback]:
        """The outputs, and the function of cotangents that gives the gradients of the inputs numbered in `which`.

        There is a cotangent for each floating output, and None for others. <a, b> is Re sum conj(a) b for complex numbers.
        """

    @abstractmethod
    def jvp(self, run: Run, xs: Arrays, which: Sequence[int], vs: Arrays) -> tuple[Arrays, Arrays]:
        """The outputs, and their tangents along `vs`, the tangents of the inputs in `which`. Outputs of integers have None."""

    @abstractmethod
    def vmap(self, run: Run, axes: Sequence[int | None]) -> Run:
        """`run` over a leading axis of the inputs whose axis is 0."""

    @abstractmethod
    def compile(self, run: Run) -> Run:
        """`run`, compiled by the framework."""

    @abstractmethod
    def refusal(self, error: Exception, *, of_tangent: bool = False) -> str:
        """What is not offered, in the framework's words, if `error` says that; empty for every other error.

        `of_tangent` says that a tangent was being differentiated, for which frameworks have gaps of their own.
        """

    def wide(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which double precision works."""
        return contextlib.nullcontext()

    def lay_out(self, x: Any, layout: str) -> Any:
        """The values of `x` in another memory layout; None if its shape has none."""
        return None

    def spread(self, x: Any) -> Any:
        """An array of equal values along all axes, with zero strides where the framework has them."""
        return x
