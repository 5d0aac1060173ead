"""Solutions of equations, with derivatives of the solution instead of the solver's steps."""

from .implicit import custom_linear_solve, custom_root
from .odeint import odeint

__all__ = ["custom_linear_solve", "custom_root", "odeint"]
