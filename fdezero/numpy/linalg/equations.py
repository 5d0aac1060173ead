"""Triangular systems, systems with a Cholesky factor, and Sylvester's equation, under SciPy's names."""

from typing import Any

from ...errors import ShapeError
from ...messages import clashing_axis, describe
from ...ops import elementwise, linalg
from .. import shape as shapes
from ..arguments import Array
from .arguments import matrices, numbers, squares
from .factors import cholesky

__all__ = ["cho_factor", "cho_solve", "solve_sylvester", "solve_triangular"]

TRANSPOSES = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}


def _column_and_shape(name: str, a: Array, b: Any) -> tuple[Array, bool]:
    """The right side as a matrix, and whether it was a vector. Raises ShapeError if it does not fit a."""
    b = numbers(name, b)
    right = shapes.expand_dims(b, -1) if b.ndim == 1 else b
    if not b.ndim or right.shape[-2] != a.shape[-1] or clashing_axis([a.shape[:-2], right.shape[:-2]]):
        raise ShapeError(
            f"linalg.{name}: the matrix is {describe(a)} and b {describe(b)}; b must be ({a.shape[-1]},) or (..., {a.shape[-1]}, m), with "
            "leading axes that broadcast with those of the matrix."
        )
    return right, b.ndim == 1


def solve_triangular(a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False) -> Array:
    """Solve a @ x = b for a triangular a: a (..., n, n), b (n,) or (..., n, m) -> x, with the last axes of b.

    Only the upper triangle of `a` is read, or the `lower` one; with `unit_diagonal` its diagonal counts as ones. For `trans` 1 or "T"
    the equation is a.T @ x = b, for 2 or "C" it is a^H @ x = b. Raises MatrixError for a 0 on the diagonal.
    """
    a = squares("solve_triangular", a, "linalg.lstsq solves systems of any shape.")
    if trans not in TRANSPOSES:
        raise ValueError(f"linalg.solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}.")
    right, is_vector = _column_and_shape("solve_triangular", a, b)
    kind = TRANSPOSES[trans]
    if kind:
        a, lower = (
            shapes.matrix_transpose(elementwise.conjugate(a) if kind == 2 and a.dtype.kind == "c" else a),
            not lower,
        )
    x = linalg.solve_triangular(a, right, lower=bool(lower), unit=bool(unit_diagonal))
    return shapes.squeeze(x, -1) if is_vector else x


def cho_factor(a: Any, lower: bool = False) -> tuple[Array, bool]:
    """The Cholesky factor of a positive definite matrix for `cho_solve`: a (..., n, n) -> (factor (..., n, n), lower).

    The other triangle of the factor is zero, where SciPy's is not defined. As in `cholesky`, the Hermitian part of `a` is factored.
    Raises MatrixError if that part is not positive definite.
    """
    return cholesky(a, upper=not lower), bool(lower)


def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Array:
    """Solve a @ x = b with the factor from `cho_factor(a)`: b (n,) or (..., n, m) -> x, with the last axes of b."""
    factor, lower = c_and_lower
    factor = squares("cho_solve", factor)
    right, is_vector = _column_and_shape("cho_solve", factor, b)
    first, last = (0, "C") if lower else ("C", 0)
    x = solve_triangular(factor, solve_triangular(factor, right, first, lower), last, lower)
    return shapes.squeeze(x, -1) if is_vector else x


def solve_sylvester(a: Any, b: Any, q: Any) -> Array:
    """Solve a @ x + x @ b = q: a (..., m, m), b (..., n, n), q (..., m, n) -> x (..., m, n).

    Large equations go through Schur's decompositions on the CPU, which waits for a GPU. Raises MatrixError if a and -b share an
    eigenvalue to the last digit. Source: Bartels and Stewart 1972.
    """
    a, b, q = squares("solve_sylvester", a), squares("solve_sylvester", b), matrices("solve_sylvester", q)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]) or clashing_axis([a.shape[:-2], b.shape[:-2], q.shape[:-2]]):
        raise ShapeError(
            f"linalg.solve_sylvester: a {describe(a)} and b {describe(b)} need q of shape (..., {a.shape[-1]}, {b.shape[-1]}), "
            f"got {describe(q)}."
        )
    return linalg.sylvester(a, b, q)
