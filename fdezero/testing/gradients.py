"""`check_grads` compares both modes of differentiation with numerical derivatives and with each other, to any order."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..errors import DTypeError, KinkError, RangeError
from ..messages import describe
from ..transforms.arguments import as_arguments
from ..values import is_complex
from .backends import Backend, NotOffered, backend_named
from .comparison import assert_trees_close, assert_trees_equal, entry
from .differences import (
    ROUNDING,
    Line,
    Numeric,
    Ruler,
    alike,
    copied,
    inner,
    like,
    narrowest,
    numbers,
    precision,
    replace,
)
from .engines import Engine, Foreign, Frameworks, Native, named
from .entries import Mismatch, worst_entry, wrong_entries
from .findings import Note, note
from .kinks import Kinks, declared, detected, located, suspected

WORDS = {"fwd": "forward mode", "rev": "reverse mode"}
MOST_LINES = 5  # An error lists at most this many leaves.


@attrs.frozen
class Check:
    """One derivative that passed its check."""

    mode: str
    order: int
    method: str


@attrs.frozen
class GradientReport:
    """The checks that `check_grads` made, with their methods, and the kinks that it skipped."""

    checks: tuple[Check, ...]
    kinks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # what a function of another framework does not offer, with that framework's reason

    def __repr__(self) -> str:
        if not self.checks:
            return f"nothing checked: {'; '.join((*self.kinks, *self.missing))}"
        counts = Counter(check.method for check in self.checks)
        methods = " and ".join(f"{method} ({count})" if len(counts) > 1 else method for method, count in counts.items())
        modes = " and ".join(word for mode, word in WORDS.items() if any(check.mode == mode for check in self.checks))
        order = max(check.order for check in self.checks)
        skipped = "".join(f"; skipped a kink: {kink}" for kink in self.kinks)
        missing = "".join(f"; not offered: {reason}" for reason in self.missing)
        return f"right by {methods}: {modes} to order {order}{skipped}{missing}"


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
    backend: str | Backend | None = None,
    offers: Sequence[str] = (),
) -> GradientReport:
    """Check the derivatives of `function` at `args`, any trees, along random directions; the report says which method was used.

    The reference is the complex step if it works, otherwise extrapolated central differences; `method` "complex" or "central"
    demands one of the two. Derivatives of derivatives are checked up to `order`. `step` and `tolerance` (relative to
    1 + the largest entry) depend on the dtype by default. `entrywise=True` checks along every entry.

    `kinks` declares the points without a derivative: a predicate, the distance to the nearest kink, or a list of points. Other
    kinks are found by one-sided differences; `at_kinks="skip"` skips those instead of raising. The function must also give
    equal values twice and leave its arguments unchanged.

    `backend="torch"` or `"jax"` takes a function of that framework. Modes and orders that its rules do not offer are skipped and
    reported, except those in `offers`: "fwd", "rev", "second".

    Raises AssertionError that names the mode, the order and the tree path of the worst entry with both values, KinkError at kinks.
    """
    args = as_arguments("check_grads", "arguments", args)
    _of("offers", [*offers, "rev"], (*WORDS, "second"))
    ruler = Ruler(method, step, tolerance)
    noted = note(function, named(function))
    if backend is None:
        return check_grads_of(function, args, order, modes, ruler, seed, entrywise, kinks, at_kinks, Native(), noted)
    with (chosen := backend_named(backend)).wide():
        foreign = Foreign(chosen, function, args)
        report = check_grads_of(
            foreign,
            foreign.arrays,
            order,
            modes,
            ruler,
            seed,
            entrywise,
            foreign.whole(kinks),
            at_kinks,
            Frameworks(chosen),
            noted,
        )
    return demanded(report, offers, function)


def check_grads_of(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: Sequence[str],
    ruler: Ruler,
    seed: int,
    entrywise: bool,
    kinks: Kinks,
    at_kinks: str,
    engine: Engine,
    note: Note | None = None,
) -> GradientReport:
    """`check_grads` of a function that `engine` differentiates."""
    _of("modes", modes, WORDS)
    _of("method", [ruler.method], ("auto", "central", "complex"))
    _of("at_kinks", [at_kinks], ("raise", "skip"))
    if not numbers(args):
        rest = (
            " or numbers"
            if isinstance(engine, Native)
            else ", for example np.array(2.0): Python numbers are constants here"
        )
        raise DTypeError(f"check_grads: no argument can be differentiated. Pass floating arrays{rest}.")
    if reason := declared(kinks, args):
        return GradientReport((), (reason,))
    value = _plain_value(function, args)
    if not numbers(value):
        raise DTypeError("check_grads: nothing in the output can be differentiated. Return floating arrays or numbers.")
    checker = _Checker(tuple(modes), ruler, seed, entrywise, at_kinks == "skip", engine, note)
    checker.check(function, args, value, order, (), ruler)
    if not checker.checks and checker.missing and not checker.kinks:
        raise AssertionError(f"the function offers no derivative: {'; '.join(checker.missing)}")
    return GradientReport(tuple(checker.checks), tuple(checker.kinks), tuple(checker.missing))


def demanded(report: GradientReport, offers: Sequence[str], function: Callable[..., Any]) -> GradientReport:
    """`report`, if it has what the function must offer."""
    found = {check.mode for check in report.checks} | {"second" for check in report.checks if check.order > 1}
    lacking = [] if report.kinks else [what for what in offers if what not in found]
    if lacking:
        words = {**WORDS, "second": "second derivatives"}
        reasons = "; ".join(report.missing) or "it was not asked: see order and modes"
        raise AssertionError(
            f"{named(function)} does not offer {', '.join(words[what] for what in lacking)}: {reasons}"
        )
    return report


def _of(name: str, given: Sequence[str], known: Collection[str]) -> None:
    given = [given] if isinstance(given, str) else given
    if not given or set(given) - set(known):
        got = ", ".join(map(repr, given)) or "none"
        raise RangeError(f"check_grads: {name} must come from {', '.join(map(repr, known))}, got {got}.")


def _plain_value(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The value; an error if the function changes its arguments or gives another value on a second call."""
    before = copied(args)
    value = function(*args)
    assert_trees_equal(args, before, "the function wrote into its arguments: they", ("now", "before"), bits=True)
    assert_trees_equal(
        function(*args), value, "the function gave other values on a second call: they", ("second", "first")
    )
    return value


class _Checker:
    """The options of one `check_grads`, and its findings so far."""

    def __init__(
        self,
        modes: tuple[str, ...],
        ruler: Ruler,
        seed: int,
        entrywise: bool,
        skip_kinks: bool,
        engine: Engine,
        note: Note | None,
    ) -> None:
        self.engine, self.note = engine, note
        self.missing: list[str] = []
        self.modes, self.ruler, self.seed, self.entrywise, self.skip_kinks = modes, ruler, seed, entrywise, skip_kinks
        self.rng = np.random.default_rng(seed)
        self.checks: list[Check] = []
        self.kinks: list[str] = []

    def check(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        plain: Any,
        orders: int,
        history: tuple[str, ...],
        ruler: Ruler,
    ) -> None:
        """Check the derivative of `function`, whose value is `plain`, then the derivatives of that derivative.

        `history` names the derivatives already taken, the last one first.
        """
        if orders == 0 or not numbers(plain):
            return
        narrow = narrowest(precision(args, plain), ruler.limit)
        direction, cotangents = self.random_like(args), self.random_like(plain)
        line = ruler.line(function, args, numbers(direction))
        if suspected(line) and self.is_kink(line, history):
            return
        tangent = gradient = None
        if found := self.offered("fwd", history, lambda: self.engine.jvp(function, args, direction)):
            value, tangent = found
            _same_value(value, plain, narrow, "jvp", history)
            _same_kind(value, tangent, "tangent", history)
        if found := self.offered("rev", history, lambda: self.engine.vjp(function, args, cotangents)):
            value, gradient = found
            _same_value(value, plain, narrow, "vjp", history)
            _same_kind(args, gradient, "gradient", history)

        modes = [mode for mode, found in (("fwd", tangent), ("rev", gradient)) if found is not None]
        if not modes:
            return
        numeric = ruler.measure(line, narrow)
        if _wrong_mode(tangent, gradient, numeric, direction, cotangents):
            if self.is_kink(line, history):
                return
            numeric = ruler.measure(line, narrow, refine=True)
        wrong = _wrong_mode(tangent, gradient, numeric, direction, cotangents)
        self.noted(tangent, gradient, numeric, direction, cotangents, 1 + len(history))
        for mode in [wrong] if wrong else modes if self.entrywise else ():
            found = wrong_entries(mode, function, args, cotangents, narrow, ruler, self.engine)
            if wrong or found:
                self.fail(mode, found, numeric, tangent, history)
        if tangent is not None and gradient is not None:
            self.compare_modes(tangent, gradient, direction, cotangents, narrow, history)
        self.checks += [Check(mode, 1 + len(history), numeric.method) for mode in modes]

        ruler = attrs.evolve(ruler, limit=line.name)
        if gradient is not None:
            pulled = self.engine.pulled(function, args, cotangents)
            self.check(pulled, args, gradient, orders - 1, ("vjp", *history), ruler)
        if tangent is not None:
            pushed = self.engine.pushed(function, args, direction)
            self.check(pushed, args, tangent, orders - 1, ("jvp", *history), ruler)

    def offered(self, mode: str, history: tuple[str, ...], derive: Callable[[], Any]) -> Any:
        """The value and a derivative; None if the mode is not asked for, or if the function does not offer it."""
        if mode not in self.modes:
            return None
        try:
            return derive()
        except NotOffered as error:
            reason = str(error)
            if reason and not any(line.endswith(f": {reason}") for line in self.missing):  # once, at the lowest order
                self.missing.append(f"{WORDS[mode]}{_order(history)}: {reason}")
            return None

    def noted(self, tangent: Any, gradient: Any, numeric: Numeric, direction: Any, cotangents: Any, order: int) -> None:
        """Take down the errors of both modes, if the report of a run asks for them."""
        if self.note is None:
            return
        if tangent is not None:
            place, _, _, error = worst_entry(numbers(tangent), numeric.leaves)
            self.note(error, numeric.tolerance, "forward", order, numeric.method, f"output{place}")
        if gradient is not None:
            expected, terms = inner(cotangents, numeric.leaves)
            error = abs(inner(gradient, direction)[0] - expected) / (1 + terms)
            self.note(error, numeric.tolerance, "reverse", order, numeric.method, f"seed {self.seed}")

    def random_like(self, tree: Any) -> Any:
        """`tree` with random numbers in its differentiable leaves."""

        def drawn(leaf: Any) -> Any:
            values = self.rng.standard_normal(np.shape(leaf))
            if is_complex(leaf):
                values = values + 1j * self.rng.standard_normal(np.shape(leaf))
            return like(leaf, values)

        return replace(tree, drawn)

    def compare_modes(
        self, tangent: Any, gradient: Any, direction: Any, cotangents: Any, narrow: str, history: tuple[str, ...]
    ) -> None:
        """Check that reverse mode is the transpose of forward mode, to rounding: <J^T t, v> = <t, J v>."""
        (left, terms), (right, others) = inner(gradient, direction), inner(cotangents, tangent)
        tolerance = max(ROUNDING[narrow], self.ruler.tolerance or 0.0)
        if not abs(left - right) <= tolerance * (1 + max(terms, others)):
            raise AssertionError(
                f"forward and reverse mode{_order(history)} are not transposes of each other: <J^T t, v> is {left!r} by vjp, "
                f"<t, J v> is {right!r} by jvp (seed {self.seed}). Both are close to the numerical derivative."
            )

    def is_kink(self, line: Line, history: tuple[str, ...]) -> bool:
        """Whether the arguments are at a kink; it is recorded or raised, as `at_kinks` asks."""
        reason = detected(line)
        if not reason:
            return False
        reason = located(line) or f"{reason} (in the direction of seed {self.seed})"
        what = "the function" + (f"'s derivative{_of_what(history)}" if history else "")
        if self.skip_kinks:
            self.kinks.append(f"{what}: {reason}")
            return True
        raise KinkError(
            f"{what} has a kink at these arguments: {reason}. Declare it with kinks=..., skip kinks with "
            "at_kinks='skip', or pass other arguments."
        )

    def fail(self, mode: str, found: list[Mismatch], numeric: Numeric, tangent: Any, history: tuple[str, ...]) -> None:
        """Raise an error that shows the wrong entries of the arguments or, without any, those of the output."""
        text = f"{WORDS[mode]}{_order(history)} is wrong beyond {numeric.tolerance:g} (direction of seed {self.seed}, {numeric.method})"
        if found and self.note is not None:
            worst, word = found[0], WORDS[mode].partition(" ")[0]
            place = f"argument {worst.path}{entry(worst.index)}"
            self.note(worst.error, numeric.tolerance, word, 1 + len(history), worst.method, place)
        if found:
            lines = [mismatch.text("jvp" if mode == "fwd" else "vjp") for mismatch in found]
            more = [f"and {len(lines) - MOST_LINES} more leaves"] if len(lines) > MOST_LINES else []
            raise AssertionError(
                "\n  ".join([f"{text}. The worst entries of the arguments:", *lines[:MOST_LINES], *more])
            )
        text += ", but right along every single entry: it is not linear, or it leaves the range of its dtype"
        if mode == "fwd":
            given, expected = (
                trees.trainable(tangent),
                trees.trainable(replace(tangent, lambda leaf, t: t, numeric.leaves)),
            )
            assert_trees_close(given, expected, numeric.tolerance, f"{text}; tangents", ("jvp", "numerical"))
        raise AssertionError(f"{text}.")


def _wrong_mode(tangent: Any, gradient: Any, numeric: Numeric, direction: Any, cotangents: Any) -> str:
    """The mode that disagrees with `numeric`; empty if both agree."""
    if tangent is not None and not alike(numbers(tangent), numeric.leaves, numeric.tolerance):
        return "fwd"
    if gradient is None:
        return ""
    expected, terms = inner(cotangents, numeric.leaves)
    return "" if abs(inner(gradient, direction)[0] - expected) <= numeric.tolerance * (1 + terms) else "rev"


def _order(history: tuple[str, ...]) -> str:
    return f" of order {1 + len(history)}" + (f" (derivative{_of_what(history)})" if history else "")


def _of_what(history: tuple[str, ...]) -> str:
    return "".join(f" of the {mode}" for mode in history)


def _same_value(value: Any, plain: Any, narrow: str, mode: str, history: tuple[str, ...]) -> None:
    what = f"values under {mode}{_of_what(history)}"
    assert_trees_close(trees.trainable(value), trees.trainable(plain), ROUNDING[narrow] / 100, what, (mode, "plain"))


def _same_kind(expected: Any, got: Any, what: str, history: tuple[str, ...]) -> None:
    """Check that tangents and gradients have the dtypes and shapes of their primals."""
    pairs = zip(*[trees.flatten_with_path(trees.trainable(tree)) for tree in (expected, got)], strict=True)
    for (path, a), (_, b) in pairs:
        if hasattr(a, "dtype") and (a.dtype, a.shape) != (b.dtype, b.shape):
            raise AssertionError(
                f"the {what}{_of_what(history)} at {path or 'the root'} is {describe(b)}, but its primal is {describe(a)}"
            )
