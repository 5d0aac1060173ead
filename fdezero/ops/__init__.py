"""Every operation, declared once, by family. `fdezero.core.REGISTRY` lists them by name."""

from . import (
    convolution,
    elementwise,
    fourier,
    indexing,
    linalg,
    products,
    reductions,
    shape,
    special,
    unfolding,
    windows,
)

__all__ = [
    "convolution", "elementwise", "fourier", "indexing", "linalg", "products", "reductions", "shape", "special", "unfolding", "windows",
]  # fmt: skip
