"""Writes C++ loops for `fd.compile(f, native=True)`: the system's compiler makes fast code of groups of elementwise operations.

A group is one pass over memory: the body of its GPU kernel (`kernels`), inside loops whose strides are constants. Sums, products,
quotients, roots and comparisons are rounded as in NumPy. Functions such as exp come from the C library, vectorised if it has vector
forms (glibc's libmvec), and may differ from NumPy's in the last places. So may a sum that ends a group, and the sign of a zero.
"""

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...native import PARAMETERS, function_of, in_parts
from ...native.preamble import KNOWN, STRETCH
from ...ops.kernels import C_TYPES
from ..graph import Atom, Instruction, Variable, row_strides, strides_of
from ..planning import expressions
from ..planning.fuse import Fused, Part
from . import kernels

# GCC's elimination of partial redundancies makes choices between truth values, which it cannot put into vectors. Its threading of jumps
# copies what follows a choice, a root for example, and vectors then compute both copies.
OPTIONS = ("-fno-tree-pre", "-fno-thread-jumps")


def is_expressible(instruction: Instruction) -> bool:
    """Whether the operation can be written as a loop for operands of these dtypes and layouts."""
    atoms = [*instruction.inputs, instruction.output]
    if any(not atom.dtype.isnative or atom.dtype.name not in C_TYPES or atom.dtype == np.float16 for atom in atoms):
        return False
    if (
        any(stride % atom.dtype.itemsize for atom in atoms for stride in strides_of(atom))
        or not instruction.output.size
    ):
        return False
    if instruction.output.dtype.name in ("uint32", "uint64") and any(
        atom.dtype.kind == "f" for atom in instruction.inputs
    ):
        return False  # compilers disagree on the value of a negative float as an unsigned integer
    loop = expressions.loop_of(instruction)
    called = set(re.findall(r"\b([a-z_]\w*)\(", loop.c)) if loop is not None else set()
    return called <= KNOWN and expressions.is_expressible(instruction)


def by_value(atom: Atom) -> bool:
    """Whether an operand is a number, which a C++ function takes as it is."""
    return isinstance(atom, Variable) and atom.kind != "array"


class Written(NamedTuple):
    """A group as a function in C++. The first loop has `length` rounds, which threads share."""

    operands: list[Atom]  # outputs last
    kinds: list[str]  # of the parameters, one for each operand: see PARAMETERS
    lines: list[str]
    length: int


class _Array(NamedTuple):
    """An array in a loop: the names of its entry, the pointer to it and the parameter; `part` says where it lies."""

    local: str
    pointer: str
    given: str
    atom: Atom
    part: Part


class _Text(NamedTuple):
    """The lines of a function: before its loops, and at the start and the end of the innermost one."""

    begin: list[str]
    loads: list[str]
    stores: list[str]


def write(
    name: str, fused: Fused, is_steady: Callable[[Atom], bool], streamed: frozenset[Variable] = frozenset()
) -> Written:
    """The group as a function in C++. An operand that is not steady, whose layout may differ in another call, is taken in C order.

    Results that are `streamed` are stored past the caches, if they lie as the loop goes.
    """
    operands, (_, *body) = kernels.write(fused.body)
    body = [re.sub(r"^bool (t\d+) = (.*?);", r"int \1 = !!(\2);", line) for line in body]  # GCC does not vectorise bool
    # Clang takes a float beyond the narrow integers to the nearest of them. NumPy goes by way of an int, and so does GCC.
    body = [
        re.sub(r"^((?:un)?signed char|(?:unsigned )?short) (t\d+) = (.*?);", r"\1 \2 = (int)(\3);", x) for x in body
    ]
    total, own = fused.total, lambda atom: Part(atom, -1, 0)
    arrays = [_Array(f"x{i}", f"x{i}s", f"x{i}_", x, fused.views.get(x, own(x))) for i, x in enumerate(operands)]
    for i, y in enumerate(fused.body.outputs):
        parts = fused.stores.get(y, (own(y),))
        # A result may lie in several arrays, and then each of them is a parameter.
        ends = ["", *map(str, range(1, len(parts)))]
        arrays += [
            _Array(f"out{i}", f"out{i}s{k}", f"out{i}_{k}", y, part) for k, part in zip(ends, parts, strict=True)
        ]
    passed = {array.part.whole: array.given for array in reversed(arrays)}  # each array once
    passed = dict(reversed(passed.items()))
    lying = {x: strides_of(x) if is_steady(x) else row_strides(x.shape, x.dtype.itemsize) for x in passed}
    text = _Text([], [], [])
    for i, y in enumerate(fused.body.outputs):
        text.loads.append(f"{'int' if y.dtype.kind == 'b' else C_TYPES[y.dtype.name]} out{i};")
    moving = [array for array in arrays if not by_value(array.atom)]
    shape, steps = _axes(
        [array.atom for array in moving],
        [lying[array.part.whole] for array in moving],
        fused.body.instructions[0].output,
    )
    far = []
    for array, moves in zip(moving, steps, strict=True):
        whole = array.part.whole
        offset = array.part.offset(lying[whole]) // array.atom.dtype.itemsize if array.part.start else 0
        is_far = array.atom in streamed and array.local.startswith("out") and whole is array.atom and moves == [1]
        far += [array] if is_far else []
        _add_array(text, array, moves, passed[whole], offset, is_far)
    for array in arrays:
        if by_value(array.atom):
            text.begin.append(f"const {C_TYPES[array.atom.dtype.name]} {array.local} = {array.given};")
    if total is not None:
        made: list[Atom] = [step.output for step in fused.body.instructions]
        text.begin.append("double total = 0;")
        text.stores.append(f"total += t{made.index(total.inputs[0])};")
    kinds = [atom.dtype.kind if by_value(atom) else "array" for atom in passed]
    named = zip(kinds, passed.values(), strict=True)
    parameters = ", ".join([f"{PARAMETERS[kind][0]}{given}" for kind, given in named])
    result, end = ("double", ["    return total;"]) if total is not None else ("void", [])
    lines = [
        f'extern "C" {result} {name}({parameters}, long long start, long long stop) {{',
        *[f"    {line}" for line in text.begin],
        *_loops(shape, [*text.loads, *body, *text.stores], total is not None, far),
        *end,
        "}",
    ]
    return Written([*passed], kinds, lines, shape[0])


def _add_array(text: _Text, array: _Array, steps: list[int], given: str, offset: int, is_far: bool) -> None:
    """Add the lines that read an operand (x) or write a result (out) which moves by `steps` entries in each loop.

    It begins `offset` entries behind the first one of the parameter `given`. A result that goes far is written nearby first.
    """
    local, pointer, dtype = array.local, array.pointer, array.atom.dtype
    where = (
        " + ".join([f"i{axis} * {step}" if step != 1 else f"i{axis}" for axis, step in enumerate(steps) if step]) or "0"
    )
    behind = f" + {offset}" if offset else ""
    text.begin.append(f"{dtype.name}_ *{pointer} = DATA({dtype.name}_, {given}){behind};")
    if is_far:
        text.stores.append(f"{pointer}_near[i0 - begin] = {local};")
    elif not local.startswith("x"):
        text.stores.append(f"{pointer}[{where}] = {local};")
    elif dtype.kind == "b":
        text.loads.append(f"const int {local} = !!(int){pointer}[{where}];")
    else:
        text.loads.append(f"const {C_TYPES[dtype.name]} {local} = {pointer}[{where}];")


def _loops(shape: Sequence[int], body: Sequence[str], is_sum: bool, far: Sequence[_Array]) -> Iterator[str]:
    """The lines of nested loops over `shape` around `body`. The outermost goes from `start` to `stop`.

    Results that go `far` are computed by stretches that stay in the first cache, and then stored past the caches.
    """
    if far:
        yield "    for (long long begin = start, end; begin < stop; begin = end) {"
        yield f"        end = begin - begin % {STRETCH} + {STRETCH};"
        yield "        end = end < stop ? end : stop;"
        for array in far:
            yield f"        alignas(64) {array.atom.dtype.name}_ {array.pointer}_near[{STRETCH}];"
        yield "        #pragma omp simd" + (" reduction(+:total)" if is_sum else "")
        yield "        for (long long i0 = begin; i0 < end; i0++) {"
        yield from ["            " + line for line in body]
        yield "        }"
        for array in far:
            yield f"        stream({array.pointer} + begin, {array.pointer}_near, end - begin);"
        yield from ["    }", "    streamed();"]
        return
    depth = len(shape)
    for axis, length in enumerate(shape):
        indent = "    " * (axis + 1)
        if axis == depth - 1:
            yield f"{indent}#pragma omp simd" + (" reduction(+:total)" if is_sum else "")
        start, stop = ("start", "stop") if axis == 0 else ("0", str(length))
        yield f"{indent}for (long long i{axis} = {start}; i{axis} < {stop}; i{axis}++) {{"
    yield from ["    " * (depth + 1) + line for line in body]
    yield from ["    " * (axis + 1) + "}" for axis in reversed(range(depth))]


def _axes(
    atoms: Sequence[Atom], strides: Sequence[tuple[int, ...]], like: Variable
) -> tuple[list[int], list[list[int]]]:
    """The loops over all arrays: their lengths, and each array's steps in entries. Neighbouring axes become one loop if they can."""
    ndim = len(like.shape)
    steps = []
    for atom, own in zip(atoms, strides, strict=True):
        full = [0 if n == 1 else s // atom.dtype.itemsize for n, s in zip(atom.shape, own, strict=True)]
        steps.append([0] * (ndim - len(full)) + full)
    order = sorted(
        (axis for axis in range(ndim) if like.shape[axis] > 1),
        key=lambda axis: (-abs((like.strides or ())[axis]), axis),
    )
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


def whole(number: Any) -> int:
    """An integer as an int of 64 bits, as C++ needs it. Raises OverflowError beyond 64 bits: then the call runs as recorded."""
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"{number} has more than 64 bits")
    return int(number)


def function(
    library: ctypes.CDLL, name: str, kinds: Sequence[str], length: int, threads: int = 1, total: Any = None
) -> Callable[..., Any]:
    """A group as a function of its operands and outputs, split over `threads`. It returns the group's sum in the dtype `total`."""
    run = in_parts(function_of(library, name, [*kinds, "i", "i"], "f" if total is not None else None), length, threads)
    return run if total is None else lambda *operands: total(sum(run(*operands)))
