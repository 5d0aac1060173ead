"""Tracers: what a function sees in place of its arrays while a transform runs; and levels: the running transforms.

A tracer behaves like the array it stands for. Its operators and methods are operations of the library, given to it by
`fdezero.numpy`, and so are the NumPy functions that meet it through `__array_ufunc__` and `__array_function__`.
"""

import difflib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from ..errors import EscapedTracerError, ImmutableError, TraceError
from ..messages import describe, unknown_attribute
from ..values import dtype_of

NUMPY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy's function -> ours; filled by fdezero.numpy
_serials = itertools.count(1)


class Level:
    """One running transform. A later one, with a higher serial, is an inner one; values of other levels are constants."""

    shows_values = True  # whether what its tracers hold is the value, and not one of a batch, or an example
    sees_all = False  # whether it is to see every operation, so that compiled functions run as they are written
    __slots__ = ("alive", "name", "serial")

    def __init__(self, name: str) -> None:
        self.serial = next(_serials)
        self.alive = True
        self.name = name

    def owns(self, value: Any) -> bool:
        """Whether `value` is a tracer of this level."""
        return isinstance(value, Tracer) and value.level is self

    def below(self, value: Any) -> Any:
        """What `value` is at the level below."""
        return value.value if isinstance(value, Tracer) and value.level is self else value

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Apply `primitive`, at least one of whose arguments is a tracer of this level."""
        raise NotImplementedError

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        """Apply a `Region`, at least one of whose leaves is a tracer of this level."""
        raise NotImplementedError

    def refuse_escaped(self, args: tuple[Any, ...]) -> NoReturn:
        """Raise the error for a tracer that outlived its transform."""
        value = next(filter(self.owns, args))
        raise EscapedTracerError(
            f"a value {describe(value)} traced by {self.name} was used after {self.name} had returned. It was kept in a "
            "global, an attribute or a closure; return it from the function instead (has_aux=True for extra results)."
        )


class Tracer:
    """The stand-in for an array inside a transform: `value` at the level below, and the `level` that traces it."""

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
        """`operation`, which made this value, as the tape is to remember it: a level below may look at its rules."""
        return self.value.rule(operation) if isinstance(self.value, Tracer) else operation

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a traced value without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:  # replaced by fdezero.numpy
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"Traced({describe(self)}, by {self.level.name}: {self.value!r})"

    def __format__(self, spec: str) -> str:
        # For messages and logs, which lie outside the mathematics.
        return format(unwrap(self), spec)

    def __bool__(self) -> bool:
        return bool(self.value)

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # NumPy asks for protocols all the time
            raise AttributeError(name)
        raise AttributeError(f"a value {describe(self)} traced by {self.level.name} has no attribute {name!r}. {unknown_attribute(name)}.")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ImmutableError(
            f"cannot assign into a traced value {describe(self)}: arrays are immutable here. In place of x[index] = y "
            "write x = fd.at(x)[index].set(y); .add, .multiply, .min and .max are there too."
        )

    def _refuse_number(self, what: str) -> NoReturn:
        raise TraceError(
            f"{what} of a value {describe(self)} traced by {self.level.name}: a plain number carries no derivative. Use "
            "fd.numpy functions in place of math ones; to look at the number, fd.stop_gradient(x) makes it plain under grad."
        )

    def __float__(self) -> float:
        self._refuse_number("float()")

    def __int__(self) -> int:
        self._refuse_number("int()")

    def __index__(self) -> int:
        raise TraceError(
            f"a value {describe(self)} traced by {self.level.name} cannot index a plain sequence or give a range its length. "
            "To index an array by it use fd.numpy.take(x, i, axis=0), or fd.numpy.getitem(x, i)."
        )

    def __complex__(self) -> complex:
        self._refuse_number("complex()")

    def item(self) -> Any:
        self._refuse_number(".item()")

    def tolist(self) -> Any:
        self._refuse_number(".tolist()")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TraceError(
            f"a plain array cannot hold a value {describe(self)} traced by {self.level.name}. To build an array of traced "
            "values use fd.numpy.stack or concatenate; to write one into an array, x = fd.at(x)[index].set(y); to index an array "
            "by one, fd.numpy.getitem(x, i)."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("out", None) is not None:
            raise ImmutableError(
                f"np.{ufunc.__name__} cannot write a traced value into a plain array (`a += x`, or out=). Write a = a + x."
            )
        function = NUMPY_FUNCTIONS.get(ufunc if method == "__call__" else (ufunc, method))
        if function is None:
            return _refuse_function(ufunc.__name__ + ("" if method == "__call__" else f".{method}"))
        if kwargs and hasattr(function, "impl"):  # an operation, which knows arrays alone
            named = ", ".join(f"{name}=" for name in kwargs)
            raise TraceError(
                f"np.{ufunc.__name__} of a traced value takes no {named}: say x.astype(dtype) for a dtype, and fd.numpy.where(condition, "
                "y, x) for a choice of entries."
            )
        return function(*args, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ours = NUMPY_FUNCTIONS.get(function)
        if ours is None:
            return _refuse_function(function.__name__)
        if kwargs.get("out") is not None:
            raise ImmutableError(f"np.{function.__name__} cannot write a traced value into a plain array (out=).")
        return ours(*args, **kwargs)


def _refuse_function(name: str) -> NoReturn:
    known = sorted({function.__name__ for function in NUMPY_FUNCTIONS if hasattr(function, "__name__")})
    near = difflib.get_close_matches(name, known, 3)
    if not hasattr(np, name.partition(".")[0]) and not hasattr(np.linalg, name):
        raise TraceError(
            f"fdezero cannot trace {name}, which is none of NumPy's functions. SciPy's special functions are in fd.special; for others, "
            "give a rule with fd.custom_vjp."
        )
    raise TraceError(
        f"fdezero cannot trace np.{name}" + (f"; near it are {', '.join(near)}" if near else "") + ". Build it from the "
        "functions of fdezero.numpy, give it a rule with fd.custom_vjp, or take it out with fd.stop_gradient."
    )


def tracers_of(value: Any) -> Iterator[Tracer]:
    """The tracers that lie around a plain value, the outermost first."""
    while isinstance(value, Tracer):
        yield value
        value = value.value


def is_shown(value: Any) -> bool:
    """Whether `unwrap(value)` is the value itself, and not one of a batch or the example of a recording."""
    return all(tracer.level.shows_values for tracer in tracers_of(value))


def unwrap(value: Any) -> Any:
    """The plain value beneath all levels of tracing."""
    while isinstance(value, Tracer):
        value = value.value
    return value
