"""fdezero: functional automatic differentiation and deep learning on NumPy and CuPy."""

import typing as _typing

from . import data, errors, functions, io, nn, numpy, optim, random, special, stats, testing, tree
from .compiler import compile  # noqa: A004, the field's word
from .control import checkpoint, cond, scan, while_loop
from .debugging import debug, plot, trace
from .devices import array_module, device_of, gpu_available, to_device, to_numpy
from .io import load, save
from .messages import unknown_name as _unknown_name
from .numpy import at
from .solvers import custom_linear_solve, custom_root, odeint
from .transforms import (
    custom_jvp,
    custom_vjp,
    elementwise_grad,
    grad,
    grad_and_aux,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linear_transpose,
    linearize,
    ravel,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from .tree import Frozen, Module, static

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> None:
        raise AttributeError(_unknown_name(__name__, name))


__version__ = "0.1.0"

__all__ = [
    "Frozen", "Module", "array_module", "at", "checkpoint", "compile", "cond", "custom_jvp", "custom_linear_solve", "custom_root",
    "custom_vjp", "data", "debug", "device_of", "elementwise_grad", "errors", "functions", "gpu_available", "grad", "grad_and_aux",
    "hessian", "hvp", "io", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "load", "nn", "numpy",
    "odeint", "optim", "plot", "random", "ravel", "save", "scan", "special", "static", "stats", "stop_gradient", "testing", "to_device",
    "to_numpy", "trace", "tree", "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
