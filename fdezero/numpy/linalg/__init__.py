"""Linear algebra under the names and signatures of `numpy.linalg`, and of SciPy for a few more, batched over leading axes."""

from numpy.linalg import LinAlgError

from . import equations, factors, norms, products, solutions
from .equations import *
from .factors import *
from .norms import *
from .products import *
from .solutions import *

__all__ = ["LinAlgError"]
__all__ += equations.__all__
__all__ += factors.__all__
__all__ += norms.__all__
__all__ += products.__all__
__all__ += solutions.__all__


def __dir__() -> list[str]:
    return __all__
