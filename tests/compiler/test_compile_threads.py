"""Calls of compiled functions from several threads, within each other and in turn; blocks that threads share."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.running import blocks
from fdezero.native import workers

from .program_checks import assert_same_bits

counts_references = pytest.mark.skipif(
    sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="reference counts do not tell who holds an array",
)
rng = np.random.default_rng(0)


# Calls from several threads
def together(work: Callable[[int], None], count: int) -> None:
    """Run `work(0)`, `work(1)`, ... on one thread each, started at once and switched often; raise the error of any."""
    start, errors = threading.Barrier(count), []

    def run(i: int) -> None:
        start.wait()
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


def test_eight_threads_call_one_function() -> None:
    def f(x: Any, W: Any) -> Any:
        y = np.tanh(x @ W) * x
        return y, fnp.sum(y * y, axis=0), fd.scan(lambda c, row: (c + row, c), x[0], y)[1]

    compiled = fd.compile(f)
    W = rng.standard_normal((40, 40))
    inputs = [rng.standard_normal((30, 40)) for _ in range(8)]
    expected = [f(x, W) for x in inputs]
    compiled(inputs[0], W)

    def work(i: int) -> None:
        held: list[Any] = []
        for number in range(60):
            held = [*held[-(number % 5) :], compiled(inputs[i], W)]
            for y in held:
                assert_same_bits(y, expected[i], f"thread {i}, call {number}")

    together(work, 8)


def test_threads_that_record_at_once() -> None:
    f = lambda x: np.sin(x) * 2
    compiled, results = fd.compile(f), {}

    def work(i: int) -> None:
        results[i] = [compiled(np.arange(float(n))) for n in range(1, 20)]

    together(work, 8)
    for i in range(8):
        assert_same_bits(results[i], [f(np.arange(float(n))) for n in range(1, 20)], f"thread {i}")


def test_a_function_that_calls_itself() -> None:
    @fd.compile
    def f(x: Any, n: Any) -> Any:
        return x if n is None else np.sin(f(x, {"1": None, "2": "1", "3": "2"}[n]) * 2 + x)

    x = rng.standard_normal(5)
    expected = x
    for _ in range(3):
        expected = np.sin(expected * 2 + x)
    for _ in range(4):
        assert_same_bits(f(x, "3"), expected, "three times")
    assert_same_bits(f(x, None), x, "not at all")


def test_an_exception_half_way_leaves_the_function_usable() -> None:
    f = lambda x, i: (np.exp(x) * 2, fnp.take(x * 2, i, axis=0) + 1)
    compiled = fd.compile(f)
    x, right, wrong = rng.standard_normal((4, 3)), np.array([0, 3, 1]), np.array([0, 9, 1])
    held = [compiled(x, right) for _ in range(2)]
    expected = f(x, right)
    for _ in range(5):
        with pytest.raises(IndexError):
            compiled(x + 1, wrong)
        for result in (*held, compiled(x, right)):
            assert_same_bits(result, expected, "after an error")


def test_signatures_in_turn() -> None:
    f = lambda x: (x * 2 + 1, fnp.sum(x, axis=-1))
    compiled = fd.compile(f)
    inputs = [rng.standard_normal((3, 4)), rng.standard_normal(7).astype(np.float32), rng.standard_normal((4, 3)).T, rng.integers(0, 9, (2, 2))]
    held = []
    for number in range(24):
        x = inputs[number % 4]
        held.append((compiled(x), f(x)))
        for result, expected in held[-9:]:
            assert_same_bits(result, expected, f"call {number}")
    assert len(compiled.recordings) == 4


def test_inputs_that_alias_each_other() -> None:
    f = lambda x, y: (x + y, x * y, y - x[::-1])
    compiled = fd.compile(f)
    big = rng.standard_normal(9)
    compiled(big[:8].copy(), big[:8].copy())
    for x, y in ((big[:8], big[:8]), (big[:8], big[1:]), (big[1:], big[:8])):
        for _ in range(3):
            before = big.copy()
            assert_same_bits(compiled(x, y), f(x, y), "aliases")
            np.testing.assert_array_equal(big, before)


@pytest.mark.parametrize("keep", [0, 1, 5])
def test_outputs_as_inputs_in_swapped_order(keep: int) -> None:
    f = lambda x, y: (y * 2 - x, np.sin(x) + y[::-1])
    compiled = fd.compile(f)
    a, b = c, d = rng.standard_normal((2, 6))
    held: list[Any] = []
    for number in range(20):
        a, b = compiled(b, a)
        c, d = f(d, c)
        held = [*held, ((a, b), (c, d))][len(held) + 1 - keep :] if keep else []
        for result, expected in [*held, ((a, b), (c, d))]:
            assert_same_bits(result, expected, f"call {number}")


# Blocks
@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads share blocks even for small arrays, although it does not pay."""
    monkeypatch.setattr(blocks, "SHARE", 1 << 16)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_on_threads_give_the_bits_of_the_eager_run(threads: int) -> None:
    f = lambda x, a: (fnp.sum(np.sin(x) * np.exp(-x * x) + a), np.tanh(x) * a + x)
    compiled = fd.compile(f, threads=threads)
    gradient, of_compiled = fd.value_and_grad(lambda x, a: f(x, a)[0]), fd.value_and_grad(lambda x, a: compiled(x, a)[0])
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(1_000_003).astype(np.float32)
        a = np.float32(seed + 0.5)
        assert_same_bits(compiled(x, a), f(x, a), f"call {seed}")
        assert_same_bits(of_compiled(x, a), gradient(x, a), f"the gradient in call {seed}")
    assert "in blocks" in compiled.source


@pytest.mark.usefixtures("shared")
def test_blocks_from_two_threads_at_once() -> None:
    f = lambda x: (np.sin(x) * 2 + x, fnp.sum(np.cos(x) * x))
    compiled = fd.compile(f, threads=2)
    inputs = [np.full(600_000, float(i), np.float32) for i in range(2)]
    expected = [f(x) for x in inputs]

    def work(i: int) -> None:
        for _ in range(5):
            assert_same_bits(compiled(inputs[i]), expected[i], f"thread {i}")

    together(work, 2)


@pytest.mark.usefixtures("shared")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads is what is tested
def test_a_forked_child_starts_workers_of_its_own() -> None:
    f = fd.compile(lambda x: np.sin(x) * 2 + x, threads=2)
    x = np.linspace(0, 1, 1_000_003)
    expected = [f(x) for _ in range(2)][1].copy()  # by workers, which the child does not have
    assert workers.WORKERS.pool is not None
    child = os.fork()
    if child == 0:  # pragma: no cover, in the child
        signal.alarm(9)
        os._exit(0 if np.array_equal(f(x), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
