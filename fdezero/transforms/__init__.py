"""Transformations of functions: derivatives in both modes, Jacobians and Hessians, linear maps, batching, custom rules."""

from .batching import vmap
from .collectives import pmean, psum
from .custom import custom_jvp, custom_vjp
from .derivatives import elementwise_grad, grad_and_aux, hessian, hvp, jacfwd, jacobian, jacrev
from .forward import jvp
from .linear import linear_transpose, linearize
from .reverse import grad, stop_gradient, value_and_grad, vjp
from .vector import ravel

__all__ = [
    "custom_jvp", "custom_vjp", "elementwise_grad", "grad", "grad_and_aux", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
    "linear_transpose", "linearize", "pmean", "psum", "ravel", "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
