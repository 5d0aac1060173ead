"""Schur's decomposition of one matrix, from eigenvectors: NumPy does not have it."""

from typing import Any

import numpy as np

from .matrices import H

TOLERANCE = 64 * float(np.finfo(float).eps)  # what may lie below the diagonal, relative to the norm of the matrix

FAR = 1e140


def _times_power_of_two(a: Any, exponent: int) -> Any:
    half = exponent // 2
    return a * 2.0**half * 2.0 ** (exponent - half)


def schur(a: Any) -> tuple[Any, Any]:
    """A unitary q and an upper triangular t with a = q @ t @ q^H: a (n, n) -> q (n, n), t (n, n), complex128.

    The eigenvectors, made orthonormal one after the other, give the first columns of q. Each eigenvector has a small residual, so
    the first column is always good; those after it are good until eigenvectors become almost parallel. What is left is a smaller
    matrix with eigenvectors of its own, also if it is defective.
    """
    size = float(abs(a).max(initial=0))
    if 0 < size < 1 / FAR or FAR < size < np.inf:  # squares of entries would vanish or overflow
        exponent = int(np.frexp(size)[1])
        q, t = schur(_times_power_of_two(a, -exponent))
        return q, _times_power_of_two(t, exponent)
    n = a.shape[-1]
    q, t, start = np.eye(n, dtype=complex), a.astype(complex), 0
    allowed = TOLERANCE * float(np.linalg.norm(t))
    if not np.isfinite(allowed):
        return np.full_like(t, np.nan), np.full_like(t, np.nan)
    while start < n - 1:
        rest = t[start:, start:]
        if np.linalg.norm(np.tril(rest, -1)) <= allowed:
            break
        u = np.linalg.qr(np.linalg.eig(rest)[1])[0]
        rest = H(u) @ rest @ u
        good = np.linalg.norm(np.tril(rest, -1), axis=0) <= allowed
        count = max(1, int(np.argmin(good)) if not good.all() else len(good))
        rest[:, :count] = np.triu(rest)[:, :count]
        q[:, start:] = q[:, start:] @ u
        t[:start, start:] = t[:start, start:] @ u
        t[start:, start:] = rest
        start += count
    return q, np.triu(t)
