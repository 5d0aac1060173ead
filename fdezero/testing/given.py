"""`given_gradients` makes a complete hypothesis test from a function and strategies for its arguments."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import KinkError, RangeError
from ..messages import describe
from . import findings
from .backends import Backend, NotOffered, backend_named
from .engines import Foreign, named
from .frameworks import Properties
from .gradients import check_grads
from .kinks import Kinks
from .properties import (
    compiled_is_eager,
    gpu_is_cpu,
    keeps_dtype,
    layouts_change_nothing,
    leaves_inputs_alone,
    value_is_that_of,
    vmap_is_a_loop,
)
from .strategies import Strategy, hypothesis

Check = Callable[[Any, Any], Any]
NAMES = {
    "inputs": "inputs are left alone",
    "values": "values are those of the reference",
    "gradients": "gradients are right",
    "dtypes": "dtypes are kept",
    "vmap": "vmap is a loop",
    "compiled": "compiled is eager",
    "gpu": "GPU is CPU",
    "alone": "each gradient alone is that of all together",
    "empty": "what takes arrays of size zero has gradients there",
    "layouts": "memory layouts change nothing",
}
SETTINGS = "_hypothesis_internal_use_settings"  # where hypothesis keeps the settings of a test
OFFERS = ("fwd", "rev", "second", "vmap", "compiled")


def given_gradients(
    function: Callable[..., Any],
    *strategies: Strategy,
    reference: Callable[..., Any] | None = None,
    order: int | None = None,
    kinks: Kinks = None,
    at_kinks: str = "raise",
    inputs: bool = True,
    values: bool = True,
    gradients: bool = True,
    dtypes: bool = True,
    vmap: bool = True,
    compiled: bool | None = None,
    gpu: bool = True,
    alone: bool = True,
    empty: bool = True,
    layouts: bool | None = None,
    backend: str | Backend | None = None,
    offers: Sequence[str] = (),
    value_tolerance: float | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: test `function` on examples of `strategies`, one for each argument, then run the body with the same example.

    These properties are checked; switch one off by its name, as in `vmap=False`. `inputs` stay unchanged. `values` equal those
    of `reference`, a NumPy function. `gradients` pass `check_grads`, which gets `order`, `kinks` and the other `options`.
    `dtypes` are kept. `vmap` equals a loop. `compiled` code gives the same bits. A `gpu`, if there is one, gives the same values.
    `backend="torch"` or `"jax"` tests a function of that framework: also each argument `alone`, `empty` arrays and `layouts`, and
    what it must offer by `offers`. The body takes the arguments last, after fixtures, as arrays of the framework.

    `pytest --gradients=quick` draws less, `full` more. Then an `order` that you do not pass is 1 or 3; otherwise it is 2.

    Raises AssertionError that names the property, RangeError if there is nothing to check.
    """
    made = None if backend is None else backend_named(backend)
    is_compiled = (made is None or made.compiles or "compiled" in offers) if compiled is None else compiled
    laid_out = made is not None if layouts is None else layouts
    switches = {"inputs": inputs, "values": values and reference is not None, "gradients": gradients, "alone": alone, "dtypes": dtypes,
                "empty": empty, "layouts": laid_out, "vmap": vmap, "compiled": is_compiled, "gpu": gpu}  # fmt: skip
    checks = {"values": value_is_that_of(reference or function, value_tolerance), **_checks(made, kinks)}
    switches = {name: yes for name, yes in switches.items() if name in checks or name == "gradients"}
    _refuse_misuse(strategies, switches, options, made, offers)
    of_grads = [what for what in offers if what not in checks]

    def grads_are_right(function: Callable[..., Any], args: Any) -> Any:
        orders = findings.level().orders(order)
        return check_grads(
            function, args, orders, kinks=kinks, at_kinks=at_kinks, backend=made, offers=of_grads, **options
        )

    checks["gradients"] = grads_are_right
    wanted = {name: checks[name] for name, yes in switches.items() if yes}
    if made is None and layouts is None:
        wanted["layouts"] = lambda *given: layouts_change_nothing(*given) if findings.level().layouts else None
    return lambda body: _property_test(function, strategies, wanted, body, made, offers)


def _checks(backend: Backend | None, kinks: Kinks) -> dict[str, Check]:
    """The properties besides values and gradients, by name."""
    if backend is None:
        return {
            "inputs": leaves_inputs_alone,
            "dtypes": keeps_dtype,
            "vmap": vmap_is_a_loop,
            "compiled": compiled_is_eager,
            "gpu": gpu_is_cpu,
            "layouts": layouts_change_nothing,
        }
    of = Properties(backend, kinks)
    return {
        "inputs": of.inputs,
        "alone": of.alone,
        "dtypes": of.dtypes,
        "empty": of.empty,
        "layouts": of.layouts,
        "vmap": of.vmap,
        "compiled": of.compiled,
    }


def _refuse_misuse(
    strategies: tuple[Any, ...],
    switches: dict[str, bool],
    options: dict[str, Any],
    backend: Backend | None,
    offers: Sequence[str],
) -> None:
    if not strategies or not any(switches.values()):
        raise RangeError(
            "given_gradients needs a function, a strategy for each of its arguments, and at least one property to check."
        )
    if strangers := [s for s in strategies if not isinstance(s, hypothesis.strategies.SearchStrategy)]:
        raise TypeError(
            f"given_gradients takes a strategy for each argument, got {describe(strangers[0])}. Pass, for example, arrays(shape=(3,))."
        )
    if isinstance(offers, str) or set(offers) - set(OFFERS):
        raise RangeError(f"given_gradients: offers must be a list of {', '.join(map(repr, OFFERS))}, got {offers!r}.")
    if offers and backend is None:
        raise RangeError(
            "given_gradients: offers belongs to a backend; functions of NumPy must offer all that is checked."
        )
    if unknown := set(options) - {"modes", "step", "tolerance", "seed", "method", "entrywise"}:
        raise TypeError(f"given_gradients got unknown arguments: {', '.join(map(repr, sorted(unknown)))}.")


def _property_test(
    function: Callable[..., Any],
    strategies: tuple[Strategy, ...],
    checks: dict[str, Check],
    body: Callable[..., Any],
    backend: Backend | None,
    offers: Sequence[str],
) -> Callable[..., Any]:
    """A hypothesis test that applies `checks` to `function` and then runs `body`, both with the same example."""
    signature = inspect.signature(body)
    names = list(signature.parameters)[-len(strategies) :]
    if len(names) < len(strategies):
        counts = f"{len(names)} arguments for {len(strategies)} strategies"
        raise RangeError(f"given_gradients: {body.__name__} needs an argument for each strategy, but it has {counts}.")
    tally = _Tally(is_slow=backend is not None)

    @functools.wraps(body)
    def example(*rest: Any, **given: Any) -> Any:
        bound = signature.bind(*rest, **given).arguments
        args = tuple(bound[name] for name in names)
        for name, check in checks.items():
            tally.count(name, _checked(function, name, check, args, name in offers))
        if backend is None:
            return body(*rest, **given)
        with backend.wide():
            bound.update(zip(names, Foreign(backend, function, args).given_args(), strict=True))
            return body(**bound)

    test = hypothesis.given(**dict(zip(names, strategies, strict=True)))(example)
    return tally.around(test, function)


def gradient_test(function: Callable[..., Any], *strategies: Strategy, **options: Any) -> Callable[[], None]:
    """A test by `given_gradients` without a body: `test_softplus = gradient_test(softplus, arrays())`."""
    name = named(function).replace("<lambda>", "lambda").replace(".", "_")

    def body(*args: Any, **named: Any) -> None:
        """Check nothing beyond the properties."""

    body.__name__ = body.__qualname__ = f"test_{name}"
    body.__module__ = getattr(function, "__module__", body.__module__)
    body.__signature__ = inspect.Signature(_parameters(function, len(strategies)))  # type: ignore[attr-defined]  # inspect reads it
    return given_gradients(function, *strategies, **options)(body)


def _parameters(function: Callable[..., Any], count: int) -> list[inspect.Parameter]:
    """The first parameters of `function`, whose names a failing example shows; x0, x1, ... if they have no names."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        names = [name for name, p in inspect.signature(function).parameters.items() if p.kind in kinds][:count]
    except (TypeError, ValueError):  # NumPy's ufuncs do not have a signature.
        names = []
    names = names if len(names) == count else [f"x{i}" for i in range(count)]
    return [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]


def _checked(function: Callable[..., Any], name: str, check: Check, args: tuple[Any, ...], must: bool) -> Any:
    """The result of one check; its errors name the property."""
    try:
        return check(function, args)
    except NotOffered as error:
        if must:
            raise AssertionError(f"{named(function)} does not offer '{name}': {error}") from None
        return error
    except KinkError:
        raise
    except AssertionError as error:
        if not _is_ours(error):  # an assertion in the function itself, whose traceback tells more
            error.add_note(f"raised inside {named(function)}, while checking: {NAMES[name]}")
            raise
        raise AssertionError(f"{named(function)} breaks '{NAMES[name]}': {error}") from None
    except Exception as error:
        error.add_note(f"while checking {named(function)}: {NAMES[name]}; {name}=False skips this check")
        raise


def _is_ours(error: AssertionError) -> bool:
    """Whether this package raised `error`, and not the function that is tested."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    raised_in = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return raised_in.startswith(__package__)


class _Tally:
    """Counts the examples of one run with checked gradients, and those at kinks."""

    def __init__(self, is_slow: bool) -> None:
        self.checked = self.skipped = 0
        self.is_slow = is_slow

    def count(self, name: str, report: Any) -> None:
        """Count the gradient check of one example; hypothesis shows it as an event and a note."""
        if isinstance(report, NotOffered):
            hypothesis.event(f"{name} not offered")
            hypothesis.note(f"{name} not offered: {report}")
        if name != "gradients":
            return
        hypothesis.note(f"gradients: {report!r}")
        for method in dict.fromkeys(check.method for check in report.checks):
            hypothesis.event(f"gradients by {method}")
        if report.kinks:
            hypothesis.event("gradients skipped: a kink" if not report.checks else "higher gradients skipped: a kink")
        if report.checks:
            self.checked += 1
        else:
            self.skipped += 1

    def around(self, test: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
        """`test`, but failing if it checked no gradient because every example was at a kink."""

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            self.checked = self.skipped = 0
            vars(test).pop(SETTINGS, None)
            vars(test).update(
                {name: value for name, value in vars(run).items() if name != "__wrapped__"}
            )  # @settings, @example, ...
            level = findings.level()
            if level is not findings.USUAL:
                settings = _settings_of(test)
                setattr(
                    test, SETTINGS, hypothesis.settings(settings, max_examples=level.examples(settings.max_examples))
                )
            if self.is_slow or level.order > findings.USUAL.order:
                _lift_deadline(test)
            test(*args, **kwargs)
            if self.skipped and not self.checked:
                raise AssertionError(
                    f"{named(function)}: each of {self.skipped} examples was at a kink, so no gradient was checked. "
                    "Draw other examples, or declare fewer kinks."
                )

        return run


def _lift_deadline(test: Any) -> None:
    """Take hypothesis's usual deadline from `test`: frameworks compile on their first calls. A deadline of the user's own stays."""
    settings = _settings_of(test)
    if settings.deadline == hypothesis.settings.get_profile("default").deadline:
        skipped = {*settings.suppress_health_check, hypothesis.HealthCheck.too_slow}
        setattr(test, SETTINGS, hypothesis.settings(settings, deadline=None, suppress_health_check=skipped))


def _settings_of(test: Any) -> Any:
    return getattr(test, SETTINGS, None) or hypothesis.settings()
