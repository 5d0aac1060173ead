"""Numerical derivatives of a function along a line: extrapolated central differences, and the complex step.

Arguments are widened to double precision if the function accepts them, so even float16 code is measured exactly.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..core import unwrap
from ..devices import device_of, to_device, to_numpy
from ..errors import RangeError
from .comparison import relative_error, wide

STEP = {"float16": 1e-1, "float32": 2e-2, "float64": 2e-3}
TOLERANCE = {"float16": 5e-2, "float32": 1e-2, "float64": 1e-6}  # for differences in this precision
ROUNDING = {"float16": 3e-2, "float32": 1e-3, "float64": 1e-8}  # for derivatives computed in this precision
IMAGINARY_STEP = 1e-20
MOST_ENTRIES = 512  # At most this many entries are checked one by one.
CENTRAL, COMPLEX = "central differences", "complex step"

Leaves = list[np.ndarray]


def precision(*values: Any) -> str:
    """The name of the narrowest floating type among the leaves of `values`, such as `float64`; a complex leaf counts as its real type."""
    types = [np.dtype(leaf.dtype) for leaf in trees.leaves(trees.trainable(values)) if hasattr(leaf, "dtype")]
    sizes = {dtype.itemsize // (2 if dtype.kind == "c" else 1) for dtype in types}
    return f"float{8 * min({*sizes, 8})}"


def narrowest(*names: str) -> str:
    """The narrowest of floating types that `precision` named."""
    return min(names, key=lambda name: int(name.removeprefix("float")))


def numbers(tree: Any) -> Leaves:
    """The differentiable leaves of `tree`, as NumPy arrays in double precision."""
    leaves = [unwrap(leaf) for leaf in trees.leaves(trees.trainable(tree))]
    return [wide(leaf) for leaf in to_numpy(leaves)]


def inner(left: Any, right: Any) -> tuple[float, float]:
    """<a, b> = Re sum conj(a) b over all leaves, and the sum of the terms' absolute values."""
    pairs = [(a, b) for a, b in zip(numbers(left), numbers(right), strict=True) if a.size]
    products = [(np.conj(a) * b).real for a, b in pairs]
    return float(sum(p.sum() for p in products)), float(sum(np.abs(p).sum() for p in products))


def replace(tree: Any, function: Callable[..., Any], *rest: Sequence[Any]) -> Any:
    """`tree` with each differentiable leaf replaced by `function(leaf, *entries of rest)`."""
    leaves, treedef = trees.flatten_trainable(tree)
    columns = [iter(column) for column in rest]
    changed = [function(leaf, *map(next, columns)) if trees.is_differentiable(leaf) else leaf for leaf in leaves]
    return trees.unflatten(treedef, changed)


def copied(tree: Any) -> Any:
    """`tree` with copies of its arrays."""
    return trees.map(lambda leaf: leaf.copy() if hasattr(leaf, "dtype") and hasattr(leaf, "copy") else leaf, tree)


def like(leaf: Any, values: Any) -> Any:
    """The NumPy array `values` in the dtype and on the device of `leaf`; a Python number if `leaf` is one."""
    if not hasattr(leaf, "dtype"):
        return complex(values) if isinstance(leaf, complex) else float(np.real(values))
    array = np.asarray(values if np.dtype(leaf.dtype).kind == "c" else np.real(values)).astype(leaf.dtype)
    return to_device(array, device_of(leaf))


def axes_of(args: Any, most: int = MOST_ENTRIES) -> Iterator[tuple[str, tuple[int, ...], complex, Leaves]]:
    """The path, index and value of each entry of the arguments, up to `most`, with its direction (for complex ones also along i)."""
    leaves = numbers(args)
    for number, (path, leaf) in enumerate(zip(trees.paths(trees.trainable(args)), leaves, strict=True)):
        for index in itertools.islice(np.ndindex(leaf.shape), most):
            most -= 1
            for factor in (1.0, 1j) if np.iscomplexobj(leaf) else (1.0,):
                direction = [np.zeros_like(other) for other in leaves]
                direction[number][index] = factor
                yield path, index, leaf[index].item(), direction


def double(tree: Any, kind: str = "") -> Any:
    """`tree` with its floating leaves in double precision, as complex numbers if `kind` is "c"."""

    def widened(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype"):
            return complex(leaf) if kind else leaf
        return leaf.astype(np.complex128 if kind or np.dtype(leaf.dtype).kind == "c" else np.float64)

    return replace(tree, widened)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings: a step may leave the domain of the function, and results that are not finite are handled."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


class Line:
    """A function along a line: h -> the leaves of function(args + h * direction), cached for each h.

    `limit` is the precision of the function that this one is a derivative of. A derivative has the dtype of its arguments, even if
    it was computed in a narrower one.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        direction: Leaves,
        step: float | None = None,
        limit: str = "float64",
    ) -> None:
        self.function, self.args, self.direction, self.limit = function, args, direction, limit
        with quiet():
            value = function(*args)
        # of the whole computation: a function may cast float64 to float32
        self.name = narrowest(precision(args, value), limit)
        self.known = {0.0: numbers(value)}
        if self.name != "float64" and limit == "float64":
            self.widen()
        self.step = STEP[self.name] if step is None else step

    def widen(self) -> None:
        """Compute in double precision from here on, if the function can and its value stays the same."""
        try:
            with quiet():
                value = self.function(*double(self.args))
        except Exception:  # The function may accept only its own dtypes; it is measured in those.
            return
        leaves = numbers(value)
        if precision(value) == "float64" and alike(leaves, self(0.0), ROUNDING[self.name]):
            self.args, self.name, self.known = double(self.args), "float64", {0.0: leaves}

    def __call__(self, h: float) -> Leaves:
        if h not in self.known:
            with quiet():
                self.known[h] = numbers(
                    self.function(*replace(self.args, lambda leaf, t: leaf + like(leaf, h * t), self.direction))
                )
        return self.known[h]

    def is_finite(self, *steps: float) -> bool:
        return all(np.isfinite(leaf).all() for h in steps for leaf in self(h))

    def slopes(self, h: float) -> Leaves:
        """The central difference of step h."""
        with np.errstate(all="ignore"):
            return [(a - b) / (2 * h) for a, b in zip(self(h), self(-h), strict=True)]

    def extrapolated(self, h: float) -> Leaves:
        """Central differences of steps h and h / 2, extrapolated to h = 0 after Richardson: error O(h^4)."""
        with np.errstate(all="ignore"):
            return [(4 * fine - coarse) / 3 for fine, coarse in zip(self.slopes(h / 2), self.slopes(h), strict=True)]

    def measured(self, h: float) -> tuple[Leaves, float]:
        """`extrapolated(h)`, and the part of its relative error that comes from rounding of the values."""
        found = self.extrapolated(h)
        sizes = [float(np.abs(leaf[np.isfinite(leaf)]).max(initial=0.0)) for leaf in self(0.0)]
        scales = [1 + float(np.abs(leaf[np.isfinite(leaf)]).max(initial=0.0)) for leaf in found]
        rounding = 4 * float(np.finfo(self.name).eps) / h
        return found, max([rounding * a / b for a, b in zip(sizes, scales, strict=True)], default=0.0)

    def imaginary(self) -> Leaves | None:
        """Im f(x + i h v) / h, exact to rounding for real analytic functions; None if `f` does not accept complex numbers."""
        if any(np.iscomplexobj(leaf) for leaf in [*self(0.0), *numbers(self.args)]):
            return None
        directions = [1j * IMAGINARY_STEP * t for t in self.direction]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", np.exceptions.ComplexWarning)  # An imaginary part was dropped.
                value = self.function(*replace(double(self.args, "c"), lambda leaf, t: leaf + t, directions))
                found = numbers(value)
        except Exception:  # A function may refuse complex numbers with any error.
            return None
        if not all(np.iscomplexobj(leaf) for leaf in found) or not alike(
            [leaf.real for leaf in found], self(0.0), 1e-9
        ):
            return None
        return [leaf.imag / IMAGINARY_STEP for leaf in found]


@attrs.frozen
class Numeric:
    """A numerical derivative: its leaves, its method, and the tolerance for a comparison with it."""

    leaves: Leaves
    method: str
    tolerance: float


@attrs.frozen
class Ruler:
    """The way derivatives are measured: `method` ("auto", "central" or "complex"), step and tolerance; `limit` as in `Line`."""

    method: str = "auto"
    step: float | None = None
    tolerance: float | None = None
    limit: str = "float64"

    def __attrs_post_init__(self) -> None:
        for name, given in (("step", self.step), ("tolerance", self.tolerance)):
            if given is not None and not (0 < given < np.inf):
                raise RangeError(
                    f"{name} must be a number above 0, got {given!r}. None chooses one that fits the dtype."
                )

    def line(self, function: Callable[..., Any], args: Any, direction: Leaves) -> Line:
        """The line that is measured."""
        return Line(function, args, direction, self.step, self.limit)

    def measure(self, line: Line, narrow: str, *, refine: bool = False) -> Numeric:
        """The derivative along `line` of a function computed in type `narrow`.

        "auto" takes the complex step if it agrees with central differences. With `refine`, smaller and smaller steps are tried,
        and each leaf comes from the two successive steps that agree best. This helps near a kink or at high curvature.
        """
        enough = 1e-2 * (TOLERANCE[line.name] if self.tolerance is None else self.tolerance)
        central, noise = _settled(line, enough) if refine else line.measured(line.step)
        coarse = max(TOLERANCE[line.name], ROUNDING[narrow], noise) if self.tolerance is None else self.tolerance
        found = None if self.method == "central" else line.imaginary()
        if found is not None:
            # The vjp of an analytic function is conjugated, as gradients are, so its imaginary part has the opposite sign.
            found = min((found, [-leaf for leaf in found]), key=lambda leaves: _distance(leaves, central))
            if alike(found, central, max(coarse, noise, TOLERANCE["float64"])):
                return Numeric(found, COMPLEX, ROUNDING[narrow] if self.tolerance is None else self.tolerance)
        if self.method == "complex":
            raise RangeError(
                "method='complex': the function does not work with complex numbers. Pass method='auto' or method='central'."
            )
        return Numeric(central, CENTRAL, coarse)


def _settled(line: Line, enough: float) -> tuple[Leaves, float]:
    """The derivative from the two successive steps that agree best, leaf by leaf, and the part of its error that is rounding.

    Smaller steps are tried until two agree to `enough`.
    """
    steps = [line.step / 4**k for k in range(8 if line.name == "float64" else 3)]
    coarse, _ = line.measured(steps[0])
    best, noises, least = list(coarse), [0.0] * len(coarse), [np.inf] * len(coarse)
    for h in steps[1:]:
        fine, noise = line.measured(h)
        for k, (new, old) in enumerate(zip(fine, coarse, strict=True)):
            # Steps that are lost in rounding agree perfectly: all their differences are 0.
            change = float(relative_error(new, old).max(initial=0.0)) + noise
            if change < least[k]:
                best[k], noises[k], least[k] = new, noise, change
        if max(least, default=0.0) <= enough:
            break
        coarse = fine
    return best, max(noises, default=0.0)


def _distance(left: Leaves, right: Leaves) -> float:
    return max((float(relative_error(a, b).max(initial=0.0)) for a, b in zip(left, right, strict=True)), default=0.0)


def alike(left: Leaves, right: Leaves, tolerance: float) -> bool:
    """Whether two lists of leaves agree."""
    return len(left) == len(right) and all(
        a.shape == b.shape and (relative_error(a, b) <= tolerance).all() for a, b in zip(left, right, strict=True)
    )
