"""Native code: the C++ compiler, the libraries that it makes, and calls of their functions.

An operation with native code gives it as `Primitive(..., native=f)`. `fd.compile(..., native=True)` uses it.
"""

import typing as _typing

if _typing.TYPE_CHECKING:
    from .calls import PARAMETERS, How, Like, function_of, in_parts
    from .compilers import compiler
    from .libraries import library, source
else:

    def __getattr__(name: str) -> _typing.Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import calls, libraries  # on first use: they load threads and ctypes, which a gradient does not need

        value = globals()[name] = getattr(libraries if hasattr(libraries, name) else calls, name)
        return value


__all__ = ["PARAMETERS", "How", "Like", "compiler", "function_of", "in_parts", "library", "source"]
