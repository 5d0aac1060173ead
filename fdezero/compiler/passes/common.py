"""Common subexpressions: the same operation on the same operands is computed once, in either order where that keeps the bits."""

from typing import Any

from ...core import Region
from ...ops import elementwise
from ..graph import Constant, Graph, Instruction, Rewritten, Variable, rewritten

COMMUTATIVE = (elementwise.add, elementwise.multiply)


def merge_common(graph: Graph) -> Graph:
    """Compute the same operation on the same operands only once."""
    found: dict[Any, tuple[Variable, ...]] = {}

    def merged(instruction: Instruction) -> Rewritten:
        key = None if isinstance(instruction.operation, Region) else key_of(instruction)
        if key is None:
            return None
        known = found.setdefault(key, instruction.outputs)
        return None if known is instruction.outputs else ([], known)

    return rewritten(graph, merged)


def key_of(instruction: Instruction) -> Any:
    """Equal for operations that compute the same; None if a parameter cannot be compared."""
    operands: Any = tuple([atom.key if isinstance(atom, Constant) else atom for atom in instruction.inputs])
    y = instruction.output
    # NumPy may round a complex product in the order of its factors.
    if instruction.operation in COMMUTATIVE and y.dtype.kind != "c":
        operands = frozenset(operands), y.strides
    key = (instruction.name, operands, tuple(instruction.params.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key
