"""The three checks of `debug`: NaNs and infinities, keys used twice, derivatives that do not fit their primals."""

import linecache
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..compiler.graph import is_elementwise
from ..core import Primitive, unwrap
from ..core.lines import Line
from ..devices import backend_of, to_numpy
from ..errors import KeyReuseError, NanError, RangeError, RuleError
from ..messages import describe
from ..ops.indexing import gather, ids, labels, put, refused_ids, scatter_add
from ..random.source import DRAW, FOLD, random_bits
from ..values import broadcasts_to, is_differentiable, kind_of


def shown(line: Line) -> str:
    """A line in the format of Python's tracebacks, which editors can open."""
    text = linecache.getline(line.path, line.number).strip()
    return f'  File "{line.path}", line {line.number}' + (f"\n    {text}" if text else "")


class Nans:
    """Finds the operation that makes a NaN from operands without NaN, or an infinity from finite operands."""

    def __init__(self, infinities: bool) -> None:
        self.infinities = infinities

    def operation(self, operation: Any, values: Sequence[Any], params: dict[str, Any], y: Any, line: Line) -> None:
        result = unwrap(y)
        if not is_differentiable(result) or np.all(np.isfinite(result)):
            return
        operands = [x for x in map(unwrap, values) if is_differentiable(x)]
        nans, infinite = np.isnan(result), np.isinf(result)
        had_nan, had_any = [np.isnan(x) for x in operands], [~np.isfinite(x) for x in operands]
        if not (isinstance(operation, Primitive) and is_elementwise(operation)):
            had_nan, had_any = [x.any() for x in had_nan], [x.any() for x in had_any]
        for mask in had_nan:
            nans = nans & ~mask
        for mask in had_any:
            infinite = infinite & ~mask
        bad = nans | infinite if self.infinities else nans
        if not np.any(bad):
            return
        where = f"in the {line.rule}, {'at' if 'called' in line.rule else 'which ran at'}" if line.rule else "at"
        made = _counted(bad, "NaN" if np.any(nans) else "infinity")
        error = NanError(f"{operation.name} made {made}, from operands\n{_operands(values)}\n{where}\n{shown(line)}")
        error.operation, error.line = operation.name, line
        raise error

    def results(self, name: str, given: Sequence[tuple[str, Any]], results: Sequence[tuple[str, Any]]) -> None:
        """Raise an error if the results have a NaN that no operation made."""
        known = {id(leaf) for _, leaf in given}
        for path, leaf in results:
            if id(leaf) in known or not is_differentiable(leaf) or not np.any(np.isnan(leaf)):
                continue
            masks = [(where, np.isnan(x)) for where, x in given if is_differentiable(x)]
            sources = [f"{where} ({_counted(mask, 'NaN')})" for where, mask in masks if np.any(mask)]
            origin = (
                f"with the argument {', '.join(sources)}"
                if sources
                else "with a constant of the function or its closure"
            )
            at = f" {path}" if path else ""
            raise NanError(
                f"{name}: the result{at} has {_counted(np.isnan(leaf), 'NaN')}. No operation made it: it came in {origin}."
            )


def _counted(bad: Any, what: str) -> str:
    """ "2 NaNs among 6 entries, the first at [0, 1]"."""
    bad = to_numpy(bad)
    if not np.ndim(bad):
        return "an infinity" if what == "infinity" else "a NaN"
    count, first = int(np.count_nonzero(bad)), ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
    plural = what if count == 1 else "infinities" if what == "infinity" else "NaNs"
    return f"{count} {plural} among {np.size(bad)} entries, the first at [{first}]"


def _operands(values: Sequence[Any]) -> str:
    return "\n".join(f"  x{i}: {_ranged(unwrap(value))}" for i, value in enumerate(values))


def _ranged(value: Any) -> str:
    """A description of an operand with the bounds of its finite entries."""
    text = describe(value)
    if not hasattr(value, "dtype") or kind_of(value.dtype) not in "iufc" or not value.size:
        return text
    if not np.ndim(value):
        return f"{text} = {value}"
    finite, of_complex = value[np.isfinite(value)], value.dtype.kind == "c"
    sizes = abs(finite) if of_complex else finite
    span = f",{' absolute values' if of_complex else ''} from {sizes.min()} to {sizes.max()}" if sizes.size else ""
    odd = int(value.size - sizes.size)
    return text + span + (f", {odd} not finite" if odd else "")


class Indices:
    """Finds an index or a label out of range on a GPU, which does not look; the CPU raises its own error."""

    @staticmethod
    def operation(operation: Any, values: Sequence[Any], params: dict[str, Any], line: Line) -> None:
        if operation not in (gather, scatter_add, put, labels, ids) or backend_of(*map(unwrap, values)).reads_at_once:
            return
        x, *indices = [*map(unwrap, values)]
        if operation in (labels, ids):
            indices, sizes, lowest = [x], (params["classes" if operation is labels else "count"],), 0
        elif operation is put:
            indices, sizes, lowest = indices[1:], x.shape[-1:], -1
        else:
            rest = params["rest"]
            core = x.shape[x.ndim - len(indices) - rest : x.ndim - rest]
            sizes, lowest = params.get("shape", core), -1
        for index, n in zip(indices, sizes, strict=True):
            if not math.prod(index.shape) or (lowest * n <= int(index.min()) and int(index.max()) < n):
                continue
            if operation is ids:
                raise RangeError(f"{refused_ids(index, **params)}\nat\n{shown(line)}")
            span = f"{int(index.min())} and {int(index.max())}"
            if operation is labels:
                said = f"{params['of']}: labels lie between {span}, but there are {n} classes"
                raise RangeError(f"{said}\nat\n{shown(line)}")
            raise IndexError(
                f"{operation.name}: indices lie between {span}, but the axis has {n} entries\nat\n{shown(line)}"
            )


class Keys:
    """Finds a random key that is used twice, by drawing or splitting. `fold_in` may use a key any number of times."""

    def __init__(self) -> None:
        self.used: dict[bytes, tuple[str, Line]] = {}

    def operation(self, operation: Any, values: Sequence[Any], params: dict[str, Any], y: Any, line: Line) -> None:
        if operation is not random_bits or params["domain"] == FOLD or not math.prod(params["shape"]):
            return
        if line.rule.startswith("backward"):  # A checkpoint runs the forward pass again.
            return
        use = ("drawn from" if params["domain"] == DRAW else "split", line)
        for row in np.ascontiguousarray(to_numpy(unwrap(values[0]))).reshape(-1, 2):
            if (before := self.used.get(row.tobytes())) is not None:
                self._report(row, before, use)
            self.used[row.tobytes()] = use

    def _report(self, row: Any, before: tuple[str, Line], now: tuple[str, Line]) -> None:
        error = KeyReuseError(
            f"the key [{row[0]}, {row[1]}] is used twice. "
            f"It was {before[0]} here:\n{shown(before[1])}\nand is {now[0]} here:\n{shown(now[1])}\n"
            "Split it first, `key, other = fd.random.split(key)`, or use fd.random.fold_in(key, number) with a new number each time."
        )
        error.lines = (before[1], now[1])
        raise error


class Dtypes:
    """Finds the derivative rule whose result has a different dtype from its primal, or a shape that does not broadcast."""

    def cotangent(self, name: str, line: Line, position: int, t: Any, primal: Any, y: Any) -> None:
        allowed = [d for d in (primal.dtype, y.dtype) if d is not None]
        fits = primal.dtype is None or _real(t.dtype) in map(_real, allowed)
        if not fits or not broadcasts_to(primal.shape, t.shape):
            _refuse(name, line, f"the cotangent of argument {position}", t, primal)

    def tangent(self, name: str, line: Line, t: Any, active: Sequence[Any], y: Any) -> None:
        if not hasattr(t, "dtype") or not hasattr(y, "dtype"):
            return
        allowed = [y.dtype, *[x.dtype for x in active if hasattr(x, "dtype")]]
        if _real(t.dtype) not in map(_real, allowed) or not broadcasts_to(t.shape, y.shape):
            _refuse(name, line, "the tangent of the result", t, y)


def _refuse(name: str, line: Line, what: str, t: Any, primal: Any) -> None:
    kind = "a Python float" if primal.dtype is None else describe(primal)
    kept = "shape" if primal.dtype is None or _real(t.dtype) == _real(primal.dtype) else "dtype"
    error = RuleError(
        f"the rule of {name} gives {what} as {describe(t)}, but its primal is {kind}. Write the rule so that it keeps the {kept}. "
        f"{name} ran at\n{shown(line)}"
    )
    error.operation, error.line = name, line
    raise error


def _real(dtype: Any) -> Any:
    """The dtype of the real part. A complex cotangent may meet a real primal, which then gets its real part."""
    return np.empty(0, dtype).real.dtype
