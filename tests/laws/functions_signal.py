"""Cases of `fdezero.signal`: one, two and three axes, real and complex, every mode and method."""

import numpy as np
import scipy.signal

from fdezero import signal

from .cases import Case, cases_of

RNG = np.random.default_rng(31)
A, B = RNG.standard_normal((4, 3, 2)), RNG.standard_normal((2, 3, 1))
Z = A + 1j * A[::-1]
case = cases_of("signal", signal, scipy.signal)


def _cases() -> list[Case]:
    made: list[Case] = []
    for x, y in ((A[:, 0, 0], B[:, 0, 0]), (B[:, 0, 0], Z[:, 0, 0]), (A[..., 0], B[..., 0]), (Z[..., 1], A[:3, :1, 0]), (A, B), (B, A)):
        for mode in ("full", "same", "valid"):
            wide = mode != "valid" or all(n >= m for n, m in zip(x.shape, y.shape, strict=True)) or all(n <= m for n, m in zip(x.shape, y.shape, strict=True))
            if wide:
                made += [case(name, x, y, mode, method, d=(0, 1)) for name in ("convolve", "correlate") for method in ("auto", "direct", "fft")]
                made += [case("fftconvolve", x, y, mode, d=(0, 1))]
    whole = np.arange(6).reshape(2, 3) - 2
    made += [case(name, whole, whole[:, :2], method=method, d=None) for name in ("convolve", "correlate") for method in ("auto", "fft")]
    return [
        *made, case("convolve", np.float64(0.5), np.float64(-1.5), d=(0, 1)), case("correlate", A.astype(np.float32), B.astype(np.float32), "same", d=None),
        case("fftconvolve", A[:2], B, axes=(1, -1), d=(0, 1)), case("fftconvolve", A, B[:1], axes=1, d=(0, 1)), case("fftconvolve", Z[:, :1], A, axes=[0], d=(0, 1)),
    ]  # fmt: skip


CASES = _cases()
