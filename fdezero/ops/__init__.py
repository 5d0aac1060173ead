"""Every operation, declared once, by family. `fdezero.core.REGISTRY` lists them by name."""

from . import elementwise, fourier, indexing, linalg, products, reductions, shape, special  # isort: skip
from . import documents  # isort: skip, of what is declared above

__all__ = ["documents", "elementwise", "fourier", "indexing", "linalg", "products", "reductions", "shape", "special"]
