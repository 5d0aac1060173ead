"""The functions of fdezero.numpy.fft, as (name, function, args, kwargs): function(*args, **kwargs), with NumPy's of the same name."""

from typing import Any

import numpy as np

from fdezero.numpy import fft

X = np.random.default_rng(0).standard_normal((3, 4, 5))
Z = X + 1j * np.random.default_rng(1).standard_normal((3, 4, 5))
NORMS: list[dict[str, Any]] = [{}, {"norm": "ortho"}, {"norm": "forward"}]


def _cases() -> list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]]:
    made: list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = []

    def case(name: str, *args: Any, **kwargs: Any) -> None:
        made.append((name, getattr(fft, name), args, kwargs))

    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        for x in [X] if name in ("rfft", "ihfft") else [X, Z]:
            for norm in NORMS:
                case(name, x, **norm)
            for n in (1, 3, 4, 6, 9):
                case(name, x, n)
            case(name, x, axis=1)
            case(name, x, 7, 0, "ortho")
    for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"):
        for x in [X] if name.startswith("r") else [X, Z]:
            for norm in NORMS:
                case(name, x, **norm)
            case(name, x, (3, 6), (0, 2))
            case(name, x, axes=(1, 0))
    case("fftn", Z, axes=(1, 1))
    case("irfftn", Z, s=(4, 5), axes=(0, 1), norm="ortho")
    for name in ("fftshift", "ifftshift"):
        case(name, X)
        case(name, Z, axes=1)
        case(name, X, axes=(0, -1))
    return made


CASES = _cases()
