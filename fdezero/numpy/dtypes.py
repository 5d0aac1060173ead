"""What a namespace says about itself: dtypes, how they are promoted, devices."""

from typing import Any

import numpy as np
from numpy import broadcast_shapes, can_cast, from_dlpack, isdtype, issubdtype, promote_types

from ..core import Tracer
from ..devices import gpu_available


def result_type(*values: Any) -> np.dtype:
    """The dtype that these arrays, traced values, numbers and dtypes are promoted to together."""
    return np.result_type(*[value.dtype if isinstance(value, Tracer) else value for value in values])


class Info:
    """What `__array_namespace_info__()` returns: NumPy's answers, but for the devices."""

    def __init__(self) -> None:
        self._numpys = np.__array_namespace_info__()

    def capabilities(self) -> dict[str, Any]:
        """Which optional behaviour there is."""
        return dict(self._numpys.capabilities())

    def default_device(self) -> str:
        """Where arrays are made unless said otherwise."""
        return "cpu"

    def default_dtypes(self, *, device: str | None = None) -> Any:
        """The dtypes of arrays for which none is given."""
        return self._numpys.default_dtypes()

    def devices(self) -> list[str]:
        """The devices that are there."""
        return ["cpu", "gpu"] if gpu_available() else ["cpu"]

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, np.dtype]:
        """The dtypes of a kind, by name."""
        return dict(self._numpys.dtypes(kind=kind))


def __array_namespace_info__() -> Info:  # noqa: N807, the standard's name
    """What this namespace can do, after the Python array API standard."""
    return Info()


__array_api_version__ = "2024.12"
