"""C expressions: which operations have one for their dtypes, and what it says.

Every value has a local variable of its own dtype, so it is rounded where eager code rounds it. An operation computes in
the dtype of NumPy's loop, and its operands are cast to that dtype: NVRTC takes neither `exp` of an integer nor `fmax` of a float
and a double. Halves are computed as floats, as in CuPy. An operation without an expression for its dtypes stays a call of CuPy.
"""

from typing import NamedTuple

import numpy as np

from ...core import Region
from ...ops.kernels import C_TYPES, WEAK, cast, operand_dtypes, substituted
from ..graph import Atom, Constant, Graph, Instruction

SUFFIXES = {"float64": "", "float32": "f", "float16": "f", "int64": "LL", "int32": "", "uint64": "ULL", "uint32": "u"}


MOST_OPERANDS = 40  # of a kernel: CUDA takes 4 KB of arguments, and an array of a few axes needs about 100 bytes


class _Loop(NamedTuple):
    """An instruction in C++: an expression of x0, x1, ..., and the dtypes in which it takes these operands."""

    c: str
    operands: tuple[np.dtype, ...]


def is_expressible(instruction: Instruction) -> bool:
    """Whether the operation has a C expression for operands of these dtypes."""
    loop = loop_of(instruction)
    if loop is None or any(isinstance(atom, Constant) and atom.value is None for atom in instruction.inputs):
        return False
    try:
        for atom, dtype in zip(instruction.inputs, loop.operands, strict=True):
            _operand(atom, dtype, "")
    except (OverflowError, LookupError):
        return False
    return True


def loop_of(instruction: Instruction) -> _Loop | None:
    operation, y = instruction.operation, instruction.output
    if (
        isinstance(operation, Region)
        or y.dtype.name not in C_TYPES
        or not all(atom.dtype.name in C_TYPES for atom in instruction.inputs)
    ):
        return None
    given = [
        WEAK.get(atom.dtype.kind, atom.dtype) if atom.kind == "number" else atom.dtype for atom in instruction.inputs
    ]
    operands = operand_dtypes(operation, given, y.dtype)
    c = operation.expression({dtype.kind for dtype in operands}) if operands else ""
    return _Loop(c, operands) if c else None


def expression_of(instruction: Instruction, names: list[str]) -> str:
    """The instruction in C++, with its operands by name."""
    loop = loop_of(instruction)
    assert loop is not None
    wide = not isinstance(instruction.operation, Region) and instruction.operation.wraps
    pairs = zip(instruction.inputs, loop.operands, names, strict=True)
    operands = [_operand(atom, dtype, name, unsigned=wide) for atom, dtype, name in pairs]
    return substituted(loop.c, operands, loop.operands[-1], instruction.output.dtype)


def _operand(atom: Atom, dtype: np.dtype, name: str, *, unsigned: bool = False) -> str:
    """An operand in the loop's dtype: a literal, or a variable with a cast if its type differs."""
    if isinstance(atom, Constant) and not atom.shape and (atom.kind != "array" or isinstance(atom.value, np.ndarray)):
        return literal(atom.value, dtype)
    if atom.kind == "number" and dtype.kind in "iub" and dtype != np.int64:
        raise OverflowError("a Python number that the dtype may be too small for")
    return cast(name, atom.dtype, dtype, weak=atom.kind == "number", unsigned=unsigned)


def literal(value: object, dtype: np.dtype) -> str:
    """A number of this dtype in C++. Raises OverflowError if the dtype cannot hold it."""
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
    """The operands of a kernel with these instructions: its variables, and constants that are arrays."""
    held = [
        atom for step in body.instructions for atom in step.inputs if isinstance(atom, Constant) and not _is_host(atom)
    ]
    return list(dict.fromkeys([*body.inputs, *held]))


def _is_host(constant: Constant) -> bool:
    return constant.kind != "array" or (isinstance(constant.value, np.ndarray) and not constant.shape)
