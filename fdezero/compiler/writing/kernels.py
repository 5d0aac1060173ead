"""Writes CUDA kernels: a group of elementwise operations on the GPU becomes the text of one `cupy.ElementwiseKernel`."""

import numpy as np

from ...devices import backend_named
from ...ops.kernels import C_TYPES, HALVES, OPTIONS
from ..graph import Atom, Graph, Instruction, Variable
from ..planning.expressions import expression_of, operands_of
from ..planning.fuse import Fused


def write(body: Graph) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of a group's kernel, and the kernel's text: its parameters, then its lines."""
    operands = operands_of(body)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = []
    for i, step in enumerate(body.instructions):
        names = [local.get(atom, "") for atom in step.inputs]
        lines.append(f"{C_TYPES[step.output.dtype.name]} t{i} = {expression_of(step, names)};{_comment(step)}")
        local[step.output] = f"t{i}"
    # All operands are read before anything is written, because a result may share an operand's memory.
    lines += [f"y{i} = {local[y]};" for i, y in enumerate(body.outputs)]
    inputs = ", ".join([f"{atom.dtype.name} x{i}" for i, atom in enumerate(operands)])
    outputs = ", ".join([f"{y.dtype.name} y{i}" for i, y in enumerate(body.outputs)])
    return operands, (f'"{inputs}", "{outputs}"', *lines)


def options_of(body: Graph) -> str:
    """The options that a group's kernel is compiled with."""
    is_local = any(step.output.dtype == np.float16 for step in body.instructions)
    is_given = any(atom.dtype == np.float16 for atom in (*operands_of(body), *body.outputs))
    return (f"preamble={HALVES!r}, " if is_local and not is_given else "") + f"options={OPTIONS}"


def _comment(step: Instruction) -> str:
    line = str(step.line or "").encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f"  // {line}" if line else ""


def written_over(graph: Graph) -> dict[Variable, Variable]:
    """For results of kernels, the operand that each may be written over: same shape and dtype, and no longer needed.

    The operand must come from an operation that makes fresh memory, and nothing else may have read it, because readers may be views.
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
                x = next(
                    (x for x in free if (x.shape, x.dtype) == (y.shape, y.dtype) and x not in found.values()), None
                )
                if isinstance(x, Variable):
                    found[y] = x
            if len(found) == len(instruction.outputs):  # a kernel takes memory for all of its outputs or for none
                over.update(found)
        if instruction.operation.fresh:
            fresh.update(y for y in instruction.outputs if backend_named(y.device).fuses_into_kernels)
    return over
