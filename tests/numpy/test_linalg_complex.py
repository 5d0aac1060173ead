"""Linear algebra of complex matrices: values, gradients in the convention of `grad`, transforms; and eigenvalues of any matrix.

A function under test depends on no phase that LAPACK chooses. Its gradient g gives the change along t: Re(sum(conj(g) * t)).
"""

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import MatrixError
from fdezero.numpy import linalg
from fdezero.testing import assert_trees_close

from ..laws.matrices import Matrices

draw = Matrices(11)
normal, unit, spread = draw.normal, draw.unit, draw.spread


def hermitian(x: Any) -> Any:
    return x @ x.conj().swapaxes(-1, -2) + 2.0 * np.eye(x.shape[-1])


def projectors(v: Any) -> Any:
    """v_i v_i^H for every column."""
    return v[..., :, None, :] * v.conj()[..., None, :, :]


def pairs(u: Any, vh: Any) -> Any:
    """u_i vh_i for every singular value."""
    k = vh.shape[-2]
    return u[..., :, None, :k] * vh.swapaxes(-1, -2)[..., None, :, :]


WIDE = spread(3, 4) + 0.3j * normal(3, 4)
LARGE = draw.apart(3, 4) + 1j * draw.apart(3, 4)  # no entry near 0, where |z| has a kink
CASES: list[tuple[str, Any, tuple[np.ndarray, ...]]] = [
    ("inv", linalg.inv, (unit(2, 3, 3),)),
    ("solve", linalg.solve, (unit(2, 3, 3), unit(3, 2))),
    ("solve, real matrix", linalg.solve, (draw.regular(3, 3), unit(3))),
    ("det", linalg.det, (unit(2, 3, 3),)),
    ("det, rank 2", linalg.det, (unit(3, 2) @ unit(2, 3),)),
    ("slogdet: sign", lambda a: linalg.slogdet(a)[0], (unit(3, 3),)),
    ("slogdet: log", lambda a: linalg.slogdet(a)[1], (unit(3, 3),)),
    ("cholesky", lambda a: linalg.cholesky(hermitian(a)), (unit(3, 3),)),
    ("cholesky, upper, of a itself", lambda a: linalg.cholesky(a, upper=True), (hermitian(unit(3, 3)),)),
    ("qr: Q", lambda a: linalg.qr(a)[0], (WIDE.T,)),
    ("qr: R", lambda a: linalg.qr(a)[1], (WIDE,)),
    ("svdvals", linalg.svdvals, (WIDE,)),
    ("svd", lambda a: pairs(linalg.svd(a, full_matrices=False)[0], linalg.svd(a, full_matrices=False)[2]), (WIDE,)),
    ("svd: U", lambda a: projectors(linalg.svd(a)[0]), (WIDE,)),
    ("eigh: w", lambda a: linalg.eigh(hermitian(a))[0], (unit(3, 3),)),
    ("eigh: v", lambda a: projectors(linalg.eigh(hermitian(a))[1]), (unit(3, 3),)),
    ("eigh, lower triangle", lambda a: linalg.eigh(a, "L")[0], (unit(3, 3),)),
    ("eigvals", linalg.eigvals, (unit(3, 3),)),
    ("eigvals, real matrix", linalg.eigvals, (np.array([[1.0, 2.0, 0.3], [-2.0, 1.5, 0.1], [0.2, 0.4, 3.0]]),)),
    ("eig: v", lambda a: projectors(linalg.eig(a)[1]), (unit(3, 3),)),
    ("eig: v, real matrix", lambda a: projectors(linalg.eig(a)[1]), (np.array([[1.0, 2.0, 0.3], [-2.0, 1.5, 0.1], [0.2, 0.4, 3.0]]),)),
    ("pinv", linalg.pinv, (WIDE,)),
    ("lstsq", lambda a, b: linalg.lstsq(a, b)[0], (WIDE.T, unit(4))),
    ("lstsq: residuals", lambda a, b: linalg.lstsq(a, b)[1], (WIDE.T, unit(4, 2))),
    ("matrix_power", lambda a: linalg.matrix_power(a, 3), (unit(2, 2, 2),)),
    ("expm", linalg.expm, (unit(2, 2, 2),)),
    ("multi_dot", lambda a, b, c: linalg.multi_dot([a, b, c]), (unit(2, 3), normal(3, 3), unit(3))),
    ("cond", linalg.cond, (WIDE,)),
    ("cond, 1", lambda a: linalg.cond(a, 1), (unit(3, 3),)),
    ("vecdot", linalg.vecdot, (unit(2, 3), unit(3))),
    ("cross", linalg.cross, (unit(2, 3), unit(3))),
    ("trace", linalg.trace, (unit(2, 3, 3),)),
    ("outer", linalg.outer, (unit(2), unit(3))),
    *[(f"matrix norm {p}", lambda a, p=p: linalg.norm(a, p), (WIDE,)) for p in ("fro", "nuc", 2, -2)],
    *[(f"matrix norm {p}", lambda a, p=p: linalg.norm(a, p), (LARGE,)) for p in (1, np.inf, -1, -np.inf)],
    *[(f"vector norm {p}", lambda a, p=p: linalg.norm(a, p, axis=0), (LARGE,)) for p in (None, 1, 3, np.inf)],
]
every = pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=[case[0] for case in CASES])


def scalar(function: Any, arrays: tuple[np.ndarray, ...]) -> Any:
    """The function, weighted and summed to a real number."""
    y = np.asarray(function(*arrays))
    weights = np.cos(np.arange(y.size)).reshape(y.shape), np.sin(1.0 + np.arange(y.size)).reshape(y.shape)

    def weighed(*x: Any) -> Any:
        y = function(*x)
        return fnp.sum(fnp.real(y) * weights[0]) + (fnp.sum(fnp.imag(y) * weights[1]) if y.dtype.kind == "c" else 0.0)

    return weighed


def like(x: np.ndarray) -> np.ndarray:
    return unit(*x.shape) if x.dtype.kind == "c" else normal(*x.shape)


def assert_gradient(function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    gradients = fd.grad(function, argnums=tuple(range(len(arrays))))(*arrays)
    directions = [like(x) for x in arrays]
    assert [g.dtype for g in gradients] == [x.dtype for x in arrays]
    told = sum(float(np.sum(np.conj(g) * t).real) for g, t in zip(gradients, directions, strict=True))

    def slope(h: float) -> float:
        ahead, behind = (float(function(*[x + s * h * t for x, t in zip(arrays, directions, strict=True)])) for s in (1, -1))
        return (ahead - behind) / (2 * h)

    numeric = (4 * slope(1e-3) - slope(2e-3)) / 3
    assert told == pytest.approx(numeric, rel=2e-6, abs=2e-6)
    assert fd.jvp(function, arrays, tuple(directions))[1] == pytest.approx(numeric, rel=2e-6, abs=2e-6)


@every
def test_gradients_are_finite_differences_to_second_order(name: str, function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    first = scalar(function, arrays)
    assert_gradient(first, arrays)
    directions = [like(x) for x in arrays]

    def second(*x: Any) -> Any:
        gradients = fd.grad(first, argnums=tuple(range(len(arrays))))(*x)
        return sum(fnp.sum(fnp.real(fnp.conj(g) * t)) for g, t in zip(gradients, directions, strict=True))

    assert_gradient(second, arrays)


@every
def test_vmap_is_a_loop_and_compiled_has_the_bits_of_eager(name: str, function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    gradient = fd.grad(scalar(function, arrays), argnums=tuple(range(len(arrays))))
    stacked = [np.stack([x, x * 1.25]) for x in arrays]
    loop = [gradient(*[x[k] for x in stacked]) for k in range(2)]
    assert_trees_close(fd.vmap(gradient)(*stacked), tuple(np.stack(part) for part in zip(*loop, strict=True)), 1e-9)
    compiled, expected = fd.compile(gradient), [g.tobytes() for g in gradient(*arrays)]
    assert all([g.tobytes() for g in compiled(*arrays)] == expected for _ in range(2))


@pytest.mark.parametrize("name", [n for n in np.linalg.__all__ if n in ("eig", "eigh", "svd", "qr", "cholesky", "inv", "det", "pinv", "slogdet")])
def test_values_are_those_of_numpy(name: str) -> None:
    a = hermitian(unit(2, 3, 3))
    got, expected = getattr(linalg, name)(a), getattr(np.linalg, name)(a)
    for mine, numpys in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, expected)), strict=True):
        assert np.asarray(mine).dtype == np.asarray(numpys).dtype
        np.testing.assert_allclose(mine, numpys, rtol=1e-11, atol=1e-11)


TORCH = {
    "inv": lambda la, a: la.inv(a),
    "solve": lambda la, a, b: la.solve(a, b),
    "det": lambda la, a: la.det(a),
    "slogdet: log": lambda la, a: la.slogdet(a)[1],
    "cholesky, upper, of a itself": lambda la, a: la.cholesky(a, upper=True),
    "qr: R": lambda la, a: la.qr(a)[1],
    "svdvals": lambda la, a: la.svdvals(a),
    "eigh: w": lambda la, a: la.eigvalsh(a @ a.mH + 2 * importlib.import_module("torch").eye(3)),
    "eigvals": lambda la, a: la.eigvals(a),
    "pinv": lambda la, a: la.pinv(a),
    "expm": lambda la, a: la.matrix_exp(a),
    "matrix norm nuc": lambda la, a: la.norm(a, "nuc"),
}


@pytest.mark.parametrize("name", TORCH)
def test_gradients_agree_with_pytorch(name: str) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: finite differences are the proof, this a second opinion")
    torch = importlib.import_module("torch")
    function, arrays = next((function, arrays) for known, function, arrays in CASES if known == name)
    y = np.asarray(function(*arrays))
    # The sum of |y|^4 does not depend on the order of the eigenvalues, so its gradient can be compared.
    mine = fd.grad(lambda *x: fnp.sum(fnp.real(function(*x) * fnp.conj(function(*x))) ** 2), argnums=tuple(range(len(arrays))))(*arrays)
    inputs = [torch.tensor(x, requires_grad=True) for x in arrays]
    (TORCH[name](torch.linalg, *inputs).abs() ** 4).sum().backward()
    assert y.size
    for gradient, other in zip(mine, inputs, strict=True):
        np.testing.assert_allclose(gradient, other.grad.numpy(), rtol=1e-6, atol=1e-6)


# Eigenvalues of matrices that are not Hermitian


def test_eigenvalues_are_complex_and_reconstruct_the_matrix() -> None:
    for a in (normal(4, 4), hermitian(normal(3, 3)), unit(3, 3), normal(2, 3, 3).astype(np.float32)):
        w, v = linalg.eig(a)
        assert w.dtype == v.dtype == np.result_type(a.dtype, np.complex64)
        np.testing.assert_allclose(a @ v, v * w[..., None, :], atol=1e-5)
        np.testing.assert_allclose(np.sort_complex(linalg.eigvals(a)), np.sort_complex(np.linalg.eigvals(a)), rtol=1e-5)


def test_functions_of_repeated_eigenvalues_have_their_derivative() -> None:
    q = normal(3, 3)
    a = q @ np.diag([2.0, 2.0, 1.0]) @ np.linalg.inv(q)
    gradient = fd.grad(lambda x: fnp.sum(fnp.real(linalg.eigvals(x) ** 2)))(a)  # of trace(x @ x)
    np.testing.assert_allclose(gradient, 2 * a.T, atol=1e-6)
    assert np.isfinite(fd.grad(lambda x: fnp.sum(fnp.real(linalg.eig(x)[1]) ** 3))(np.eye(3))).all()


def test_norms_have_the_derivative_zero_at_zero() -> None:
    zero = np.zeros(3, complex)
    for order in (None, 1, 2, 3, 1.5, np.inf):
        np.testing.assert_array_equal(fd.grad(lambda x: linalg.norm(x, order))(zero), zero)
    for order in ("fro", "nuc", 1, 2, np.inf):
        assert np.isfinite(fd.grad(lambda x: linalg.norm(x, order))(np.zeros((3, 3), complex))).all()


def test_gradients_descend() -> None:
    a = unit(3, 3)

    def loss(z: Any) -> Any:
        return linalg.norm(linalg.expm(z) - np.eye(3)) ** 2 + linalg.norm(linalg.inv(z + 3 * np.eye(3)), "nuc")

    losses = [loss(a)]
    for _ in range(20):
        a = a - 1e-3 * fd.grad(loss)(a)
        losses.append(loss(a))
    assert (np.diff(losses) < 0).all()


def test_a_matrix_with_too_few_eigenvectors_is_named() -> None:
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(linalg.eigvals(jordan), [1.0, 1.0])
    with pytest.raises(MatrixError, match=r"eig: a matrix of complex128\[2,2\] has fewer eigenvectors than rows"):
        fd.grad(lambda x: fnp.sum(fnp.real(linalg.eigvals(x))))(jordan)
