"""The exponential of matrices that are far from normal, against mpmath: no more squarings than the powers of a matrix need."""

from typing import Any

import mpmath
import numpy as np
import pytest

import fdezero as fd
from fdezero.numpy import linalg

from ..laws.matrices import Matrices

LARGE = (1e10, 1e20, 1e80)


def exact(a: np.ndarray) -> np.ndarray:
    with mpmath.workdps(60 + 6 * int(np.log10(1 + np.abs(a).sum()))):
        e = mpmath.expm(mpmath.matrix([[mpmath.mpmathify(x) for x in row] for row in a.tolist()]), method="taylor")
        number = complex if np.iscomplexobj(a) else float
        return np.array([[number(e[i, j]) for j in range(len(a))] for i in range(len(a))])


def step(size: float, dtype: type = float) -> np.ndarray:
    return np.array([[0, size], [0, -1]], dtype)


@pytest.mark.parametrize("size", LARGE)
def test_a_large_entry_off_the_diagonal_costs_nothing(size: float) -> None:
    expected = np.array([[1, size * -np.expm1(-1)], [0, np.exp(-1)]])
    np.testing.assert_allclose(linalg.expm(step(size)), expected, rtol=5e-15)
    np.testing.assert_allclose(linalg.expm(step(size, complex)), expected, rtol=5e-15)
    np.testing.assert_allclose(linalg.expm(step(size).T), expected.T, rtol=5e-15)
    if size < 1e30:
        np.testing.assert_allclose(linalg.expm(step(size, np.float32)), expected, rtol=1e-6)
    stack = np.stack([step(size), step(1.0), np.zeros((2, 2)), step(1e3), -np.eye(2) * 50])
    np.testing.assert_array_equal(linalg.expm(stack), np.stack([linalg.expm(a) for a in stack]))
    np.testing.assert_array_equal(fd.vmap(linalg.expm)(stack), linalg.expm(stack))


@pytest.mark.parametrize(("size", "tolerance"), [(1e3, 1e-13), (1e10, 1e-11), (1e20, 1e-6)])
def test_gradients_of_matrices_far_from_normal(size: float, tolerance: float) -> None:
    a, w = step(size), np.array([[1.0, 2.0], [3.0, -1.0]])
    expected = np.zeros((2, 2))
    for i, j in np.ndindex(2, 2):
        t = np.zeros((2, 2))
        t[i, j] = 1
        expected[i, j] = (w * exact(np.block([[a, t], [0 * a, a]]))[:2, 2:]).sum()
    np.testing.assert_allclose(fd.grad(lambda a: (w * linalg.expm(a)).sum())(a), expected, rtol=tolerance)
    forward = fd.jvp(linalg.expm, (a,), (1e30 * w,))[1]  # a long direction
    np.testing.assert_allclose(forward, 1e30 * fd.jvp(linalg.expm, (a,), (w,))[1], rtol=1e-12)


def test_random_matrices_far_from_normal() -> None:
    draw = Matrices(5)
    for trial in range(40):
        n = 2 + trial % 4
        a = draw.unit(n, n) if trial % 2 else draw.normal(n, n)
        spread = 10.0 ** draw.rng.uniform(-3, 3, n)
        a = [np.triu(a) + 10.0 ** draw.rng.uniform(0, 9) * np.triu(a, 1), a * spread[:, None] / spread, 30 * (a - a.T.conj()), -a @ a.T.conj()][trial // 2 % 4]
        expected, got = exact(a), linalg.expm(a)
        # The error that a change of `a` by rounding makes.
        slopes = fd.jacobian(linalg.expm, holomorphic=bool(np.iscomplexobj(a)))(a).reshape(n * n, n * n)
        condition = np.linalg.norm(slopes, 2) * np.linalg.norm(a) + np.linalg.norm(expected)
        assert np.linalg.norm(got - expected) <= 4 * np.finfo(float).eps * condition, (trial, a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("size", [10.0, 1e5, 1e8, 1e10, 1e17, 1e30])
def test_a_large_decay_on_the_diagonal_of_a_triangular_matrix_leaves_the_others_exact(size: float, dtype: Any) -> None:
    size = float(dtype(size).real)
    eps = 64 * float(np.finfo(dtype).eps)
    diagonal = np.array([-size, -1.0, -2.0, -1.0 - size])
    lone = linalg.expm(np.diag(diagonal).astype(dtype))
    np.testing.assert_allclose(lone, np.diag(np.exp(diagonal)), rtol=eps)
    upper = np.array([[-size, 1.0], [0.0, -1.0]], dtype)
    expected = np.array([[np.exp(-size), (np.exp(-1.0) - np.exp(-size)) / (size - 1)], [0.0, np.exp(-1.0)]])
    np.testing.assert_allclose(linalg.expm(upper), expected, rtol=eps)
    np.testing.assert_allclose(linalg.expm(upper.T), expected.T, rtol=eps)
    stack = np.stack([upper, upper.T, np.array([[0.0, 20.0], [-20.0, 0.0]], dtype)])
    np.testing.assert_array_equal(fd.vmap(linalg.expm)(stack)[:2], linalg.expm(stack)[:2])
    np.testing.assert_allclose(linalg.expm(stack)[:2], np.stack([expected, expected.T]), rtol=eps)
    np.testing.assert_allclose(linalg.expm(stack)[2], linalg.expm(stack[2]), rtol=eps)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_overflow_stays_in_its_triangle() -> None:
    """SciPy 1.17 gives the same, and 1.18 gives NaN for a 0 of the other triangle."""
    inf = np.inf
    np.testing.assert_array_equal(linalg.expm(np.array([[700, 1], [0, -700]], np.float32)), [[inf, inf], [0, 0]])
    np.testing.assert_array_equal(linalg.expm(np.diag([1e200, 1e-200, -3.0])), np.diag([inf, 1.0, np.exp(-3.0)]))
    np.testing.assert_array_equal(linalg.expm(np.array([[1.0, 0.0], [800.0, 800.0]])), [[np.e, 0.0], [inf, inf]])
