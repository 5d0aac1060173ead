"""Gives tracers the operators, methods and NumPy functions of arrays, taken from this face by name."""

import inspect
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..core import Tracer, unwrap
from ..core.tracer import INTRODUCTIONS, NUMPY_FUNCTIONS
from ..errors import ImmutableError
from ..messages import describe
from . import introductions

BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "divmod": "divmod",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
ASSIGNING = {
    "add": "+=", "sub": "-=", "mul": "*=", "truediv": "/=", "floordiv": "//=", "mod": "%=", "pow": "**=", "matmul": "@=",
    "and": "&=", "or": "|=", "xor": "^=", "lshift": "<<=", "rshift": ">>=",
}  # fmt: skip
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert", "round": "round"}


def install(face: dict[str, Any]) -> None:
    """Give `Tracer` its operators and methods, and fill the table of NumPy functions, from the functions of `face`."""
    for name, member in {**_operators(face), **_methods(face), **_own_members(face)}.items():
        setattr(Tracer, name, member)
    _answer_for(np, face)
    _answer_for(np.fft, vars(face["fft"]))
    _answer_for(np.linalg, vars(face["linalg"]))
    NUMPY_FUNCTIONS[np.shape] = lambda x: x.shape
    NUMPY_FUNCTIONS[np.ndim] = lambda x: x.ndim
    NUMPY_FUNCTIONS[np.size] = lambda x, axis=None: x.size if axis is None else x.shape[axis]
    INTRODUCTIONS["einops"] = introductions.einops
    for (ufunc, name), function in face["ufuncs"].methods_of(face).items():
        NUMPY_FUNCTIONS[ufunc, name] = function
        setattr(face[ufunc.__name__], name, function)


def _operators(face: dict[str, Any]) -> dict[str, Any]:
    return {
        **{f"__{name}__": _operator(face[function]) for name, function in (BINARY | COMPARISONS).items()},
        **{f"__r{name}__": _reflected(face[function]) for name, function in BINARY.items()},
        **{f"__{name}__": _method(face[function]) for name, function in UNARY.items()},
        **{f"__i{name}__": _assigning(face[BINARY[name]], symbol) for name, symbol in ASSIGNING.items()},
    }


def _methods(face: dict[str, Any]) -> dict[str, Any]:
    """The functions of `face` that NumPy's arrays have as methods of the same name."""
    names = vars(np.ndarray).keys() & face.keys() - {"resize"}  # ndarray.resize writes into the array
    return {
        name: _method(face[name])
        for name in names
        if inspect.ismethoddescriptor(vars(np.ndarray)[name]) and callable(face[name])
    }


def _own_members(face: dict[str, Any]) -> dict[str, Any]:
    """Members that are not a function of `face` by their own name, or take their arguments in another way."""
    return {
        "__getitem__": _method(face["getitem"]),
        "reshape": lambda x, *shape, order="C", copy=None: face["reshape"](
            x, shape[0] if len(shape) == 1 else shape, order, copy=copy
        ),
        "transpose": lambda x, *axes: face["transpose"](
            x, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None
        ),
        "astype": _astype(face["astype"]),
        "compress": lambda x, condition, axis=None, out=None: face["compress"](condition, x, axis, out),
        "sort": _in_place("sort"),
        "partition": _in_place("partition"),
        "flatten": lambda x, order="C": face["ravel"](x, order).copied(),
        "copy": lambda x, order="C": x.copied(),
        "T": property(_method(face["transpose"])),
        "mT": property(_method(face["matrix_transpose"])),
        "real": property(_method(face["real"])),
        "imag": property(_method(face["imag"])),
        "device": property(lambda x: getattr(unwrap(x), "device", "cpu")),
        "__array_namespace__": lambda x, *, api_version=None: sys.modules[__package__],
    }


def _answer_for(module: Any, face: dict[str, Any]) -> None:
    functions = vars(module)  # NumPy is slow to say that it has no such name
    for name, function in face.items():
        numpys = functions.get(name)
        if callable(numpys) and callable(function) and not isinstance(numpys, type) and numpys is not function:
            NUMPY_FUNCTIONS[numpys] = function


def _operator(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        return function(self, other)

    return operate


def _reflected(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        return function(other, self)

    return operate


def _assigning(function: Callable[..., Any], symbol: str) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        return self.overwritten_by(function(self, other), symbol, sys._getframe(1))

    return operate


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    # A function becomes a method of the instance; a primitive, which is an object, would not.
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__wrapped__ = function  # type: ignore[attr-defined]  # for help and inspect.signature
    return method


def _astype(function: Callable[..., Any]) -> Callable[..., Any]:
    def astype(
        self: Any, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):
            raise TypeError(f"cannot cast {describe(self)} to {np.dtype(dtype)} by the rule casting={casting!r}.")
        return function(self, dtype, copy)

    return astype


def _in_place(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImmutableError(f"x.{name}() changes x, but a traced value is immutable. Write y = np.{name}(x).")

    return refuse
