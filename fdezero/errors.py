"""The exceptions of fdezero.

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
