"""Every operation, declared once, by family. `fdezero.core.REGISTRY` lists them by name."""

from . import elementwise, fourier, indexing, linalg, products, reductions, shape, special

__all__ = ["elementwise", "fourier", "indexing", "linalg", "products", "reductions", "shape", "special"]
