"""The compiler: pure functions recorded by example, and run as generated in-place NumPy or CuPy source."""

from .api import Compiled, Recording, compile
from .graph import Constant, Graph, Instruction, Variable

__all__ = ["Compiled", "Constant", "Graph", "Instruction", "Recording", "Variable", "compile"]
