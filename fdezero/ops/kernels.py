"""Operations as CUDA: what a C expression says for given dtypes, and kernels of one operation for eager code.

CuPy computes some operations by another formula than NumPy: `x % y` by a rounded quotient, `clip` without a look at NaN, `fmod` of
integers by way of doubles. Such an operation is `own`: on a GPU its C expression is its only formula. Eager code, the first call of
a compiled function and its later calls launch the same expression, alone or in a group.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..core import Primitive
from ..devices import CPU, Backend, backend_of
from ..values import C_TYPES as C_TYPES  # for all code that is generated

WEAK = {"f": float, "i": int}  # Python's type of a number, by the kind of its dtype
BOOL = np.dtype(bool)

# No contraction of a product and a sum to one rounding: a kernel must give the bits of its operations one by one.
OPTIONS = ("--fmad=false",)
# CuPy includes the type of halves for a parameter of that type, but not for a local variable.
HALVES = '#include "cupy/float16.cuh"'
P = TypeVar("P", bound=Primitive)


def operand_dtypes(operation: Primitive, given: Sequence[Any], y: Any = None) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which NumPy's loop takes the operands; empty if they are unknown or mixed, as for int64 < uint64.

    `given` are dtypes, and Python's types for Python's numbers. `y` is the dtype of the result, where it is known.
    """
    if operation.loop is not None:
        return operation.loop(tuple(map(np.dtype, given)), y)
    ufunc = getattr(np, operation.name, None)
    if not isinstance(ufunc, np.ufunc):
        return ()
    try:
        *operands, result = ufunc.resolve_dtypes((*given, None))
    except TypeError:
        return ()
    return tuple(operands) if result == (y or result) and len(set(operands)) == 1 else ()


def cast(name: str, dtype: np.dtype[Any], target: np.dtype[Any], *, weak: bool = False, unsigned: bool = False) -> str:
    """The variable `name` of one dtype in C++, as a loop of the dtype `target` takes it."""
    text = "float" if target == np.float16 else C_TYPES[target.name]
    if unsigned and text in ("int", "long long"):
        text = f"unsigned {text}"
    if C_TYPES[dtype.name] == text:
        return name
    # A Python integer becomes a float through a double, as in NumPy.
    return f"({text})(double){name}" if weak and text == "float" else f"({text}){name}"


def substituted(c: str, operands: Sequence[str], loop: np.dtype[Any], y: np.dtype[Any]) -> str:
    """A C expression with the texts of its operands, which a loop of one dtype computes for a result of the dtype `y`."""
    if y == np.float16 and loop not in (np.float16, np.float32):
        # A half is made from a float, or explicitly from a double, which is rounded once.
        operands = [f"{'float16' if loop == np.float64 else '(float)'}({operand})" for operand in operands]
    suffix = "f" if loop.itemsize < 8 else ""
    c = re.sub(r"\d+\.\d+(e-?\d+)?", lambda number: number[0] + suffix, c)
    return re.sub(r"\bx(\d)\b", lambda x: operands[int(x[1])], c)


class Own:
    """The implementation of an operation whose formula on a GPU is its own; on the CPU it is `host`, as declared."""

    def __init__(self, operation: Primitive, bounds: bool, elsewhere: Callable[..., Any] | None) -> None:
        self.operation, self.host, self.bounds = operation, operation.impl, bounds
        self.elsewhere = elsewhere or operation.impl
        self.__signature__ = operation.signature()

    def __call__(self, *args: Any) -> Any:
        for arg in args:
            if type(arg) is not np.ndarray and not isinstance(arg, np.generic | int | float | complex):
                backend = backend_of(*args)
                if backend.fuses_into_kernels:
                    return self._launched(backend, args)
                break
        return self.host(*args)

    def _launched(self, backend: Backend, args: Sequence[Any]) -> Any:
        kinds = tuple([arg.dtype if hasattr(arg, "dtype") else BOOL if type(arg) is bool else type(arg) for arg in args])
        is_array = tuple([isinstance(arg, backend.module.ndarray) for arg in args])
        made = _kernel(self.operation, kinds, is_array, backend)
        if made is None or any(isinstance(arg, np.ndarray) for arg in args):  # CuPy refuses arrays of NumPy
            return self.elsewhere(*args)
        kernel, loop = made
        return kernel(*[x if there else self._number(x, loop, i) for i, (x, there) in enumerate(zip(args, is_array, strict=True))])

    def _number(self, value: Any, loop: np.dtype[Any], place: int) -> Any:
        """A number in the loop's dtype. Raises OverflowError if the dtype cannot hold a Python integer, as NumPy does."""
        if self.bounds and type(value) is int and loop.kind in "iu":
            limits = np.iinfo(loop)
            value = max(value, int(limits.min)) if place == 1 else min(value, int(limits.max))
        return loop.type(value)


@functools.lru_cache(maxsize=1024)
def _kernel(
    operation: Primitive, kinds: tuple[Any, ...], is_array: tuple[bool, ...], backend: Backend
) -> tuple[Callable[..., Any], np.dtype[Any]] | None:
    """The kernel of one operation for operands of these kinds, and the dtype in which it takes numbers."""
    if not all(kind in (int, float) or getattr(kind, "name", "") in C_TYPES for kind in kinds):
        return None
    y = np.result_type(*[kind if isinstance(kind, np.dtype) else kind(0) for kind in kinds])
    loops = operand_dtypes(operation, kinds, y if operation.loop is not None else None)
    c = operation.expression({dtype.kind for dtype in loops}) if loops else ""
    if not c:
        return None
    if operation.loop is None:
        y = getattr(np, operation.name).resolve_dtypes((*kinds, None))[-1]
    given = [kind if there else loops[-1] for kind, there in zip(kinds, is_array, strict=True)]
    operands = [cast(f"x{i}", dtype, loops[-1], unsigned=operation.wraps) for i, dtype in enumerate(given)]
    parameters = ", ".join([f"{dtype.name} x{i}" for i, dtype in enumerate(given)])
    text = f"out0 = {substituted(c, operands, loops[-1], y)}"
    made = backend.module.ElementwiseKernel(parameters, f"{y.name} out0", text, f"fdezero_{operation.name}", options=OPTIONS)
    return made, loops[-1]


def own(operation: P, *, bounds: bool = False, elsewhere: Callable[..., Any] | None = None) -> P:
    """The operation, with its C expression as its one formula on a GPU.

    With `bounds` its operands 1 and 2 are bounds, and a Python integer beyond the range of the dtype is no bound, as in NumPy.
    `elsewhere` serves dtypes on a GPU that the expression does not have, such as complex ones.
    """
    assert operation.c, operation.name
    operation.impl = Own(operation, bounds, elsewhere)
    return operation


def implementation(operation: Primitive, backend: Backend) -> Callable[..., Any]:
    """The function that computes an operation on arrays of a back end."""
    impl = operation.impl
    return impl.host if backend is CPU and isinstance(impl, Own) else impl
