"""Loops: groups of elementwise operations as C++ that the system's compiler makes fast, for `fd.compile(f, native=True)`.

A group is one pass over memory: the body that a GPU's kernel has (`kernels`), in loops over the axes, whose strides are constants.
Sums, products, quotients, roots and comparisons are rounded as NumPy rounds them; functions such as exp come from the C library, in
vectors where it has them (glibc's libmvec), and may differ from NumPy's by units in the last place. So may the sum that ends a group,
and the sign of a zero.
"""

import ctypes
import functools
import itertools
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingExtraError, RangeError
from ..graph import Atom, Instruction, Variable, row_strides
from ..planning import expressions
from ..planning.fuse import Fused
from ..running.blocks import WORKERS
from . import kernels

# Functions of the C library: of one argument, of two, and those that compilers write in place.
ONE = "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh cbrt erf erfc".split()
TWO = "pow atan2 hypot fmod".split()
IN_VECTORS_OF_TWO = ("pow", "atan2", "hypot")
IN_PLACE = {"sqrt": 1, "fabs": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "fmax": 2, "fmin": 2, "copysign": 2, "nextafter": 2}
TESTS = ("isnan", "isinf", "isfinite", "signbit")
KNOWN = {*ONE, *TWO, *IN_PLACE, *TESTS, "sizeof"}

# No contraction, which would round otherwise than NumPy; integers that wrap around. A sine and a cosine made one call of sincos would not
# be in vectors.
OPTIONS = "-O3 -std=c++17 -fno-math-errno -fno-trapping-math -ffp-contract=off -fwrapv -fopenmp-simd -w".split()
OPTIONS += [f"-fno-builtin-{name}" for name in ("sin", "cos", "sinf", "cosf")]
NATIVE, IN_VECTORS = "-march=native", ('-DVECTOR=__attribute__((simd("notinbranch"), const))', "-lmvec")
# Of the parameters: arrays, and numbers by the kind of their dtype.
PARAMETERS: dict[str, tuple[str, Any]] = {
    "array": ("void *", ctypes.py_object), "f": ("double ", ctypes.c_double), "b": ("bool ", ctypes.c_bool),
    "i": ("long long ", ctypes.c_longlong), "u": ("unsigned long long ", ctypes.c_ulonglong),
}  # fmt: skip


def is_expressible(instruction: Instruction) -> bool:
    """Whether the operation, on operands of these dtypes and layouts, has a place in a loop."""
    atoms = [*instruction.inputs, instruction.output]
    if any(not atom.dtype.isnative or atom.dtype.name not in expressions.C_TYPES or atom.dtype == np.float16 for atom in atoms):
        return False
    if any(stride % atom.dtype.itemsize for atom in atoms for stride in _strides(atom)) or not instruction.output.size:
        return False
    if instruction.output.dtype.name in ("uint32", "uint64") and any(atom.dtype.kind == "f" for atom in instruction.inputs):
        return False  # what a negative float is then, compilers do not agree on
    loop = expressions.loop_of(instruction)
    called = set(re.findall(r"\b([a-z_]\w*)\(", loop.c)) if loop is not None else set()
    return called <= KNOWN and expressions.is_expressible(instruction)


def _strides(atom: Atom) -> tuple[int, ...]:
    if isinstance(atom, Variable):
        return atom.strides or ()
    return atom.value.strides if isinstance(atom.value, np.ndarray) else ()


def _passed_by_value(atom: Atom) -> bool:
    return isinstance(atom, Variable) and atom.kind != "array"


def write(name: str, fused: Fused, is_steady: Callable[[Atom], bool]) -> tuple[list[Atom], list[str], list[str], int]:
    """The group as a function in C++: its operands, outputs last; the kinds of its parameters; its lines; how far the first loop goes.

    Operands that are not steady, and may lie in memory otherwise in another call, are taken in C order.
    """
    operands, (_, *body) = kernels.write(fused.body)
    body = [re.sub(r"^bool (t\d+) = (.*?);", r"int \1 = !!(\2);", line) for line in body]  # GCC makes no vectors of bool
    outputs = fused.body.outputs
    named = [*[(f"x{i}", atom) for i, atom in enumerate(operands)], *[(f"y{i}", atom) for i, atom in enumerate(outputs)]]
    arrays = [atom for _, atom in named if not _passed_by_value(atom)]
    lying = [_strides(atom) if is_steady(atom) else row_strides(atom.shape, atom.dtype.itemsize) for atom in arrays]
    shape, steps = _axes(arrays, lying, fused.body.instructions[0].output)
    kinds, begin, loads, stores = [], [], [], []
    moves = iter(steps)
    for local, atom in named:
        c_type = expressions.C_TYPES[atom.dtype.name]
        if _passed_by_value(atom):
            kinds.append(atom.dtype.kind)
            begin.append(f"const {c_type} {local} = {local}_;")
            continue
        where = " + ".join([f"i{axis} * {step}" if step != 1 else f"i{axis}" for axis, step in enumerate(next(moves)) if step]) or "0"
        kinds.append("array")
        begin.append(f"{atom.dtype.name}_ *{local}s = DATA({atom.dtype.name}_, {local}_);")
        truth = atom.dtype.kind == "b"
        if local.startswith("x"):
            loads.append(f"const int {local} = !!(int){local}s[{where}];" if truth else f"const {c_type} {local} = {local}s[{where}];")
        else:
            loads.append(f"{'int' if truth else c_type} {local};")
            stores.append(f"{local}s[{where}] = {local};")
    parameters = [f"{PARAMETERS[kind][0]}{local}_" for kind, (local, _) in zip(kinds, named, strict=True)]
    total = fused.total
    if total is not None:
        begin.append("double total = 0;")
        made: list[Atom] = [step.output for step in fused.body.instructions]
        stores.append(f"total += t{made.index(total.inputs[0])};")
    lines = [f'extern "C" {"double" if total is not None else "void"} {name}({", ".join(parameters)}, long long start, long long stop) {{']
    lines += [f"    {line}" for line in begin]
    depth = len(shape)
    for axis, length in enumerate(shape):
        indent = "    " * (axis + 1)
        if axis == depth - 1:
            lines.append(f"{indent}#pragma omp simd" + (" reduction(+:total)" if total is not None else ""))
        start, stop = ("start", "stop") if axis == 0 else ("0", str(length))
        lines.append(f"{indent}for (long long i{axis} = {start}; i{axis} < {stop}; i{axis}++) {{")
    lines += ["    " * (depth + 1) + line for line in [*loads, *body, *stores]]
    lines += ["    " * (axis + 1) + "}" for axis in reversed(range(depth))]
    lines += ["    return total;"] if total is not None else []
    return [*operands, *outputs], kinds, [*lines, "}"], shape[0]


def _axes(atoms: Sequence[Atom], strides: Sequence[tuple[int, ...]], like: Variable) -> tuple[list[int], list[list[int]]]:
    """The loops that go through all arrays: their lengths, and for each array its steps in entries. Axes that lie alike are one loop."""
    ndim = len(like.shape)
    steps = []
    for atom, own in zip(atoms, strides, strict=True):
        full = [0 if n == 1 else s // atom.dtype.itemsize for n, s in zip(atom.shape, own, strict=True)]
        steps.append([0] * (ndim - len(full)) + full)
    order = sorted((axis for axis in range(ndim) if like.shape[axis] > 1), key=lambda axis: (-abs((like.strides or ())[axis]), axis))
    lengths: list[int] = []
    found: list[list[int]] = [[] for _ in atoms]
    for axis in order:
        n = like.shape[axis]
        if lengths and all(f[-1] == s[axis] * n for f, s in zip(found, steps, strict=True)):
            lengths[-1] *= n
            for f, s in zip(found, steps, strict=True):
                f[-1] = s[axis]
        else:
            lengths.append(n)
            for f, s in zip(found, steps, strict=True):
                f.append(s[axis])
    return (lengths, found) if lengths else ([1], [[0] for _ in atoms])


def _preamble() -> str:
    """What the kernels' C++ takes for granted, on a CPU. The data of an array stand behind the head of its object."""
    lines = ["#ifndef VECTOR", "#define VECTOR", "#endif"]
    types = {**expressions.C_TYPES, "bool": "unsigned char"}
    lines += [f"typedef {c_type} {name}_ __attribute__((aligned(1)));" for name, c_type in types.items() if name != "float16"]
    lines += [f"#define DATA(type, x) (*(type **)((char *)(x) + {object.__basicsize__}))"]
    for end, suffix in (("", ""), ("_F", "f")):
        lines += [f"#define CUDART_INF{end} __builtin_inf{suffix}()", f'#define CUDART_NAN{end} __builtin_nan{suffix}("")']
    lines += [f"#define {name}(x) __builtin_{name}(x)" for name in TESTS]
    for name, count in [*dict.fromkeys(ONE, 1).items(), *dict.fromkeys(TWO, 2).items(), *IN_PLACE.items()]:
        of = lambda c_type, count=count: ", ".join([f"{c_type} x{i}" for i in range(count)])
        given = ", ".join([f"x{i}" for i in range(count)])
        vector = "VECTOR " if name in ONE or name in IN_VECTORS_OF_TWO else ""
        lines.append(f'extern "C" {{ {vector}double {name}({of("double")}) noexcept; {vector}float {name}f({of("float")}) noexcept; }}')
        lines.append(f"static inline float {name}({of('float')}) {{ return {name}f({given}); }}")
    return "\n".join(lines)


def compiler() -> tuple[str, tuple[str, ...]]:
    """The C++ compiler, named by the environment variable CXX, and the options it takes beyond the usual ones.

    Raises MissingExtraError where there is none, or it makes no library.
    """
    return _tried(os.environ.get("CXX", "c++"))


@functools.cache
def _tried(name: str) -> tuple[str, tuple[str, ...]]:
    found, told = shutil.which(name), ""
    if found is None:
        raise MissingExtraError(
            f"fd.compile(..., native=True) needs a C++ compiler, and there is no {name!r} on the path: install one (GCC, say), name it "
            "in the environment variable CXX, or leave native out."
        )
    given = {**dict.fromkeys(ONE, ""), **dict.fromkeys(IN_VECTORS_OF_TWO, ", 2")}
    calls = " ".join([f"{v}[i] = {name}({v}[i]{more});" for name, more in given.items() for v in "xy"])
    probe = f'extern "C" void probe(float *x, double *y) {{ for (int i = 0; i < 1000; i++) {{ {calls} }} }}'
    # Functions of vectors where the C library has them all and the compiler asks for them; this very processor where it knows that.
    for options in ((NATIVE, *IN_VECTORS), (NATIVE,), ()):
        try:
            _library(found, options, probe)
        except OSError as error:
            told = str(error)
        else:
            return found, options
    raise MissingExtraError(f"fd.compile(..., native=True): {found} makes no library. It says: {told}")


def compiled(source: str) -> ctypes.CDLL:
    """The functions of a source as a library, compiled once in a process."""
    return _library(*compiler(), source)


@functools.lru_cache(maxsize=256)
def _library(compiler: str, options: tuple[str, ...], source: str) -> ctypes.CDLL:
    """The library, which stays loaded when its file is gone. Raises OSError with what the compiler says where it fails."""
    import subprocess  # these two only here: they take longer to import than the whole compiler
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fdezero", ignore_cleanup_errors=True) as folder:
        text, library = Path(folder) / "loops.cpp", Path(folder) / "loops.so"
        text.write_text(f"{_preamble()}\n{source}", encoding="utf-8")
        given, linked = options[:2], options[2:]
        command = [compiler, *OPTIONS, *given, "-shared", "-fPIC", str(text), "-o", str(library), *linked, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip())
        return ctypes.CDLL(str(library))


def whole(number: Any) -> int:
    """An integer as an int, which C has 64 bits for. Raises RangeError beyond them."""
    if not -(2**63) <= number < 2**63:
        raise RangeError(f"fd.compile(..., native=True) takes integers of 64 bits, got {number}: make it a float, or leave native out.")
    return int(number)


def function(library: ctypes.CDLL, name: str, kinds: Sequence[str], length: int, threads: int = 1, total: Any = None) -> Callable[..., Any]:
    """A group to call with its operands and outputs; on several threads if that is asked for. Its sum as a number of the dtype `total`."""
    found = library[name]
    found.argtypes = [*[PARAMETERS[kind][1] for kind in kinds], ctypes.c_longlong, ctypes.c_longlong]
    found.restype = None if total is None else ctypes.c_double
    count = min(threads, length)
    cuts = [length * i // count for i in range(count + 1)]
    first, *others = itertools.pairwise(cuts)

    def run(*operands: Any) -> Any:
        started = [WORKERS.submit(found, *operands, *part) for part in others]
        sums = [found(*operands, *first), *[part.result() for part in started]]
        return total(sum(sums)) if total is not None else None

    return run
