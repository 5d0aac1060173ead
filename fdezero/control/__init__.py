"""Control flow that stays in a compiled program: loops, branches, checkpoints."""

from .checkpoint import checkpoint
from .cond import cond
from .scan import scan
from .while_loop import while_loop

__all__ = ["checkpoint", "cond", "scan", "while_loop"]
