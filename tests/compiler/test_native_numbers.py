"""Native groups of numbers: runs of operations on single numbers are one C++ function, with eager code's values, types and errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.testing import assert_trees_equal

from ..native.compilers import needs_compiler

pytestmark = needs_compiler
FUNCTIONS = (np.sin, np.exp, np.tanh, np.abs, np.floor, np.negative, np.sqrt, np.log1p, np.sign)
SPECIAL = (0.3, -1.7, 0.0, -0.0, np.nan, np.inf, -np.inf, 1e-310, 1e200, -3.0)
KINDS = {"NumPy's": np.float64, "Python's": float, "single": np.float32}


def random_program(seed: int, length: int) -> Any:
    """A program on two numbers, with operations that Python and NumPy treat in different ways."""
    rng = np.random.default_rng(seed)
    plan = [(int(rng.integers(12)), *map(int, rng.integers(0, 1 << 30, 3))) for _ in range(length)]

    def program(x: Any, y: Any) -> Any:
        values, truths = [x, y], [x < y]
        for kind, i, j, k in plan:
            # Neighbours in time, so that values grow slowly.
            a, b = values[-1 - i % min(6, len(values))], values[-1 - j % min(6, len(values))]
            truth = truths[-1 - k % len(truths)]
            if kind < 3:
                values.append(a * 0.5 + b * 0.25)
            elif kind < 5:
                values.append(FUNCTIONS[k % len(FUNCTIONS)](a))
            elif kind == 5:
                values.append(a / b)
            elif kind == 6:
                values.append((a - b) * (1.5, 2, -0.5)[k % 3])
            elif kind == 7:
                values.append(np.where(truth, a, b))
            elif kind == 8:
                truths.append((a < b) if k % 2 else np.logical_not(truth))
            elif kind == 9:
                values.append(np.maximum(a, b) if k % 2 else np.minimum(a, 2.0))
            elif kind == 10:
                values.append(a**2 if k % 2 else abs(a) ** 0.5)
            else:
                values.append(-a + 1)
        return values[-3:], truths[-2:]

    return program


def assert_trees_close(found: Any, expected: Any, rtol: float, atol: float = 0.0) -> None:
    for y, known in zip(fd.tree.leaves(found), fd.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(float(y), float(known), rtol, atol)


def types_of(tree: Any) -> list[type]:
    return [type(leaf) for leaf in fd.tree.leaves(tree)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_random_programs_of_numbers(kind: Any, seed: int) -> None:
    program = random_program(seed, 60)
    # Plain Python refuses 1.0 / 0.0, so the reference is a program without native code.
    compiled, reference = fd.compile(program, native=True), fd.compile(program)
    with np.errstate(all="ignore"):
        for x in SPECIAL:
            for y in (0.7, 0.0, np.inf, -2.0):
                arguments = kind(x), kind(y)
                found, expected = compiled(*arguments), reference(*arguments)
                assert_trees_close(found, expected, rtol=1e-4 if kind is np.float32 else 1e-11, atol=1e-30)
                if np.isfinite(x) and np.isfinite(y) and y:
                    assert types_of(found) == types_of(expected)


def chain(x: Any, links: int) -> Any:
    for _ in range(links):
        x = np.sin(x * 1.0001 + 0.0001) * 0.9999
    return x


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_gradient_is_one_function_in_parts(kind: Any) -> None:
    gradient = fd.value_and_grad(lambda x: chain(x, 80))  # longer than one part
    compiled = fd.compile(gradient, native=True)
    for x in (0.3, -2.0, 0.0):
        compiled(kind(x))
        found, expected = compiled(kind(x)), gradient(kind(x))
        assert_trees_close(found, expected, rtol=2e-4 if kind is np.float32 else 1e-10)
        assert types_of(found) == types_of(expected)
    assert compiled.source.count("fused0(") == 2  # its C++, and one call
    assert "_1(fused0_numbers &w)" in compiled.source
    assert np.isnan(fd.tree.leaves(compiled(kind(np.nan)))).all()


def test_what_python_refuses_stays_outside() -> None:
    def f(x: Any, y: Any, n: Any) -> Any:
        for _ in range(12):
            x = x * 0.5 + y
        return x / y, x**y, n * 3, 2**n, x * n

    compiled, reference = fd.compile(f, native=True), fd.compile(f)
    for arguments in ((1.0, 2.0, 3), (1.0, 0.0, 3), (-4.0, 0.5, -2), (1e308, 400.0, 100), (1.0, 2.0, 0)):
        for _ in range(2):
            found, expected = compiled(*arguments), reference(*arguments)
            assert_trees_close(found, expected, rtol=1e-13)
            assert types_of(found) == types_of(expected)
    assert "fused0(x" in compiled.source


def test_results_are_numbers_of_their_own() -> None:
    def f(x: Any) -> Any:
        ys = [x * (k + 1.0) for k in range(3)]
        for _ in range(10):
            ys = [np.tanh(y) * 2 + 1 for y in ys]
        return ys

    compiled = fd.compile(f, native=True)
    compiled(np.float64(1))
    kept = compiled(np.float64(0.5))
    other = compiled(np.float64(-3))
    assert_trees_close(kept, f(np.float64(0.5)), rtol=1e-13)
    assert_trees_close(other, f(np.float64(-3)), rtol=1e-13)


def test_numbers_between_arrays() -> None:
    def f(w: Any, x: Any) -> Any:
        scale = x[1] * 0.5
        for _ in range(6):
            scale = np.sqrt(scale * scale + 1) * 0.5
        zero_dimensional = np.array(2.0) * w
        return x * scale + zero_dimensional, np.sum(x) * scale, scale > 1

    compiled = fd.compile(f, native=True)
    for w, x in ((np.array(3.0), np.arange(4.0)), (np.array(-1.0), np.ones(4))):
        compiled(w, x)
        for y, known in zip(compiled(w, x), f(w, x), strict=True):
            np.testing.assert_allclose(y, known, 1e-13)
    assert "_numbers w;" in compiled.source


def test_few_operations_are_no_group() -> None:
    compiled = fd.compile(lambda x, y: (x * 2 + y, x - y), native=True)
    for _ in range(2):
        assert_trees_equal(compiled(1.5, np.float64(2)), (5.0, np.float64(-0.5)))
    assert "library" not in compiled.source


def test_the_text_is_the_same_in_every_recording() -> None:
    """Otherwise the next start of a script would not find its libraries on disk."""
    texts = set()
    for _ in range(3):
        gradient = fd.compile(fd.grad(lambda x: chain(x, 120)), native=True)
        gradient(0.3)
        gradient(0.3)
        texts.add(gradient.source)
    assert len(texts) == 1
