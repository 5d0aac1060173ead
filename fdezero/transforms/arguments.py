"""Demands of transforms on functions, arguments and results, with the errors for what does not fit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import unwrap
from ..core.wrapping import check_function
from ..errors import DTypeError, ShapeError, StructureError
from ..messages import called, describe
from ..values import is_complex


def name_of(transform: str, function: Callable[..., Any]) -> str:
    """The name of a transformed function in messages, such as `grad(loss_fn)`."""
    check_function(function, transform)
    return f"{transform}({called(function)})"


def numbers_of(name: str, argnums: int | Sequence[int], args: tuple[Any, ...]) -> tuple[int, ...]:
    """The positions that `argnums` names. Raises TypeError if there is no such argument."""
    numbers: Any = argnums if isinstance(argnums, Sequence) else (argnums,)
    if any(not isinstance(n, int | np.integer) or not -len(args) <= n < len(args) for n in numbers):
        count = f"{len(args)} positional argument{'s were' if len(args) != 1 else ' was'} given"
        raise TypeError(
            f"{name}: argnums={argnums!r}, but {count}. Positions count from 0. Pass the arguments to differentiate "
            "by position."
        )
    return tuple(numbers)


def as_arguments(name: str, what: str, given: Any) -> tuple[Any, ...]:
    """`given` as a tuple. Raises TypeError for a bare array, which would be split into its rows."""
    if not isinstance(given, tuple | list):
        raise TypeError(
            f"{name}: {what} are a tuple with one entry for each argument, got {describe(given)}. Write (x,) instead of x."
        )
    return tuple(given)


def check_holomorphic(name: str, what: str, tree: Any) -> None:
    """Raise DTypeError for a real leaf: its cotangent is real, so half of a complex derivative would be lost."""
    for path, leaf in trees.flatten_with_path(tree, namespace=trees.TRAINABLE):
        if trees.is_differentiable(leaf) and not is_complex(leaf):
            where, dtype = (
                f" at {path!r}" if path else "",
                np.result_type(leaf.dtype, np.complex64) if hasattr(leaf, "dtype") else None,
            )
            if what == "argument":
                hint = f"Pass x.astype(np.{dtype.name})" if dtype is not None else f"Pass complex({unwrap(leaf)})"
            else:
                hint = "A holomorphic function returns complex numbers"
            raise DTypeError(
                f"{name}: holomorphic=True is for complex numbers, but the {what}{where} is {describe(leaf)}. {hint}, or leave holomorphic "
                "out for the derivative by a real number."
            )


def counted(value: Any) -> str:
    """`value` in words. For a tuple, the number of its entries."""
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else describe(value)


def split_aux(name: str, result: Any) -> tuple[Any, Any]:
    """The two parts of the result of a function with has_aux=True. Raises StructureError."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise StructureError(f"{name} with has_aux=True: the function must return (value, aux), got {counted(result)}.")
    return result


def check_scalar(name: str, value: Any, holomorphic: bool) -> None:
    """Raise an error unless `value` is a floating scalar, complex if `holomorphic`."""
    shape = getattr(value, "shape", () if isinstance(value, int | float | complex) else None)
    if shape is None:
        raise StructureError(
            f"{name}: the function must return a number, got {describe(value)}. Return extras through has_aux=True."
        )
    if shape != ():
        raise ShapeError(
            f"{name}: the function must return a scalar, got {describe(value)}. Reduce it (fd.numpy.mean, fd.numpy.sum), "
            "or use fd.vjp or fd.vmap(fd.grad(...)) for more than one output."
        )
    if not trees.is_differentiable(value):
        raise DTypeError(f"{name}: the function must return a floating scalar, got {describe(value)}.")
    if holomorphic is not is_complex(value):
        raise DTypeError(
            f"{name}: holomorphic=True is for complex values, got {describe(value)}. Leave holomorphic out."
            if holomorphic
            else f"{name}: the function must return a real number, got {describe(value)}. Use fd.numpy.real or fd.numpy.abs, or pass "
            "holomorphic=True for the complex derivative of a holomorphic function."
        )
