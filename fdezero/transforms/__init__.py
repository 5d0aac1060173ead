"""The transformations of functions: grad, value_and_grad, vjp, jvp, vmap, stop_gradient, custom_vjp."""

from .batching import vmap
from .custom import custom_vjp
from .forward import jvp
from .reverse import grad, stop_gradient, value_and_grad, vjp

__all__ = ["custom_vjp", "grad", "jvp", "stop_gradient", "value_and_grad", "vjp", "vmap"]
