"""Every operation, declared once, by family. `fdezero.core.REGISTRY` lists them by name."""

from . import (
    attention,
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
    "attention", "convolution", "elementwise", "fourier", "indexing", "linalg", "products", "reductions", "shape", "special",
    "unfolding", "windows",
]  # fmt: skip
