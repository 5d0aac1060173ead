"""The exceptions of fdezero.

    FdezeroError
    ├── ShapeError        (ValueError)   shapes that do not go together
    ├── DTypeError        (TypeError)    a dtype that a function cannot use
    ├── DerivativeError   (TypeError)    a derivative that a function does not have
    ├── MatrixError       (LinAlgError)  a matrix without the inverse or the factor asked for
    ├── RangeError        (ValueError)   a number outside its range
    ├── DeviceError       (RuntimeError) arrays on different devices, or a device that is missing
    ├── WorkerError       (RuntimeError) a process of a loader that ended by itself
    ├── DisagreementError (RuntimeError) ranks of a world that do not do the same
    ├── WaitingError      (TimeoutError) a collective that waited for other ranks longer than its limit
    ├── StructureError    (ValueError)   trees that differ, or leaves of the wrong kind
    ├── KinkError         (AssertionError) a derivative checked at a point without one
    ├── ExportError       (TypeError)    a program that has no form outside fdezero
    ├── FileError         (ValueError)   a file that does not hold what was asked for
    ├── DownloadError     (OSError)      a file that could not be fetched
    ├── CheckpointError   (OSError)      a checkpoint that could not be written
    ├── KeyMissingError   (TypeError)    a random operation without its key
    ├── KeyReuseError     (ValueError)   debug: a random key used twice
    ├── MissingExtraError (ImportError)  an optional dependency that is not installed
    ├── NanError          (FloatingPointError)  debug: an operation that made a NaN or an infinity
    ├── RuleError         (TypeError)    debug: a derivative with a dtype or shape that does not fit its primal
    ├── StaticError       (TypeError)    a static argument that cannot be hashed
    ├── StormError        (RuntimeError) a function recorded more often than you allowed
    └── TraceError        (TypeError)    a traced value where a plain array or number is needed
        ├── ImmutableError               assignment into a traced value
        └── EscapedTracerError           a traced value used after its transform returned

    CacheWarning          (UserWarning)  a cache folder that others can write to, and that is not used for that reason
    CheckpointWarning     (UserWarning)  a checkpoint that is damaged, so that an older one was restored
"""

from typing import Any, Self

import numpy as np


class FdezeroError(Exception):
    """Base of every error that fdezero raises on purpose. `path` is the place in a tree, such as `layers/0`."""

    path: Any = ""  # ImportError also has an attribute of this name
    has_whole_path = False

    def under(self, prefix: str) -> Self:
        """The same error, with `prefix` in front of its path, unless that is whole already."""
        if prefix and not self.has_whole_path:
            self.path = f"{prefix}/{self.path}" if self.path else prefix
        return self

    def within(self, path: str) -> Self:
        """The same error in what stands at `path`, which begins at the root of the tree: the containers around it add nothing."""
        self.under(path).has_whole_path = True
        return self

    def __str__(self) -> str:
        path = self.path if self.has_whole_path else _path_of_call(self.__traceback__, self.path)
        return super().__str__() + (f" (at {path})" if path else "")


def _path_of_call(traceback: Any, path: str) -> str:
    """The path of the layer that was running, from the outermost model that ran; `path` if that says something else.

    So an error within a model of a user's own has its place, and calls pay nothing for that.
    """
    running, places = None, list[str]()
    while traceback is not None:
        frame = traceback.tb_frame
        is_constructor = frame.f_code.co_name.startswith("__") and frame.f_code.co_name != "__call__"
        layer = None if is_constructor else frame.f_locals.get("self")
        if hasattr(type(layer), "__attrs_attrs__") and callable(layer):
            place = None if running is None else _path_to(layer, running)
            if place is not None:
                places.append(place)
            if place is not None or not places:
                running = layer
        traceback = traceback.tb_next
    found = "/".join(places)
    return found if f"/{path}/" in f"/{found}/" or not path else path


def _path_to(layer: Any, model: Any) -> str | None:
    """The path of a layer in a model; None if the model does not hold the layer itself."""
    nodes = [("", model)]
    for start, node in nodes:
        for name, child in _children(node):
            if child is layer:
                return f"{start}{name}"
            nodes.append((f"{start}{name}/", child))
    return None


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        return node.items()
    if isinstance(node, tuple | list):
        return enumerate(node)
    fields = getattr(type(node), "__attrs_attrs__", ())
    return [(field.name, getattr(node, field.name, None)) for field in fields if not field.metadata.get("static")]


class ShapeError(FdezeroError, ValueError):
    """Shapes that do not go together."""


class DTypeError(FdezeroError, TypeError):
    """A dtype that a function cannot differentiate, draw or work with."""


class DerivativeError(FdezeroError, TypeError):
    """A function was differentiated by an argument that it has no rule for."""


class MatrixError(FdezeroError, np.linalg.LinAlgError):
    """A matrix does not have the inverse or the factor that was asked for."""


class RangeError(FdezeroError, ValueError):
    """A number outside its range, such as a probability above 1 or bounds with nothing between them."""


class DeviceError(FdezeroError, RuntimeError):
    """Arrays on different devices, or a device that this machine does not have."""


class WorkerError(FdezeroError, RuntimeError):
    """A process that made batches for a DataLoader ended, for example because memory ran out."""


class DisagreementError(FdezeroError, RuntimeError):
    """Ranks of a world called different collectives, or with different trees, or one took fewer steps than the others."""


class WaitingError(FdezeroError, TimeoutError):
    """A collective waited for other ranks longer than the limit of its world."""


class StructureError(FdezeroError, ValueError):
    """Trees whose structures differ, or a leaf of the wrong kind."""


class KinkError(FdezeroError, AssertionError):
    """Derivatives were checked at a point where the function does not have one."""


class ExportError(FdezeroError, TypeError):
    """A function cannot be exported: it has an operation without a form in ONNX, or one that NumPy alone does not compute."""


class FileError(FdezeroError, ValueError):
    """A file does not contain what was asked for."""


class DownloadError(FdezeroError, OSError):
    """A file could not be fetched from the internet, or not be written to the cache folder."""


class CheckpointError(FdezeroError, OSError):
    """A checkpoint could not be written, for example because the disk is full. Older checkpoints are as they were."""


class KeyMissingError(FdezeroError, TypeError):
    """A random operation was called without its key."""


class KeyReuseError(FdezeroError, ValueError):
    """Found by `fd.debug(keys=True)`: a random key was used twice. `lines` are the user's lines of both uses."""

    lines: tuple[Any, ...] = ()


class MissingExtraError(FdezeroError, ImportError):
    """An optional dependency or a compiler is not installed. The message names it."""


class NanError(FdezeroError, FloatingPointError):
    """Found by `fd.debug(nans=True)`: `operation`, at the user's `line`, made a NaN or an infinity."""

    operation: str = ""
    line: Any = None


class RuleError(FdezeroError, TypeError):
    """Found by `fd.debug(dtypes=True)`: a rule of `operation`, at the user's `line`, returned a derivative that does not fit."""

    operation: str = ""
    line: Any = None


class StaticError(FdezeroError, TypeError):
    """A static argument cannot be hashed, or a compiled function is asked about a call that it has not recorded."""


class StormError(FdezeroError, RuntimeError):
    """A compiled function would be recorded more often than `max_recordings` allows."""


class TraceError(FdezeroError, TypeError):
    """A traced value was used where a plain array or number is needed."""


class ImmutableError(TraceError):
    """Assignment into a traced value."""


class EscapedTracerError(TraceError):
    """A traced value was used after the transform that made it had returned."""


class CacheWarning(UserWarning):
    """A cache folder is not used, because somebody else could write programs into it."""


class CheckpointWarning(UserWarning):
    """A checkpoint, or the list of them, is damaged, and something else is used in its place."""
