"""Constant folding: operations on constants alone are computed while compiling."""

import numpy as np

from ...core import Region
from ..graph import Constant, Graph, Instruction, Rewritten, rewritten
from .views import read_only


def fold_constants(graph: Graph) -> Graph:
    """Compute now what depends on constants alone."""

    def folded(instruction: Instruction) -> Rewritten:
        operation = instruction.operation
        if isinstance(operation, Region) or not all(isinstance(atom, Constant) for atom in instruction.inputs):
            return None
        with np.errstate(all="ignore"):
            value = operation(
                *[atom.value for atom in instruction.inputs if isinstance(atom, Constant)], **instruction.params
            )
        return [], [Constant(read_only(value))]

    return rewritten(graph, folded)
