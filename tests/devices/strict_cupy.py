"""A strict stand-in for CuPy 14 on machines without a GPU: NumPy arrays behind CuPy's refusals, on two devices.

It refuses what CuPy refuses: silent conversion to NumPy, NumPy arrays among CuPy ones, keywords and ufunc methods that CuPy
does not have, arrays on another device than the current one (as on a machine without peer access). Results are never scalars.
Where CuPy computes by another formula than NumPy, so does the stand-in (`strict_cupy_formulas`).
In one thing the stand-in is stricter: an index out of range is an error, while CuPy wraps around.
"""

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fdezero import gpu_available

from .strict_cupy_array import (
    PEERS,
    PLAIN,
    TRANSFERS,
    Device,
    PerformanceWarning,
    current,
    here,
    index_of,
    make_runtime,
    ndarray,
    operand,
    spoilt,
    unsupported,
    wrap,
)
from .strict_cupy_formulas import FORMULAS, REFUSED, kernel
from .strict_cupy_graph import NOTED, STOPPED, MemoryPool, Stream, current_stream, noted, stopped, using_allocator
from .strict_cupy_kernel import CompileException, ElementwiseKernel, ReductionKernel
from .strict_cupy_lines import RawKernel
from .strict_cupy_names import CREATION, FOURIER, FUNCTIONS, LINALG, METHODS, SPECIAL, declared

STREAMS = {"Stream": Stream, "MemoryPool": MemoryPool, "using_allocator": using_allocator, "get_current_stream": current_stream}
PLACES = {"argmax", "argmin"}

VIEWS = {"reshape", "transpose", "swapaxes", "squeeze", "moveaxis", "expand_dims", "broadcast_to", "ravel", "view", "diagonal", "split", "as_strided"}
ON_ANY_DEVICE = {"copy", "empty_like", "ones_like", "zeros_like", "full_like"} | VIEWS
WAITING = {"argwhere", "bincount", "flatnonzero", "nonzero", "unique"}  # These wait for a number from the device.
ABSENT_UFUNCS = {"isnat", "matmul", "matvec", "spacing", "vecdot", "vecmat"}
SCATTERS = {
    "add": "efdiIlLqQ", "subtract": "iI", "maximum": "fdiIlLqQ", "minimum": "fdiIlLqQ",
    "bitwise_and": "iIlLqQ", "bitwise_or": "iIlLqQ", "bitwise_xor": "iIlLqQ",
}  # fmt: skip


class ufunc:  # noqa: N801, CuPy's name
    """cupy.ufunc with its methods."""

    def __init__(self, function: np.ufunc) -> None:
        self.function = function
        self.__name__ = self.name = function.__name__
        self.nin, self.nout = function.nin, function.nout
        self.compute = FORMULAS.get(self.name, function)

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind", **other: Any) -> Any:
        if len(args) == self.nin and self.nout == 1 and out is None and not other and not NOTED and self.name not in REFUSED and PLAIN.issuperset(map(type, args)):
            result = self.compute(*[here(x) if type(x) is ndarray else x for x in args], out=(None,), dtype=dtype, casting=casting)
            return ndarray._of(np.asarray(result, order="C"), current[-1])  # the usual call; what follows does the same
        for arg in args:
            if hasattr(arg, "__cupy_override_elementwise_kernel__"):
                return arg.__cupy_override_elementwise_kernel__(self, *args, **other)
        if other:
            raise TypeError(f"Wrong arguments {other}")
        nin, nout = self.nin, self.nout
        if not nin <= len(args) <= nin + nout:
            raise TypeError(f"Wrong number of arguments for {self.name!r}. It must be either {nin} or {nin + nout} (with outputs)")
        args, outs = args[:nin], args[nin:]
        if out is not None:
            if outs:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            outs = out if isinstance(out, tuple) else (out,)
            if len(outs) != nout:
                raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
        outs = (*outs, *[None] * (nout - len(outs)))
        for y in outs:
            if y is not None and not isinstance(y, ndarray):
                raise unsupported(y)
        operands = [*map(operand, args)]
        if self.name in REFUSED and any(np.result_type(x).kind == "c" for x in operands):
            kinds = ", ".join([repr(np.result_type(x)) for x in operands])
            raise TypeError(f"Wrong type (({kinds})) of arguments for cupy_{self.name}")
        places = tuple([None if y is None else here(y) for y in outs])
        compute = lambda: self.compute(*operands, out=places, dtype=dtype, casting=casting)
        results = compute()
        if NOTED:
            found = results if nout > 1 else (results,)
            results = tuple([np.asarray(result, order="C") if y is None else y for y, result in zip(places, found, strict=True)])
            noted(results, compute)
            results = results if nout > 1 else results[0]
        made = [wrap(np.asarray(result, order="C")) if y is None else y for y, result in zip(outs, results if nout > 1 else [results], strict=True)]
        return made[0] if nout == 1 else tuple(made)

    def outer(self, a: Any, b: Any) -> Any:
        return wrap(self.function.outer(operand(a), operand(b)))

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if self.name not in SCATTERS:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        parts, advanced = index_of(indices)
        if advanced and a.dtype.char not in SCATTERS[self.name]:
            raise TypeError(f"cupy.{self.name}.at does not support {a.dtype}")
        self.function.at(here(a), parts, here(b) if isinstance(b, ndarray) else np.asarray(b, a.dtype) if advanced else operand(b))

    def reduce(self, array: ndarray, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._by_method("reduce", {"add": "sum", "multiply": "prod"}, array, axis, dtype, out, keepdims)

    def accumulate(self, array: ndarray, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        return self._by_method("accumulate", {"add": "cumsum", "multiply": "cumprod"}, array, axis, dtype, out)

    def reduceat(self, array: ndarray, indices: Any, axis: int = 0) -> Any:
        if self.name != "add":
            raise NotImplementedError(f"`{self.name}.reduceat` is not supported yet")
        return wrap(self.function.reduceat(here(array), here(indices), axis))

    def _by_method(self, name: str, known: dict[str, str], array: ndarray, *args: Any) -> Any:
        if self.name not in known:
            raise NotImplementedError(f"`{self.name}.{name}` is not supported yet")
        return getattr(array, known[self.name])(*args)


def take_numbers(value: Any, *, kernel: bool) -> Any:
    """The arguments of a function with CuPy arrays replaced by their numbers; NumPy arrays are refused."""
    if isinstance(value, ndarray):
        return here(value) if kernel else value._numbers
    if isinstance(value, tuple | list):
        return type(value)([take_numbers(part, kernel=kernel) for part in value])
    if isinstance(value, np.ndarray) or (hasattr(value, "__array_ufunc__") and not isinstance(value, np.generic)):
        raise unsupported(value)
    return value


def strict(name: str, numpys: Callable[..., Any], required: list[str], optional: list[str], method: bool = False) -> Callable[..., Any]:
    """`numpys` with the arguments of CuPy's function of that name, for CuPy arrays only."""
    kernel = name not in ON_ANY_DEVICE

    def function(*args: Any, **kwargs: Any) -> Any:
        names = [*required, *optional]
        if "out" in names and len(args) - method > (place := names.index("out")):
            if name == "matmul" or "out" in kwargs:
                raise TypeError(f"{name}() got multiple values for argument 'out'")
            kwargs |= zip(names[place:], args[place + method :], strict=False)
            args = args[: place + method]
        if "*" not in names and len(args) - method > len(names):
            raise TypeError(f"{name}() takes at most {len(names)} arguments, got {len(args)}")
        if unknown := [key for key in kwargs if key not in names]:
            raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
        missing = [key for key in required[len(args) :] if key != "*" and key not in kwargs]
        if missing and "*" not in names:
            raise TypeError(f"{name}() missing required argument {missing[0]!r}")
        if name in {"sort", "argsort"} and kwargs.get("kind") not in {None, "stable"}:
            raise ValueError("kind can only be None or 'stable'")
        if name in {"concatenate", "stack"} and (others := [part for part in args[0] if not isinstance(part, ndarray)]):
            raise unsupported(others[0])
        if name in {"broadcast_to", "where"} and not isinstance(args[0], ndarray | np.bool_):
            raise TypeError(f"Argument 'array' has incorrect type (expected cupy.ndarray, got {type(args[0])})")
        if name.endswith("_like") and not kwargs.get("shape", True):  # cupy/_creation/basic.py: shape if shape else a.shape
            del kwargs["shape"]
        out = kwargs.pop("out", None)
        if out is not None and not isinstance(out, ndarray):
            raise TypeError(f"Argument 'out' has incorrect type (expected cupy.ndarray, got {type(out)})")
        result = numpys(
            *[take_numbers(arg, kernel=kernel) for arg in args],
            **{key: take_numbers(value, kernel=kernel) for key, value in kwargs.items()},
            **({} if out is None else {"out": here(out)}),
        )
        if NOTED and name not in VIEWS:
            if name in {"matmul", "dot", "einsum", "tensordot"}:
                stopped("calling cuBLAS API during stream capture is currently unsupported")
            if name in WAITING:
                stopped(STOPPED)
            given = [take_numbers(arg, kernel=kernel) for arg in args], {key: take_numbers(value, kernel=kernel) for key, value in kwargs.items()}
            result = np.asarray(result) if out is None else here(out)
            noted((result,), lambda: numpys(*given[0], **given[1]))
        if out is not None:
            return out[...] if name in {"cumsum", "cumprod"} else out  # these return another array of the same memory
        if name in WAITING:
            TRANSFERS.append(name)
        if isinstance(result, bool | int) and name in {"count_nonzero", "may_share_memory", "shares_memory"}:
            return result
        first = args[0] if args and isinstance(args[0], ndarray) else None
        return wrap(result, first._device if first is not None and name in VIEWS else None)

    function.__name__ = name
    return function


def method_of(name: str, names: list[str]) -> Callable[..., Any]:
    return strict(name, lambda self, *args, **kwargs: FORMULAS[name](self, *args, **kwargs) if name in PLACES else getattr(self, name)(*args, **kwargs), [], names, method=True)


for _name, _, _names in declared(METHODS):
    setattr(ndarray, _name, method_of(_name, _names))


def linalg(name: str, required: list[str], optional: list[str]) -> Callable[..., Any]:
    """CuPy's function of linear algebra: it does not broadcast stacks, and leaves what there is where a matrix is singular."""

    def numpys(*args: Any, **kwargs: Any) -> Any:
        if name == "solve" and args[1].ndim > 1 and args[0].shape[:-1] != args[1].shape[:-1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
        try:
            result = getattr(np.linalg, name)(*args, **kwargs)
        except np.linalg.LinAlgError:
            return left_over(name, *args)
        return tuple(result) if isinstance(result, tuple) else result

    return strict(name, numpys, required, optional)


def left_over(name: str, *args: np.ndarray) -> Any:
    """What CuPy's functions return where NumPy's raise LinAlgError: half a factor, infinities, or numbers that mean nothing."""
    if name in ("inv", "solve"):
        made = np.empty_like(args[-1])
        for loop in np.ndindex(args[0].shape[:-2]):
            try:
                made[loop] = getattr(np.linalg, name)(*[x[loop] for x in args])
            except np.linalg.LinAlgError:
                made[loop] = np.inf
        return made
    if name == "cholesky":
        made = np.tril(args[0])
        for a in made.reshape(-1, *made.shape[-2:]):
            for j in range(len(a)):
                pivot = a[j, j] - (abs(a[j, :j]) ** 2).sum()
                if not pivot.real > 0:
                    break
                a[j, j] = np.sqrt(pivot)
                a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j].conj()) / a[j, j]
        return made
    result = getattr(np.linalg, name)(np.where(np.isfinite(args[0]), args[0], 1))
    return tuple(result) if isinstance(result, tuple) else result


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False) -> ndarray:
    """cupy.asarray: uploads, and copies from another device."""
    if isinstance(a, ndarray):
        same = a._device == current[-1] and not copy and dtype in {None, a.dtype}
        return a if same else wrap(np.array(a._numbers, dtype))
    stopped(STOPPED)
    TRANSFERS.append("upload")
    return wrap(np.array(a, dtype))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    """cupy.copyto: between any two devices, but with a mask only on the current one."""
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.reshape(())[()]
    if where is None:
        np.copyto(dst._numbers, src._numbers if isinstance(src, ndarray) else operand(src), casting)
        return
    np.copyto(here(dst), operand(src), casting, where=operand(where))


def result_type(*values: Any) -> np.dtype:
    return np.result_type(*[value.dtype if isinstance(value, ndarray) else value for value in values])


def spoiling(make: Callable[..., ndarray]) -> Callable[..., ndarray]:
    def function(*args: Any, **kwargs: Any) -> ndarray:
        made = make(*args, **kwargs)
        spoilt(made._numbers)
        return made

    function.__name__ = make.__name__
    return function


def make_cupy(count: int = 2) -> types.ModuleType:
    """A module that stands for `cupy`, on `count` devices."""
    module = types.ModuleType("cupy")
    vars(module).update(_of_its_own(types.SimpleNamespace(**members_of(count))).__dict__)
    vars(module).update(get_array_module=lambda *args: module if any(isinstance(arg, ndarray) for arg in args) else np)
    return module


def _of_its_own(space: types.SimpleNamespace) -> types.SimpleNamespace:
    """A copy of a namespace and of those inside it, in which a test can replace a member."""
    return types.SimpleNamespace(**{name: _of_its_own(value) if isinstance(value, types.SimpleNamespace) else value for name, value in vars(space).items()})


@functools.cache
def members_of(count: int) -> dict[str, Any]:
    """The members of the module."""
    members: dict[str, Any] = {
        "__version__": "14.2.0", "is_available": lambda: True, "ndarray": ndarray, "ufunc": ufunc, "RawKernel": RawKernel,
        "ElementwiseKernel": ElementwiseKernel, "ReductionKernel": ReductionKernel, "copyto": copyto,
        "cuda": types.SimpleNamespace(**STREAMS, Device=Device, runtime=make_runtime(count), compiler=types.SimpleNamespace(CompileException=CompileException)),
        "asarray": asarray, "asnumpy": asnumpy, "result_type": result_type,
        "array": lambda obj, dtype=None, copy=True, **other: asarray(obj, dtype, copy=copy),
        "ascontiguousarray": lambda a, dtype=None: wrap(np.ascontiguousarray(here(asarray(a, dtype)))),
        "get_default_memory_pool": lambda: types.SimpleNamespace(used_bytes=lambda: 0), "_util": types.SimpleNamespace(PerformanceWarning=PerformanceWarning),
        "shape": lambda a: a.shape, "ndim": lambda a: a.ndim, "size": lambda a, axis=None: a.size if axis is None else a.shape[axis],
        "can_cast": lambda a, to, casting="safe": np.can_cast(a.dtype if isinstance(a, ndarray) else a, to, casting),
    }  # fmt: skip
    for name, required, optional in declared(FUNCTIONS):
        members[name] = strict(name, FORMULAS.get(name, getattr(np, name)), required, optional)
    members["linalg"] = types.SimpleNamespace(**{name: linalg(name, *names) for name, *names in declared(LINALG)})
    for name in CREATION:
        members[name] = strict(name, getattr(np, name), [], ["*", *"shape dtype order start stop step num endpoint N M k".split()])
    fourier = {name: strict(name, getattr(np.fft, name), ["a"], ["n", "axis", "norm"]) for name in FOURIER}
    members["fft"] = types.SimpleNamespace(**fourier)
    strided = strict("as_strided", np.lib.stride_tricks.as_strided, ["x"], ["shape", "strides"])
    members["lib"] = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=strided))
    for name in ("empty", "empty_like"):
        members[name] = spoiling(members[name])
    for name in dir(np):
        found = getattr(np, name)
        if isinstance(found, np.ufunc) and found.__name__ not in ABSENT_UFUNCS:
            members[name] = ufunc(found)
        elif isinstance(found, float) or (isinstance(found, type) and issubclass(found, np.generic)):
            members[name] = found
    return members


@functools.cache
def special_functions() -> dict[str, Any]:
    """The members of `cupyx.scipy.special`."""
    return {name: kernel(name) for name in SPECIAL}


@pytest.fixture
def strict_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """`import cupy` gives the stand-in, with two devices, the first of them current; SciPy's functions are in `cupyx`."""
    module = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", types.SimpleNamespace(**special_functions()))
    yield module
    assert current == [0], "a test left another device current"


@pytest.fixture
def peers(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The stand-in on two devices that can read each other's memory."""
    monkeypatch.setitem(PEERS, "reach each other", True)
    return strict_cupy


@pytest.fixture
def written(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What every kernel is made of."""
    made: list[tuple[str, ...]] = []

    def make(inputs: str, outputs: str, operation: str, name: str, **options: Any) -> Any:
        made.append((inputs, outputs, operation, name, options.get("preamble", "")))
        return ElementwiseKernel(inputs, outputs, operation, name, **options)

    monkeypatch.setattr(strict_cupy, "ElementwiseKernel", make)
    return made


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.gpu)] if gpu_available() else ["stand-in"])
def gpu(request: pytest.FixtureRequest) -> Any:
    """The module `cupy`: the stand-in everywhere, and CuPy itself on a machine with a GPU."""
    if request.param == "stand-in":
        return request.getfixturevalue("strict_cupy")
    return importlib.import_module("cupy")
