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
        made.append(of_linalg(name, *args, d=d, **other, **kwargs))

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
    return made


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
