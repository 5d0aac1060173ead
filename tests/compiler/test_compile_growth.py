"""The work of compiling grows as the program does: lines of Python that run are counted, function by function, and no time is taken."""

import collections
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.compiler.planning import fuse
from fdezero.compiler.program import Executable, Options

from ..native.compilers import needs_compiler
from ..profiles import NIGHTLY

SHORT, LONG = 40, 160  # operations, about
FEW = 400  # lines of a function that do not count


def chain(x: Any, n: int) -> Any:
    for _ in range(n // 4):
        x = np.sin(x * 1.0001 + 0.0001) * 0.9999
    return np.sum(x)


def wide(x: Any, n: int) -> Any:
    ys = [np.sin(x * float(k)) for k in range(n // 3)]
    while len(ys) > 1:
        ys = [a + b for a, b in zip(ys[::2], ys[1::2], strict=False)] + ys[len(ys) & ~1 :]
    return np.sum(ys[0])


def lstm(weights: Any, n: int) -> Any:
    Wh, xs = weights
    h = c = np.zeros((2, 4))
    for k in range(len(xs)):
        z = xs[k] + h @ Wh
        i, f, o = (1 / (1 + np.exp(-z[:, 4 * j : 4 * j + 4])) for j in range(3))
        c = f * c + i * np.tanh(z[:, 12:])
        h = o * np.tanh(c)
    return np.sum(h)


def with_numbers(x: Any, n: int) -> Any:
    for k in range(n // 2):
        x = x * (k + 0.5) + k / 3
    return x


def windows(x: Any, n: int) -> Any:
    return sum(np.sum(x[k : k + 3] * x[k]) for k in range(n // 5))


Case = tuple[Callable[[int], Callable[[Any], Any]], Callable[[int], Any]]
gradient = lambda f: lambda n: fd.grad(lambda x: f(x, n))
CASES: dict[str, Case] = {
    "a chain": (lambda n: lambda x: chain(x, n), lambda n: np.ones(8)),
    "the gradient of a chain": (gradient(chain), lambda n: np.ones(8)),
    "that of a number": (gradient(chain), lambda n: 0.5),
    "that of many values at a time": (gradient(wide), lambda n: np.ones(8)),
    "that of an LSTM": (gradient(lstm), lambda n: (np.ones((4, 16)), np.ones((n // 20 + 1, 2, 16)))),
    "that of windows": (gradient(windows), lambda n: np.ones((n, 4))),
    "many arguments": (lambda n: fd.grad(lambda xs: sum(np.sum(np.sin(x) * 1.5) for x in xs)), lambda n: [np.ones(3)] * (n // 4)),
    "many results": (lambda n: lambda xs: [np.sin(x) * 2 + x for x in xs], lambda n: [np.ones(3)] * (n // 3)),
    "many views as results": (lambda n: lambda x: [np.sin(x).reshape(-1)[k:] for k in range(n // 3)], lambda n: np.ones((4, 80))),
    "many constants": (lambda n: lambda x: with_numbers(x, n), lambda n: np.ones(4)),
}  # fmt: skip


def lines_of(function: Callable[[Any], Any], x: Any, **options: Any) -> dict[CodeType, int]:
    """How many lines run in each function, from the call to the program's source."""
    counts: dict[CodeType, int] = collections.Counter()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            counts[frame.f_code] += 1
        return trace

    compiled = fd.compile(function)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        Executable(compiled.trace(x), Options(**options))
    finally:
        sys.settrace(before)
    return counts


def check(case: Case, **options: Any) -> None:
    make, given = case
    short, long = (lines_of(make(n), given(n), **options) for n in (SHORT, LONG))
    grown = {code: (short[code], count) for code, count in long.items() if count > 5 * short[code] + FEW}
    assert not grown, {f"{code.co_filename}:{code.co_name}": pair for code, pair in grown.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_four_times_the_program_is_four_times_the_work(case: Case) -> None:
    check(case)


@needs_compiler
@pytest.mark.parametrize("name", ["that of a number", "the gradient of a chain", "that of an LSTM"] if NIGHTLY else ["the gradient of a chain"])
def test_also_for_native_code(name: str) -> None:
    check(CASES[name], native=True)


@pytest.mark.parametrize("name", ["the gradient of a chain", "that of many values at a time", "many results"])
def test_also_for_groups_in_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "LARGE", 4)
    check(CASES[name])


def test_the_law_can_fail() -> None:
    def quadratic(x: Any, n: int) -> Any:
        found: list[int] = []
        for k in range(n):
            if all(k != other for other in found):
                found.append(k)
        return chain(x, n)

    with pytest.raises(AssertionError, match="test_compile_growth"):
        check((gradient(quadratic), lambda n: np.ones(8)))
