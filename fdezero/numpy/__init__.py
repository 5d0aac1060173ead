"""The NumPy-named face: the operations under the names and signatures people know, on arrays and traced values alike.

Constants and dtypes are NumPy's own, so that `fdezero.numpy` can stand where `numpy` stood.
"""

import typing as _typing

from . import arguments as _arguments
from . import (
    choosing,
    concatenators,
    creation,
    differences,
    dtypes,
    elementwise,
    fft,
    indexing,
    joining,
    linalg,
    logic,
    nans,
    padding,
    polynomials,
    products,
    reductions,
    running,
    sets,
    shape,
    sorting,
    special,
    statistics,
    triangles,
    ufuncs,
)
from . import protocol as _protocol
from .choosing import *
from .concatenators import *
from .creation import *
from .differences import *
from .dtypes import *
from .dtypes import __array_api_version__, __array_namespace_info__
from .elementwise import *
from .indexing import *
from .joining import *
from .logic import *
from .nans import *
from .padding import *
from .polynomials import *
from .products import *
from .reductions import *
from .running import *
from .sets import *
from .shape import *
from .sorting import *
from .special import *
from .statistics import *
from .triangles import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__ = ["fft", "linalg"]
__all__ += choosing.__all__
__all__ += concatenators.__all__
__all__ += creation.__all__
__all__ += differences.__all__
__all__ += dtypes.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += logic.__all__
__all__ += nans.__all__
__all__ += padding.__all__
__all__ += polynomials.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += running.__all__
__all__ += sets.__all__
__all__ += shape.__all__
__all__ += sorting.__all__
__all__ += special.__all__
__all__ += statistics.__all__
__all__ += triangles.__all__

_protocol.install(globals())

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        if name != "bfloat16":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _arguments.bfloat16()  # on first use: it loads ml_dtypes


def __dir__() -> list[str]:
    return __all__
