"""The compiler: pure functions recorded by example, and run as generated in-place NumPy or CuPy source."""

from .api import Compiled, Recording, compile  # noqa: A004, the field's word
from .graph import Constant, Graph, Instruction, Variable
from .recording.closures import closure_converted

__all__ = ["Compiled", "Constant", "Graph", "Instruction", "Recording", "Variable", "closure_converted", "compile"]
