"""The compiler: pure functions recorded by example, and run as generated in-place NumPy or CuPy source."""

from .api import Compiled, Recording, compile  # noqa: A004, the field's word
from .branches import checkpoint, cond
from .graph import Constant, Graph, Instruction, Variable
from .loops import scan, while_loop

__all__ = [
    "Compiled", "Constant", "Graph", "Instruction", "Recording", "Variable", "checkpoint", "compile", "cond", "scan", "while_loop",
]  # fmt: skip
