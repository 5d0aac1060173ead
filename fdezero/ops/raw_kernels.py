"""Kernels whose threads read operands at places of their own choice: each makes one entry of the result."""

import functools
from typing import Any

import numpy as np

from ..devices import backend_of
from .kernels import C_TYPES, HALVES, OPTIONS

NAMES = {np.dtype(name): name for name in C_TYPES}  # `dtype.name` would take some microseconds


def serves(*arrays: Any) -> bool:
    """Whether the arrays are on a device with kernels, of dtypes that kernels have."""
    backend = backend_of(*arrays)
    if not backend.fuses_into_kernels:
        return False
    kind = backend.module.ndarray
    return all(isinstance(x, kind) and x.dtype in NAMES for x in arrays)


@functools.lru_cache(256)
def _kernel(
    cupy: Any, name: str, inputs: tuple[tuple[str, str], ...], numbers: tuple[str, ...], out: str, text: str
) -> Any:
    parameters = [f"raw {dtype} {x}" for x, dtype in inputs] + [f"int64 {number}" for number in numbers]
    half = any(dtype == "float16" for _, dtype in (*inputs, ("", out)))
    return cupy.ElementwiseKernel(
        ", ".join(parameters),
        f"{out} result",
        text,
        f"fdezero_{name}",
        preamble=HALVES if half else "",
        options=OPTIONS,
    )


def launch(name: str, arrays: dict[str, Any], numbers: dict[str, int], out: Any, text: str) -> None:
    """Run `text` for every entry i of `out`, which it assigns to `result`; arrays are one line each, numbers are integers."""
    kernel = _kernel(
        backend_of(out).module, name, tuple((x, NAMES[a.dtype]) for x, a in arrays.items()), tuple(numbers), NAMES[out.dtype], text
    )
    kernel(*arrays.values(), *[np.int64(number) for number in numbers.values()], out)
