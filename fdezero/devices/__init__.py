"""Devices: where arrays lie, and how they get elsewhere."""

from .placement import array_module, device_of, gpu_available, parse_device, to_device, to_numpy, why_no_gpu

__all__ = ["array_module", "device_of", "gpu_available", "parse_device", "to_device", "to_numpy", "why_no_gpu"]
