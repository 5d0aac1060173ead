"""Words for messages: names of values and functions, explanations of errors, and what to say of arguments."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from .errors import DeviceError, FdezeroError, ImmutableError, ShapeError

F = TypeVar("F", bound=Callable[..., Any])


def describe(value: Any) -> str:
    """`float32[2,3]` for an array or traced value, `int 3` for a number, the name of the type for anything else.

    The type of another library's array stands before its dtype.
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        kind = type(value)
        of_others = hasattr(kind, "__array__") or hasattr(kind, "toarray")
        of_others = of_others and kind.__module__.partition(".")[0] not in ("numpy", "cupy", "fdezero")
        name = f"{kind.__name__} " if of_others else ""
        return f"{name}{value.dtype}[{','.join(map(str, value.shape))}]"
    return (
        f"{type(value).__name__} {value!r}" if isinstance(value, bool | int | float | complex) else type(value).__name__
    )


def called(function: Any) -> str:
    """The name of a function or operation; if it does not have one, the name of its type."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def told(hint: Callable[..., str]) -> Callable[[F], F]:
    """A decorator: a call that does not fit the signature is Python's TypeError, followed by what `hint` says of the arguments."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                if (
                    error.__traceback__ is None or error.__traceback__.tb_next is not None
                ):  # it comes from within the function
                    raise
                raise TypeError(f"{error}. {hint(*args, **kwargs)}") from None

        return run  # type: ignore[return-value]  # it has the signature of the function

    return decorate


CURRENT_DEVICE = (
    "different from the current device"  # CuPy's words, in an error and, where devices reach each other, in a warning
)


def explain(name: str, args: Sequence[Any], error: Exception) -> Exception:
    """The error to raise instead of the one that an array library raised in `name(*args)`."""
    if isinstance(error, FdezeroError):
        return error
    arrays = [arg for arg in args if hasattr(arg, "shape") and hasattr(arg, "dtype")]
    placed = [(_place(a), describe(a)) for a in arrays if not isinstance(a, np.generic)]
    if len({place for place, _ in placed}) > 1 and not isinstance(error, IndexError):
        places = ", ".join(f"{what} on {place}" for place, what in placed)
        return DeviceError(
            f"{name} got arrays on different devices: {places}. Bring them together first: "
            f"fd.to_device(tree, {max(placed)[0]!r})."
        )
    if CURRENT_DEVICE in str(error):
        place = placed[0][0]
        return DeviceError(
            f"{name} got arrays on {place}, which is not CuPy's current device. Compute within "
            f"`with cupy.cuda.Device({place.removeprefix('gpu:')}): ...`."
        )
    shapes = [tuple(a.shape) for a in arrays]
    if name == "matmul" and len(shapes) == 2 and shapes[0][-1] != shapes[1][-2]:
        return misfit_of_product(*shapes)
    if isinstance(error, ValueError) and len(shapes) > 1 and (axis := clashing_axis(shapes)):
        sizes = " and ".join(str(shape[axis]) for shape in shapes if len(shape) >= -axis)
        return ShapeError(
            f"{name} cannot broadcast shapes {' and '.join(map(str, shapes))}: axis {axis} has sizes {sizes}, "
            "which must be equal or 1."
        )
    error.add_note(f"in fdezero's {name}({', '.join(map(describe, args))})")
    return error


def misfit_of_product(first: tuple[int, ...], second: tuple[int, ...]) -> ShapeError:
    """The error for a matrix product of arrays with these shapes."""
    which = "second-to-last axis" if len(second) > 1 else "only axis"
    return ShapeError(
        f"matmul cannot multiply shapes {first} and {second}: the last axis of the first ({first[-1]}) "
        f"must equal the {which} of the second ({second[-2:][0]})."
    )


def _place(array: Any) -> str:
    return "cpu" if isinstance(array, np.ndarray) else f"gpu:{getattr(array.device, 'id', array.device)}"


def clashing_axis(shapes: Sequence[tuple[int, ...]]) -> int:
    """The last axis, counted from the end, along which `shapes` do not broadcast, or 0 if they do."""
    for axis in range(-1, -1 - max(map(len, shapes)), -1):
        if len({shape[axis] for shape in shapes if len(shape) >= -axis} - {1}) > 1:
            return axis
    return 0


def refuse_keywords(name: str, keywords: Iterable[str]) -> None:
    """Raise TypeError if there are any: an operation takes arrays alone, unlike NumPy's ufunc of its name."""
    if named := ", ".join(f"{keyword}=" for keyword in sorted(keywords)):
        raise TypeError(
            f"{name} takes no {named}. For a dtype write x.astype(dtype); for a choice of entries, fd.numpy.where(condition, y, x)."
        )


def refuse_out(out: Any) -> None:
    """Raise ImmutableError unless `out`, NumPy's argument for an array to write into, is None."""
    if out is not None:
        raise ImmutableError(
            f"out= asks to write the result into {describe(out)}, but arrays are immutable here. Write y = f(x) instead."
        )
