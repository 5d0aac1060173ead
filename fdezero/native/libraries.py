"""The C++ compiler, found once, and its libraries."""

import ctypes
import functools
import os
import shutil
import weakref
from pathlib import Path

from ..errors import MissingExtraError
from .preamble import IN_VECTORS_OF_TWO, ONE, preamble

SOURCES = Path(__file__).parent.parent / "ops" / "sources"
# No contraction, because it would round differently from NumPy. Integers wrap around. A sine and a cosine stay two calls, because
# their common call, sincos, has no vector form.
OPTIONS = "-O3 -std=c++17 -fno-math-errno -fno-trapping-math -ffp-contract=off -fwrapv -fopenmp-simd -w".split()
OPTIONS += [f"-fno-builtin-{name}" for name in ("sin", "cos", "sinf", "cosf")]
NATIVE, IN_VECTORS = "-march=native", ('-DVECTOR=__attribute__((simd("notinbranch"), const))', "-lmvec")


def source(name: str) -> str:
    """The C++ source `name` of an operation. It lies beside the operations, in `fdezero/ops/sources`."""
    return (SOURCES / f"{name}.cpp").read_text(encoding="utf-8")


def compiler() -> tuple[str, tuple[str, ...]]:
    """The C++ compiler, named by the environment variable CXX or `c++`, and the options that it supports beyond the usual ones.

    Raises MissingExtraError if there is no compiler, or if it cannot make a library.
    """
    return _tried(os.environ.get("CXX", "c++"))


@functools.cache
def _tried(name: str) -> tuple[str, tuple[str, ...]]:
    found, told = shutil.which(name), ""
    if found is None:
        raise MissingExtraError(
            f"fd.compile(..., native=True) needs a C++ compiler, but {name!r} is not on the path. Install one (such as GCC), name it "
            "in the environment variable CXX, or leave native out."
        )
    given = {**dict.fromkeys(ONE, ""), **dict.fromkeys(IN_VECTORS_OF_TWO, ", 2")}
    calls = " ".join([f"{v}[i] = {name}({v}[i]{more});" for name, more in given.items() for v in "xy"])
    probe = f'extern "C" void probe(float *x, double *y) {{ for (int i = 0; i < 1000; i++) {{ {calls} }} }}'
    # Prefer vector functions, if compiler and C library have them all; then code for this very processor; then plain code.
    for options in ((NATIVE, *IN_VECTORS), (NATIVE,), ()):
        try:
            _library(found, options, probe)
        except OSError as error:
            told = str(error)
        else:
            return found, options
    raise MissingExtraError(f"fd.compile(..., native=True): {found} cannot make a library. It says: {told}")


def library(source: str, *more: str) -> ctypes.CDLL:
    """A source as a loaded library. Each source is compiled once in a process. `more` are options that overrule the usual ones."""
    return _library(*compiler(), source, *more)


@functools.lru_cache(maxsize=256)
def _library(compiler: str, options: tuple[str, ...], source: str, *more: str) -> ctypes.CDLL:
    """The library, which stays loaded after its file is deleted. Raises OSError with the compiler's message if it fails."""
    import subprocess  # these two are imported here because they take longer than the whole compiler
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fdezero", ignore_cleanup_errors=True) as folder:
        text, library = Path(folder) / "loops.cpp", Path(folder) / "loops.so"
        text.write_text(f"{preamble()}\n{source}", encoding="utf-8")
        given, linked = options[:2], options[2:]
        command = [compiler, *OPTIONS, *more, *given, "-shared", "-fPIC", str(text), "-o", str(library), *linked, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip())
        loaded = ctypes.CDLL(str(library))
        weakref.finalize(loaded, _unload, loaded._handle).atexit = False  # every function of the library keeps it alive
        return loaded


def _unload(handle: int) -> None:
    """Unload a library that no function needs any more. Python itself never does."""
    if os.name == "posix":
        import _ctypes  # the module behind ctypes, the only way to the system's dlclose

        _ctypes.dlclose(handle)
