"""Kernels: a group of elementwise operations on the GPU as the text of one `cupy.ElementwiseKernel`, in CUDA's C++.

Every value has a local variable of its own dtype, so that it is rounded where eager code rounds it. An operation computes in
the dtype of NumPy's loop for its operands, which are cast to it: NVRTC takes neither `exp` of an integer nor `fmax` of a float
and a double. Halves are computed as floats, as CuPy does. What has no expression for its dtypes stays a call of CuPy.
"""

import re
from typing import NamedTuple

import numpy as np

from .graph import Atom, Constant, Graph, Instruction, Variable

C_TYPES = {
    "float64": "double", "float32": "float", "float16": "float16", "bool": "bool",
    "int64": "long long", "int32": "int", "int16": "short", "int8": "signed char",
    "uint64": "unsigned long long", "uint32": "unsigned int", "uint16": "unsigned short", "uint8": "unsigned char",
}  # fmt: skip
SUFFIXES = {"float64": "", "float32": "f", "float16": "f", "int64": "LL", "int32": "", "uint64": "ULL", "uint32": "u"}

# The expressions that hold for integers and truth values, too; and what stands in the place of those that do not.
FOR_ALL = set(
    "add subtract multiply negative positive square maximum minimum where clip sign equal not_equal less less_equal greater greater_equal "
    "bitwise_and bitwise_or bitwise_xor left_shift right_shift invert logical_and logical_or logical_xor logical_not".split()
)
INTEGERS = {
    "absolute": "x0 < 0 ? -x0 : x0", "fmax": "x0 >= x1 ? x0 : x1", "fmin": "x0 <= x1 ? x0 : x1",
    "fmod": "x1 == 0 || (x1 < 0 && x1 == -1) ? 0 : x0 % x1",
    "remainder": "x1 == 0 || (x1 < 0 && x1 == -1) ? 0 : x0 % x1 != 0 && (x0 % x1 < 0) != (x1 < 0) ? x0 % x1 + x1 : x0 % x1",
    "isnan": "false", "isinf": "false", "isfinite": "true", "floor": "x0", "ceil": "x0", "trunc": "x0",
}  # fmt: skip
TRUTHS = {"absolute": "x0", "invert": "!x0"}
# Signed integers wrap around in NumPy. In C++ that is left undefined, so that these are computed in unsigned ones.
WRAPPING = {"add", "subtract", "multiply", "negative", "square"}

# Products and sums are not contracted to one rounding: a group gives the bits of the operations one by one.
OPTIONS = "options=('--fmad=false',)"
# CuPy brings the type of halves along where a parameter has it, but not for a local variable.
HALVES = "preamble='#include \"cupy/float16.cuh\"', "
NEW = ("fused", "matmul", "sum", "max")  # operations whose result is never a view of an operand
MOST = 40  # operands of a kernel: CUDA takes 4 KB of arguments, an array of a few axes is about 100 bytes


class _Loop(NamedTuple):
    """What an instruction is in C++: an expression of x0, x1, ..., and the dtypes that it takes these in."""

    c: str
    operands: tuple[np.dtype, ...]


def is_expressible(instruction: Instruction) -> bool:
    """Whether the operation, on operands of these dtypes, has a place in a kernel."""
    loop = _loop(instruction)
    if loop is None or any(isinstance(atom, Constant) and atom.value is None for atom in instruction.inputs):
        return False
    try:
        for atom, dtype in zip(instruction.inputs, loop.operands, strict=True):
            _operand(atom, dtype, "")
    except (OverflowError, LookupError):
        return False
    return True


def _loop(instruction: Instruction) -> _Loop | None:
    name, y = instruction.name, instruction.output
    if y.dtype.name not in C_TYPES or not all(atom.dtype.name in C_TYPES for atom in instruction.inputs):
        return None
    operands = _dtypes(instruction)
    if not operands:
        return None
    kinds = {dtype.kind for dtype in operands}
    if name in ("astype", "astype_discrete"):
        return _Loop("x0", operands)
    c = getattr(instruction.operation, "c", "")
    if kinds != {"f"} and name not in FOR_ALL:
        c = INTEGERS.get(name, "") if "f" not in kinds else ""
    if kinds == {"b"}:
        c = TRUTHS.get(name, c)
    return _Loop(c, operands) if c else None


def _dtypes(instruction: Instruction) -> tuple[np.dtype, ...]:
    """The dtypes of NumPy's loop; none where it is not known, or of two kinds, as for the comparison of int64 and uint64."""
    name, y, inputs = instruction.name, instruction.output, instruction.inputs
    if name in ("astype", "astype_discrete"):
        return (inputs[0].dtype,)
    if name == "where":
        return (inputs[0].dtype, y.dtype, y.dtype)
    if name == "clip":
        return (y.dtype,) * 3
    ufunc = getattr(np, name, None)
    if not isinstance(ufunc, np.ufunc):
        return ()
    weak = {"f": float, "i": int}
    given = [weak.get(atom.dtype.kind, atom.dtype) if atom.kind == "number" else atom.dtype for atom in inputs]
    try:
        *operands, result = ufunc.resolve_dtypes((*given, None))
    except TypeError:
        return ()
    return tuple(operands) if result == y.dtype and len(set(operands)) == 1 else ()


def _expression(instruction: Instruction, names: list[str]) -> str:
    """The instruction in C++, its operands by name."""
    loop = _loop(instruction)
    assert loop is not None
    wide = instruction.name in WRAPPING
    pairs = zip(instruction.inputs, loop.operands, names, strict=True)
    operands = [_operand(atom, dtype, name, unsigned=wide) for atom, dtype, name in pairs]
    if instruction.output.dtype == np.float16 and loop.operands[-1] not in (np.float16, np.float32):
        operands = [f"(float){operand}" for operand in operands]  # a half is made of a float alone
    suffix = "f" if loop.operands[-1].itemsize < 8 else ""
    c = re.sub(r"\d+\.\d+", lambda number: number[0] + suffix, loop.c)
    return re.sub(r"\bx(\d)\b", lambda x: operands[int(x[1])], c)


def _operand(atom: Atom, dtype: np.dtype, name: str, *, unsigned: bool = False) -> str:
    """An operand in the dtype of the loop: a literal, or a variable with a cast where it is of another type."""
    if isinstance(atom, Constant) and not atom.shape and (atom.kind != "array" or isinstance(atom.value, np.ndarray)):
        return literal(atom.value, dtype)
    if atom.kind == "number" and dtype.kind in "iub" and dtype != np.int64:
        raise OverflowError("a Python number that the dtype may not hold")
    target = "float" if dtype == np.float16 else C_TYPES[dtype.name]
    if unsigned and target in ("int", "long long"):
        target = f"unsigned {target}"
    if C_TYPES[atom.dtype.name] == target:
        return name
    # A Python integer becomes a float by way of a double, as in NumPy.
    return f"({target})(double){name}" if atom.kind == "number" and target == "float" else f"({target}){name}"


def literal(value: object, dtype: np.dtype) -> str:
    """A number of this dtype in C++. Raises OverflowError where the dtype cannot hold it."""
    if dtype.kind == "b":
        return "true" if value else "false"
    number = dtype.type(value)
    if dtype.kind == "f" and not np.isfinite(number):
        constant = ("CUDART_NAN" if np.isnan(number) else "CUDART_INF") + ("" if dtype == np.float64 else "_F")
        return f"(-{constant})" if number < 0 else constant
    if dtype.kind in "iu" and dtype.itemsize < 4:
        return f"({C_TYPES[dtype.name]})({number})"
    if dtype.kind == "i" and number == np.iinfo(dtype).min:
        return f"({number + 1}{SUFFIXES[dtype.name]} - 1)"
    text = f"{number.item()!r}" if dtype.itemsize == 8 or dtype.kind != "f" else str(np.float32(number))
    text += SUFFIXES[dtype.name]
    return f"({text})" if text.startswith("-") else text


def operands_of(body: Graph) -> list[Atom]:
    """What a kernel of these instructions is given: variables, and the constants that are arrays there."""
    held = [atom for step in body.instructions for atom in step.inputs if isinstance(atom, Constant) and not _is_host(atom)]
    return list(dict.fromkeys([*body.inputs, *held]))


def _is_host(constant: Constant) -> bool:
    return constant.kind != "array" or (isinstance(constant.value, np.ndarray) and not constant.shape)


def write(body: Graph) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of the kernel of a group; its parameters and lines."""
    operands = operands_of(body)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = []
    for i, step in enumerate(body.instructions):
        names = [local.get(atom, "") for atom in step.inputs]
        lines.append(f"{C_TYPES[step.output.dtype.name]} t{i} = {_expression(step, names)};{_comment(step)}")
        local[step.output] = f"t{i}"
    # All is read before anything is written, for a result may lie where an operand does.
    lines += [f"y{i} = {local[y]};" for i, y in enumerate(body.outputs)]
    inputs = ", ".join([f"{atom.dtype.name} x{i}" for i, atom in enumerate(operands)])
    outputs = ", ".join([f"{y.dtype.name} y{i}" for i, y in enumerate(body.outputs)])
    return operands, (f'"{inputs}", "{outputs}"', *lines)


def options_of(body: Graph) -> str:
    """What the kernel of a group is compiled with."""
    is_local = any(step.output.dtype == np.float16 for step in body.instructions)
    is_given = any(atom.dtype == np.float16 for atom in (*operands_of(body), *body.outputs))
    return (HALVES if is_local and not is_given else "") + OPTIONS


def _comment(step: Instruction) -> str:
    line = str(step.line or "").encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f"  // {line}" if line else ""


def written_over(graph: Graph) -> dict[Variable, Variable]:
    """For results of kernels the operand, of the same shape and dtype, that they are written over: it is not needed any more.

    Only memory that kernels, products and sums have made, and nothing else has read: its result may be a view.
    """
    fresh: set[Atom] = set()
    shared: set[Atom] = set(graph.outputs)
    last: dict[Atom, int] = {}
    for number, instruction in enumerate(graph.instructions):
        last.update(dict.fromkeys(instruction.inputs, number))
        if instruction.name not in NEW:
            shared.update(instruction.inputs)
    over: dict[Variable, Variable] = {}
    for number, instruction in enumerate(graph.instructions):
        if instruction.name == "fused":
            free = [x for x in instruction.inputs if x in fresh and x not in shared and last[x] == number]
            found: dict[Variable, Variable] = {}
            for y in instruction.outputs:
                x = next((x for x in free if (x.shape, x.dtype) == (y.shape, y.dtype) and x not in found.values()), None)
                if isinstance(x, Variable):
                    found[y] = x
            if len(found) == len(instruction.outputs):  # a kernel is given all of its outputs or none
                over.update(found)
        if instruction.name in NEW:
            fresh.update(y for y in instruction.outputs if y.device != "cpu")
    return over
