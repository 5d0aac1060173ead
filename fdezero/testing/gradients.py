"""`check_grads`: both modes of differentiation against derivatives by number and against each other, to any order."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..errors import DTypeError, KinkError, RangeError
from ..transforms import jvp, vjp
from .comparison import assert_trees_close, assert_trees_equal
from .differences import ROUNDING, Line, Numeric, alike, differentiate, inner, like, numbers, precision, replace
from .entries import Mismatch, wrong_entries
from .kinks import Kinks, declared, detected, suspected

WORDS = {"fwd": "forward mode", "rev": "reverse mode"}


@attrs.frozen
class Check:
    """One derivative that was found right."""

    mode: str
    order: int
    method: str


@attrs.frozen
class GradientReport:
    """What `check_grads` has checked, by which method, and the kinks at which it has not."""

    checks: tuple[Check, ...]
    kinks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if not self.checks:
            return f"nothing checked: {'; '.join(self.kinks)}"
        counts = Counter(check.method for check in self.checks)
        methods = " and ".join(f"{method} ({count})" if len(counts) > 1 else method for method, count in counts.items())
        modes = " and ".join(word for mode, word in WORDS.items() if any(check.mode == mode for check in self.checks))
        order = max(check.order for check in self.checks)
        skipped = "".join(f"; skipped a kink: {kink}" for kink in self.kinks)
        return f"right by {methods}: {modes} to order {order}{skipped}"


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    step: float | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    method: str = "auto",
    entrywise: bool = False,
    kinks: Kinks = None,
    at_kinks: str = "raise",
) -> GradientReport:
    """Check the derivatives of `function` at `args`, any trees, along random directions; says how in its report.

    The truth is the complex step where it works, else central differences, extrapolated ("complex", "central" ask for
    one). Then the derivatives' own derivatives are checked, up to `order`. `step` and `tolerance` (relative to
    1 + the largest entry) go by dtype; `entrywise` checks along every axis. `kinks` declares where there is no derivative: a
    predicate of the arguments or a list of points. Kinks not declared are found by one-sided differences; `at_kinks`
    says "raise" or "skip". Also checked: equal values twice, arguments left alone.

    Raises AssertionError that names mode, order and the worst entry by tree path with both values, KinkError at kinks.
    """
    args = tuple(args)
    for name, given, known in (("modes", set(modes), set(WORDS)), ("method", {method}, {"auto", "central", "complex"}),
                               ("at_kinks", {at_kinks}, {"raise", "skip"})):  # fmt: skip
        if not given or given - known:
            raise RangeError(f"check_grads: {name} is of {', '.join(map(repr, sorted(known)))}, got {', '.join(map(repr, given)) or 'none'}.")
    if not numbers(args):
        raise DTypeError("check_grads: no argument has anything to differentiate; give floating arrays or numbers.")
    if reason := declared(kinks, args):
        return GradientReport((), (reason,))
    value = _plain_value(function, args)
    if not numbers(value):
        raise DTypeError("check_grads: nothing in the output can be differentiated; it has no floating arrays or numbers.")
    checker = _Checker(tuple(modes), step, tolerance, seed, method, entrywise, at_kinks)
    checker.check(function, args, value, order, "")
    return GradientReport(tuple(checker.checks), tuple(checker.kinks))


def _plain_value(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The value, of a function that leaves its arguments alone and gives the same value again."""
    leaves, treedef = trees.flatten(args)
    before = trees.unflatten(treedef, [leaf.copy() if hasattr(leaf, "dtype") else leaf for leaf in leaves])
    value = function(*args)
    assert_trees_equal(args, before, "the function has written into its arguments: they", ("now", "before"), bits=True)
    assert_trees_equal(function(*args), value, "the function gives other values when called again: they", ("second", "first"))
    return value


class _Checker:
    """The options of one `check_grads`, and what it has found so far."""

    def __init__(
        self, modes: tuple[str, ...], step: float | None, tolerance: float | None, seed: int, method: str, entrywise: bool, at_kinks: str
    ) -> None:
        self.modes, self.step, self.tolerance, self.seed, self.method = modes, step, tolerance, seed, method
        self.entrywise, self.at_kinks = entrywise, at_kinks
        self.rng = np.random.default_rng(seed)
        self.checks: list[Check] = []
        self.kinks: list[str] = []

    def check(self, function: Callable[..., Any], args: tuple[Any, ...], plain: Any, orders: int, history: str) -> None:
        """Check one derivative of `function`, of value `plain`, then those of its derivatives; `history` says what it is of."""
        if orders == 0 or not numbers(plain):
            return
        narrow = precision(args, plain)
        tangents = self.random_like(args)
        direction = replace(args, lambda leaf, t: t, tangents)
        cotangent = self.random_like(plain)
        cotangents = replace(plain, lambda leaf, t: t, cotangent)
        line = Line(function, args, numbers(direction), self.step)
        if suspected(line) and self.at_kink(line, history):
            return
        tangent = self.push(function, args, direction, plain, narrow, history) if "fwd" in self.modes else None
        gradient = self.pull(function, args, cotangents, plain, narrow, history) if "rev" in self.modes else None

        numeric = differentiate(line, self.method, narrow, self.tolerance)
        if self.wrong(tangent, gradient, numeric, direction, cotangents):
            if self.at_kink(line, history):
                return
            numeric = differentiate(line, self.method, narrow, self.tolerance, refine=True)
        if mode := self.wrong(tangent, gradient, numeric, direction, cotangents):
            self.fail(mode, function, args, plain, cotangents, narrow, numeric, tangent, history)
        self.same(tangent, gradient, direction, cotangents, narrow, history)
        if self.entrywise:
            for mode in self.modes:
                found = wrong_entries(mode, function, args, cotangents, narrow, self.method, self.step, self.tolerance)
                if found:
                    raise AssertionError(self.headline(mode, history) + " is wrong" + _listed(found, mode))
        self.checks += [Check(mode, len(history.split(" of ")), numeric.method) for mode in self.modes]

        if orders > 1 and gradient is not None:
            name = f" of the vjp{history}"
            self.check(lambda *args: vjp(function, *args)[1](cotangents), args, gradient, orders - 1, name)
        if orders > 1 and tangent is not None:
            self.check(lambda *args: jvp(function, args, direction)[1], args, tangent, orders - 1, f" of the jvp{history}")

    def random_like(self, tree: Any) -> list[Any]:
        """Random leaves for the differentiable ones of `tree`, rounded to their dtypes."""
        drawn = []
        for leaf in trees.leaves(trees.trainable(tree)):
            values = self.rng.standard_normal(np.shape(leaf))
            if np.dtype(getattr(leaf, "dtype", float)).kind == "c":
                values = values + 1j * self.rng.standard_normal(np.shape(leaf))
            drawn.append(like(leaf, values))
        return drawn

    def push(self, function: Any, args: Any, direction: Any, plain: Any, narrow: str, history: str) -> Any:
        value, tangent = jvp(function, args, direction)
        assert_trees_close(trees.trainable(value), trees.trainable(plain), ROUNDING[narrow] / 100, f"values under jvp{history}", ("jvp", "plain"))
        _same_kind(value, tangent, f"the tangent{history}")
        return tangent

    def pull(self, function: Any, args: Any, cotangents: Any, plain: Any, narrow: str, history: str) -> Any:
        value, pullback = vjp(function, *args)
        assert_trees_close(trees.trainable(value), trees.trainable(plain), ROUNDING[narrow] / 100, f"values under vjp{history}", ("vjp", "plain"))
        gradient = pullback(cotangents)
        pullback.release()
        _same_kind(args, gradient, f"the gradient{history}")
        return gradient

    def wrong(self, tangent: Any, gradient: Any, numeric: Numeric, direction: Any, cotangents: Any) -> str:
        """The mode that does not agree with `numeric`, if one does not."""
        if tangent is not None and not alike(numbers(tangent), numeric.leaves, numeric.tolerance):
            return "fwd"
        if gradient is None:
            return ""
        expected, terms = inner(cotangents, numeric.leaves)
        return "" if abs(inner(gradient, direction)[0] - expected) <= numeric.tolerance * (1 + terms) else "rev"

    def same(self, tangent: Any, gradient: Any, direction: Any, cotangents: Any, narrow: str, history: str) -> None:
        """Reverse mode is the transpose of forward mode, to rounding: <J^T t, v> = <t, J v>."""
        if tangent is None or gradient is None:
            return
        (left, terms), (right, others) = inner(gradient, direction), inner(cotangents, tangent)
        if not abs(left - right) <= max(ROUNDING[narrow], self.tolerance or 0.0) * (1 + max(terms, others)):
            raise AssertionError(
                f"forward and reverse mode{_order(history)} are not transposes of each other: <J^T t, v> is {left!r} by vjp, "
                f"<t, J v> {right!r} by jvp (seed {self.seed}); both are near the derivative by number."
            )

    def at_kink(self, line: Line, history: str) -> bool:
        """Whether the arguments are at a kink, which is noted, or raised."""
        reason = detected(line)
        if reason:
            what = f"the function{history and f' (the derivative{history})'}"
            if self.at_kinks == "raise":
                raise KinkError(
                    f"{what} has a kink at these arguments: {reason} (direction of seed {self.seed}). Declare it with kinks=..., "
                    "pass over kinks with at_kinks='skip', or give other arguments."
                )
            self.kinks.append(f"{what}: {reason}")
        return bool(reason)

    def headline(self, mode: str, history: str) -> str:
        return WORDS[mode] + _order(history)

    def fail(
        self, mode: str, function: Any, args: Any, plain: Any, cotangents: Any, narrow: str, numeric: Numeric, tangent: Any, history: str
    ) -> None:
        """Raise what is known of a wrong derivative: the entries of the arguments, else those of the output."""
        found = wrong_entries(mode, function, args, cotangents, narrow, self.method, self.step, self.tolerance)
        text = f"{self.headline(mode, history)} is wrong beyond {numeric.tolerance:g}, by {numeric.method}, in the direction of seed {self.seed}"
        if found:
            raise AssertionError(text + _listed(found, mode))
        names = ("jvp", "number")
        if mode == "fwd":
            expected = replace(plain, lambda leaf, t: t, numeric.leaves)
            assert_trees_close(trees.trainable(tangent), trees.trainable(expected), numeric.tolerance, f"{text}, though along each entry alone it is right: tangents", names)
        raise AssertionError(f"{text}, though along each entry alone it is right: is it linear?")


def _order(history: str) -> str:
    order = len(history.split(" of "))
    return f" of order {order}" + (f" (derivative{history})" if history else "")


def _listed(found: list[Mismatch], mode: str) -> str:
    lines = sorted(found, key=lambda mismatch: -mismatch.error)
    texts = [mismatch.text("jvp" if mode == "fwd" else "vjp") for mismatch in lines]
    more = [f"and {len(texts) - 5} more leaves"] * (len(texts) > 5)
    return "\n  ".join([", worst in these entries of the arguments:", *texts[:5], *more])


def _same_kind(expected: Any, got: Any, what: str) -> None:
    """Tangents and gradients have the dtypes and shapes of their primals."""
    for (path, a), (_, b) in zip(
        trees.flatten_with_path(trees.trainable(expected)), trees.flatten_with_path(trees.trainable(got)), strict=True
    ):
        if hasattr(a, "dtype"):
            assert a.dtype == b.dtype, f"{what} at {path or 'the root'!r} has dtype {b.dtype}, its primal {a.dtype}"
            assert a.shape == b.shape, f"{what} at {path or 'the root'!r} has shape {b.shape}, its primal {a.shape}"
