"""Gives tracers the operators, methods and NumPy functions of an array: each is the function of that name in this face."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Tracer, unwrap
from ..core.tracer import NUMPY_FUNCTIONS
from .arguments import as_array

BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift", "divmod": "divmod",
}  # fmt: skip
COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert", "round": "round"}
METHODS = (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip", "cumprod", "cumsum", "diagonal", "dot", "max",
    "mean", "min", "nonzero", "partition", "prod", "ravel", "repeat", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes",
    "take", "trace", "var",
)  # fmt: skip
UFUNC_REDUCTIONS = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any",
    "logaddexp": "logsumexp",
}  # fmt: skip
UFUNC_ACCUMULATIONS = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}


def install(face: dict[str, Any]) -> None:
    """Fill in `Tracer` and the table of NumPy functions from the functions of `face`."""
    for name, function in BINARY.items():
        setattr(Tracer, f"__{name}__", _operator(face[function]))
        setattr(Tracer, f"__r{name}__", _reflected(face[function]))
    for name, function in COMPARISONS.items():
        setattr(Tracer, f"__{name}__", _operator(face[function]))
    for name, function in UNARY.items():
        setattr(Tracer, f"__{name}__", _method(face[function]))
    for name in METHODS:
        setattr(Tracer, name, _method(face[name]))
    members: dict[str, Any] = {
        "reshape": lambda x, *shape, order="C": face["reshape"](x, shape[0] if len(shape) == 1 else shape, order),
        "transpose": lambda x, *axes: face["transpose"](x, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None),
        "flatten": _method(face["ravel"]),
        "copy": lambda x, order="C": x,
        "conj": _method(face["conjugate"]),
        "conjugate": _method(face["conjugate"]),
        "T": property(_method(face["transpose"])),
        "mT": property(_method(face["matrix_transpose"])),
        "real": property(_method(face["real"])),
        "imag": property(_method(face["imag"])),
        "device": property(lambda x: getattr(unwrap(x), "device", "cpu")),
        "__array_namespace__": lambda x, *, api_version=None: sys.modules[__package__],
    }
    for name, member in members.items():
        setattr(Tracer, name, member)
    _answer_for(np, face)
    _answer_for(np.fft, vars(face["fft"]))
    _answer_for(np.linalg, vars(face["linalg"]))
    NUMPY_FUNCTIONS[np.shape] = lambda x: x.shape
    NUMPY_FUNCTIONS[np.ndim] = lambda x: x.ndim
    NUMPY_FUNCTIONS[np.size] = lambda x, axis=None: x.size if axis is None else x.shape[axis]
    NUMPY_FUNCTIONS[np.result_type] = face["result_type"]
    for name, function in UFUNC_ACCUMULATIONS.items():
        NUMPY_FUNCTIONS[getattr(np, name), "accumulate"] = _ufunc_reduce(face[function])
    for name, function in UFUNC_REDUCTIONS.items():
        NUMPY_FUNCTIONS[getattr(np, name), "reduce"] = _ufunc_reduce(face[function])
    for name, function in face.items():
        ufunc = getattr(np, name, None)
        if isinstance(ufunc, np.ufunc) and ufunc.nin == 2 and ufunc.signature is None:
            NUMPY_FUNCTIONS[ufunc, "outer"] = _ufunc_outer(function, face["reshape"])


def _answer_for(module: Any, face: dict[str, Any]) -> None:
    for name, function in face.items():
        numpys = getattr(module, name, None)
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


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    # A function binds to the instance as a method does; a primitive, being an object, would not.
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return method


def _ufunc_reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = 0, **kwargs: Any) -> Any:
        return function(x, axis=axis, **kwargs)

    return reduce


def _ufunc_outer(function: Callable[..., Any], reshape: Callable[..., Any]) -> Callable[..., Any]:
    def outer(x: Any, y: Any) -> Any:
        x, y = as_array(x), as_array(y)
        return function(reshape(x, (*x.shape, *(1 for _ in y.shape))), y)

    return outer
