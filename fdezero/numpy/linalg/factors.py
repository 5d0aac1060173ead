"""Factors of matrices under NumPy's names: cholesky, qr, svd, eigenvalues and eigenvectors."""

from typing import Any, NamedTuple

import numpy as np

from ...ops import elementwise, linalg
from ..arguments import Array
from .arguments import matrices, squares

__all__ = ["cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd", "svdvals"]

QR_MODES = ("reduced", "complete", "r")


class QRResult(NamedTuple):
    """The unitary factor and the upper triangular factor."""

    Q: Array
    R: Array


class EighResult(NamedTuple):
    """Real eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """Complex eigenvalues, and eigenvectors as columns of length 1."""

    eigenvalues: Array
    eigenvectors: Array


class SVDResult(NamedTuple):
    """Factors of a = U @ diag(S) @ Vh."""

    U: Array
    S: Array
    Vh: Array


def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """The lower triangular L with a = L @ L^H: a (..., n, n) -> (..., n, n); with `upper` its conjugate transpose.

    Only the Hermitian part of `a` is factored, so gradients are Hermitian. Raises MatrixError if that part is not
    positive definite. Source: Giles 2008, section 3.3.
    """
    lower = linalg.cholesky(squares("cholesky", a))
    return linalg.H(lower) if upper else lower


def qr(a: Any, mode: str = "reduced") -> Any:
    """The factors of a = Q @ R: a (..., m, n) -> Q (..., m, k), R (..., k, n), with k = min(m, n).

    The mode "complete" has k = m, and "r" returns R alone. Differentiation raises MatrixError unless the first k
    columns of a are independent. Columns that "complete" adds are defined up to a rotation, whose derivative is 0.
    """
    if mode not in QR_MODES:
        raise ValueError(f"qr: mode must be one of {', '.join(map(repr, QR_MODES))}, got {mode!r}.")
    a = matrices("qr", a)
    full = mode == "complete"
    q, r = linalg.qr_parts(linalg.qr(a, full=full), *a.shape[-2:], full=full)
    return r if mode == "r" else QRResult(q, r)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """The singular value decomposition: a (..., m, n) -> U (..., m, m), S (..., k) descending, Vh (..., n, n).

    Here k = min(m, n); unless `full_matrices`, U has k columns and Vh k rows. Vectors of equal singular values, and
    those that `full_matrices` adds, are defined up to a rotation, whose derivative is 0. Functions that do not depend
    on these choices, such as S or U @ Vh, have their exact derivative.
    """
    a = linalg.hermitian(squares("svd", a)) if hermitian else matrices("svd", a)
    full = full_matrices and compute_uv
    u, s, vh = linalg.svd_parts(linalg.svd(a, full=full), *a.shape[-2:], full=full)
    return SVDResult(u, s, vh) if compute_uv else s


def svdvals(x: Any, /) -> Array:
    """The singular values in descending order: x (..., m, n) -> (..., min(m, n))."""
    x = matrices("svdvals", x)
    return linalg.svd_parts(linalg.svd(x, full=False), *x.shape[-2:], full=False)[1]


def eigh(a: Any, UPLO: str | None = None) -> EighResult:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n), as columns, of Hermitian matrices a (..., n, n).

    Only the Hermitian part of `a` is used, so gradients are Hermitian; UPLO "L" or "U" reads one triangle, as in NumPy.
    Eigenvectors of equal eigenvalues are defined up to a rotation, whose derivative is 0. There, functions of the
    eigenvalues and of whole eigenspaces have exact derivatives, but v @ diag(f(w)) @ v^H does not. Source: Giles 2008,
    section 3.1.
    """
    a = squares("eigh", a, "linalg.svd takes any matrix.")
    if UPLO is not None:
        if UPLO.upper() not in ("L", "U"):
            raise ValueError(f"eigh: UPLO must be 'L' or 'U', the triangle to read, or None for both, got {UPLO!r}.")
        lower = np.tri(a.shape[-1], dtype=bool)
        a = elementwise.where(linalg.like(lower if UPLO.upper() == "L" else lower.T, a), a, linalg.H(a))
    return EighResult(*linalg.eigh_parts(linalg.eigh(a), a.shape[-1]))


def eigvalsh(a: Any, UPLO: str | None = None) -> Array:
    """The eigenvalues of Hermitian matrices in ascending order: a (..., n, n) -> (..., n)."""
    return eigh(a, UPLO).eigenvalues


def eig(a: Any) -> EigResult:
    """Eigenvalues (..., n) and eigenvectors (..., n, n), as columns of length 1, of a (..., n, n); always complex.

    NumPy returns real arrays if all eigenvalues are real, so that its dtype depends on the values. Eigenvectors are
    defined up to a phase, whose derivative is 0. Differentiation raises MatrixError if a matrix has fewer than n
    independent eigenvectors. Source: Giles 2008, section 3.1.
    """
    a = squares("eig", a, "linalg.svd takes any matrix.")
    return EigResult(*linalg.eig_parts(linalg.eig(a), a.shape[-1]))


def eigvals(a: Any) -> Array:
    """The eigenvalues, always complex: a (..., n, n) -> (..., n)."""
    return eig(a).eigenvalues
