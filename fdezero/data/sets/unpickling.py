"""Pickles of dicts of arrays, read without running anything: the classes that they name are replaced by records of their data."""

import io
import pickle
import struct
from typing import Any, ClassVar

import numpy as np

from ...errors import FileError

__all__: list[str] = []

MOST = 1 << 28  # bytes of an array, more than the largest of the files known here has


class _Array:
    """What NumPy's pickles say of an array."""

    shape: Any = ()
    dtype: Any = None
    is_fortran: Any = False
    data: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.is_fortran, self.data = state

    def made(self) -> np.ndarray:
        """The array of bytes. Raises ValueError for everything else."""
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if (
            not isinstance(self.dtype, _DType)
            or self.dtype.name not in ("u1", "uint8", "|u1")
            or not isinstance(data, bytes | bytearray)
        ):
            raise ValueError("an array is not of uint8")
        shape = tuple(self.shape)
        if not all(isinstance(n, int) and 0 <= n <= MOST for n in shape):
            raise ValueError("an array has a wrong shape")
        if not isinstance(self.is_fortran, bool | int):
            raise ValueError("an array has its entries in another order")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if self.is_fortran else "C")


class _DType:
    name: Any = None

    def __init__(self, name: Any = None, *rest: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """The byte order, which single bytes do not have."""


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """What NumPy's pickles say in protocol 5, which is Python's default since 3.14."""
    array = _Array()
    array.shape, array.dtype, array.data = shape, dtype, data
    array.is_fortran = {"C": False, "F": True}.get(order)
    return array


def _encoded(text: Any, encoding: Any = "latin-1") -> bytes:
    """How Python 3 writes bytes in an old pickle."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are written in another way")
    return text.encode("latin-1")


KNOWN: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *args: _Array() for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encoded,
}


# Python's own reader: the one in C takes memory for any number that a pickle gives to an object.
class _Reader(pickle._Unpickler):
    def load_bytearray8(self: Any) -> None:
        """A row of bytes, whose memory is taken once they are read: Python takes it for any length that a pickle claims."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch: ClassVar[Any] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not run")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def unpickled(data: bytes, where: str) -> dict[str, Any]:
    """The dict in a pickle, with text as keys, and arrays of uint8 and lists as they are.

    Raises FileError, which begins with `where`, for a damaged pickle, for another content, and for one that would run code.
    """
    try:
        found = _Reader(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, not a dict")
        named = {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}
        return {key: value.made() if isinstance(value, _Array) else value for key, value in named.items()}
    except Exception as error:  # a damaged pickle raises nearly anything
        raise FileError(f"{where} is not a pickle of the known form, or is damaged: {error}.") from error
