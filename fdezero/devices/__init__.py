"""Devices: where arrays are, and how they get to another device."""

from .backend import Backend
from .placement import (
    CPU,
    array_module,
    backend_named,
    backend_of,
    device_of,
    device_of_array,
    gpu_available,
    parse_device,
    to_device,
    to_numpy,
    why_no_gpu,
)

__all__ = [
    "CPU", "Backend", "array_module", "backend_named", "backend_of", "device_of", "device_of_array", "gpu_available", "parse_device",
    "to_device", "to_numpy", "why_no_gpu",
]  # fmt: skip
