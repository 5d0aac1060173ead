"""Every operation, declared once, by family. `fdezero.core.REGISTRY` lists them by name."""

from . import elementwise, indexing, linalg, products, reductions, shape

__all__ = ["elementwise", "indexing", "linalg", "products", "reductions", "shape"]
