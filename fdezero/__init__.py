"""fdezero: functional automatic differentiation and deep learning on NumPy and CuPy.

A name is loaded on first use, so a program pays only for the parts that it uses. Type checkers and editors read the import
statements, and Python reads the table below them. A test compares the two.

Pytest leaves this package as it is, though the package has a plugin: PYTEST_DONT_REWRITE.
"""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from . import (
        data,
        distributed,
        errors,
        export,
        functions,
        io,
        models,
        nn,
        numpy,
        optim,
        random,
        signal,
        special,
        stats,
        testing,
        training,
        tree,
    )
    from .compiler import compile  # noqa: A004, the field's word
    from .control.checkpoint import (
        checkpoint,
    )  # from its file, because mypy would take `checkpoint` in `.control` for the module
    from .control.cond import cond
    from .control.scan import scan
    from .control.while_loop import while_loop
    from .debugging import debug, trace
    from .debugging.plot import plot
    from .debugging.profile import profile
    from .devices import array_module, device_of, gpu_available, to_device, to_numpy
    from .io import load, save
    from .numpy import at
    from .solvers import custom_linear_solve, custom_root
    from .solvers.odeint import odeint
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
        pmean,
        psum,
        ravel,
        stop_gradient,
        value_and_grad,
        vjp,
        vmap,
    )
    from .tree import Frozen, Module, static

_MODULES = "data distributed errors export functions io models nn numpy optim random signal special stats testing training tree".split()
_NAMES = {
    "compiler": "compile",
    "control": "checkpoint cond scan while_loop",
    "debugging": "debug plot profile trace",
    "devices": "array_module device_of gpu_available to_device to_numpy",
    "io": "load save",
    "numpy": "at",
    "solvers": "custom_linear_solve custom_root odeint",
    "transforms": "custom_jvp custom_vjp elementwise_grad grad grad_and_aux hessian hvp jacfwd jacobian jacrev jvp linear_transpose "
    "linearize pmean psum ravel stop_gradient value_and_grad vjp vmap",
    "tree": "Frozen Module static",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        if name in _MODULES:
            return _import_module(f".{name}", __name__)  # the import also makes it an attribute of this module
        if name not in _MODULE_OF:
            unknown = _import_module(".elsewhere", __name__).unknown_name  # loaded for the error alone
            raise AttributeError(unknown(__name__, name))
        value = globals()[name] = getattr(_import_module(f".{_MODULE_OF[name]}", __name__), name)
        return value


__version__ = "0.1.0"

__all__ = [
    "Frozen", "Module", "array_module", "at", "checkpoint", "compile", "cond", "custom_jvp", "custom_linear_solve", "custom_root",
    "custom_vjp", "data", "debug", "device_of", "distributed", "elementwise_grad", "errors", "export", "functions", "gpu_available", "grad",
    "grad_and_aux", "hessian", "hvp", "io", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "load",
    "models", "nn", "numpy", "odeint", "optim", "plot", "pmean", "profile", "psum", "random", "ravel", "save", "scan", "signal",
    "special", "static", "stats", "stop_gradient", "testing", "to_device", "to_numpy", "trace", "training", "tree",
    "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
