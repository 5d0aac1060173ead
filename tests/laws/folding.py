"""Many cases in one report of pytest: each of them runs, and the report names each that failed or was skipped.

pytest takes longer for a report than most laws take for a case. `RAN` holds what became of every case.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import pytest


class Ran(NamedTuple):
    """What became of one case of one test."""

    test: str
    case: Any
    outcome: Literal["passed", "failed", "skipped"]


RAN: list[Ran] = []


class Together(tuple[Any, ...]):
    """Cases of one report."""

    __slots__ = ()


def folded(name: str, cases: Iterable[Any], by: Callable[[Any], str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Parametrize a test by groups of cases, which it takes as its argument `name`, one at a time; `by` names the group of a case.

    The test can still be called with a single case. A group fails with an ExceptionGroup of all that its cases raised. It is
    skipped if all of its cases are.
    """
    groups: dict[str, list[Any]] = {}
    for case in cases:
        groups.setdefault(by(case), []).append(case)

    def marked(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            bound = inspect.signature(test).bind(*args, **kwargs)
            given = bound.arguments[name]
            if not isinstance(given, Together):
                test(*bound.args, **bound.kwargs)
                return
            run_each(test, given, {key: value for key, value in bound.arguments.items() if key != name}, name)

        return pytest.mark.parametrize(name, [Together(group) for group in groups.values()], ids=list(groups))(run)

    return marked


def by_name(case: Any) -> str:
    """The group of a case: all that bear its name."""
    return case.name


def sharing(cases: Iterable[Any], by: Callable[[Any], str], count: int = 6) -> Callable[[Any], str]:
    """Groups of `count` names, in their order: `by` names a case, and the name of its group says all of them."""
    names = list(dict.fromkeys(map(by, cases)))
    groups = {name: " ".join(names[i // count * count :][:count]) for i, name in enumerate(names)}
    return lambda case: groups[by(case)]


def all_of(name: str, cases: Iterable[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test on every case in one report: for a few small cases beside another parameter, such as training and inference."""
    return folded(name, cases, lambda case: "all")


def run_each(test: Callable[..., Any], cases: Sequence[Any], others: dict[str, Any], name: str) -> None:
    """Run the test on each case. Raise what the cases raised, each with a note that names the case."""
    failures: list[Exception] = []
    reasons: list[str] = []
    for case in cases:
        try:
            test(**{name: case}, **others)
        except pytest.skip.Exception as skipped:
            reasons.append(f"{case}: {skipped.msg}")
            RAN.append(Ran(test.__name__, case, "skipped"))
        except Exception as error:
            error.add_note(f"the case: {show(case)}")
            failures.append(error)
            RAN.append(Ran(test.__name__, case, "failed"))
        else:
            RAN.append(Ran(test.__name__, case, "passed"))
    if failures:
        named = ", ".join(str(show(case)) for case in cases)
        raise ExceptionGroup(f"{len(failures)} of {len(cases)} cases of {test.__name__} ({named})", failures)
    if len(reasons) == len(cases):
        pytest.skip("; ".join(sorted({reason.partition(": ")[2] for reason in reasons})))


def show(case: Any) -> str:
    """The name of a case."""
    return " of ".join(case) if isinstance(case, tuple) and all(isinstance(part, str) for part in case) else str(case)
