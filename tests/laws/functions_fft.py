"""Cases of `fdezero.numpy.fft`, of real and of complex arrays."""

from typing import Any

import numpy as np

from fdezero.numpy import fft

from .cases import Case, cases_of

X = np.random.default_rng(0).standard_normal((2, 4, 3))
Z = X + 1j * np.random.default_rng(1).standard_normal((2, 4, 3))
of_fft = cases_of("fft", fft, np.fft)
NORMS: list[dict[str, Any]] = [{}, {"norm": "ortho"}, {"norm": "forward"}]


def _cases() -> list[Case]:
    made: list[Case] = []

    def case(name: str, *args: Any, **kwargs: Any) -> None:
        made.append(of_fft(name, *args, **kwargs))

    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        for x in [X] if name in ("rfft", "ihfft") else [X, Z]:
            for norm in NORMS:
                case(name, x, **norm)
            for n in (1, 2, 4, 7):
                case(name, x, n)
            case(name, x, axis=1)
            case(name, x, 5, 0, "ortho")
    for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"):
        for x in [X] if name.startswith("r") else [X, Z]:
            for norm in NORMS:
                case(name, x, **norm)
            case(name, x, (3, 4), (0, 2))
            case(name, x, axes=(1, 0))
    case("fftn", Z, axes=(1, 1))
    case("irfftn", Z, s=(3, 5), axes=(0, 1), norm="ortho")
    for name in ("fftshift", "ifftshift"):
        case(name, X)
        case(name, Z, axes=1)
        case(name, X, axes=(0, -1))
    for name in ("fftfreq", "rfftfreq"):
        case(name, 5, np.array(0.3), d=1)
    return made


CASES = _cases()
