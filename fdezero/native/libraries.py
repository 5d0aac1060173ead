"""C++ sources as loaded libraries: each is compiled once, and kept on disk."""

import contextlib
import ctypes
import functools
import os
import re
import weakref
from pathlib import Path

from ..errors import MissingExtraError
from . import disk
from .compilers import Compiler, compiler

SOURCES = Path(__file__).parent.parent / "ops" / "sources"


def source(name: str) -> str:
    """The C++ source `name` of an operation. It lies beside the operations, in `fdezero/ops/sources`."""
    return (SOURCES / f"{name}.cpp").read_text(encoding="utf-8")


def library(source: str, *more: str) -> ctypes.CDLL:
    """A source as a loaded library. Each source is compiled once in a process, and on disk once for a compiler and a processor.

    `more` are options that overrule the usual ones.
    Raises MissingExtraError, with the compiler's message, if the compiler fails.
    """
    # Comments name lines of the user's files, which make no difference.
    return _library(compiler(), re.sub(r" *//[^\n]*", "", source), *more)


@functools.lru_cache(maxsize=256)
def _library(compiler: Compiler, source: str, *more: str) -> ctypes.CDLL:
    """The library, which stays loaded after its file is deleted."""
    key = "\n".join((compiler.key, *more, source))
    if (kept := disk.find(key)) is not None:
        try:
            return _loaded(compiler, kept)
        except OSError:
            disk.remove(kept)  # a whole file that this system cannot load: it is made anew
    import tempfile  # imported here because it takes longer than the whole compiler

    with tempfile.TemporaryDirectory(prefix="fdezero", ignore_cleanup_errors=True) as folder:
        try:
            made = compiler.run(source, Path(folder), more)
            with contextlib.suppress(OSError):  # another process may have made room already
                if (kept := disk.keep(key, made)) is not None:
                    return _loaded(compiler, kept)
            return _loaded(compiler, made)
        except OSError as error:
            raise MissingExtraError(f"the C++ compiler {' '.join(compiler.command)} failed. It says: {error}") from None


def _loaded(compiler: Compiler, place: Path) -> ctypes.CDLL:
    compiler.load_needed()
    loaded = ctypes.CDLL(str(place))
    weakref.finalize(loaded, _unload, loaded._handle).atexit = False  # every function of the library keeps it alive
    return loaded


def _unload(handle: int) -> None:
    """Unload a library that no function needs any more. Python itself never does."""
    if os.name == "posix":
        import _ctypes  # the module behind ctypes, the only way to the system's dlclose

        _ctypes.dlclose(handle)
