"""Cases of `fdezero.functions` for pooling, with loops over windows in plain NumPy. Numbers are apart, so nothing is near a kink."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(31)


def apart(*shape: int) -> np.ndarray:
    """Distinct numbers in random order, well apart."""
    n = int(np.prod(shape))
    return (0.25 * (RNG.permutation(n) - n / 2 + 0.4)).reshape(shape)


def _each(value: Any, count: int) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def pooled(count: int, mean: bool) -> Any:
    """Pooling over the last `count` axes, entry by entry, by PyTorch's definition."""

    def pool(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, count_include_pad: bool = True) -> Any:
        kernels, pads, dilations = _each(kernel_size, count), _each(padding, count), _each(dilation, count)
        strides, lengths = kernels if stride is None else _each(stride, count), x.shape[-count:]
        sizes = []
        for n, k, s, p, d in zip(lengths, kernels, strides, pads, dilations, strict=True):
            size = (-(-(n + 2 * p - d * (k - 1) - 1) // s) if ceil_mode else (n + 2 * p - d * (k - 1) - 1) // s) + 1
            sizes.append(size - 1 if ceil_mode and (size - 1) * s >= n + p else size)
        y = np.empty((*x.shape[:-count], *sizes))
        for place in np.ndindex(*sizes):
            found, in_padded = [], 0
            for k in np.ndindex(*kernels):
                at = [o * s - p + j * d for o, s, p, j, d in zip(place, strides, pads, k, dilations, strict=True)]
                in_padded += all(-p <= a < n + p for a, n, p in zip(at, lengths, pads, strict=True))
                if all(0 <= a < n for a, n in zip(at, lengths, strict=True)):
                    found.append(x[(..., *at)])
            y[(..., *place)] = sum(found) / (in_padded if count_include_pad else len(found)) if mean else np.max(found, axis=0)
        return y

    if not mean:
        return pool
    return lambda x, kernel_size, stride=None, padding=0, **options: pool(x, kernel_size, stride, padding, 1, **options)


def adaptive(count: int, reduce: Any) -> Any:
    def pool(x: Any, output_size: Any) -> Any:
        lengths = x.shape[-count:]
        sizes = [n if size is None else size for n, size in zip(lengths, _each(output_size, count), strict=True)]
        y = np.empty((*x.shape[:-count], *sizes))
        for place in np.ndindex(*sizes):
            part = tuple(slice(i * n // size, -(-(i + 1) * n // size)) for i, n, size in zip(place, lengths, sizes, strict=True))
            y[(..., *place)] = reduce(x[(..., *part)], axis=tuple(range(-count, 0)))
        return y

    return pool


def _over_all(reduce: Any) -> Any:
    return lambda x, axis=None: reduce(x, axis=tuple(range(2, x.ndim)) if axis is None else axis)


def _dezero(mean: bool) -> Any:
    def pool(x: Any, kernel_size: Any, stride: Any = 1, pad: int = 0) -> Any:
        return pooled(2, mean)(np.pad(x, [(0, 0)] * 2 + [(pad, pad)] * 2), kernel_size, stride)

    return pool


FORMULAS = SimpleNamespace(
    **{f"{kind}_pool{d}d": pooled(d, kind == "avg") for kind in ("max", "avg") for d in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{d}d": adaptive(d, reduce) for kind, reduce in (("max", np.max), ("avg", np.mean)) for d in (1, 2, 3)},
    global_max_pool=_over_all(np.max), global_avg_pool=_over_all(np.mean), pooling=_dezero(False), average_pooling=_dezero(True),
)  # fmt: skip
case = cases_of("functions", F, FORMULAS)
LINE, IMAGE, VOLUME = apart(2, 1, 7), apart(2, 2, 5, 4), apart(1, 2, 3, 4, 2)
LAST = np.ascontiguousarray(apart(1, 4, 4, 3)).transpose(0, 3, 1, 2)  # channels last in memory

CASES: list[Case] = [
    *[case(f"{kind}_pool1d", LINE, *args, **options) for kind in ("max", "avg") for args, options in (((2,), {}), ((3, 2, 1), {"ceil_mode": True}), ((4, 1), {}))],
    case("max_pool1d", LINE, 2, 1, 0, 3), case("max_pool1d", LINE[0], 3, 3, 1, 2, ceil_mode=True),
    case("avg_pool1d", LINE, 4, 3, 2, count_include_pad=False), case("avg_pool1d", LINE, 4, 4, 2, ceil_mode=True),
    *[case(f"{kind}_pool2d", x, *args) for kind in ("max", "avg") for x, args in ((LAST, (2,)), (IMAGE, ((3, 2), (2, 1), (1, 0))), (IMAGE, (3, 1, 1)))],
    case("max_pool2d", IMAGE, (2, 3), (3, 2), (1, 1), (2, 1)), case("avg_pool2d", IMAGE, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    *[case(f"{kind}_pool3d", VOLUME, (2, 3, 1), (1, 2, 2), (1, 0, 0)) for kind in ("max", "avg")],
    *[case(f"adaptive_{kind}_pool{d}d", x, size) for kind in ("max", "avg") for d, x, size in ((1, LINE, 3), (2, LAST, 2), (2, IMAGE, (3, None)), (2, IMAGE, 1), (3, VOLUME, (2, 3, 1)))],
    *[case(f"global_{kind}_pool", x, *axis) for kind in ("max", "avg") for x, *axis in ((LINE,), (IMAGE,), (LAST, (0, 2)))],
    *[case(name, IMAGE, *args) for name in ("pooling", "average_pooling") for args in ((2,), (3, 2, 1))],
]  # fmt: skip
