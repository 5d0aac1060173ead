"""The array of the stand-in for CuPy: a NumPy array behind the refusals of cupy.ndarray, on one of two devices."""

import sys
import types
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from .strict_cupy_graph import STOPPED, noted, stopped

PYTHON_SCALARS = (bool, int, float, complex)
FREE = 1 << 30  # bytes of a device
KINDS = "?bhilqBHILQefdFDE"  # E is bfloat16, of ml_dtypes
current = [0]
PEERS: dict[str, bool] = {}  # whether the devices reach each other
TRANSFERS: list[str] = []  # operations that made the host wait for the device, or copied between them


class Device:
    """cupy.cuda.Device: `with Device(1): ...` makes it the current one."""

    def __init__(self, device: Any = None) -> None:
        self.id = current[-1] if device is None else int(device)

    def __enter__(self) -> "Device":
        current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        current.pop()

    def synchronize(self) -> None:
        """Everything has ended when a call returns."""

    def use(self) -> "Device":
        current[-1] = self.id
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]


def make_runtime(count: int) -> types.SimpleNamespace:
    """cupy.cuda.runtime."""
    return types.SimpleNamespace(
        getDeviceCount=lambda: count,
        getDevice=lambda: current[-1],
        memGetInfo=lambda: (FREE, FREE),
        deviceGetPCIBusId=lambda device: f"0000:{device:02X}:00.0",
    )


def unsupported(value: Any) -> TypeError:
    return TypeError(f"Unsupported type {type(value)}")


class PerformanceWarning(UserWarning):
    """cupy._util.PerformanceWarning."""


def here(array: "ndarray") -> np.ndarray:
    """The numbers of an array that a kernel may read."""
    if array._device != current[-1]:
        said = f"The device where the array resides ({array._device}) is different from the current device ({current[-1]}). "
        if not PEERS:
            raise ValueError(said + "Peer access is unavailable between these devices.")
        warnings.warn(said + "Peer access has been activated automatically.", PerformanceWarning, stacklevel=2)
    return array._numbers


def operand(value: Any) -> Any:
    """An operand of a kernel: an array on the current device or a scalar."""
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


def spoilt(numbers: np.ndarray) -> np.ndarray:
    """New memory filled with unexpected values, NaN and the largest integers, because NumPy may leave zeros."""
    kind = numbers.dtype.kind
    numbers.fill(np.iinfo(numbers.dtype).max if kind in "iu" else True if kind == "b" else np.nan)
    return numbers


class Flags:
    def __init__(self, numbers: np.ndarray) -> None:
        self.c_contiguous = numbers.flags.c_contiguous
        self.f_contiguous = numbers.flags.f_contiguous
        self.owndata = numbers.flags.owndata

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


class ndarray:  # noqa: N801, CuPy's name
    """cupy.ndarray."""

    __slots__ = ("__weakref__", "_device", "_numbers", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _numbers: np.ndarray
    _device: int
    base: "ndarray | None"

    def __new__(cls, shape: Any, dtype: Any = float, memptr: None = None, strides: Any = None, order: Any = "C") -> "ndarray":
        if memptr is not None:
            raise NotImplementedError("the stand-in makes no array of a pointer")
        if strides is not None and any(step < 0 for step in strides):
            raise ValueError("ndarray() with strides currently does not allow negative strides")
        numbers = np.ndarray(shape, dtype, strides=strides, order=order)
        return cls._of(spoilt(numbers) if strides is None else numbers, current[-1])

    @classmethod
    def _of(cls, numbers: np.ndarray, device: int) -> "ndarray":
        """The array of these numbers: the same object again for the same memory, and as `base` for views of it."""
        if numbers.dtype.char not in KINDS:
            raise ValueError(f"Unsupported dtype {numbers.dtype}")
        owner: Any = numbers
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        is_view = owner is not numbers and isinstance(owner, np.ndarray)
        found = OWNERS.get(id(owner))
        known = None if found is None else found()  # While it lives, no other numbers have that id.
        if known is not None and not is_view and known._device == device:
            return known
        self = object.__new__(cls)
        self._numbers = numbers
        self._device = device
        self.base = None
        if is_view:
            self.base = known if known is not None else cls._of(owner, device)
        else:
            OWNERS[id(numbers)] = weakref.ref(self)
            if len(OWNERS) > MOST_OWNERS:
                for place in [place for place, found in OWNERS.items() if found() is None]:
                    del OWNERS[place]
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
    data = property(lambda self: types.SimpleNamespace(ptr=self._numbers.ctypes.data, device_id=self._device))
    T = property(lambda self: wrap(self._numbers.T, self._device))
    mT = property(lambda self: wrap(self._numbers.mT, self._device))  # noqa: N815
    real = property(lambda self: wrap(self._numbers.real, self._device))
    imag = property(lambda self: wrap(self._numbers.imag, self._device))

    def _on_host(self, what: str) -> np.ndarray:
        stopped(STOPPED)
        TRANSFERS.append(what)
        return self._numbers

    def get(self) -> np.ndarray:
        return self._on_host("get").copy()

    def item(self) -> Any:
        return self._on_host("item").item()

    def tolist(self) -> Any:
        return self._on_host("tolist").tolist()

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            if value.shape:
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            value = here(value)
        elif np.asarray(value).shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if not noted((here(self),), lambda: value):
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
        return bool(self._on_host("bool"))

    def __int__(self) -> int:
        return int(self._on_host("int"))

    def __float__(self) -> float:
        return float(self._on_host("float"))

    def __complex__(self) -> complex:
        return complex(self._on_host("complex"))

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
            TRANSFERS.append("upload of a value")
            here(self)[parts] = np.asarray(value, self.dtype)
        else:
            places = parts if isinstance(parts, tuple) else (parts,)
            has_dots = any(part is Ellipsis for part in places)  # which keep a single entry an array
            wrap(self._numbers[places if has_dots else (*places, ...)], self._device).fill(value)

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
            known = type(value) in PLAIN or isinstance(value, np.ndarray | np.generic)
            if not known and not hasattr(value, "__cuda_array_interface__") and not hasattr(value, "__cupy_get_ndarray__"):
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
PLAIN = frozenset({ndarray, *PYTHON_SCALARS})
OWNERS: "dict[int, weakref.ref[ndarray]]" = {}  # by the id of their numbers; a WeakValueDictionary takes longer than a small kernel
MOST_OWNERS = 20_000  # then those that are gone are dropped


def index_of(index: Any) -> tuple[Any, bool]:
    """The index for NumPy, and whether arrays are in it. Lists and NumPy arrays in it are uploaded, as CuPy does."""
    if isinstance(index, tuple):
        parts = [index_of(part) for part in index]
        return tuple([part for part, _ in parts]), any(advanced for _, advanced in parts)
    if isinstance(index, ndarray):
        if index.dtype == bool:
            TRANSFERS.append("the count of a mask")
        return here(index), True
    if index is None or index is Ellipsis or isinstance(index, slice) or (np.isscalar(index) and not isinstance(index, bool | np.bool_)):
        return index, False
    TRANSFERS.append("upload of an index")
    return np.asarray(index), True


def both_handed(name: str, numpys: Any) -> None:
    """An operator like CuPy's: a kernel for CuPy arrays, NumPy's protocol for other objects that have it."""

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


OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    "matmul": "matmul", "divmod": "divmod",
}  # fmt: skip
COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}
for _name, _word in OPERATORS.items():
    both_handed(_name, getattr(np, _word))
for _name, _word in COMPARISONS.items():
    compared(_name, getattr(np, _word))
for _name, _word in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_name}__", lambda self, word=_word: getattr(sys.modules["cupy"], word)(self))
