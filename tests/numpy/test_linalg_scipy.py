"""Linear algebra under SciPy's names: triangular systems, Sylvester's equation, roots, logarithms, blocks."""

import math

import mpmath
import numpy as np
import pytest
import scipy.linalg

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import MatrixError, ShapeError
from fdezero.numpy import linalg
from fdezero.testing import check_grads

from ..laws.matrices import Matrices

normal = Matrices(8).normal


def test_a_triangular_system_reads_one_triangle_alone() -> None:
    a, b = normal(40, 40) / 40 + np.eye(40), normal(40, 3)
    other = np.where(np.tri(40, k=-1) > 0, np.nan, a)
    np.testing.assert_allclose(linalg.solve_triangular(other, b), scipy.linalg.solve_triangular(a, b), rtol=1e-12)
    gradient = fd.grad(lambda a: fnp.sum(linalg.solve_triangular(a, b) ** 2))(a)
    assert not gradient[np.tri(40, k=-1) > 0].any()
    unit = fd.grad(lambda a: fnp.sum(linalg.solve_triangular(a, b, lower=True, unit_diagonal=True) ** 2))(a)
    assert not unit[np.tri(40).T > 0].any()


@pytest.mark.parametrize("lower", [False, True])
def test_a_triangular_system_is_solved_by_substitution_alone(lower: bool) -> None:
    """Each entry has a small error however ill-conditioned the matrix is (Higham, Accuracy and Stability, section 8.2)."""
    n = 70  # more than one block
    a = -np.tri(n, k=-1) + np.eye(n)
    a = a if lower else a.T
    b = a @ np.ones(n)
    np.testing.assert_array_equal(linalg.solve_triangular(a, b, lower=lower), np.ones(n))
    scale = 2.0 ** (13 * np.arange(-35, n - 35))  # exact
    x = linalg.solve_triangular(scale[:, None] * a, scale * b, lower=lower)
    np.testing.assert_array_equal(x, np.ones(n))


def test_systems_that_have_no_solution_say_so() -> None:
    a = np.diag([1.0, 0.0, 2.0])
    for lower in (False, True):
        with pytest.raises(MatrixError, match="solve_triangular: a matrix of .* has a 0 on its diagonal"):
            linalg.solve_triangular(a, np.ones(3), lower=lower)
    with pytest.raises(MatrixError, match="solve_sylvester: .* share an eigenvalue"):
        linalg.solve_sylvester(np.diag([1.0, 2.0]), np.diag([3.0, -2.0]), np.ones((2, 2)))
    for x, why in ((np.diag([1.0, -2.0]), "negative eigenvalue"), (np.array([[1.0, 2.0], [3.0, 4.0]]), "negative eigenvalue"), (np.array([[0.0, 1.0], [0.0, 0.0]]), "no square root")):
        with pytest.raises(MatrixError, match=f"sqrtm: .*{why}"):
            linalg.sqrtm(x)
    for x in (np.diag([1.0, 0.0]), np.array([[1.0, 1.0], [0.0, 0.0]])):
        with pytest.raises(MatrixError, match="logm: .* no logarithm"):
            linalg.logm(x)
        assert np.isfinite(linalg.sqrtm(x)).all()
        with pytest.raises(MatrixError, match="derivative of sqrtm"):
            fd.grad(lambda x: linalg.sqrtm(x)[0, 0])(x)
    with pytest.raises(ShapeError, match=r"solve_triangular: the matrix is float64\[3,3\] and b float64\[2\]"):
        linalg.solve_triangular(a, np.ones(2))
    with pytest.raises(ShapeError, match=r"need q of shape \(..., 3, 3\)"):
        linalg.solve_sylvester(a, a, np.ones((2, 3)))
    with pytest.raises(ValueError, match="trans must be"):
        linalg.solve_triangular(np.eye(2), np.ones(2), "H")


@pytest.mark.parametrize("n", [2, 5, 20])
def test_roots_and_logarithms_of_defective_and_of_large_matrices(n: int) -> None:
    q = np.linalg.qr(normal(n, n))[0]
    jordan = q @ (2 * np.eye(n) + np.eye(n, k=1)) @ q.T
    spread = q @ (np.diag(10.0 ** np.linspace(-2, 2, n)) + np.triu(normal(n, n), 1)) @ q.T
    for a in (jordan, normal(n, n) / n + 3 * np.eye(n), normal(n, n) + 1j * normal(n, n), q @ q + 1.1 * np.eye(n)):
        root, log = linalg.sqrtm(a), linalg.logm(a)
        assert root.dtype == log.dtype == a.dtype
        np.testing.assert_allclose(root @ root, a, atol=1e-12 * np.linalg.norm(a))
        np.testing.assert_allclose(linalg.expm(log), a, atol=1e-11 * np.linalg.norm(a))
        assert (np.linalg.eigvals(root).real > 0).all()
        assert (abs(np.linalg.eigvals(log).imag) <= np.pi).all()
    root = linalg.sqrtm(spread)
    np.testing.assert_allclose(root @ root, spread, atol=1e-12 * np.linalg.norm(root) ** 2)


def test_logarithms_of_matrices_far_from_normal() -> None:
    for size in (1e3, 1e10):
        for a in ([[1, size], [0, 2.0]], [[1, size], [0, 1.0]], [[1, size, 1], [0, 1.5, size], [0, 0, 2.0]]):
            with mpmath.workdps(80):
                exact = mpmath.logm(mpmath.matrix(a))
            expected = np.array([[float(mpmath.re(exact[i, j])) for j in range(len(a))] for i in range(len(a))])
            np.testing.assert_allclose(linalg.logm(np.array(a)), expected, rtol=1e-13, atol=1e-15)


def test_a_root_of_a_semidefinite_matrix_has_its_rank() -> None:
    factor = normal(6, 2)
    a = factor @ factor.T
    root = linalg.sqrtm(a)
    np.testing.assert_allclose(root @ root, a, atol=1e-13 * np.linalg.norm(a))
    np.testing.assert_array_equal(linalg.sqrtm(np.zeros((3, 3))), np.zeros((3, 3)))
    assert np.linalg.matrix_rank(root, tol=1e-6) == 2


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-150, 1e150, 1e200, 1e300])
def test_roots_and_logarithms_of_matrices_of_any_size(scale: float) -> None:
    for a in (np.array([[1.0, 2.0], [0.3, 7.0]]), np.array([[2.0, 1.0], [1.0, 3.0]]), np.diag([1.0, 1e-5])):
        expected = linalg.logm(a) + math.log(scale) * np.eye(2)
        np.testing.assert_allclose(linalg.logm(a * scale), expected, rtol=1e-12, atol=1e-12)
        root = linalg.sqrtm(a * scale)
        np.testing.assert_allclose(root / math.sqrt(scale), linalg.sqrtm(a), rtol=1e-12, atol=1e-15)


def test_small_entries_on_a_diagonal_are_exact() -> None:
    for a in (np.array([1.0, 1e-17]), np.array([1e200, 1e-200])):
        np.testing.assert_allclose(linalg.sqrtm(np.diag(a)), np.diag(np.sqrt(a)), rtol=1e-15)
        np.testing.assert_allclose(linalg.logm(np.diag(a)), np.diag(np.log(a)), rtol=1e-15)


def test_large_equations_of_sylvester_and_their_derivatives() -> None:
    a, b, q = normal(12, 12) + 8 * np.eye(12), normal(2, 9, 9) + 8 * np.eye(9), normal(12, 9)
    x = linalg.solve_sylvester(a, b, q)
    np.testing.assert_allclose(a @ x + x @ b, np.broadcast_to(q, x.shape), atol=1e-12)
    check_grads(lambda a, b, q: linalg.solve_sylvester(a, b, q)[..., :2, :3], (a, b, q), order=1)


def test_blocks_on_a_diagonal() -> None:
    for parts in ([], [[]], [1.0], [[1, 2], [[3.0]]], [np.zeros((0, 2)), np.eye(2, dtype=np.float32)], [[1j], np.ones((2, 1))]):
        got, expected = linalg.block_diag(*parts), scipy.linalg.block_diag(*map(np.asarray, parts))
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)
