"""fdezero: functional automatic differentiation and deep learning on NumPy and CuPy."""

from . import data, errors, functions, io, nn, numpy, optim, random, special, stats, testing, tree
from .compiler import checkpoint, compile, cond, scan, while_loop  # noqa: A004, the field's word
from .debugging import debug, plot, trace
from .devices import array_module, device_of, gpu_available, to_device, to_numpy
from .io import load, save
from .numpy import at
from .transforms import custom_vjp, grad, jvp, stop_gradient, value_and_grad, vjp, vmap
from .tree import Frozen, Module, module, static

__version__ = "0.1.0"

__all__ = [
    "Frozen", "Module", "array_module", "at", "checkpoint", "compile", "cond", "custom_vjp", "data", "debug", "device_of", "errors",
    "functions", "gpu_available", "grad", "io", "jvp", "load", "module", "nn", "numpy", "optim", "plot", "random", "save", "scan",
    "special", "static", "stats", "stop_gradient", "testing", "to_device", "to_numpy", "trace", "tree", "value_and_grad", "vjp", "vmap",
    "while_loop",
]  # fmt: skip
