"""A strict stand-in for CuPy 14 on machines without a GPU: NumPy arrays behind CuPy's refusals, on two devices.

It refuses what CuPy refuses: silent conversion to NumPy, NumPy arrays among CuPy ones, keywords and ufunc methods that CuPy
has not, arrays that are not on the current device (as on a machine without peer access). Results are never scalars.
It is stricter in one thing: an index out of range is an error, where CuPy wraps around.
"""

import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

PYTHON_SCALARS = (bool, int, float, complex)
KINDS = "?bhilqBHILQefdFD"
COUNT = 2

# CuPy's functions and the names of their arguments; those in front of the slash are required.
FUNCTIONS = """
all a / axis out keepdims; amax a / axis out keepdims; amin a / axis out keepdims; any a / axis out keepdims
allclose a b / rtol atol equal_nan; argmax a / axis dtype out keepdims; argmin a / axis dtype out keepdims; argsort a / axis kind
argwhere a /; around a / decimals out; array_equal a1 a2 / equal_nan; astype x dtype / copy; bincount x / weights minlength
broadcast_arrays * /; broadcast_to array shape /; clip a a_min a_max / out; concatenate tup / axis out dtype casting
copy a / order; count_nonzero a / axis; cross a b / axisa axisb axisc axis; cumprod a / axis dtype out; cumsum a / axis dtype out
diag v / k; diagonal a / offset axis1 axis2; diff a / n axis prepend append; dot a b / out; einsum * / dtype optimize
expand_dims a axis /; flatnonzero a /; flip a / axis; full_like a fill_value / dtype order subok shape; inner a b /
isclose a b / rtol atol equal_nan; kron a b /; matmul a b / out; mean a / axis dtype out keepdims; median a / axis out overwrite_input keepdims
max a / axis out keepdims; min a / axis out keepdims; moveaxis a source destination /; nan_to_num x / copy nan posinf neginf
empty_like a / dtype order subok shape; nonzero a /; ones_like a / dtype order subok shape; outer a b / out
pad array pad_width / mode constant_values; prod a / axis dtype out keepdims; ravel a / order; repeat a repeats / axis
reshape a newshape / order copy; roll a shift / axis; round a / decimals out; searchsorted a v / side sorter; sort a / axis kind
shares_memory a b / max_work; split ary indices_or_sections / axis; squeeze a / axis; stack tup / axis out dtype casting
std a / axis dtype out ddof keepdims; sum a / axis dtype out keepdims; swapaxes a axis1 axis2 /; take a indices / axis out
take_along_axis a indices axis /; tensordot a b / axes; tile A reps /; trace a / offset axis1 axis2 dtype out; transpose a / axes
tril m / k; triu m / k; unique ar / return_index return_inverse return_counts axis; var a / axis dtype out ddof keepdims
vdot a b /; where condition / x y; zeros_like a / dtype order subok shape; atleast_1d * /; atleast_2d * /; hstack tup / dtype casting
vstack tup / dtype casting; array_split ary indices_or_sections / axis; average a / axis weights returned keepdims; ptp a / axis
"""
METHODS = """
all axis out keepdims; any axis out keepdims; argmax axis out dtype keepdims; argmin axis out dtype keepdims; argsort axis kind
astype dtype order casting subok copy; clip min max out; conj; conjugate; copy order; cumprod axis dtype out; cumsum axis dtype out
diagonal offset axis1 axis2; dot b out; flatten order; max axis out keepdims; mean axis dtype out keepdims; min axis out keepdims
nonzero; prod axis dtype out keepdims; ravel order; repeat repeats axis; reshape * order copy; round decimals out
searchsorted v side sorter; squeeze axis; std axis dtype out ddof keepdims; sum axis dtype out keepdims; swapaxes axis1 axis2
take indices axis out; trace offset axis1 axis2 dtype out; transpose *; var axis dtype out ddof keepdims; view dtype
"""
VIEWS = {"reshape", "transpose", "swapaxes", "squeeze", "moveaxis", "expand_dims", "broadcast_to", "ravel", "view", "diagonal", "split"}
ON_ANY_DEVICE = {"copy", "empty_like", "ones_like", "zeros_like", "full_like"} | VIEWS
CREATION = ["arange", "empty", "eye", "full", "identity", "linspace", "ones", "zeros", "tri"]
ABSENT_UFUNCS = {"isnat", "matmul", "matvec", "spacing", "vecdot", "vecmat"}
SCATTERS = {
    "add": "efdiIlLqQ", "subtract": "iI", "maximum": "fdiIlLqQ", "minimum": "fdiIlLqQ",
    "bitwise_and": "iIlLqQ", "bitwise_or": "iIlLqQ", "bitwise_xor": "iIlLqQ",
}  # fmt: skip
current = [0]


class Device:
    """cupy.cuda.Device: `with Device(1): ...` makes it the current one."""

    def __init__(self, device: Any = None) -> None:
        self.id = current[-1] if device is None else int(device)

    def __enter__(self) -> "Device":
        current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        current.pop()

    def use(self) -> "Device":
        current[-1] = self.id
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]


def unsupported(value: Any) -> TypeError:
    return TypeError(f"Unsupported type {type(value)}")


def here(array: "ndarray") -> np.ndarray:
    """The numbers of an array that a kernel may read."""
    if array.device.id != current[-1]:
        raise ValueError(
            f"The device where the array resides ({array.device.id}) is different from the current device ({current[-1]}). "
            "Peer access is unavailable between these devices."
        )
    return array._numbers


def operand(value: Any) -> Any:
    """What a kernel takes: an array on the current device or a scalar."""
    if isinstance(value, ndarray):
        return here(value)
    if type(value) in PYTHON_SCALARS or isinstance(value, np.generic):
        return value
    raise unsupported(value)


def wrap(result: Any, device: int | None = None) -> Any:
    """Arrays for arrays and for scalars, also inside tuples and lists."""
    if isinstance(result, tuple | list):
        return type(result)([wrap(part, device) for part in result])
    return ndarray._of(np.asarray(result), current[-1] if device is None else device)


class Flags:
    def __init__(self, numbers: np.ndarray) -> None:
        self.c_contiguous = numbers.flags.c_contiguous
        self.f_contiguous = numbers.flags.f_contiguous
        self.owndata = numbers.flags.owndata

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


class ndarray:  # noqa: N801, CuPy's name
    """cupy.ndarray."""

    __slots__ = ("__weakref__", "_device", "_numbers")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _numbers: np.ndarray
    _device: int

    @classmethod
    def _of(cls, numbers: np.ndarray, device: int) -> "ndarray":
        if numbers.dtype.char not in KINDS:
            raise ValueError(f"Unsupported dtype {numbers.dtype}")
        self = cls.__new__(cls)
        self._numbers = numbers
        self._device = device
        return self

    shape = property(lambda self: self._numbers.shape)
    dtype = property(lambda self: self._numbers.dtype)
    ndim = property(lambda self: self._numbers.ndim)
    size = property(lambda self: self._numbers.size)
    nbytes = property(lambda self: self._numbers.nbytes)
    itemsize = property(lambda self: self._numbers.itemsize)
    strides = property(lambda self: self._numbers.strides)
    flags = property(lambda self: Flags(self._numbers))
    device = property(lambda self: Device(self._device))
    T = property(lambda self: wrap(self._numbers.T, self._device))
    mT = property(lambda self: wrap(self._numbers.mT, self._device))  # noqa: N815
    real = property(lambda self: wrap(self._numbers.real, self._device))

    def get(self) -> np.ndarray:
        return self._numbers.copy()

    def item(self) -> Any:
        return self._numbers.item()

    def tolist(self) -> Any:
        return self._numbers.tolist()

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            if value.shape:
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            value = here(value)
        elif np.asarray(value).shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        here(self).fill(value)

    def __repr__(self) -> str:
        return repr(self._numbers)

    def __str__(self) -> str:
        return str(self._numbers)

    def __format__(self, spec: str) -> str:
        return format(self._numbers, spec)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator["ndarray"]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def __int__(self) -> int:
        return int(self._numbers)

    def __float__(self) -> float:
        return float(self._numbers)

    def __complex__(self) -> complex:
        return complex(self._numbers)

    def __array__(self, dtype: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
        )

    def __getitem__(self, index: Any) -> "ndarray":
        parts, advanced = index_of(index)
        return wrap((here(self) if advanced else self._numbers)[parts], self._device)

    def __setitem__(self, index: Any, value: Any) -> None:
        parts, advanced = index_of(index)
        if isinstance(value, ndarray):
            here(self)[parts] = here(value)
        elif advanced:  # CuPy uploads it
            here(self)[parts] = np.asarray(value, self.dtype)
        else:
            wrap(self._numbers[parts, ...] if parts is not Ellipsis else self._numbers, self._device).fill(value)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if "out" in kwargs:
            if len(kwargs["out"]) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            kwargs["out"] = kwargs["out"][0]
        ours: Any = getattr(sys.modules["cupy"], function.__name__, None)
        if method != "__call__":
            ours = getattr(ours, method, None)
        if ours is None:
            return NotImplemented
        for value in (*inputs, *([kwargs["out"]] if "out" in kwargs else [])):
            if type(value) not in PYTHON_SCALARS and not isinstance(value, ndarray | np.ndarray | np.generic):
                if not hasattr(value, "__cuda_array_interface__") and not hasattr(value, "__cupy_get_ndarray__"):
                    return NotImplemented
        if function.__name__ in {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}:
            inputs = tuple([x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs])
        return ours(*inputs, **kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        module: Any = sys.modules["cupy"]
        for name in function.__module__.split(".")[1:]:
            module = getattr(module, name, None)
        ours = getattr(module, function.__name__, None)
        if ours is None or ours is function or not all(issubclass(kind, ndarray | np.ndarray) for kind in kinds):
            return NotImplemented
        return ours(*args, **kwargs)


ndarray.__module__ = "cupy"


def index_of(index: Any) -> tuple[Any, bool]:
    """The index for NumPy, and whether arrays are in it. Lists and NumPy arrays in it are uploaded, as CuPy does."""
    if isinstance(index, tuple):
        parts = [index_of(part) for part in index]
        return tuple([part for part, _ in parts]), any(advanced for _, advanced in parts)
    if isinstance(index, ndarray):
        return here(index), True
    if index is None or index is Ellipsis or isinstance(index, slice) or (np.isscalar(index) and not isinstance(index, bool | np.bool_)):
        return index, False
    return np.asarray(index), True


class ufunc:  # noqa: N801, CuPy's name
    """cupy.ufunc, with the methods that it has."""

    def __init__(self, function: np.ufunc) -> None:
        self.function = function
        self.__name__ = self.name = function.__name__

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind", **other: Any) -> Any:
        if other:
            raise TypeError(f"Wrong arguments {other}")
        operands = [operand(arg) for arg in args]
        if out is None:
            return wrap(self.function(*operands, dtype=dtype, casting=casting))
        if not isinstance(out, ndarray):
            raise unsupported(out)
        self.function(*operands, out=here(out), dtype=dtype, casting=casting)
        return out

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
    """The arguments of a function with the numbers of CuPy arrays in place of these; NumPy arrays are refused."""
    if isinstance(value, ndarray):
        return here(value) if kernel else value._numbers
    if isinstance(value, tuple | list):
        return type(value)([take_numbers(part, kernel=kernel) for part in value])
    if isinstance(value, np.ndarray) or (hasattr(value, "__array_ufunc__") and not isinstance(value, np.generic)):
        raise unsupported(value)
    return value


def strict(name: str, numpys: Callable[..., Any], required: list[str], optional: list[str], method: bool = False) -> Callable[..., Any]:
    """`numpys` with the arguments of CuPy's function of that name, on CuPy arrays alone."""
    kernel = name not in ON_ANY_DEVICE

    def function(*args: Any, **kwargs: Any) -> Any:
        names = [*required, *optional]
        if "*" not in names and len(args) - method > len(names):
            raise TypeError(f"{name}() takes at most {len(names)} arguments, got {len(args)}")
        if unknown := [key for key in kwargs if key not in names]:
            raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
        missing = [key for key in required[len(args) :] if key != "*" and key not in kwargs]
        if missing and "*" not in names:
            raise TypeError(f"{name}() missing required argument {missing[0]!r}")
        if name in {"sort", "argsort"} and kwargs.get("kind") not in {None, "stable"}:
            raise ValueError("kind can only be None or 'stable'")
        if name in {"concatenate", "stack"} and not all(isinstance(part, ndarray) for part in args[0]):
            raise TypeError("Only cupy arrays can be concatenated")
        if name in {"broadcast_to", "where"} and not isinstance(args[0], ndarray | np.bool_):
            raise TypeError(f"Argument 'array' has incorrect type (expected cupy.ndarray, got {type(args[0])})")
        out = kwargs.pop("out", None)
        result = numpys(
            *[take_numbers(arg, kernel=kernel) for arg in args],
            **{key: take_numbers(value, kernel=kernel) for key, value in kwargs.items()},
            **({} if out is None else {"out": here(out)}),
        )
        if out is not None:
            return out
        if isinstance(result, bool | int) and name in {"count_nonzero", "shares_memory"}:
            return result
        first = args[0] if args and isinstance(args[0], ndarray) else None
        return wrap(result, first._device if first is not None and name in VIEWS else None)

    function.__name__ = name
    return function


def declared(table: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for entry in table.replace("\n", ";").split(";"):
        if entry.strip():
            name, *names = entry.split()
            slash = names.index("/") if "/" in names else 0
            yield name, names[:slash], [n for n in names[slash:] if n != "/"]


def method_of(name: str, names: list[str]) -> Callable[..., Any]:
    return strict(name, lambda self, *args, **kwargs: getattr(self, name)(*args, **kwargs), [], names, method=True)


def both_handed(name: str, numpys: Any) -> None:
    """An operator as CuPy has it: its own kernel for its own arrays, the protocol of NumPy for what else has one."""

    def ours() -> Any:
        return getattr(sys.modules["cupy"], numpys.__name__)

    def forward(x: ndarray, y: Any) -> Any:
        if isinstance(y, ndarray):
            return ours()(x, y)
        if not hasattr(y, "__array_ufunc__"):
            return NotImplemented if getattr(y, "__array_priority__", 0) > 100 else numpys(x, y)
        return NotImplemented if y.__array_ufunc__ is None else numpys(x, y)

    setattr(ndarray, f"__{name}__", forward)
    setattr(ndarray, f"__r{name}__", lambda self, other: ours()(other, self))
    setattr(ndarray, f"__i{name}__", lambda self, other: ours()(self, other, out=self))


def compared(name: str, numpys: Any) -> None:
    def compare(self: ndarray, other: Any) -> Any:
        if isinstance(other, ndarray):
            return getattr(sys.modules["cupy"], numpys.__name__)(self, other)
        if getattr(other, "__array_ufunc__", 0) is None:
            return NotImplemented
        if name in {"eq", "ne"} and (other is None or type(other).__eq__ is object.__eq__):
            return wrap(np.full(self.shape, name == "ne"))
        return numpys(self, other.item() if isinstance(other, np.ndarray) and other.ndim == 0 else other)

    setattr(ndarray, f"__{name}__", compare)


for _name, _, _names in declared(METHODS):
    setattr(ndarray, _name, method_of(_name, _names))
for _name in "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul divmod".split():
    _symbol = {"sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "mod": "remainder", "pow": "power"}
    _symbol |= {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift"}
    both_handed(_name, getattr(np, _symbol.get(_name, _name)))
for _name, _word in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}.items():
    compared(_name, getattr(np, _word))
for _name, _word in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_name}__", lambda self, word=_word: getattr(sys.modules["cupy"], word)(self))


class RawKernel:
    """The kernel of fdezero.random alone: its words come from numpy.random.Philox."""

    def __init__(self, source: str, name: str) -> None:
        assert name in source
        assert name == "fdezero_words"

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...]) -> None:
        keys, starts, start, has_starts, out, n, count, domain = [operand(arg) for arg in args]
        assert grid[0] * block[0] >= n * (count + 3) // 4
        rows, keys = out.reshape(n, count), keys.reshape(-1, 2)
        for row in range(n):
            first = int(starts.reshape(-1)[row]) if has_starts else int(start)
            rows[row] = np.random.Philox(counter=[first, 0, 0, int(domain)], key=keys[row]).random_raw(int(count))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False) -> ndarray:
    """cupy.asarray: uploads, and copies from another device."""
    if isinstance(a, ndarray):
        same = a._device == current[-1] and not copy and dtype in {None, a.dtype}
        return a if same else wrap(np.array(a._numbers, dtype))
    return wrap(np.array(a, dtype))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def result_type(*values: Any) -> np.dtype:
    return np.result_type(*[value.dtype if isinstance(value, ndarray) else value for value in values])


def make_cupy() -> types.ModuleType:
    """The module that stands for `cupy`."""
    module = types.ModuleType("cupy")
    runtime = types.SimpleNamespace(getDeviceCount=lambda: COUNT, getDevice=lambda: current[-1])
    members: dict[str, Any] = {
        "__version__": "14.2.0", "is_available": lambda: True, "ndarray": ndarray, "ufunc": ufunc, "RawKernel": RawKernel,
        "cuda": types.SimpleNamespace(Device=Device, runtime=runtime),
        "asarray": asarray, "asnumpy": asnumpy, "result_type": result_type,
        "array": lambda obj, dtype=None, copy=True, **other: asarray(obj, dtype, copy=copy),
        "ascontiguousarray": lambda a, dtype=None: wrap(np.ascontiguousarray(here(asarray(a, dtype)))),
        "get_array_module": lambda *args: module if any(isinstance(arg, ndarray) for arg in args) else np,
        "shape": lambda a: a.shape, "ndim": lambda a: a.ndim, "size": lambda a, axis=None: a.size if axis is None else a.shape[axis],
        "can_cast": lambda a, to, casting="safe": np.can_cast(a.dtype if isinstance(a, ndarray) else a, to, casting),
    }  # fmt: skip
    for name, required, optional in declared(FUNCTIONS):
        members[name] = strict(name, getattr(np, name), required, optional)
    for name in CREATION:
        members[name] = strict(name, getattr(np, name), [], ["*", *"shape dtype order start stop step num endpoint N M k".split()])
    for name in dir(np):
        found = getattr(np, name)
        if isinstance(found, np.ufunc) and found.__name__ not in ABSENT_UFUNCS:
            members[name] = ufunc(found)
        elif isinstance(found, float) or (isinstance(found, type) and issubclass(found, np.generic)):
            members[name] = found
    vars(module).update(members)
    return module


@pytest.fixture
def strict_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """`import cupy` gives the stand-in, with two devices, the first of them current."""
    module = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    yield module
    assert current == [0], "a test left another device current"
