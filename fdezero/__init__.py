"""fdezero: functional automatic differentiation and deep learning on NumPy and CuPy."""

from . import errors, functions, nn, numpy, optim, random, tree
from .devices import array_module, device_of, gpu_available, to_device, to_numpy
from .numpy import at
from .transforms import custom_vjp, grad, jvp, stop_gradient, value_and_grad, vjp, vmap
from .tree import Frozen, Module, module, static

__version__ = "0.1.0"
