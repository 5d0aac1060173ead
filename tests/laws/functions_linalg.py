"""Cases of `fdezero.numpy.linalg`, clear of kinks and of repeated values."""

from typing import Any

import numpy as np
import scipy.linalg

from fdezero.numpy import linalg

from .cases import Case, cases_of
from .matrices import Matrices

of_linalg = cases_of("linalg", linalg, np.linalg)


def _cases() -> list[Case]:
    made: list[Case] = []
    draw = Matrices(78)

    def case(name: str, *args: Any, discrete: bool = False, **kwargs: Any) -> None:
        # LAPACK gives the eigenvectors other signs for an upper triangle than for a lower one.
        other = {"numpy": None} if kwargs.get("UPLO") == "U" and name == "eigh" else {"numpy": scipy.linalg.expm} if name == "expm" else {}
        d = None if discrete or name == "matrix_rank" else tuple(i for i, arg in enumerate(args) if isinstance(arg, np.ndarray | list))
        made.append(of_linalg(name, *args, **({"d": d} | other | kwargs)))

    square, stack, definite = draw.regular(3, 3), draw.regular(2, 2, 2), draw.positive_definite(3, 3)
    for name in ("inv", "det", "slogdet"):
        case(name, square)
        case(name, stack)
    case("solve", square, draw.normal(3))
    case("solve", square, draw.normal(3, 2))
    case("solve", stack, draw.normal(2))
    case("solve", draw.regular(3, 1, 2, 2), draw.normal(2, 2, 1))
    for shape in ((4, 3), (2, 3), (2, 3, 3)):
        case("pinv", draw.spread(*shape))
        case("svd", draw.spread(*shape), full_matrices=False)
        case("svd", draw.spread(*shape))
        case("svd", draw.spread(*shape), compute_uv=False)
        case("svdvals", draw.spread(*shape))
        for mode in ("reduced", "complete", "r"):
            case("qr", draw.spread(*shape), mode)
        case("matrix_rank", draw.spread(*shape))
        case("cond", draw.spread(*shape))
        case("cond", draw.spread(*shape), -2)
        for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
            case("matrix_norm", draw.spread(*shape), ord=order, keepdims=order != 1)
    case("pinv", draw.positive_definite(3, 3), hermitian=True)
    case("pinv", draw.spread(3, 2), 0.1)
    case("pinv", draw.spread(3, 2), rtol=None)
    case("pinv", draw.spread(2, 3, 2), rtol=np.array([0.1, 0.2]))
    case("matrix_rank", definite, 0.1, hermitian=True)
    case("matrix_rank", stack, rtol=np.array([0.1, 0.2]))
    case("cond", square, 1)
    case("cond", square, "fro")
    case("lstsq", draw.normal(4, 2), draw.normal(4))
    case("lstsq", draw.normal(4, 2), draw.normal(4, 3))
    case("lstsq", draw.normal(2, 4), draw.normal(2, 3), 0.01)
    case("cholesky", definite)
    case("cholesky", draw.positive_definite(2, 2, 2), upper=True)
    for name in ("eigh", "eigvalsh"):
        case(name, definite)
        case(name, draw.positive_definite(2, 2, 2))
        case(name, definite + np.triu(draw.normal(3, 3), 1), "L")
        case(name, definite + np.tril(draw.normal(3, 3), -1), UPLO="U")
    for n in (-2, 0, 1, 3, 6):
        case("matrix_power", square, n)
    case("matrix_power", stack, -1)
    case("expm", square)
    case("expm", 4 * stack)
    case("multi_dot", [draw.normal(2, 3), draw.normal(3, 4)])
    case("multi_dot", [draw.normal(2), draw.normal(2, 3), draw.normal(3)])
    case("multi_dot", [draw.normal(4, 2), draw.normal(2, 5), draw.normal(5, 1), draw.normal(1, 3), draw.normal(3)])
    case("tensorsolve", draw.regular(6, 6).reshape(2, 3, 6), draw.normal(2, 3))
    case("tensorsolve", draw.regular(6, 6).reshape(2, 3, 6).swapaxes(1, 2), draw.normal(2, 3), axes=(1,))
    case("tensorinv", draw.regular(6, 6).reshape(2, 3, 6))
    case("tensorinv", draw.regular(4, 4).reshape(4, 2, 2), ind=1)
    vector, grid = draw.apart(5), draw.apart(2, 3, 4)
    for order in (None, 1, 2, 3, 2.5, -1, 0, np.inf, -np.inf):
        case("norm", vector, order)
        case("norm", grid, order, axis=1, keepdims=True)
        if order is not None:
            case("vector_norm", grid, ord=order, axis=(0, 2))
    case("norm", grid)
    case("norm", grid, keepdims=True)
    case("vector_norm", grid)
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        case("norm", draw.spread(3, 4), order)
        case("norm", np.moveaxis(draw.spread(2, 3, 4), 0, 1), order, axis=(0, 2))
        case("norm", np.moveaxis(draw.spread(2, 3, 4), 0, 1), order, axis=(-1, 0), keepdims=True)
    case("cross", draw.normal(2, 3), draw.normal(3))
    case("cross", draw.normal(3, 2), draw.normal(3, 2), axis=0)
    case("diagonal", grid)
    case("diagonal", grid, offset=-1)
    case("trace", grid, offset=1)
    case("outer", draw.normal(2), draw.normal(3))
    case("matmul", draw.normal(2, 3, 2), draw.normal(2, 4))
    case("vecdot", draw.normal(2, 3), draw.normal(3))
    case("vecdot", draw.normal(3, 1), draw.normal(3, 2), axis=0)
    case("matrix_transpose", grid)
    case("tensordot", draw.normal(2, 3), draw.normal(3, 2), axes=1)
    _complex_cases(case)
    _scipys_cases(case, Matrices(81))
    for lower in (False, True):  # the second result is a Python number
        factor = of_linalg("cho_factor", Matrices(82).positive_definite(2, 3, 3), d=0, lower=lower)
        expected = lambda a, lower: np.linalg.cholesky(a) if lower else np.swapaxes(np.linalg.cholesky(a), -1, -2)
        made.append(factor._replace(function=lambda a, lower: linalg.cho_factor(a, lower)[0], reference=expected))
    return made


def _stacked(function: Any, signature: str) -> Any:
    """SciPy's function of matrices for stacks of them, which older versions do not take."""
    return lambda *args, **kwargs: np.vectorize(lambda *matrices: function(*matrices, **kwargs), signature=signature)(*args)


def _scipys_cases(case: Any, draw: Matrices) -> None:
    """Functions that NumPy does not have."""
    square, stack, b = draw.regular(3, 3), draw.regular(2, 3, 3), draw.normal(3, 2)
    for lower, trans, unit in ((False, 0, False), (True, 0, False), (False, 1, True), (True, "T", True), (True, "C", False)):
        case("solve_triangular", square, b, numpy=scipy.linalg.solve_triangular, lower=lower, trans=trans, unit_diagonal=unit)
    case("solve_triangular", square, draw.normal(3), numpy=scipy.linalg.solve_triangular)
    case("solve_triangular", stack, b, numpy=_stacked(scipy.linalg.solve_triangular, "(n,n),(n,m)->(n,m)"), lower=True)
    definite = draw.positive_definite(3, 3)
    for lower in (False, True):
        case("cho_solve", (np.linalg.cholesky(definite) if lower else np.linalg.cholesky(definite).T, lower), b, numpy=scipy.linalg.cho_solve, d=(0, 1))
    case("cho_solve", (draw.regular(2, 3, 3), True), draw.normal(2, 3, 1), numpy=lambda c, b: np.linalg.solve(np.tril(c[0]) @ np.swapaxes(np.tril(c[0]), -1, -2), b), d=(0, 1))
    case("solve_sylvester", square, draw.regular(2, 2), b, numpy=scipy.linalg.solve_sylvester)
    case("solve_sylvester", stack, draw.regular(2, 2), b, numpy=_stacked(scipy.linalg.solve_sylvester, "(m,m),(n,n),(m,n)->(m,n)"))
    for name in ("sqrtm", "logm"):
        case(name, square, numpy=getattr(scipy.linalg, name))
        case(name, stack, numpy=_stacked(getattr(scipy.linalg, name), "(n,n)->(n,n)"))
        case(name, definite, numpy=getattr(scipy.linalg, name))
    case("block_diag", draw.normal(2, 3), draw.normal(1, 1), draw.normal(2), numpy=scipy.linalg.block_diag)
    case("block_diag", draw.normal(2, 3, 3), draw.normal(1, 2), numpy=_stacked(scipy.linalg.block_diag, "(a,b),(c,d)->(e,f)"))
    square, other = draw.unit(3, 3) + 4 * np.eye(3), draw.unit(2, 2) + 4 * np.eye(2)
    case("solve_triangular", square, draw.unit(3, 2), numpy=scipy.linalg.solve_triangular, trans="C")
    case("cho_solve", (np.tril(square), True), draw.unit(3), numpy=scipy.linalg.cho_solve, d=(0, 1))
    case("solve_sylvester", square, other, draw.unit(3, 2), numpy=scipy.linalg.solve_sylvester)
    case("sqrtm", square, numpy=scipy.linalg.sqrtm)
    case("logm", square, numpy=scipy.linalg.logm)


def _complex_cases(case: Any) -> None:
    """Functions without a free choice of phases. test_linalg_complex.py tests the factors of complex matrices."""
    draw = Matrices(80)
    square = draw.unit(3, 3) + 2 * np.eye(3)
    for name in ("inv", "det", "slogdet", "cond", "svdvals", "expm", "trace", "diagonal", "matrix_transpose"):
        case(name, square)
    case("solve", square, draw.unit(3, 2))
    case("pinv", draw.unit(4, 3))
    case("lstsq", draw.unit(4, 2), draw.unit(4))
    case("cholesky", draw.positive_definite(3, 3) + 0.5j * (np.tri(3) - np.tri(3).T))
    case("eigvalsh", draw.positive_definite(3, 3) + 0.5j * (np.tri(3) - np.tri(3).T))
    case("matrix_power", square, 3)
    case("multi_dot", [draw.unit(2, 3), draw.unit(3, 4), draw.unit(4)])
    case("tensorsolve", draw.unit(2, 3, 6), draw.unit(2, 3))
    case("tensorinv", draw.unit(2, 3, 6))
    for order in (None, 1, 3, np.inf):
        case("norm", draw.unit(5), order)
    for order in ("fro", "nuc", 1, 2, -2, -np.inf):
        case("norm", draw.unit(3, 4), order)
    case("matrix_norm", draw.unit(3, 4))
    case("vector_norm", draw.unit(3, 4), axis=0)
    case("cross", draw.unit(2, 3), draw.unit(3))
    case("outer", draw.unit(2), draw.unit(3))
    case("matmul", draw.unit(3, 2), draw.unit(2, 4))
    case("vecdot", draw.unit(2, 3), draw.unit(3))
    case("tensordot", draw.unit(2, 3), draw.unit(3, 2), axes=1)
    case("eigvals", square)
    case("eig", square, discrete=True)
    case("eig", draw.spread(3, 3), numpy=None)  # The vectors are real, so their phase is not free.


CASES = _cases()
