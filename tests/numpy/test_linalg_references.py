"""Gradients of linear algebra agree with PyTorch and JAX in float64 to 1e-6, if these are installed."""

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp

from ..laws.matrices import Matrices

draw = Matrices(9)
normal, positive_definite, spread = draw.normal, draw.positive_definite, draw.spread
SQUARE, B, WIDE, DEFINITE = draw.regular(3, 3), normal(3, 2), spread(3, 4), positive_definite(3, 3)
STACK = draw.regular(4, 3, 3)


def _hermitian(x: Any) -> Any:
    return x @ x.mT  # of a matrix with distinct singular values: definite, with distinct eigenvalues


# name, f(linalg, *arrays) -> an array, arrays
CASES: list[tuple[str, Any, tuple[np.ndarray, ...]]] = [
    ("inv", lambda la, a: la.inv(a), (STACK,)),
    ("solve", lambda la, a, b: la.solve(a, b), (STACK, B)),
    ("det", lambda la, a: la.det(a), (STACK,)),
    ("slogdet", lambda la, a: la.slogdet(a)[1], (STACK,)),
    ("cholesky", lambda la, a: la.cholesky(a), (DEFINITE,)),
    ("cholesky of x x^T", lambda la, a: la.cholesky(_hermitian(a)), (SQUARE,)),
    ("qr: Q", lambda la, a: la.qr(a)[0], (STACK,)),
    ("qr: R", lambda la, a: la.qr(a)[1], (WIDE.T,)),
    ("svdvals", lambda la, a: la.svd(a, full_matrices=False)[1], (WIDE,)),
    ("svd: |U|", lambda la, a: abs(la.svd(a, full_matrices=False)[0]), (WIDE,)),
    ("svd: |V|", lambda la, a: abs(la.svd(a, full_matrices=False)[2]), (WIDE,)),
    ("eigh: w", lambda la, a: la.eigh(_hermitian(a))[0], (SQUARE,)),
    ("eigh: |v|", lambda la, a: abs(la.eigh(_hermitian(a))[1]), (SQUARE,)),
    ("eigh: |v| of a itself", lambda la, a: abs(la.eigh(a)[1]), (DEFINITE,)),
    ("eigvalsh", lambda la, a: la.eigvalsh(_hermitian(a)), (STACK,)),
    ("pinv", lambda la, a: la.pinv(a), (WIDE,)),
    ("lstsq", lambda la, a, b: la.lstsq(a, b)[0], (WIDE.T, normal(4, 2))),
    ("matrix_power", lambda la, a: la.matrix_power(a, 5), (STACK,)),
    ("matrix_power, negative", lambda la, a: la.matrix_power(a, -3), (SQUARE,)),
    ("multi_dot", lambda la, a, b, c: la.multi_dot([a, b, c]), (SQUARE, B, normal(2, 4))),
    ("tensorsolve", lambda la, a, b: la.tensorsolve(a, b), (normal(2, 3, 6), normal(2, 3))),
    ("tensorinv", lambda la, a: la.tensorinv(a), (normal(2, 3, 6),)),
    ("cond", lambda la, a: la.cond(a), (SQUARE,)),
    ("cond, 1", lambda la, a: la.cond(a, 1), (SQUARE,)),
    ("vector norm, 3", lambda la, a: la.norm(a, 3), (normal(5),)),
    ("vector norm, 0.5", lambda la, a: la.norm(a, 0.5), (normal(5),)),
    *[(f"matrix norm, {p}", lambda la, a, p=p: la.norm(a, p), (WIDE,)) for p in ("fro", "nuc", 1, 2, np.inf, -1, -2, -np.inf)],
    ("expm", None, (SQUARE,)),
]


def ours(function: Any, arrays: tuple[np.ndarray, ...], weights: np.ndarray) -> Any:
    return fd.grad(lambda *x: fnp.sum(function(fnp.linalg, *x) * weights), argnums=tuple(range(len(arrays))))(*arrays)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=[case[0] for case in CASES])
def test_gradients_agree(library: str, name: str, function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: finite differences in test_linalg.py are the proof, this a second opinion")
    if (library, name) == ("torch", "cond, 1"):
        pytest.skip("PyTorch's own gradient of cond(a, 1) fails: it writes over the inverse that it needs")
    call = function or (lambda la, a: la.expm(a))
    weights = np.cos(np.arange(np.size(call(fnp.linalg, *arrays)), dtype=float)).reshape(np.shape(call(fnp.linalg, *arrays)))
    theirs = {"torch": _torch, "jax": _jax}[library](name, call, arrays, weights)
    for mine, other in zip(ours(call, arrays, weights), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)


def _torch(name: str, function: Any, arrays: tuple[np.ndarray, ...], weights: np.ndarray) -> list[np.ndarray]:
    torch = importlib.import_module("torch")
    linalg = torch.linalg
    if name == "expm":
        function = lambda la, a: la.matrix_exp(a)
    inputs = [torch.tensor(x, requires_grad=True) for x in arrays]
    (function(linalg, *inputs) * torch.tensor(weights)).sum().backward()
    return [x.grad.numpy() for x in inputs]


def _jax(name: str, function: Any, arrays: tuple[np.ndarray, ...], weights: np.ndarray) -> list[np.ndarray]:
    jax = importlib.import_module("jax")
    linalg = importlib.import_module("jax.scipy.linalg") if name == "expm" else jax.numpy.linalg
    with jax.enable_x64(True):
        gradient = jax.grad(lambda *x: (function(linalg, *x) * weights).sum(), argnums=tuple(range(len(arrays))))
        return [np.asarray(x) for x in gradient(*[jax.numpy.asarray(x) for x in arrays])]
