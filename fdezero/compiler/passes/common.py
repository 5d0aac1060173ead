"""Common subexpressions: the same operation on the same operands is computed once."""

from typing import Any

from ...core import Region
from ..graph import Constant, Graph, Instruction, Rewritten, Variable, rewritten


def merge_common(graph: Graph) -> Graph:
    """Compute the same operation on the same operands only once."""
    found: dict[Any, tuple[Variable, ...]] = {}

    def merged(instruction: Instruction) -> Rewritten:
        key = None if isinstance(instruction.operation, Region) else _key(instruction)
        if key is None:
            return None
        known = found.setdefault(key, instruction.outputs)
        return None if known is instruction.outputs else ([], known)

    return rewritten(graph, merged)


def _key(instruction: Instruction) -> Any:
    operands = tuple([atom.key if isinstance(atom, Constant) else atom for atom in instruction.inputs])
    key = (instruction.name, operands, tuple(instruction.params.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key
