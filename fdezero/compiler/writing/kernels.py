"""Kernels: a group of elementwise operations on the GPU as the text of one `cupy.ElementwiseKernel`, in CUDA's C++.

Every value has a local variable of its own dtype, so that it is rounded where eager code rounds it. An operation computes in
the dtype of NumPy's loop for its operands, which are cast to it: NVRTC takes neither `exp` of an integer nor `fmax` of a float
and a double. Halves are computed as floats, as CuPy does. What has no expression for its dtypes stays a call of CuPy.
"""

import numpy as np

from ..graph import Atom, Graph, Instruction, Variable
from ..planning.expressions import C_TYPES, expression_of, operands_of
from ..planning.fuse import Fused

# Products and sums are not contracted to one rounding: a group gives the bits of the operations one by one.
OPTIONS = "options=('--fmad=false',)"
# CuPy brings the type of halves along where a parameter has it, but not for a local variable.
HALVES = "preamble='#include \"cupy/float16.cuh\"', "


def write(body: Graph) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of the kernel of a group; its parameters and lines."""
    operands = operands_of(body)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = []
    for i, step in enumerate(body.instructions):
        names = [local.get(atom, "") for atom in step.inputs]
        lines.append(f"{C_TYPES[step.output.dtype.name]} t{i} = {expression_of(step, names)};{_comment(step)}")
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
        if not instruction.operation.fresh:
            shared.update(instruction.inputs)
    over: dict[Variable, Variable] = {}
    for number, instruction in enumerate(graph.instructions):
        if isinstance(instruction.operation, Fused):
            free = [x for x in instruction.inputs if x in fresh and x not in shared and last[x] == number]
            found: dict[Variable, Variable] = {}
            for y in instruction.outputs:
                x = next((x for x in free if (x.shape, x.dtype) == (y.shape, y.dtype) and x not in found.values()), None)
                if isinstance(x, Variable):
                    found[y] = x
            if len(found) == len(instruction.outputs):  # a kernel is given all of its outputs or none
                over.update(found)
        if instruction.operation.fresh:
            fresh.update(y for y in instruction.outputs if y.device != "cpu")
    return over
