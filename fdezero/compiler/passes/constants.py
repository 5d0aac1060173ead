"""Constant folding: operations on constants alone are computed while compiling."""

from typing import Any

import numpy as np

from ...core import Region
from ..graph import Constant, Graph, Instruction, Rewritten, rewritten
from .common import key_of
from .views import read_only


def fold_constants(graph: Graph) -> Graph:
    """Compute now what depends on constants alone, and the same only once."""
    known: dict[Any, Constant] = {}

    def folded(instruction: Instruction) -> Rewritten:
        operation = instruction.operation
        if isinstance(operation, Region) or not all(isinstance(atom, Constant) for atom in instruction.inputs):
            return None
        key = key_of(instruction)
        if key is not None and key in known:
            return [], [known[key]]
        with np.errstate(all="ignore"):
            value = operation(
                *[atom.value for atom in instruction.inputs if isinstance(atom, Constant)], **instruction.params
            )
        found = Constant(read_only(value))
        if key is not None:
            known[key] = found
        return [], [found]

    return rewritten(graph, folded)
