"""Hypothesis strategies for structured matrices, also in batches: symmetric, positive definite, orthogonal and invertible.

An orthogonal matrix is the Cayley transform (1 - S)(1 + S)^-1 of a skew-symmetric S, times signs. S = 0 gives the identity, and
shrinking ends there. If S has simple fractions, the matrix has entries such as 0.6 and 0.8.
"""

from typing import Any

import numpy as np

from .strategies import Strategy, arrays, hnp, sizes, st

Batch = tuple[int, ...]
FRACTIONS = [
    0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    *[sign * k / 8 for k in (2, 6, 1, 3, 5, 7) for sign in (1, -1)],
]  # the simplest first


def symmetric(
    size: Any = None, *, batch: Any = (), dtype: Any = np.float64, min_value: float = -2.0, max_value: float = 2.0
) -> Strategy:
    """Symmetric matrices (..., n, n), Hermitian for a complex dtype, with entries between the bounds; they shrink to zeros.

    `size` is n and `batch` the shape of the batch; both may be strategies. By default n is 1 to 4, without a batch.
    """

    def mirrored(A: np.ndarray) -> np.ndarray:
        lower = np.tril(A, -1)
        diagonal = np.tril(np.triu(A)).real
        return (lower + np.conj(np.swapaxes(lower, -1, -2)) + diagonal).astype(A.dtype)

    return _squares(size, batch).flatmap(
        lambda shape: arrays(dtype, shape, min_value=min_value, max_value=max_value).map(mirrored)
    )


def orthogonal(size: Any = None, *, batch: Any = (), dtype: Any = np.float64) -> Strategy:
    """Orthogonal matrices (..., n, n), unitary for a complex dtype; they shrink to the identity."""
    return _squares(size, batch).flatmap(lambda shape: _orthogonal(shape, dtype)).map(lambda Q: Q.astype(dtype))


def positive_definite(
    size: Any = None, *, batch: Any = (), dtype: Any = np.float64, max_condition: float = 100.0
) -> Strategy:
    """Symmetric (Hermitian) matrices (..., n, n) with eigenvalues from 1 to `max_condition`; they shrink to the identity."""

    def made(shape: Batch) -> Strategy:
        def build(Q: np.ndarray, scales: np.ndarray) -> np.ndarray:
            A = Q * scales[..., None, :] @ np.conj(np.swapaxes(Q, -1, -2))
            return ((A + np.conj(np.swapaxes(A, -1, -2))) / 2).astype(dtype)

        return st.builds(build, _orthogonal(shape, dtype), _scales(shape[:-1], max_condition))

    return _squares(size, batch).flatmap(made)


def invertible(size: Any = None, *, batch: Any = (), dtype: Any = np.float64, max_condition: float = 100.0) -> Strategy:
    """Matrices (..., n, n) with singular values from 1 to `max_condition`; they shrink to the identity."""

    def made(shape: Batch) -> Strategy:
        parts = (_orthogonal(shape, dtype), _scales(shape[:-1], max_condition), _orthogonal(shape, dtype))
        return st.builds(lambda U, scales, V: ((U * scales[..., None, :]) @ V).astype(dtype), *parts)

    return _squares(size, batch).flatmap(made)


def _squares(size: Any, batch: Any) -> Strategy:
    batches = batch if isinstance(batch, st.SearchStrategy) else st.just(tuple(batch))
    return st.tuples(batches, sizes(size, 1, 4)).map(lambda found: (*found[0], found[1], found[1]))


def _orthogonal(shape: Batch, dtype: Any) -> Strategy:
    """Orthogonal matrices in double precision."""
    fractions = st.sampled_from(FRACTIONS)
    complex_ = np.dtype(dtype).kind == "c"
    entries = st.builds(complex, fractions, fractions) if complex_ else fractions
    wide = np.complex128 if complex_ else np.float64

    def build(S: np.ndarray, flips: np.ndarray) -> np.ndarray:
        S = np.tril(S, -1)
        S = S - np.conj(np.swapaxes(S, -1, -2))
        one = np.eye(shape[-1])
        return np.where(flips, -1.0, 1.0)[..., None, :] * np.linalg.solve(one + S, one - S)

    return st.builds(build, _drawn(wide, shape, entries), _drawn(bool, shape[:-1], st.booleans()))


def _scales(shape: Batch, most: float) -> Strategy:
    """Numbers from 1 to `most`, evenly spaced on a logarithmic scale."""
    return _drawn(np.float64, shape, st.sampled_from([f for f in FRACTIONS if f >= 0])).map(lambda powers: most**powers)


def _drawn(dtype: Any, shape: Batch, elements: Strategy) -> Strategy:
    return hnp.arrays(dtype, shape, elements=elements, fill=st.nothing())
