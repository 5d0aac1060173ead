"""`check_gradient` compares derivatives that you wrote by hand with numerical ones: gradients, Jacobians, Hessians and products."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..errors import DTypeError, KinkError, RangeError
from ..messages import describe
from .blocks import Apply, applied, dense, flat_list, rows_joined
from .comparison import assert_trees_equal
from .differences import MOST_ENTRIES, Leaves, Ruler, axes_of, copied, like, numbers, precision, replace
from .engines import named
from .entries import Mismatch, Worst, worst_entry
from .findings import Note, note
from .hints import hint
from .kinks import Kinks, declared, detected, suspected

DIRECTIONS = 8  # An argument with more than MOST_ENTRIES entries is checked along this many random directions.
MOST_LINES = 5
LOST = 0.1  # Differences whose rounding is larger than this, relative to 1 + the derivative, say nothing.
GRADIENT, JACOBIAN, HESSIAN, PRODUCT = "gradient", "Jacobian", "Hessian", "Hessian product"


@attrs.frozen
class PairRow:
    """The findings at one leaf of the argument: how many entries (or directions) were compared, and the worst relative error."""

    what: str
    path: str
    count: int
    unit: str
    error: float
    method: str

    def __repr__(self) -> str:
        where = f" by {self.path}" if self.path else ""
        unit = self.unit[:-1].replace("entrie", "entry") if self.count == 1 else self.unit
        return f"{self.what}{where}: {self.count} {unit}, worst error {self.error:.1e}, {self.method}"


@attrs.frozen
class PairReport:
    """What `check_gradient` found right, a row for each leaf of the argument, and the kinks that it skipped."""

    rows: tuple[PairRow, ...]
    kinks: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The worst relative error of all rows."""
        return max((row.error for row in self.rows), default=0.0)

    def __repr__(self) -> str:
        lines = [*map(repr, self.rows), *[f"skipped a kink: {kink}" for kink in self.kinks]]
        head = "right" if self.rows else "nothing checked"
        return f"{head}: {lines[0]}" if len(lines) == 1 else "\n  ".join([f"{head}:", *lines])


def check_gradient(
    function: Callable[..., Any],
    derivative: Callable[..., Any] | bool,
    x: Any,
    *,
    args: Any = (),
    hess: Callable[..., Any] | None = None,
    hessp: Callable[..., Any] | None = None,
    directions: int | None = None,
    step: float | None = None,
    tolerance: float | None = None,
    method: str = "auto",
    kinks: Kinks = None,
    at_kinks: str = "raise",
    seed: int = 0,
) -> PairReport:
    """Check `derivative(x, *args)`, written by hand, against numerical derivatives of `function(x, *args)`.

    `x` is an array or any tree. The derivative of a number is its gradient, a tree like `x`. Otherwise it is a Jacobian, with
    leaves of shape (shape of the output, shape of the argument). `True` says that `function` returns both. `hess(x, *args)` and
    `hessp(x, p, *args)` are compared with differences of the gradient. Sparse matrices and SciPy's linear operators are welcome.

    Each entry of `x` is checked. Above 512 entries, or if you pass `directions`, random directions are checked instead, and a
    wrong entry is found by bisection. The other options are those of `check_grads`.

    Raises AssertionError that names the tree path of the worst entries with both values, KinkError at kinks.
    """
    x = _argument(x)
    args = args if isinstance(args, tuple) else (args,)  # as SciPy has it
    for name, given, known in (
        ("method", method, ("auto", "central", "complex")),
        ("at_kinks", at_kinks, ("raise", "skip")),
    ):
        if given not in known:
            raise RangeError(f"check_gradient: {name} must be {', '.join(map(repr, known))}, got {given!r}.")
    if directions is not None and directions < 1:
        raise RangeError(f"check_gradient: directions must be 1 or more, got {directions}. None checks every entry.")
    tidy = rows_joined if trees.paths(x) == [""] else dense
    f, df = _split(function, derivative, args, tidy)
    if reason := declared(kinks, (x,)):
        return PairReport((), (reason.replace(": 0 has", ": x has").replace(": 0/", ": "),))
    value = _steady(f, x, "the function")
    if not numbers(value):
        raise DTypeError(f"check_gradient: the function must return floating numbers or arrays, got {describe(value)}.")
    if strange := [leaf[~np.isfinite(leaf)] for leaf in numbers(value) if not np.isfinite(leaf).all()]:
        reason = f"the function is not finite at x: it gives {strange[0].flat[0]}"
        if at_kinks == "skip":
            return PairReport((), (reason,))
        raise KinkError(f"check_gradient: {reason}. Pass another x, or skip such points with at_kinks='skip'.")
    given = _steady(df, x, "the derivative")
    is_number = len(numbers(value)) == 1 and numbers(value)[0].size == 1
    check = _PairChecker(x, Ruler(method, step, tolerance), directions, at_kinks == "skip", seed)
    check.note = note(function, named(function))
    what = GRADIENT if is_number else JACOBIAN
    check.pair(f, applied(what, given, value, x), value, what)
    if (hess is not None or hessp is not None) and not is_number:
        raise RangeError(
            "check_gradient: hess and hessp belong to a function that returns a number, but this one has a Jacobian."
        )
    if hess is not None:
        matrix = _steady(lambda x: tidy(hess(x, *args)), x, "hess")
        check.pair(df, applied(HESSIAN, matrix, given, x), given, HESSIAN)
    if hessp is not None:
        check.pair(df, lambda v: numbers(tidy(hessp(x, replace(x, like, v), *args))), given, PRODUCT)
    return PairReport(tuple(check.rows), tuple(dict.fromkeys(check.kinks)))


def _argument(x: Any) -> Any:
    """`x`, where a plain list of numbers and integers become floating arrays, as SciPy has it."""
    if flat_list(x) or (isinstance(x, np.ndarray | np.generic | int) and np.asarray(x).dtype.kind in "iu"):
        x = np.asarray(x, dtype=complex if np.iscomplexobj(x) else float)
    for path, leaf in zip(trees.paths(trees.trainable(x)), numbers(x), strict=True):
        if not np.isfinite(leaf).all():
            at = tuple(map(int, np.argwhere(~np.isfinite(leaf))[0]))
            raise RangeError(
                f"check_gradient: {_named(path, at)} is {leaf[at]}. Pass an x whose entries are all finite."
            )
    if numbers(x) and not any(leaf.size for leaf in numbers(x)):
        raise RangeError(f"check_gradient: x has no entries, so there is nothing to check, got {describe(x)}.")
    if not numbers(x):
        raise DTypeError(
            f"check_gradient: nothing in x can be differentiated, got {describe(x)}. Pass floating arrays."
        )
    return x


def _split(
    function: Any, derivative: Any, args: tuple[Any, ...], tidy: Callable[[Any], Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The function and its derivative, each of x alone."""
    if not callable(function) or not (callable(derivative) or derivative is True):
        raise TypeError(
            "check_gradient needs a function and its derivative, which are both callable, got "
            f"{describe(function)} and {describe(derivative)}. Pass True if the function returns (value, derivative)."
        )
    if derivative is not True:
        return lambda x: tidy(function(x, *args)), lambda x: tidy(derivative(x, *args))

    def part(number: int, x: Any) -> Any:
        both = function(x, *args)
        if not isinstance(both, tuple | list) or len(both) != 2:
            raise TypeError(
                f"check_gradient: with derivative=True the function must return (value, derivative), got {describe(both)}."
            )
        return both[number]

    return lambda x: tidy(part(0, x)), lambda x: tidy(part(1, x))


def _steady(function: Callable[..., Any], x: Any, what: str) -> Any:
    """A copy of the value at x; an error if `function` changes x or gives another value on a second call."""
    before = copied(x)
    first = copied(function(x))  # Some functions return the same array again and again.
    assert_trees_equal(x, before, f"{what} wrote into x: its entries", ("now", "before"), bits=True)
    if not hasattr(first, "matvec"):
        assert_trees_equal(
            copied(function(x)), first, f"{what} gave other values on a second call: they", ("second", "first")
        )
    return first


class _PairChecker:
    """The options of one `check_gradient`, and its findings so far."""

    def __init__(self, x: Any, ruler: Ruler, directions: int | None, skip_kinks: bool, seed: int) -> None:
        self.x, self.ruler, self.skip_kinks, self.seed = x, ruler, skip_kinks, seed
        self.leaves = numbers(x)
        self.size = sum(leaf.size for leaf in self.leaves)
        self.directions = DIRECTIONS if directions is None and self.size > MOST_ENTRIES else directions
        self.rows: list[PairRow] = []
        self.kinks: list[str] = []
        self.note: Note | None = None

    def pair(self, function: Callable[..., Any], apply: Apply, value: Any, what: str) -> None:
        """Compare `apply`, the derivative as a map of directions, with differences of `function`."""
        narrow = precision((self.x, value))
        self.shapes = [leaf.shape for leaf in numbers(value)]
        if self.directions is None:
            self.by_entries(function, apply, narrow, what)
        else:
            self.by_directions(function, apply, narrow, what)

    def measured(self, function: Callable[..., Any], direction: Leaves, narrow: str, where: str) -> Any:
        """The numerical derivative along `direction`; None at a kink that is skipped."""
        line = self.ruler.line(function, (self.x,), direction)
        if suspected(line) and (reason := detected(line)):
            if not self.skip_kinks:
                raise KinkError(
                    f"the function has a kink at x{where}: {reason}. Declare it with kinks=..., skip kinks with "
                    "at_kinks='skip', or pass another x."
                )
            self.kinks.append(f"{reason}{where}")
            return None
        numeric = self.ruler.measure(line, narrow, refine=True)
        if numeric.tolerance > LOST and self.ruler.tolerance is None:
            size = max(float(np.abs(leaf).max(initial=0.0)) for leaf in line(0.0))
            raise RangeError(
                f"check_gradient cannot measure the derivative at x{where}: next to a value of {size:.2g}, differences see rounding "
                "alone. Scale the function or x, or write the function so that it takes complex numbers."
            )
        return numeric

    def compared(self, apply: Apply, numeric: Any, direction: Leaves, what: str) -> tuple[Leaves, Worst]:
        """The given derivative along `direction`, and its worst entry: the place in the output, both values, and the error."""
        got = apply(direction)
        if [leaf.shape for leaf in got] != [leaf.shape for leaf in numeric.leaves]:
            shapes = [", ".join(str(leaf.shape) for leaf in some) for some in (got, numeric.leaves)]
            raise AssertionError(f"the {what} has shape {shapes[0]}, but must have shape {shapes[1]}.")
        return got, worst_entry(got, numeric.leaves)

    def noted(self, worst: Worst, numeric: Any, what: str, where: str) -> None:
        """Take down an error, if the report of a run asks for it."""
        if self.note is not None:
            order = 2 if what in (HESSIAN, PRODUCT) else 1
            self.note(worst[-1], numeric.tolerance, what, order, numeric.method, where)

    def by_entries(self, function: Callable[..., Any], apply: Apply, narrow: str, what: str) -> None:
        found: dict[str, list[Mismatch]] = {}
        tally: dict[str, list[tuple[float, str]]] = {}
        pairs: list[tuple[Leaves, Leaves]] = []
        for path, index, argument, direction in axes_of(self.x):
            at = f", along {_named(path, index)}, which is {argument:.6g}"
            numeric = self.measured(function, direction, narrow, at)
            if numeric is None:
                continue
            got, worst = self.compared(apply, numeric, direction, what)
            self.noted(worst, numeric, what, _named(path, index))
            pairs.append((got, numeric.leaves))
            tally.setdefault(path, []).append((worst[-1], numeric.method))
            if not worst[-1] <= numeric.tolerance:
                found.setdefault(path, []).append(
                    Mismatch(path or "x", index, argument, *worst[:3], numeric.method, worst[3])
                )
        if found:
            self.fail(
                what, found, {path: len(some) for path, some in tally.items()}, hint(pairs, self.shapes, self.leaves)
            )
        for path, some in tally.items():
            self.rows.append(
                PairRow(
                    what,
                    path,
                    len(some),
                    "entries",
                    max(e for e, _ in some),
                    " and ".join(dict.fromkeys(m for _, m in some)),
                )
            )

    def by_directions(self, function: Callable[..., Any], apply: Apply, narrow: str, what: str) -> None:
        rng = np.random.default_rng(self.seed)
        errors, methods = [], []
        for _ in range(self.directions or DIRECTIONS):
            direction = [rng.standard_normal(leaf.shape) for leaf in self.leaves]
            direction = [
                v + 1j * rng.standard_normal(v.shape) if np.iscomplexobj(x) else v
                for v, x in zip(direction, self.leaves, strict=True)
            ]
            numeric = self.measured(function, direction, narrow, f", along a random direction (seed {self.seed})")
            if numeric is None:
                continue
            _, worst = self.compared(apply, numeric, direction, what)
            self.noted(worst, numeric, what, f"seed {self.seed}")
            if not worst[-1] <= numeric.tolerance:
                mismatch = self.bisected(function, apply, narrow, what, direction)
                self.fail(what, {mismatch.path: [mismatch]}, {}, "")
            errors.append(worst[-1])
            methods.append(numeric.method)
        if errors:
            self.rows.append(
                PairRow(what, "", len(errors), "directions", max(errors), " and ".join(dict.fromkeys(methods)))
            )

    def bisected(
        self, function: Callable[..., Any], apply: Apply, narrow: str, what: str, direction: Leaves
    ) -> Mismatch:
        """A wrong entry below a wrong direction: the half of the entries with the larger error, again and again."""
        low, high = 0, self.size
        while True:
            middle = (low + high) // 2
            halves = [(low, middle), (middle, high)] if high - low > 1 else [(low, high)]
            tried = []
            for start, stop in halves:
                part = _restricted(direction if high - low > 1 else [np.ones_like(v) for v in direction], start, stop)
                numeric = self.ruler.measure(self.ruler.line(function, (self.x,), part), narrow, refine=True)
                tried.append((self.compared(apply, numeric, part, what)[1], numeric.method, start, stop))
            worst, method, low, high = max(tried, key=lambda one: one[0][-1])
            if len(halves) == 1:
                break
        for path, leaf in zip(trees.paths(trees.trainable(self.x)), self.leaves, strict=True):
            if low < leaf.size:
                index = tuple(map(int, np.unravel_index(low, leaf.shape)))
                return Mismatch(path or "x", index, leaf[index].item(), *worst[:3], method, worst[3])
            low -= leaf.size
        raise AssertionError("no entry of x")  # pragma: no cover, low is below the number of entries

    def fail(self, what: str, found: dict[str, list[Mismatch]], counts: dict[str, int], advice: str) -> None:
        """Raise an error with the worst wrong entry of each leaf."""
        rows = [
            attrs.evolve(max(some, key=_error), wrong=len(some), looked_at=counts.get(path, 1))
            for path, some in found.items()
        ]
        rows.sort(key=_error, reverse=True)
        how = "" if counts else f" along a random direction (seed {self.seed})"
        where = "The worst entries of x" if counts else "A wrong entry of x, found by bisection"
        lines = [row.text("given") for row in rows[:MOST_LINES]]
        more = [f"and {len(rows) - MOST_LINES} more leaves"] if len(rows) > MOST_LINES else []
        raise AssertionError(
            "\n  ".join([f"the {what} is wrong{how}. {where}:", *lines, *more, *([advice] if advice else [])])
        )


def _restricted(direction: Leaves, start: int, stop: int) -> Leaves:
    """`direction` with zeros outside the entries start to stop, counted through all leaves."""

    def parts() -> Iterator[np.ndarray]:
        passed = 0
        for leaf in direction:
            places = np.arange(passed, passed + leaf.size).reshape(leaf.shape)
            yield np.where((places >= start) & (places < stop), leaf, 0)
            passed += leaf.size

    return list(parts())


def _named(path: str, index: tuple[int, ...]) -> str:
    return f"{path or 'x'}{list(index) if index else ''}"


def _error(mismatch: Mismatch) -> float:
    return mismatch.error
