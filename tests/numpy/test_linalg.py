"""Linear algebra beyond the laws of test_function_laws.py: values that NumPy does not compute, degenerate matrices, errors."""

from typing import Any

import mpmath
import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, MatrixError, ShapeError
from fdezero.numpy import linalg
from fdezero.ops import roots
from fdezero.testing import check_grads

from ..laws.matrices import Matrices

draw = Matrices(7)
normal, positive_definite, spread = draw.normal, draw.positive_definite, draw.spread


def test_every_function_of_numpy_is_there() -> None:
    assert {n for n in np.linalg.__all__ if callable(getattr(np.linalg, n))} - set(linalg.__all__) == set()


# Values that NumPy does not compute


@pytest.mark.parametrize("scale", [1e-3, 0.5, 3.0, 40.0])
def test_expm_is_the_exponential_of_a_matrix(scale: float) -> None:
    a = scale * normal(4, 4) / 2
    expected = np.array(mpmath.expm(mpmath.matrix(a.tolist()), method="taylor").tolist(), dtype=float)
    np.testing.assert_allclose(linalg.expm(a), expected, rtol=1e-11, atol=1e-12 * abs(expected).max())


def test_expm_scales_each_matrix_of_a_stack_by_itself() -> None:
    a = normal(3, 2, 2) * np.array([1e-3, 1.0, 30.0])[:, None, None]
    np.testing.assert_array_equal(linalg.expm(a), np.stack([linalg.expm(x) for x in a]))


@pytest.mark.parametrize("size", [5, 40])
def test_expm_scales_by_the_sum_of_a_column(size: int) -> None:
    a = np.full((size, size), 0.5)  # a multiple of a projection, whose powers are multiples of itself
    expected = np.eye(size) + a * (np.expm1(size / 2) / (size / 2))
    np.testing.assert_allclose(linalg.expm(a), expected, rtol=1e-12, atol=1e-12 * expected.max())


def test_expm_of_what_is_not_finite_is_nan() -> None:
    assert np.isnan(linalg.expm(np.array([[np.nan, 0.0], [0.0, 1.0]]))).any()


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_matrices(n: int) -> None:
    a = np.full((2, n, n), 4.0)
    for function in (linalg.inv, linalg.cholesky, linalg.expm, linalg.pinv, lambda x: linalg.eigh(x).eigenvectors, lambda x: linalg.qr(x).Q):
        assert function(a).shape == fd.grad(lambda x: fnp.sum(function(x)))(a).shape == (2, n, n)
    np.testing.assert_allclose(linalg.det(a), np.linalg.det(a))
    np.testing.assert_allclose(fd.grad(lambda x: fnp.sum(linalg.det(x)))(a), np.ones((2, n, n)))
    assert linalg.svdvals(a).shape == (2, n)
    assert linalg.matrix_rank(a).tolist() == [n, n]
    assert linalg.solve(a, np.ones((2, n, 3))).shape == (2, n, 3)


def test_lengths_of_extended_precision_have_its_range() -> None:
    for scale in (1, np.finfo("g").tiny, np.finfo("g").max / 8):
        found = roots.length(np.array([3, 4], np.longdouble) * scale, axes=(0,), keepdims=False)
        np.testing.assert_allclose(found / scale, 5, rtol=1e-15)


def test_integers_become_float64() -> None:
    a = np.array([[2, 1], [1, 3]])
    np.testing.assert_allclose(linalg.inv(a), np.linalg.inv(a))
    assert linalg.norm(np.array([3, 4])) == 5.0
    assert linalg.matrix_power(a, 3).dtype == a.dtype


# Degenerate matrices: a defined part has its derivative, the rest has 0


def symmetric(*shape: int) -> np.ndarray:
    x = normal(*shape)
    return (x + x.T) / 2


def repeated() -> tuple[np.ndarray, np.ndarray]:
    """A symmetric matrix with the eigenvalues 1, 2, 2, 2, and its eigenvectors."""
    q = np.linalg.qr(normal(4, 4))[0]
    return q @ np.diag([1.0, 2.0, 2.0, 2.0]) @ q.T, q


def slope(function: Any, a: np.ndarray, direction: np.ndarray, h: float = 1e-4) -> Any:
    return (function(a + h * direction) - function(a - h * direction)) / (2 * h)


def test_functions_of_repeated_eigenvalues_have_their_derivative() -> None:
    a, _ = repeated()
    for function in (
        lambda x: fnp.sum(fnp.exp(linalg.eigh(x).eigenvalues)),
        lambda x: fnp.sum(fnp.log(linalg.eigvalsh(x))),
        lambda x: fnp.prod(linalg.eigvalsh(x)),
    ):
        direction = symmetric(4, 4)
        gradient = fd.grad(function)(a)
        np.testing.assert_allclose(gradient, gradient.T, atol=1e-12)
        assert np.sum(gradient * direction) == pytest.approx(slope(function, a, direction), abs=1e-6)
        assert fd.jvp(function, (a,), (direction,))[1] == pytest.approx(slope(function, a, direction), abs=1e-6)
    np.testing.assert_allclose(fd.grad(lambda x: fnp.sum(linalg.eigvalsh(x)))(a), np.eye(4), atol=1e-12)


def test_the_projector_on_a_whole_eigenspace_has_its_derivative() -> None:
    a, weights = repeated()[0], normal(4, 4)

    def projected(x: Any) -> Any:
        v = linalg.eigh(x).eigenvectors[:, 1:]
        return fnp.sum(weights * (v @ v.T))

    direction = symmetric(4, 4)
    assert np.sum(fd.grad(projected)(a) * direction) == pytest.approx(slope(projected, a, direction), abs=1e-6)


@pytest.mark.parametrize("function", [lambda x: fnp.sum(linalg.eigh(x).eigenvectors ** 3), lambda x: fnp.sum(linalg.svd(x).U ** 3)])
def test_what_is_undefined_is_finite_at_first_order_and_nan_beyond(function: Any) -> None:
    for a in (np.eye(3), np.zeros((3, 3)), repeated()[0], np.ones((3, 3)), np.diag([1.0, -1.0, 1.0])):
        first = fd.grad(function)(a)
        second = fd.grad(lambda x: fnp.sum(fd.grad(function)(x) ** 2))(a)
        assert np.isfinite(first).all()
        assert np.isnan(second).any()


def test_the_polar_factor_has_its_derivative_at_repeated_singular_values() -> None:
    q, weights = np.linalg.qr(normal(3, 3))[0], normal(3, 3)
    for a in (2.0 * q, q @ np.diag([1.0, 3.0, 3.0]), np.eye(3)):

        def polar(x: Any) -> Any:
            u, _, vh = linalg.svd(x)
            return fnp.sum(weights * (u @ vh))

        direction = normal(3, 3)
        assert np.sum(fd.grad(polar)(a) * direction) == pytest.approx(slope(polar, a, direction), abs=1e-6)


def test_the_gradient_of_det_is_the_matrix_of_cofactors_at_every_rank() -> None:
    def cofactors(a: np.ndarray) -> np.ndarray:
        minors = [[np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(4)] for i in range(4)]
        return np.array(minors) * np.array([[(-1) ** (i + j) for j in range(4)] for i in range(4)])

    for rank in range(5):
        a = normal(4, rank) @ normal(rank, 4)
        np.testing.assert_allclose(fd.grad(linalg.det)(a), cofactors(a), atol=1e-12)
        check_grads(linalg.det, [a], order=2)


def test_det_has_its_third_derivative_at_the_identity() -> None:
    check_grads(linalg.det, [np.eye(3)], order=3)
    check_grads(linalg.det, [2 * np.linalg.qr(normal(4, 4))[0]], order=3)


def test_norms_have_the_derivative_zero_at_zero() -> None:
    zero = np.zeros((3, 3))
    for order in (None, "fro", "nuc", 1, 2, np.inf):
        gradient = fd.grad(lambda x: linalg.norm(x, order))(zero)
        assert np.isfinite(gradient).all()
        if order != "nuc":
            np.testing.assert_array_equal(gradient, np.zeros((3, 3)) if order in (None, "fro", 1) else gradient)
    for order in (None, 1, 2, 3, 1.5, 0.5, np.inf):
        np.testing.assert_array_equal(fd.grad(lambda x: linalg.norm(x, order))(np.zeros(3)), np.zeros(3))
    assert np.isnan(fd.grad(lambda x: fnp.sum(fd.grad(linalg.norm)(x)))(np.zeros(3))).all()  # the second one is infinite
    one = np.array([0.0, 2.0, 0.0])
    np.testing.assert_allclose(fd.grad(lambda x: linalg.norm(x, 0.5))(one), [0.0, 1.0, 0.0])


def test_pinv_and_lstsq_of_a_deficient_matrix() -> None:
    left, right, b = normal(4, 2), normal(2, 3), normal(4)
    a = left @ right
    np.testing.assert_allclose(linalg.pinv(a, 1e-10), np.linalg.pinv(a, 1e-10), atol=1e-10)
    x, _, rank, s = linalg.lstsq(a, b)
    expected = np.linalg.lstsq(a, b)
    assert rank == 2
    np.testing.assert_allclose(x, expected[0], atol=1e-10)
    np.testing.assert_allclose(s, expected[3], atol=1e-10)
    # Changes of the factors keep the rank.
    check_grads(lambda left, right: linalg.lstsq(left @ right, b, 1e-10)[0], [left, right], order=1)
    check_grads(lambda left, right: linalg.pinv(left @ right, 1e-10), [left, right], order=1)


def test_gradients_of_factors_of_hermitian_matrices_are_hermitian() -> None:
    a = positive_definite(3, 3)
    for function in (linalg.cholesky, lambda x: linalg.eigh(x).eigenvectors):
        gradient = fd.grad(lambda x: fnp.sum(fnp.sin(function(x))))(a)
        np.testing.assert_allclose(gradient, gradient.T, atol=1e-13)


def test_ranks_have_no_derivative() -> None:
    assert not fd.grad(lambda x: linalg.matrix_rank(x) * 1.0)(spread(3, 4)).any()


def test_cond_of_a_singular_matrix_is_infinite() -> None:
    assert linalg.cond(np.diag([1.0, 0.0])) == linalg.cond(np.zeros((2, 2))) == np.inf


def test_multi_dot_multiplies_in_the_cheapest_order() -> None:
    for shapes, between in ((((1, 50), (50, 40), (40, 60)), "(1, 40)"), (((60, 40), (40, 50), (50, 1)), "(40, 1)")):
        compiled = fd.compile(lambda *x: linalg.multi_dot(x))
        compiled(*[np.ones(shape) for shape in shapes])
        assert f"# {between} float64" in compiled.source


def test_eigh_reads_the_triangle_named() -> None:
    a, noise = positive_definite(3, 3), normal(3, 3)
    for UPLO, other in (("L", np.triu(noise, 1)), ("U", np.tril(noise, -1))):
        w, v = linalg.eigh(a + other, UPLO)
        np.testing.assert_allclose(v @ np.diag(w) @ v.T, a, atol=1e-12)
        gradient = fd.grad(lambda x: fnp.sum(linalg.eigvalsh(x, UPLO) ** 2))(a + other)
        assert not gradient[other != 0].any()


# Errors


SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
REFUSED = [
    (lambda: linalg.inv(normal(3, 4)), ShapeError, r"linalg\.inv needs square matrices, got float64\[3,4\].*pinv"),
    (lambda: linalg.det(normal(3)), ShapeError, r"linalg\.det needs a matrix.*float64\[3\].*x\[:, None\]"),
    (lambda: linalg.solve(normal(3, 3), normal(4)), ShapeError, r"a is float64\[3,3\] and b float64\[4\]; b must be \(3,\)"),
    (lambda: linalg.solve(normal(2, 3, 3), normal(4, 3, 1)), ShapeError, r"leading axes that broadcast"),
    (lambda: linalg.lstsq(normal(3, 2), normal(4)), ShapeError, r"b must have 3 entries"),
    (lambda: linalg.inv(SINGULAR), MatrixError, r"inv: a matrix of float64\[2,2\] is singular.*lstsq or linalg\.pinv"),
    (lambda: linalg.solve(SINGULAR, normal(2, 3)), MatrixError, r"solve: a matrix of float64\[2,2\] is singular"),
    (lambda: fd.grad(lambda x: linalg.slogdet(x)[1])(SINGULAR), MatrixError, r"is singular"),
    (lambda: fd.grad(lambda x: fnp.sum(linalg.qr(x).R))(np.zeros((2, 2))), MatrixError, r"is singular.*qr"),
    (lambda: fd.compile(linalg.inv)(SINGULAR), MatrixError, r"is singular"),
    (lambda: linalg.cholesky(np.diag([1.0, -2.0])), MatrixError, r"not positive definite; its least eigenvalue is -2\. .*np\.eye\(2\)"),
    (lambda: linalg.eigh(normal(2, 2).astype(np.float16)), DTypeError, r"linalg\.eigh computes in float32.*float16\[2,2\].*astype\('float32'\)"),
    (lambda: linalg.svd(np.array([["a"]])), DTypeError, r"linalg\.svd computes in"),
    (lambda: linalg.eigh(normal(2, 2), "X"), ValueError, r"UPLO must be 'L' or 'U'"),
    (lambda: linalg.qr(normal(2, 2), "raw"), ValueError, r"'reduced', 'complete', 'r', got 'raw'"),
    (lambda: linalg.norm(normal(2, 2, 2), 2), ShapeError, r"needs one axis or two.*Pass axis="),
    (lambda: linalg.norm(normal(2, 2), 3), ValueError, r"'fro', 'nuc', 1, 2"),
    (lambda: linalg.norm(normal(2), "fro"), ValueError, r"order of a vector norm must be"),
    (lambda: linalg.multi_dot([normal(2, 3)]), ValueError, r"at least two arrays"),
    (lambda: linalg.multi_dot([normal(2, 3), normal(2, 3)]), ShapeError, r"must fit, got float64\[2,3\], float64\[2,3\]"),
    (lambda: linalg.tensorsolve(normal(2, 3), normal(2)), ShapeError, r"begin with the axes of b"),
    (lambda: linalg.tensorinv(normal(2, 3), 1), ShapeError, r"the first 1 axes of float64\[2,3\]"),
    (lambda: linalg.outer(normal(2, 2), normal(2)), ShapeError, r"two vectors"),
    (lambda: linalg.cross(normal(2), normal(2)), ShapeError, r"must have 3 entries"),
    (lambda: linalg.vecdot(normal(2), normal(3)), ShapeError, r"must have the same length"),
    (lambda: linalg.cond(normal(2, 3), 1), ShapeError, r"square matrices.*norm 2"),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED)
def test_errors_name_the_problem(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_numpys_error_class_catches_ours() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        linalg.inv(SINGULAR)
    assert linalg.LinAlgError is np.linalg.LinAlgError


def test_spread_is_what_it_says() -> None:
    assert (np.diff(np.linalg.svd(spread(3, 4))[1]) < -0.2).all()
