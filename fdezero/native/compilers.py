"""The C++ compiler: which one is found, the options that it supports, and what it says if it fails."""

import ctypes
import functools
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import MissingExtraError
from . import disk
from .identity import identity_of
from .preamble import IN_VECTORS_OF_TWO, ONE, preamble

# Contraction is off, because it would round differently from NumPy. Integers wrap around.
OPTIONS = "-O3 -std=c++17 -fno-math-errno -fno-trapping-math -ffp-contract=off -fwrapv -fopenmp-simd -w -shared".split()
OPTIONS += ["-fPIC"] if os.name == "posix" else []
USUAL = ("c++", "g++", "clang++")
HELP = "Install one (pip install 'fdezero[native]' brings one along), name one in the environment variable CXX, or leave native out."


class Form(NamedTuple):
    """A way to make libraries: options, what is linked, and libraries of the system that must be loaded before.

    With `own`, functions such as exp are the library's own: see `preamble`.
    """

    options: tuple[str, ...]
    linked: tuple[str, ...] = ("-lm",)
    loaded: tuple[str, ...] = ()
    own: bool = True


# Prefer vector functions, if compiler and C library have them all; then code for this very processor; then plain code.
NATIVE = "-march=native"
# A sine and a cosine stay two calls, because their common call, sincos, has no vector form.
APART = tuple([f"-fno-builtin-{name}" for name in ("sin", "cos", "sinf", "cosf")])
FORMS = {
    "clang-vectors": Form((NATIVE, "-fveclib=libmvec"), ("-lmvec", "-lm")),
    "gcc-vectors": Form(
        (NATIVE, '-DVECTOR=__attribute__((simd("notinbranch"), const))', *APART),
        (
            "-lmvec",
            "-lm",
            "-nodefaultlibs",
            "-lc",
            "-lgcc",
        ),  # without C++'s library, whose search takes a sixth of the time
        own=False,
    ),
    "native": Form((NATIVE,)),
    "plain": Form(()),
}
# Zig would first build a C library of its own, which takes a minute. Without one, the names are looked up in the system's.
ZIG_FORMS = {
    "zig-vectors": Form((NATIVE, "-fveclib=libmvec", "-nostdlib"), (), ("libm.so.6", "libmvec.so.1")),
    "zig-native": Form((NATIVE, "-nostdlib"), (), ("libm.so.6",)),
    "zig-linked": Form((NATIVE, "-nostdlib++")),
    "zig-plain": Form(("-nostdlib++",)),
}


class Compiler(NamedTuple):
    """A compiler that makes libraries: the words of its command, its identity, and the name of its form."""

    command: tuple[str, ...]
    identity: str
    form: str

    @property
    def key(self) -> str:
        """A text that differs for compilers, options, C libraries and processors that may give other libraries."""
        return "\n".join((self.identity, *OPTIONS, *map(str, self.way), self.preamble))

    @property
    def preamble(self) -> str:
        """The definitions in front of every source."""
        return preamble(self.way.own)

    @property
    def way(self) -> Form:
        return {**FORMS, **ZIG_FORMS}[self.form]

    def run(self, source: str, folder: Path, more: Sequence[str] = ()) -> Path:
        """A library made in `folder`. Raises OSError with the compiler's message."""
        import subprocess  # imported here because it takes longer than the whole compiler

        text, library = folder / "source.cpp", folder / "library.so"
        text.write_text(f"{self.preamble}\n{source}", encoding="utf-8", errors="backslashreplace")
        if not self.form.startswith("gcc"):
            refused = ("-fno-tree-", "-fno-thread-")  # by Zig
            more = [option for option in more if not option.startswith(refused)]
        words = [*self.command, *OPTIONS, *more, *self.way.options, str(text), "-o", str(library), *self.way.linked]
        # Zig has two caches of its own: one would grow for ever, and the other needs a home that can be written to.
        variables = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder)}
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, env=variables)
        if done.returncode and b"global cache directory" in done.stderr:
            variables["ZIG_GLOBAL_CACHE_DIR"] = str(folder)
            done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, env=variables)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
            raise OSError(said.rstrip(".") or f"nothing, and its exit status is {done.returncode}")
        return library

    def load_needed(self) -> None:
        """Load the libraries whose functions are looked up by name. Raises OSError if one is missing."""
        for name in self.way.loaded:
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)


def compiler() -> Compiler:
    """The C++ compiler: the one that the environment variable CXX names, one of the usual names, or that of the extra `native`.

    Raises MissingExtraError if there is no compiler, or if none can make a library.
    """
    return _found(os.environ.get("CXX", ""), os.environ.get("PATH", ""))


@functools.lru_cache(maxsize=16)
def _found(named: str, path: str) -> Compiler:
    told = []
    for command in _candidates(named):
        found = shutil.which(command[0])
        if found is None:
            told.append(f"{command[0]!r} is not on the path")
            continue
        try:
            return _tried((found, *command[1:]))
        except OSError as error:
            told.append(f"{shlex.join(command)} cannot make a library. It says: {error}")
    if not named:
        told += ["the package ziglang is not installed"] * (importlib.util.find_spec("ziglang") is None)
    missing = f"CXX={named!r} names none" if named else "there is none"
    raise MissingExtraError(
        f"fd.compile(..., native=True) needs a C++ compiler, but {missing}: {'; '.join(told)}. {HELP}"
    )


def _candidates(named: str) -> Iterator[tuple[str, ...]]:
    """The commands to try. The value of CXX is the path of a program, or a program with arguments, such as `ccache g++`."""
    if named:
        yield (named,) if shutil.which(named) else tuple(_words(named)) or (named,)
        return
    seen = set()
    for name in USUAL:
        place = os.path.realpath(shutil.which(name) or name)
        if place not in seen:
            seen.add(place)
            yield (name,)
    package = importlib.util.find_spec("ziglang")
    if package is not None and package.submodule_search_locations:
        program = Path(package.submodule_search_locations[0]) / ("zig.exe" if os.name == "nt" else "zig")
        yield (str(program), "c++") if program.exists() else (sys.executable, "-m", "ziglang", "c++")


def _words(command: str) -> list[str]:
    """The words of a command as the system's shell reads them: on Windows a backslash is part of a path."""
    try:
        words = shlex.split(command, posix=os.name != "nt")
    except ValueError:  # a quote that does not end
        return [command]
    return [word.strip('"') for word in words] if os.name == "nt" else words


def _tried(command: tuple[str, ...]) -> Compiler:
    """The compiler of this command, with the first form that works. Raises OSError with the message for the last one."""
    identity = identity_of(command)
    is_zig = "c++" in command[1:] and any(Path(word).stem in ("zig", "ziglang", "python-zig") for word in command)
    forms = list(ZIG_FORMS if is_zig else FORMS)
    # A probe that another version made says nothing about this one.
    noted = "\n".join((identity, *OPTIONS, str(FORMS | ZIG_FORMS), preamble(), _probing()))
    known = disk.note_of(noted)
    if known in forms:
        return Compiler(command, identity, known)
    for form in forms:
        found = Compiler(command, identity, form)
        try:
            _probe(found)
        except OSError as error:
            told = error
        else:
            disk.keep_note(noted, form)
            return found
    raise told


def _probing() -> str:
    """A source that calls all functions."""
    given = {**dict.fromkeys(ONE, ""), **dict.fromkeys(IN_VECTORS_OF_TWO, ", 2")}
    calls = " ".join([f"{v}[i] = {name}({v}[i]{more});" for name, more in given.items() for v in "xy"])
    return f'extern "C" void probe(float *x, double *y) {{ for (int i = 0; i < 1000; i++) {{ {calls} }} }}'


def _probe(compiler: Compiler) -> None:
    """Make and load a library that calls all functions. Raises OSError if that fails."""
    import tempfile  # imported here because it takes longer than the whole compiler

    with tempfile.TemporaryDirectory(prefix="fdezero", ignore_cleanup_errors=True) as folder:
        library = compiler.run(_probing(), Path(folder))
        compiler.load_needed()
        ctypes.CDLL(str(library))
