"""Tracers stand for arrays while a transform runs, and levels are the running transforms.

A tracer behaves like the array that it stands for. `fdezero.numpy` gives it operators and methods, which are operations of the
library. NumPy's own functions reach those operations through `__array_ufunc__` and `__array_function__`.
"""

import difflib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from ..elsewhere import unknown_attribute
from ..errors import DTypeError, EscapedTracerError, ImmutableError, ShapeError, TraceError
from ..messages import describe
from ..values import dtype_of, shape_of
from .scipy_calls import refuse_in_scipy

UFUNC_DEFAULTS = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None}
NUMPY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy's function -> ours; filled by fdezero.numpy
INTRODUCTIONS: dict[
    str, Callable[[], None]
] = {}  # a library that has to be told of tracers, and how; filled by fdezero.numpy
_serials = itertools.count(1)


class Level:
    """One running transform. An inner transform starts later, so its serial is higher.

    A level treats the values of other levels as constants.
    """

    shows_values = True  # whether `tracer.value` is the user's value (not a batch, not the example of a recording)
    sees_all = False  # whether the level must see every operation, so that compiled functions run uncompiled
    __slots__ = ("alive", "name", "serial")

    def __init__(self, name: str) -> None:
        self.serial = next(_serials)
        self.alive = True
        self.name = name
        for library in INTRODUCTIONS:
            if library in sys.modules:
                INTRODUCTIONS.pop(library)()
                break

    def owns(self, value: Any) -> bool:
        """Whether `value` is a tracer of this level."""
        return isinstance(value, Tracer) and value.level is self

    def below(self, value: Any) -> Any:
        """`value` as the level below has it."""
        if not isinstance(value, Tracer):
            return value
        if value.level.__class__ is Overwritten:
            value.level.refuse_escaped((value,))
        return value.value if value.level is self else value

    def plain(self, leaves: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        """The leaves as the level below has them, and whether each of them was traced."""
        return list(map(self.below, leaves)), list(map(self.owns, leaves))

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Apply `primitive`. At least one argument is a tracer of this level."""
        raise NotImplementedError

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        """Apply a `Region`. At least one leaf is a tracer of this level."""
        raise NotImplementedError

    def overwrites(self, tracer: "Tracer", frame: FrameType) -> None:
        """Called when `x += y` replaces a tracer of this level in the user's `frame`."""

    def refuse_escaped(self, args: tuple[Any, ...]) -> NoReturn:
        """Raise the error for a tracer that is used after its transform has returned."""
        value = next(filter(self.owns, args))
        raise EscapedTracerError(
            f"a value {describe(value)} traced by {self.name} was used after {self.name} had returned. A global, an attribute or a "
            "closure kept the value. Return it from the function instead (has_aux=True for extra results)."
        )


class Overwritten(Level):
    """The level of a value that `x += y` has replaced. NumPy would have written into it, so every further use is an error.

    In this way operations need no check of their own: they look for the innermost level anyway.
    """

    __slots__ = ("path", "symbol", "where")

    def __init__(self, level: Level, symbol: str, frame: FrameType) -> None:
        self.serial = sys.maxsize
        self.alive = False
        self.name, self.symbol = level.name, symbol
        self.path, self.where = frame.f_code.co_filename, frame.f_lineno

    def refuse_escaped(self, args: tuple[Any, ...]) -> NoReturn:
        """Raise the error for the use of a value that has been overwritten."""
        raise ImmutableError(
            f"a value {describe(next(filter(self.owns, args)))} traced by {self.name} is used after `{self.symbol}` at "
            f"{self.path}, line {self.where}. NumPy writes into the array there, so each of its names shows the new value. "
            f"A traced value is immutable: only one name got the new value, and this is another name. Write x = x {self.symbol[:-1]} y to "
            "keep the old value, or use the name that was assigned."
        )


class Tracer:
    """Stands for an array inside a transform. `level` traces it, and `value` is what the level below has in its place."""

    __slots__ = ("__weakref__", "level", "value")
    level: Level
    value: Any

    def __init__(self, level: Level, value: Any) -> None:
        self.level = level
        self.value = value

    @property
    def shape(self) -> tuple[int, ...]:
        return getattr(self.value, "shape", ())

    @property
    def dtype(self) -> Any:
        return dtype_of(self.value)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size

    def rule(self, operation: Any) -> Any:
        """The operation that a tape records for this value. A level below may put one in its place that watches the rules."""
        return self.value.rule(operation) if isinstance(self.value, Tracer) else operation

    def alias(self) -> "Tracer":
        """Another tracer for the same value, for code that may overwrite it with `x += y` as its own."""
        other: Tracer = object.__new__(type(self))
        for kind in type(self).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if name != "__weakref__":
                    setattr(other, name, getattr(self, name))
        return other

    def copied(self) -> "Tracer":
        """What `x.copy()` returns: another tracer. Only a level that looks at memory gets a copy of the array as well."""
        other = self.alias()
        if isinstance(other.value, Tracer):
            other.value = other.value.copied()
        elif self.level.sees_all and isinstance(other.value, np.ndarray):
            other.value = other.value.copy()
        return other

    def overwritten_by(self, y: Any, symbol: str, frame: FrameType) -> Any:
        """What `x += ...` assigns, where `y` is x + ... : an array keeps its shape and dtype, and other names of it must not be used.

        Raises ShapeError or DTypeError where NumPy cannot write `y` into the array.
        """
        plain = unwrap(self)
        if not self.shape and not (isinstance(plain, np.ndarray) and plain.ndim == 0):
            return y  # NumPy and Python do not write into numbers either
        if shape_of(y) != self.shape:
            raise ShapeError(
                f"`{symbol}` cannot write {describe(y)} into {describe(self)}. Write x = x {symbol[:-1]} y."
            )
        if dtype_of(y) != self.dtype:
            if not np.can_cast(dtype_of(y), self.dtype, "same_kind"):
                raise DTypeError(
                    f"`{symbol}` cannot write {describe(y)} into {describe(self)}. Write x = x {symbol[:-1]} y."
                )
            y = y.astype(self.dtype)
        for tracer in tracers_of(self):
            tracer.level.overwrites(tracer, frame)
        self.level = Overwritten(self.level, symbol, frame)
        return y

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a traced value without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:  # fdezero.numpy replaces it
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"Traced({describe(self)}, by {self.level.name}: {self.value!r})"

    def __format__(self, spec: str) -> str:
        # For messages and logs. They are not part of the computation, so the plain number may be shown.
        return format(unwrap(self), spec)

    def __bool__(self) -> bool:
        return bool(self.value)

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # NumPy looks for protocols all the time
            raise AttributeError(name)
        raise AttributeError(
            f"a value {describe(self)} traced by {self.level.name} has no attribute {name!r}. {unknown_attribute(name)}."
        )

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ImmutableError(
            f"cannot assign into a traced value {describe(self)}: arrays are immutable here. In place of x[index] = y "
            "write x = fd.at(x)[index].set(y). There are also .add, .multiply, .min and .max."
        )

    def _refuse_plain(self, what: str) -> NoReturn:
        refuse_in_scipy(self, self.level.name)
        self._refuse_number(what)

    def _refuse_number(self, what: str) -> NoReturn:
        raise TraceError(
            f"{what} of a value {describe(self)} traced by {self.level.name}: a plain number carries no derivative. Use fd.numpy "
            "functions instead of math functions. In place of a[i] = x write a = fd.at(a)[i].set(x). To see the number "
            "under grad, write fd.stop_gradient(x)."
        )

    def __float__(self) -> float:
        self._refuse_plain("float()")

    def __int__(self) -> int:
        self._refuse_plain("int()")

    def __index__(self) -> int:
        raise TraceError(
            f"a value {describe(self)} traced by {self.level.name} cannot index a list or a plain array, or be the length of a range. "
            "To index an array, use fd.numpy.take(x, i, axis=0) or fd.numpy.getitem(x, i)."
        )

    def __complex__(self) -> complex:
        self._refuse_plain("complex()")

    def item(self) -> Any:
        self._refuse_plain(".item()")

    def tolist(self) -> Any:
        self._refuse_plain(".tolist()")

    __pandas_priority__ = 1 << 20  # so that pandas leaves `series * x` to the traced value

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        refuse_in_scipy(self, self.level.name)
        raise TraceError(
            f"a plain array cannot hold a value {describe(self)} traced by {self.level.name}. To build an array of traced values, use "
            "fd.numpy.stack or concatenate. To write one into an array, use x = fd.at(x)[index].set(y). To index an array by one, use "
            "fd.numpy.getitem(x, i). Of another library's array, such as a DataFrame or a sparse matrix, take the NumPy array first: "
            "D.to_numpy() @ x, A.toarray() @ x."
        )

    def _refuse_library(self, library: str) -> NoReturn:
        raise TraceError(
            f"{library} cannot compute with a value {describe(self)} traced by {self.level.name}. Write that part with NumPy's functions, "
            f"or give it a rule: fd.custom_vjp takes the derivative from {library}."
        )

    def __dlpack__(self, **_: Any) -> NoReturn:
        self._refuse_library("another library")

    def __dlpack_device__(self) -> NoReturn:
        self._refuse_library("another library")

    def __torch_function__(self, *_: Any) -> NoReturn:
        self._refuse_library("PyTorch")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("out", None) is not None:
            raise ImmutableError(
                f"np.{ufunc.__name__} cannot write a traced value into a plain array (`a += x`, or out=). Write a = a + x."
            )
        function = NUMPY_FUNCTIONS.get(ufunc if method == "__call__" else (ufunc, method))
        if function is None:
            return _refuse_function(ufunc.__name__ + ("" if method == "__call__" else f".{method}"))
        if kwargs and method in ("__call__", "outer"):  # an operation takes arrays only
            kwargs = {name: value for name, value in kwargs.items() if not _is_default(name, value)}
            if unknown := kwargs.keys() if hasattr(function, "impl") else kwargs.keys() & UFUNC_DEFAULTS.keys():
                named = ", ".join(f"{name}=" for name in sorted(unknown))
                raise TraceError(
                    f"np.{ufunc.__name__} of a traced value takes no {named}. For a dtype write x.astype(dtype); for a choice of "
                    "entries, fd.numpy.where(condition, y, x)."
                )
        return function(*args, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ours = NUMPY_FUNCTIONS.get(function)
        if ours is None:
            return _refuse_function(function.__name__)
        if kwargs.get("out") is not None:
            raise ImmutableError(f"np.{function.__name__} cannot write a traced value into a plain array (out=).")
        return ours(*args, **kwargs)


def _is_default(name: str, value: Any) -> bool:
    """Whether a ufunc without the keyword would do the same."""
    default = UFUNC_DEFAULTS.get(name, NotImplemented)
    return type(value) is type(default) and bool(value == default)


def _refuse_function(name: str) -> NoReturn:
    known = sorted({function.__name__ for function in NUMPY_FUNCTIONS if hasattr(function, "__name__")})
    near = difflib.get_close_matches(name, known, 3)
    if not hasattr(np, name.partition(".")[0]) and not hasattr(np.linalg, name):
        raise TraceError(
            f"fdezero cannot trace {name}, which is not a NumPy function. SciPy's special functions are in fd.special. For other "
            "functions, give a rule with fd.custom_vjp."
        )
    raise TraceError(
        f"fdezero cannot trace np.{name}"
        + (f"; similar: {', '.join(near)}" if near else "")
        + ". Build it from functions of "
        "fdezero.numpy, give it a rule with fd.custom_vjp, or call it on fd.stop_gradient(x)."
    )


def tracers_of(value: Any) -> Iterator[Tracer]:
    """The tracers around a plain value, the outermost first."""
    while isinstance(value, Tracer):
        yield value
        value = value.value


def is_shown(value: Any) -> bool:
    """Whether `unwrap(value)` is the user's value (not a batch, not the example of a recording)."""
    return all(tracer.level.shows_values for tracer in tracers_of(value))


def unwrap(value: Any) -> Any:
    """The plain value beneath all levels of tracing."""
    while isinstance(value, Tracer):
        value = value.value
    return value
