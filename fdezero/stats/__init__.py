"""The usual distributions, under SciPy's names and signatures: `stats.norm.logpdf(x, loc, scale)`, `stats.gamma.ppf(q, a)`.

Functions are differentiable in all arguments but counts, to every order. They are right in both tails.
"""

from . import continuous, discrete, vectors
from .continuous import *
from .discrete import *
from .vectors import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += continuous.__all__
__all__ += discrete.__all__
__all__ += vectors.__all__


def __dir__() -> list[str]:
    return __all__
