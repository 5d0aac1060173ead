"""Cases of `fdezero.numpy.linalg`: name, function, arguments, keyword arguments; real ones, clear of kinks and of repeated values.

`numpys` tells whether NumPy's function of that name gives the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdezero.numpy import linalg

from .matrices import Matrices


class Case(NamedTuple):
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numpys: bool = True

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(arg))) if hasattr(arg, "shape") else str(arg) for arg in self.args)
        return f"{self.name}-{shapes}-{'-'.join(f'{k}={v}' for k, v in self.kwargs.items())}"


def _cases() -> list[Case]:
    made: list[Case] = []
    draw = Matrices(78)

    def case(name: str, *args: Any, **kwargs: Any) -> None:
        # LAPACK's eigenvectors of an upper triangle have other signs than those of a lower one.
        numpys = hasattr(np.linalg, name) and not (name == "eigh" and kwargs.get("UPLO") == "U")
        made.append(Case(name, getattr(linalg, name), args, kwargs, numpys))

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
    return made


CASES = _cases()
