"""Random matrices for tests. Each table of cases has its own generator, so a change in one table leaves the numbers of others alone."""

from types import ModuleType

import numpy as np
import pytest


class Matrices:
    """Draws matrices, on the last two axes of a shape."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def unit(self, *shape: int) -> np.ndarray:
        """Complex numbers, normal in both parts."""
        return self.normal(*shape) + 1j * self.normal(*shape)

    def regular(self, *shape: int) -> np.ndarray:
        """Square matrices far from singular ones."""
        return self.normal(*shape) / 2 + 2 * np.eye(shape[-1])

    def positive_definite(self, *shape: int) -> np.ndarray:
        x = self.normal(*shape)
        return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])

    def spread(self, *shape: int) -> np.ndarray:
        """Matrices with singular values near 1, 2, 3, ...; small changes do not flip the signs of their factors."""
        m, n = shape[-2:]
        return np.arange(1, m + 1)[:, None] * np.eye(m, n) + self.rng.uniform(-0.3, 0.3, shape)

    def apart(self, *shape: int) -> np.ndarray:
        """Entries of either sign whose absolute values are well apart from each other and from 0."""
        n = int(np.prod(shape))
        sizes = 0.4 + 1.6 * (self.rng.permutation(n) + 0.5) / n
        return (sizes * self.rng.choice([-1, 1], n)).reshape(shape)


def skip_where_signs_differ(name: str, cupy: ModuleType) -> None:
    """LAPACK and cuSOLVER choose different signs for vectors, so their numbers cannot be compared."""
    if name in {"svd", "eigh", "eig", "qr"} and hasattr(cupy, "__file__"):  # not the stand-in
        pytest.skip(f"the factors of {name} have other signs on a GPU")
