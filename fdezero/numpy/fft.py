"""Discrete Fourier transforms under NumPy's names and signatures, batched; float32 gives complex64.

All are composed of three operations along one axis, slices and padding. `norm` is "backward", "ortho" or "forward".
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..devices import array_module
from ..errors import DTypeError, ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise, fourier
from .arguments import Array, as_array, inexact, trailing_axis
from .creation import placed
from .elementwise import cast
from .padding import pad
from .shape import roll, slice_axis

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


Norm = str | None


def _resized(x: Array, n: int, axis: int) -> Array:
    """Cut `x`, or pad it with zeros, to `n` entries along a trailing axis."""
    had = x.shape[axis]
    if n < had:
        return slice_axis(x, axis, 0, n)
    return x if n == had else pad(x, [(0, n - had if i == axis else 0) for i in range(-x.ndim, 0)])


def _prepared(name: str, x: Any, n: int | None, axis: int) -> tuple[Array, int, int]:
    """(array, axis counted from the end, number of entries)."""
    x = as_array(x)
    axis = trailing_axis(axis, x.ndim)
    n = x.shape[axis] if n is None else operator.index(n)
    if n < 1:
        raise ShapeError(f"{name} needs at least one entry along axis {axis}, got n = {n} for {describe(x)}.")
    return x, axis, n


def _real(name: str, x: Array) -> Array:
    if x.dtype.kind == "c":
        general = "fft" if name == "rfft" else "ifft"
        raise DTypeError(f"{name} takes real numbers, got {describe(x)}. Use x.real, or fd.numpy.fft.{general}.")
    return inexact(x)


def _fourier(name: str, sign: int, a: Any, n: int | None, axis: int, norm: Norm) -> Array:
    x, axis, n = _prepared(name, a, n, axis)
    return fourier.fourier(_resized(inexact(x), n, axis), axis=axis, sign=sign, norm=norm or "backward")


def _to_half(name: str, sign: int, a: Any, n: int | None, axis: int, norm: Norm) -> Array:
    x, axis, n = _prepared(name, a, n, axis)
    return fourier.to_half(_resized(_real(name, x), n, axis), axis=axis, sign=sign, norm=norm or "backward")


def _from_half(name: str, sign: int, a: Any, n: int | None, axis: int, norm: Norm) -> Array:
    x = as_array(a)
    n = 2 * (x.shape[axis] - 1) if n is None and x.ndim else n
    x, axis, n = _prepared(name, x, n, axis)
    half = _resized(inexact(x), n // 2 + 1, axis)
    return fourier.from_half(half, axis=axis, sign=sign, norm=norm or "backward", size=n)


def fft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The Fourier transform along `axis`: a (..., n) -> (..., n) complex."""
    refuse_out(out)
    return _fourier("fft", -1, a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The inverse of `fft`: a (..., n) -> (..., n) complex."""
    refuse_out(out)
    return _fourier("ifft", 1, a, n, axis, norm)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The first half of `fft` of a real array, which determines the rest: a (..., n) -> (..., n // 2 + 1) complex."""
    refuse_out(out)
    return _to_half("rfft", -1, a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The inverse of `rfft`: a (..., m) -> (..., n) real; n defaults to 2 (m - 1)."""
    refuse_out(out)
    return _from_half("irfft", 1, a, n, axis, norm)


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The real `fft` of a signal with Hermitian symmetry, given by its first half: a (..., m) -> (..., n).

    `n` defaults to 2 (m - 1).
    """
    refuse_out(out)
    return _from_half("hfft", -1, a, n, axis, norm)


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None, out: None = None) -> Array:
    """The inverse of `hfft`: a (..., n) real -> (..., n // 2 + 1) complex."""
    refuse_out(out)
    return _to_half("ihfft", 1, a, n, axis, norm)


def _sizes(
    name: str, x: Array, s: Sequence[int | None] | None, axes: Sequence[int] | None
) -> list[tuple[int | None, int]]:
    """(size or None, trailing axis) for each axis to transform."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    found = [trailing_axis(axis, x.ndim) for axis in axes]
    sizes = [None] * len(found) if s is None else list(s)
    if len(sizes) != len(found):
        raise ShapeError(f"{name}: s and axes must have the same length, got {tuple(sizes)} and {tuple(axes)}.")
    return [(None if n == -1 else n, axis) for n, axis in zip(sizes, found, strict=True)]


def _along_all(one: Callable[..., Array], x: Array, along: list[tuple[int | None, int]], norm: Norm) -> Array:
    for n, axis in along:
        x = one(x, n, axis, norm)
    return x


def fftn(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = None, out: None = None
) -> Array:
    """`fft` along each of `axes` (all when None), cut or padded with zeros to the sizes `s`."""
    refuse_out(out)
    x = as_array(a)
    return _along_all(fft, x, _sizes("fftn", x, s, axes)[::-1], norm)


def ifftn(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = None, out: None = None
) -> Array:
    """The inverse of `fftn`."""
    refuse_out(out)
    x = as_array(a)
    return _along_all(ifft, x, _sizes("ifftn", x, s, axes)[::-1], norm)


def rfftn(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = None, out: None = None
) -> Array:
    """`rfft` along the last of `axes`, then `fft` along the other axes: a real -> complex."""
    refuse_out(out)
    x = as_array(a)
    *others, (n, axis) = _sizes("rfftn", x, s, axes)
    return _along_all(fft, rfft(x, n, axis, norm), others[::-1], norm)


def irfftn(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = None, out: None = None
) -> Array:
    """The inverse of `rfftn`; the last size defaults to 2 (m - 1) for m entries."""
    refuse_out(out)
    x = as_array(a)
    *others, (n, axis) = _sizes("irfftn", x, s, axes)
    return irfft(_along_all(ifft, x, others, norm), n, axis, norm)


def fft2(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: Norm = None, out: None = None
) -> Array:
    """`fftn` along two axes."""
    refuse_out(out)
    return fftn(a, s, axes, norm)


def ifft2(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: Norm = None, out: None = None
) -> Array:
    """`ifftn` along two axes."""
    refuse_out(out)
    return ifftn(a, s, axes, norm)


def rfft2(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: Norm = None, out: None = None
) -> Array:
    """`rfftn` along two axes."""
    refuse_out(out)
    return rfftn(a, s, axes, norm)


def irfft2(
    a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: Norm = None, out: None = None
) -> Array:
    """`irfftn` along two axes."""
    refuse_out(out)
    return irfftn(a, s, axes, norm)


def _rolled(x: Any, axes: int | Sequence[int] | None, step: Callable[[int], int]) -> Array:
    x = as_array(x)
    chosen = range(x.ndim) if axes is None else [axes] if isinstance(axes, int | np.integer) else axes
    return roll(x, [step(x.shape[axis]) for axis in chosen], list(chosen)) if x.ndim else x


def fftshift(x: Any, axes: int | Sequence[int] | None = None) -> Array:
    """Move the frequency 0 to the middle of `axes` (all when None)."""
    return _rolled(x, axes, lambda n: n // 2)


def ifftshift(x: Any, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`."""
    return _rolled(x, axes, lambda n: -(n // 2))


def _spaced(numbers: Array, length: Any, device: str | None, dtype: Any) -> Array:
    y = elementwise.multiply(placed(numbers, device), 1.0 / length)
    return y if dtype is None else cast(y, dtype)


def fftfreq(n: int, d: Any = 1.0, device: str | None = None, dtype: Any = None) -> Array:
    """The frequencies of the entries of `fft`, in cycles per unit, for samples `d` apart: (n,).

    float64 unless you give a dtype.
    """
    n = operator.index(n)
    whole = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return _spaced(array_module(d).asarray(whole), n * d, device, dtype)


def rfftfreq(n: int, d: Any = 1.0, device: str | None = None, dtype: Any = None) -> Array:
    """The frequencies of the entries of `rfft`, in cycles per unit, for samples `d` apart: (n // 2 + 1,).

    float64 unless you give a dtype.
    """
    n = operator.index(n)
    return _spaced(array_module(d).arange(n // 2 + 1), n * d, device, dtype)
