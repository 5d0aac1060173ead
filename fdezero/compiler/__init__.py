"""The compiler: pure functions recorded by example, and run as generated in-place NumPy or CuPy source."""

from .api import Compiled, Recording, compile  # noqa: A004, the field's word
from .branches import checkpoint, cond
from .closures import closure_converted
from .graph import Constant, Graph, Instruction, Variable
from .implicit import custom_linear_solve, custom_root
from .scans import scan
from .whiles import while_loop

__all__ = [
    "Compiled", "Constant", "Graph", "Instruction", "Recording", "Variable", "checkpoint", "closure_converted", "compile", "cond",
    "custom_linear_solve", "custom_root", "scan", "while_loop",
]  # fmt: skip
