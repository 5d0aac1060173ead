"""The exceptions of fdezero, and the words that explain a failed array operation.

    FdezeroError
    ├── ShapeError        (ValueError)   shapes that do not go together
    ├── DTypeError        (TypeError)    a dtype that cannot be differentiated or drawn
    ├── DerivativeError   (TypeError)    a derivative that a function does not have
    ├── MatrixError       (LinAlgError)  a matrix without the inverse or the factor asked for
    ├── RangeError        (ValueError)   a number outside its range
    ├── DeviceError       (RuntimeError) mixed devices, no GPU
    ├── StructureError    (ValueError)   trees that differ, leaves of the wrong kind
    ├── KinkError         (AssertionError) a derivative checked where there is none
    ├── FileError         (ValueError)   a file that does not hold what was asked for
    ├── KeyMissingError   (TypeError)    a random operation without its key
    ├── KeyReuseError     (ValueError)   debug: a random key used twice
    ├── MissingExtraError (ImportError)  an optional dependency that is not installed
    ├── NanError          (FloatingPointError)  debug: an operation that made a NaN or an infinity
    ├── RuleError         (TypeError)    debug: a derivative of another dtype or shape than its primal
    ├── StaticError       (TypeError)    a static argument that cannot tell programs apart
    ├── StormError        (RuntimeError) a function recorded more often than was allowed
    └── TraceError        (TypeError)    a traced value used where only an array will do
        ├── ImmutableError               assignment into a traced value
        └── EscapedTracerError           a traced value used after its transform returned
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np


class FdezeroError(Exception):
    """Base of every error that fdezero raises on purpose. `path` is the tree path it arose at, such as `layers/0`."""

    path: Any = ""  # ImportError has an attribute of this name, too

    def under(self, prefix: str) -> Self:
        """The same error, one level further out in the tree."""
        self.path = f"{prefix}/{self.path}" if self.path else prefix
        return self

    def __str__(self) -> str:
        return super().__str__() + (f" (at {self.path})" if self.path else "")


class ShapeError(FdezeroError, ValueError):
    """Shapes that do not go together."""


class DTypeError(FdezeroError, TypeError):
    """A dtype that cannot be differentiated or drawn."""


class DerivativeError(FdezeroError, TypeError):
    """A function was differentiated with respect to an argument for which it has no rule."""


class MatrixError(FdezeroError, np.linalg.LinAlgError):
    """A matrix without the inverse or the factor that was asked for."""


class RangeError(FdezeroError, ValueError):
    """A number outside its range: a probability above 1, bounds with nothing between."""


class DeviceError(FdezeroError, RuntimeError):
    """Arrays on different devices, or a device that this machine has not."""


class StructureError(FdezeroError, ValueError):
    """Trees whose structures differ, or a leaf of the wrong kind."""


class KinkError(FdezeroError, AssertionError):
    """Derivatives were to be checked at a point where the function has none."""


class FileError(FdezeroError, ValueError):
    """A file that does not hold what was asked for."""


class KeyMissingError(FdezeroError, TypeError):
    """A random operation was called without its key."""


class KeyReuseError(FdezeroError, ValueError):
    """Found by `fd.debug(keys=True)`: a random key was used twice. `lines` are the user's lines of both uses."""

    lines: tuple[Any, ...] = ()


class MissingExtraError(FdezeroError, ImportError):
    """An optional dependency, or a compiler, is not installed; the text names it."""


class NanError(FdezeroError, FloatingPointError):
    """Found by `fd.debug(nans=True)`: a NaN or an infinity, the name of the `operation` that made it, and the user's `line`."""

    operation: str = ""
    line: Any = None


class RuleError(FdezeroError, TypeError):
    """Found by `fd.debug(dtypes=True)`: a derivative that does not fit, of `operation` at the user's `line`."""

    operation: str = ""
    line: Any = None


class StaticError(FdezeroError, TypeError):
    """A static argument that cannot be hashed, or a compiled function asked for what it has not recorded."""


class StormError(FdezeroError, RuntimeError):
    """A compiled function would be recorded more often than it is allowed to be."""


class TraceError(FdezeroError, TypeError):
    """A traced value was used where only an array of numbers will do."""


class ImmutableError(TraceError):
    """Assignment into a traced value."""


class EscapedTracerError(TraceError):
    """A traced value was used after the transform that made it had returned."""


def describe(value: Any) -> str:
    """`float32[2,3]` for an array or a traced value, the type's name for the rest."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return f"{type(value).__name__} {value!r}" if isinstance(value, bool | int | float | complex) else type(value).__name__


def called(function: Any) -> str:
    """The name of a function; that of its type, if it has none."""
    return str(getattr(function, "__name__", type(function).__name__))


def explain(name: str, args: Sequence[Any], error: Exception) -> Exception:
    """The error to raise in place of what an array library said about `name(*args)`."""
    if isinstance(error, FdezeroError):
        return error
    arrays = [arg for arg in args if hasattr(arg, "shape") and hasattr(arg, "dtype")]
    placed = [(_place(a), describe(a)) for a in arrays if not isinstance(a, np.generic)]
    if len({place for place, _ in placed}) > 1:
        places = ", ".join(f"{what} on {place}" for place, what in placed)
        return DeviceError(f"{name} got arrays on different devices: {places}. Bring them together first: fd.to_device(tree, 'gpu').")
    if "different from the current device" in str(error):  # CuPy's
        place = placed[0][0]
        return DeviceError(
            f"{name} got arrays on {place}, where CuPy does not compute now: put the work into "
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


ELSEWHERE = {  # names of autograd, JAX, PyTorch -> what to say here
    "array": "numpy.array", "device_put": "fd.to_device", "egrad": "fd.elementwise_grad", "flatten": "fd.ravel",
    "holomorphic_grad": "fd.grad(f, holomorphic=True)", "jit": "fd.compile", "lax": "fd.scan, fd.cond, fd.while_loop, fd.stop_gradient",
    "make_hvp": "fd.hvp", "make_jvp": "fd.jvp", "make_vjp": "fd.vjp", "manual_seed": "fd.random.key(seed)",
    "multigrad_dict": "fd.grad, which takes any tree", "no_grad": "fd.stop_gradient(x)", "remat": "fd.checkpoint",
    "tensor": "numpy.array", "tree_map": "fd.tree.map", "tree_util": "fd.tree",
}  # fmt: skip


def elsewhere(module: str, name: str) -> str:
    """The message for a name that `module` has not, and perhaps another library has."""
    return f"module {module!r} has no attribute {name!r}" + (f": say {ELSEWHERE[name]}" if name in ELSEWHERE else "")


def misfit_of_product(first: tuple[int, ...], second: tuple[int, ...]) -> ShapeError:
    """The error of a matrix product of these shapes."""
    which = "last axis but one" if len(second) > 1 else "only axis"
    return ShapeError(
        f"matmul cannot multiply shapes {first} and {second}: the last axis of the first ({first[-1]}) "
        f"must equal the {which} of the second ({second[-2:][0]})."
    )


def _place(array: Any) -> str:
    return "cpu" if isinstance(array, np.ndarray) else f"gpu:{getattr(array.device, 'id', array.device)}"


def clashing_axis(shapes: Sequence[tuple[int, ...]]) -> int:
    """The last axis, counted from the end, in which `shapes` do not broadcast; 0 if they do."""
    for axis in range(-1, -1 - max(map(len, shapes)), -1):
        if len({shape[axis] for shape in shapes if len(shape) >= -axis} - {1}) > 1:
            return axis
    return 0


def refuse_out(out: Any) -> None:
    """Raises ImmutableError unless `out`, NumPy's argument for an array to write the result into, is None."""
    if out is not None:
        raise ImmutableError(f"out= asks to write the result into {describe(out)}, but arrays are immutable here. Leave it away: y = f(x).")
