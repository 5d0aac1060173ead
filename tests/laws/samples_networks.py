"""Samples of the operations of networks, for `samples.py`: convolution, pooling, normalisation, attention."""

from typing import Any

import numpy as np

import fdezero.functions  # noqa: F401, which declares them

LINE = ((3, 3, 2, 1, 1),)  # windows of 3 that overlap, over 6 entries, the first with one entry of padding
IMAGE = ((2, 2, 3, 0, 1), (3, 2, 1, 1, 2))  # over (5, 4): rows apart with a row between, columns that overlap
FEW = ((1, 4, 1, 0, 1), (2, 3, 2, 1, 1))  # over (4, 4): fewer windows than entries of a window


def add_pooling_and_norms(sample: Any, between: Any, normal: Any) -> None:
    for windows, lengths in ((LINE, (6,)), (IMAGE, (5, 4)), (FEW, (4, 4))):
        sizes = tuple(window[0] for window in windows)
        x = between(-2, 2, 2, *lengths)
        sample("greatest", x, windows=windows)
        sample("summed", x, windows=windows)
        sample("spread", normal(2, *sizes), windows=windows, shape=lengths)
        index = np.array([3, 1, 2, 1, 2, 3, 1, 1, 2, 1, 2, 1])[: 2 * int(np.prod(sizes))].reshape(2, *sizes) if windows is IMAGE else np.ones((2, *sizes), int)
        sample("placed_at", normal(2, *sizes), index, windows=windows, shape=lengths)
        sample("chosen_of", normal(2, *lengths), index, windows=windows)
        sample("first_greatest", between(-2, 2, *lengths).round(), between(-2, 2, *sizes).round(), windows=windows)
    x, t, line = normal(2, 3, 4), normal(2, 3, 4), (2, 1, 4)
    sample("moments", x, axes=(-2,), centred=True)
    sample("moments", x, axes=(-3, -1), centred=True)
    sample("moments", x, axes=(-1,), centred=False)
    sample("sums", t, x, normal(*line), normal(*line), normal(*line), normal(1, 3, 4), axes=(-2,))
    sample("sums", t, x, normal(*line), normal(*line), normal(*line), normal(1, 3, 4), axes=(-3, -1))
    for axes in ((-1,), (-3, -1), (-2,)):
        for name in ("softmax", "log_softmax"):
            sample(name, x, axes=axes)
            sample(f"{name}_pull", t, between(-2, -0.1, 2, 3, 4), axes=axes)
    for axes, centred in (((-1,), True), ((-3, -2), True), ((-2,), False)):
        params = {"axes": axes, "eps": 0.1, "centred": centred}
        sample("normalised_lines", x, normal(3, 4), normal(2, 1, 1), **params)
        sample("normalised_lines_pull", t, x, normal(1, 4), **params)
    sample("shifted", x, normal(1, 4), normal(1, 4), normal(3, 1), normal(4), normal(2, 1, 1))
    sample("mixed", t, normal(4), normal(3, 1), x, normal(1, 4), normal(2, 1, 1), normal(4))


def add_windows(sample: Any, normal: Any) -> None:
    one, two, three = (
        {name: (n,) * rank for name, n in (("strides", 1), ("before", 0), ("dilation", 1))} for rank in (1, 2, 3)
    )
    odd = {"strides": (2, 3), "before": (1, 2), "dilation": (2, 1)}
    for x, w, y, params in [  # shapes, and the parameters but the size
        ((2, 2, 5), (3, 2, 2), (2, 3, 4), {**one, "groups": 1}),
        ((2, 8, 4), (4, 2, 3), (2, 4, 3), {**one, "strides": (2,), "before": (2,), "groups": 4}),
        ((2, 1, 4, 4), (2, 1, 3, 3), (2, 2, 4, 4), {**two, "before": (1, 1), "groups": 1}),
        ((1, 9, 3, 2), (2, 9, 1, 1), (1, 2, 3, 2), {**two, "groups": 1}),
        ((2, 4, 5, 6), (2, 2, 2, 3), (2, 2, 3, 2), {**odd, "groups": 2}),
        ((2, 3, 4, 3), (6, 1, 2, 2), (2, 6, 3, 2), {**two, "groups": 3}),
        ((1, 2, 3, 2, 2), (2, 2, 2, 1, 2), (1, 2, 2, 2, 1), {**three, "groups": 1}),
    ]:
        rank = len(params["strides"])
        sample("conv", normal(*x), normal(*w), size=y[-rank:], **params)
        sample("conv_input", normal(*w), normal(*y), size=x[-rank:], **params)
        sample("conv_kernel", normal(*x), normal(*y), size=w[-rank:], **params)
    shifted = {"strides": (2, 1), "before": (1, 0), "dilation": (1, 2)}
    sample("unfold", normal(2, 4, 5), window=(2, 3), size=(2, 2), **shifted)
    sample("unfold", normal(5), window=(2,), size=(4,), strides=(1,), before=(0,), dilation=(1,))
    sample("fold", normal(3, 2, 3, 2, 2), shape=(4, 5), **shifted)
    for name, shapes, size in (
        ("conv", ((2, 2, 4), (2, 2, 2)), 3),
        ("conv_input", ((2, 2, 2), (2, 2, 3)), 4),
        ("conv_kernel", ((2, 2, 4), (2, 2, 3)), 2),
    ):
        sample(name, *[normal(*shape) + 1j * normal(*shape) for shape in shapes], size=(size,), **one, groups=1)


def add_attention(sample: Any, normal: Any) -> None:
    q, k, v = normal(4, 3), normal(5, 3), normal(5, 2)
    mask, keep = np.array([[True, True, False, True, True]]), np.tri(4, 5, 2, dtype=bool)
    plain: Any = {"extras": (), "causal": False, "scale": 0.5, "kept": 1.0}
    masked: Any = {"extras": ("mask", "bias", "keep"), "causal": False, "scale": 0.5, "kept": 0.75}
    sample("attention", q, k, v, **plain)
    sample("attention", normal(2, 5, 3), k, v, **{**plain, "causal": True})
    sample("attention", q, k, v, mask, normal(1, 5), keep, **masked)
    r, t, need = normal(12), normal(12), (True, True, True, False)
    sample("attention_pull", t, r, q, k, v, **plain, needs=need)
    sample(
        "attention_pull",
        normal(15),
        normal(15),
        normal(5, 3),
        k,
        v,
        **{**plain, "causal": True},
        needs=(False, False, True, False),
    )
    sample("attention_pull", t, r, q, k, v, mask, normal(1, 5), keep, **masked, needs=(True, False, True, True))
