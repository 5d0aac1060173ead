"""The checks of compiled programs catch every planted fault, and accept correct compilers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd

from .program_checks import check_calls, check_mutation, owning


def _writes_into_its_input(function: Any) -> Any:
    def call(x: Any) -> Any:
        result = owning(function)(x)
        x += 1
        return result

    return call


def _locks_its_input(function: Any) -> Any:
    def call(x: Any) -> Any:
        x.flags.writeable = False
        return owning(function)(x)

    return call


def _stale(function: Any) -> Any:
    """Every later call overwrites the buffers of the first results."""
    buffers: list[Any] = []

    def call(x: Any) -> Any:
        results = function(x)
        buffers.extend([] if buffers else [np.empty_like(y) for y in results])
        views = []
        for buffer, y in zip(buffers, results, strict=True):
            buffer[...] = y
            views.append(buffer[...])
        return tuple(views)

    return call


def _stale_from_the_third(function: Any) -> Any:
    right, stale, count = owning(function), _stale(function), iter(range(99))
    return lambda x: (right if next(count) < 2 else stale)(x)


def _remembers(function: Any) -> Any:
    """Always the first result: an input is treated as a constant."""
    first: list[Any] = []

    def call(x: Any) -> Any:
        first.extend([] if first else [owning(function)(x)])
        return first[0]

    return call


def _remembers_the_array(function: Any) -> Any:
    """The result for the same array is cached, even if the array has changed."""
    known: dict[int, Any] = {}
    return lambda x: known.setdefault(id(x), owning(function)(x))


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda function: lambda *inputs: fd.tree.map(change, owning(function)(*inputs))


def _locked(y: Any) -> Any:
    if isinstance(y, np.ndarray):
        y.flags.writeable = False
    return y


X = (np.random.default_rng(5).standard_normal(1000) * 1000).astype(np.float32)
doubled = lambda x: (x * 2, fd.numpy.sum(x), x - x)

PLANTED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "writes into its input": (doubled, _writes_into_its_input),
    "locks its input": (doubled, _locks_its_input),
    "a stale buffer": (lambda x: (x * 2,), _stale),
    "a stale buffer from the third call on": (lambda x: (x * 2,), _stale_from_the_third),
    "remembers its first result": (doubled, _remembers),
    "remembers the result of an array": (doubled, _remembers_the_array),
    "reassociates a sum": (lambda x: fd.numpy.sum(x), lambda function: lambda x: x[::-1].sum()),
    "reassociates a product": (lambda x: x * 3 * 7, lambda function: owning(lambda x: x * 21.3 * (7 / 7.1))),
    "read-only results": (doubled, _each(_locked)),
    "results that share memory": (lambda x: (x * 2, x * 2), lambda function: lambda x: (function(x)[0],) * 2),
    "another dtype": (doubled, _each(lambda y: y.astype(np.float64))),
    "another sign of zero": (doubled, _each(lambda y: y if np.any(y) else -y)),
    "the last bit": (doubled, _each(lambda y: np.nextafter(y, np.float32(0)))),
    "another shape": (doubled, _each(lambda y: y.reshape(1, -1))),
    "another structure": (doubled, lambda function: owning(lambda x: list(function(x)))),
    "a Python number": (lambda x: (fd.numpy.sum(x),), lambda function: lambda x: (float(function(x)[0]),)),
}  # fmt: skip


def _every_check(eager: Any, compiled: Callable[[], Any]) -> None:
    other = np.roll(X, 7) + np.float32(1)
    check_calls(eager, compiled(), [[X.copy()], [other.copy()], [X.copy()], [other.copy()]])
    check_mutation(eager, compiled(), [X.copy()], [other.copy()])


def test_the_checks_pass_a_right_compiler() -> None:
    for eager, _ in PLANTED.values():
        _every_check(eager, lambda: owning(eager))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_wrong_compiler_is_caught(name: str) -> None:
    eager, wrong = PLANTED[name]
    with pytest.raises(AssertionError):
        _every_check(eager, lambda: wrong(eager))
