"""Factors of matrices under NumPy's names: cholesky, qr, svd, and eigenvalues with their vectors."""

from typing import Any, NamedTuple

import numpy as np

from ...ops import elementwise, linalg
from ..arguments import Array
from .arguments import matrices, squares

__all__ = ["cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd", "svdvals"]

QR_MODES = ("reduced", "complete", "r")


class QRResult(NamedTuple):
    """The unitary and the upper triangular factor."""

    Q: Array
    R: Array


class EighResult(NamedTuple):
    """Real eigenvalues, ascending, and eigenvectors, in columns."""

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """Eigenvalues and eigenvectors, in columns of length 1; complex both."""

    eigenvalues: Array
    eigenvectors: Array


class SVDResult(NamedTuple):
    """a = U @ diag(S) @ Vh."""

    U: Array
    S: Array
    Vh: Array


def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """The lower triangular factor: a (..., n, n) -> l (..., n, n) with a = l @ l^H; with `upper` its conjugate transpose.

    a is taken for Hermitian: of another matrix the Hermitian part is factored, and gradients are Hermitian.
    Raises MatrixError where a is not positive definite. Source: Giles 2008, section 3.3.
    """
    lower = linalg.cholesky(squares("cholesky", a))
    return linalg.H(lower) if upper else lower


def qr(a: Any, mode: str = "reduced") -> Any:
    """a (..., m, n) -> Q (..., m, k), R (..., k, n) with k = min(m, n), or k = m in the mode "complete"; "r" gives R alone.

    The first k columns of a must be independent where it is differentiated: MatrixError. Of the columns that "complete" adds,
    what turns them among themselves has the derivative 0.
    """
    if mode not in QR_MODES:
        raise ValueError(f"qr: the mode is one of {', '.join(map(repr, QR_MODES))}, not {mode!r}: LAPACK's raw factors have no derivative.")
    a = matrices("qr", a)
    full = mode == "complete"
    q, r = linalg.qr_parts(linalg.qr(a, full=full), *a.shape[-2:], full=full)
    return r if mode == "r" else QRResult(q, r)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """a (..., m, n) -> U (..., m, m), S (..., k) descending, Vh (..., n, n), k = min(m, n); k columns and rows if not full.

    Vectors of equal singular values are defined up to a rotation, whose derivative is 0; so are those that `full_matrices`
    adds. What depends on none of these choices, such as U @ Vh, or S itself, has its derivative.
    """
    a = linalg.hermitian(squares("svd", a)) if hermitian else matrices("svd", a)
    full = full_matrices and compute_uv
    u, s, vh = linalg.svd_parts(linalg.svd(a, full=full), *a.shape[-2:], full=full)
    return SVDResult(u, s, vh) if compute_uv else s


def svdvals(x: Any, /) -> Array:
    """The singular values, descending: x (..., m, n) -> (..., min(m, n))."""
    x = matrices("svdvals", x)
    return linalg.svd_parts(linalg.svd(x, full=False), *x.shape[-2:], full=False)[1]


def eigh(a: Any, UPLO: str | None = None) -> EighResult:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n), in columns, of Hermitian matrices a (..., n, n).

    Of other matrices the Hermitian part is taken, so that gradients are Hermitian; UPLO "L" or "U" reads one triangle
    alone, as NumPy does. Vectors of equal eigenvalues are defined up to a rotation, whose derivative is 0: functions of the
    eigenvalues and of whole eigenspaces have their derivatives there, v @ diag(f(w)) @ v^H has not. Source: Giles 2008, 3.1.
    """
    a = squares("eigh", a, "linalg.svd takes any matrix.")
    if UPLO is not None:
        if UPLO.upper() not in ("L", "U"):
            raise ValueError(f"eigh: UPLO is 'L' or 'U', for the triangle that is read, or None, for both; not {UPLO!r}.")
        lower = np.tri(a.shape[-1], dtype=bool)
        a = elementwise.where(linalg.like(lower if UPLO.upper() == "L" else lower.T, a), a, linalg.H(a))
    return EighResult(*linalg.eigh_parts(linalg.eigh(a), a.shape[-1]))


def eigvalsh(a: Any, UPLO: str | None = None) -> Array:
    """The eigenvalues, ascending, of Hermitian matrices: a (..., n, n) -> (..., n)."""
    return eigh(a, UPLO).eigenvalues


def eig(a: Any) -> EigResult:
    """Eigenvalues (..., n) and eigenvectors (..., n, n), in columns of length 1, of a (..., n, n); complex always.

    NumPy's are real where all eigenvalues happen to be: a dtype that depends on the values. Vectors are defined up to a
    phase, whose derivative is 0. Raises MatrixError for the derivative at matrices with fewer vectors than axes. Source:
    Giles 2008, section 3.1.
    """
    a = squares("eig", a, "linalg.svd takes any matrix.")
    return EigResult(*linalg.eig_parts(linalg.eig(a), a.shape[-1]))


def eigvals(a: Any) -> Array:
    """The eigenvalues, complex: a (..., n, n) -> (..., n)."""
    return eig(a).eigenvalues
