"""NumPy's constants and dtypes, promotion of dtypes, and the inspection functions of the array API standard."""

import functools
from typing import Any

import numpy as np
from numpy import (
    bool,
    bool_,
    broadcast_shapes,
    can_cast,
    complex64,
    complex128,
    e,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    issubdtype,
    nan,
    newaxis,
    pi,
    promote_types,
    uint8,
    uint16,
    uint32,
    uint64,
)

from ..core import Tracer
from ..devices import gpu_available
from ..devices.placement import parse_device

__all__ = [
    "bool", "bool_", "broadcast_shapes", "can_cast", "complex64", "complex128", "e", "finfo", "float16", "float32",
    "float64", "iinfo", "inf", "int8", "int16", "int32", "int64", "isdtype", "issubdtype", "nan",
    "newaxis", "pi", "promote_types", "result_type", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip


def result_type(*values: Any) -> np.dtype:
    """The common dtype to which arrays, traced values, numbers and dtypes are promoted."""
    values = tuple([value.dtype if isinstance(value, Tracer) else value for value in values])
    try:
        return np.result_type(*values)
    except np.exceptions.DTypePromotionError:
        # Of bfloat16, a wider dtype and a number, NumPy promotes only two at a time.
        dtypes = [np.dtype(getattr(value, "dtype", value)) for value in values if type(value) not in _NUMBERS]
        whole = functools.reduce(np.promote_types, dtypes)
        return np.result_type(whole, *[value for value in values if type(value) in _NUMBERS])


_NUMBERS = (int, float, complex)


class Info:
    """The result of `__array_namespace_info__()`: NumPy's answers, except for devices."""

    def __init__(self) -> None:
        self._numpys = np.__array_namespace_info__()

    def capabilities(self) -> dict[str, Any]:
        """Which optional features of the standard are supported."""
        return dict(self._numpys.capabilities())

    def default_device(self) -> str:
        """The device of new arrays, unless you name one."""
        return "cpu"

    def default_dtypes(self, *, device: str | None = None) -> Any:
        """The dtypes of new arrays, unless you give one."""
        self._check(device)
        return self._numpys.default_dtypes()

    def devices(self) -> list[str]:
        """The devices of this machine."""
        return ["cpu", "gpu"] if gpu_available() else ["cpu"]

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, np.dtype]:
        """The dtypes of `kind` (all when None), by name."""
        self._check(device)
        return dict(self._numpys.dtypes(kind=kind))

    def _check(self, device: str | None) -> None:
        if device is not None:
            parse_device(device)  # which raises DeviceError for an unknown name


def __array_namespace_info__() -> Info:  # noqa: N807, the standard's name
    """Describe this namespace, as the Python array API standard defines it."""
    return Info()


__array_api_version__ = "2024.12"
