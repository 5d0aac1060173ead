"""Pooling and convolution on a GPU: one kernel for each operation, in every layout, dtype and number of axes, with the results of the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import ShapeError
from fdezero.ops import joining_kernels, pooling, window_kernels, window_products, windows
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(7)
X = RNG.permutation(2 * 3 * 7 * 6).reshape(2, 3, 7, 6) / 10.0
WINDOWS = {  # size, kernel, stride, before, dilation along each axis
    "apart": ((3, 2, 2, 0, 1), (3, 2, 2, 0, 1)), "overlapping": ((7, 3, 1, 1, 1), (3, 3, 2, 1, 1)), "dilated": ((3, 3, 2, 1, 2), (4, 2, 1, 0, 2)),
    "one axis": ((4, 3, 2, 2, 1),), "beyond the edge": ((9, 2, 1, 2, 1), (2, 6, 5, 0, 1)), "three axes": ((2, 2, 1, 0, 1), (3, 2, 2, 0, 1), (3, 2, 2, 0, 1)),
}  # fmt: skip
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda x: x, "channels last": lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, 3, 1, 2), "Fortran": np.asfortranarray,
    "reversed": lambda x: x[:, ::-1, :, ::-1], "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2], "one channel": lambda x: x[:, :1],
    "turned": lambda x: x.copy().transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3),
}  # fmt: skip
SIX: dict[str, Callable[[Any, Any], Any]] = {
    "greatest": lambda x, w: pooling.greatest(x, windows=w), "first_greatest": lambda x, w: pooling.first_greatest(x, pooling.greatest(x, windows=w), windows=w),
    "summed": lambda x, w: pooling.summed(x, windows=w), "spread": lambda x, w: pooling.spread(pooling.summed(x, windows=w), windows=w, shape=x.shape[-len(w) :]),
    "placed": lambda x, w: pooling.placed_at(pooling.summed(x, windows=w), pooling.first_greatest(x, pooling.greatest(x, windows=w), windows=w), windows=w, shape=x.shape[-len(w) :]),
    "chosen": lambda x, w: pooling.chosen_of(2 * x, pooling.first_greatest(x, pooling.greatest(x, windows=w), windows=w), windows=w),
}  # fmt: skip


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that run."""
    names: list[str] = []
    launch = window_kernels.launch
    monkeypatch.setattr(window_kernels, "launch", lambda name, *args: names.append(name) or launch(name, *args))
    return names


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", WINDOWS)
def test_pooling_in_any_layout_is_that_of_the_cpu(kind: str, layout: str, gpu: Any, launched: list[str]) -> None:
    x, w = LAYOUTS[layout](X), WINDOWS[kind]
    there = gpu.asarray(x)
    for function in SIX.values():
        assert_trees_close(fd.to_numpy(function(there, w)), function(x, w), 1e-13)
    assert sorted({name[:-1] for name in launched}) == ["chosen", "first_greatest", "greatest", "placed", "spread", "summed"]
    assert len(launched) == 1 + 2 + 1 + 2 + 4 + 3  # one for each operation


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
def test_pooling_of_every_dtype(dtype: str, gpu: Any) -> None:
    x = (X % 100 - 30 * (np.dtype(dtype).kind != "u")).astype(dtype)
    tolerance = {"float16": 2e-3, "float32": 1e-6}.get(dtype, 1e-14)
    for name in ("greatest", "first_greatest") if dtype == "bool" else SIX:
        for w in (WINDOWS["overlapping"], WINDOWS["beyond the edge"]):
            got, expected = fd.to_numpy(SIX[name](gpu.asarray(x), w)), SIX[name](x, w)
            assert got.dtype == expected.dtype
            assert_trees_close(got.astype(float), expected.astype(float), tolerance)


def test_nan_and_infinities_win_as_on_the_cpu(gpu: Any) -> None:
    x = np.array([[np.nan, 1.0, 2.0, -np.inf, -np.inf, -np.inf], [3.0, np.nan, np.nan, np.inf, np.nan, 5.0]])
    w = ((4, 3, 1, 0, 1),)
    for name in ("greatest", "first_greatest"):
        assert_trees_equal(fd.to_numpy(SIX[name](gpu.asarray(x), w)), SIX[name](x, w))


def test_the_order_of_axes_in_memory_is_kept_on_the_way_to_a_device(gpu: Any) -> None:
    for layout in ("C", "channels last", "Fortran", "turned"):
        x = LAYOUTS[layout](X)
        there = fd.to_device(x, "gpu")
        assert there.strides == x.strides, layout
        assert_trees_equal(fd.to_numpy(there), x)
    for layout in ("reversed", "gaps"):
        assert_trees_equal(fd.to_numpy(fd.to_device(LAYOUTS[layout](X), "gpu")), LAYOUTS[layout](X))


# Convolution


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("layout", ["C", "channels last", "reversed"])
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 2, "padding": (1, 2)}, {"dilation": 2, "padding": "same"}], ids=str)
def test_convolutions_and_their_gradients_are_those_of_the_cpu(options: Any, layout: str, groups: int, gpu: Any, launched: list[str]) -> None:
    x, kernel = LAYOUTS[layout](X), RNG.standard_normal((6, 3 // groups, 3, 2))
    function = lambda x, kernel: fnp.sum(F.conv2d(x, kernel, groups=groups, **options) ** 2)
    both = fd.value_and_grad(function, (0, 1))
    assert_trees_close(fd.to_numpy(both(gpu.asarray(x), gpu.asarray(kernel))), both(x, kernel), 1e-11)
    assert launched == ["columns2", "folded2", "columns2"] or launched == ["columns2", "columns2", "folded2"]


def test_a_window_of_one_entry_needs_no_patches(gpu: Any, launched: list[str]) -> None:
    x, kernel = LAYOUTS["channels last"](X), RNG.standard_normal((6, 3, 1, 1))
    both = fd.value_and_grad(lambda x, kernel: fnp.sum(F.conv2d(x, kernel) ** 2), (0, 1))
    assert_trees_close(fd.to_numpy(both(*fd.to_device((x, kernel), "gpu"))), both(x, kernel), 1e-12)
    assert not launched


def test_blocks_of_examples_give_the_same(gpu: Any, launched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_products, "BLOCK", 5000)
    x, kernel = RNG.standard_normal((5, 3, 7, 6)), RNG.standard_normal((4, 3, 3, 3))
    both = fd.value_and_grad(lambda x, kernel: fnp.sum(F.conv2d(x, kernel, padding=1) ** 2), (0, 1))
    assert_trees_close(fd.to_numpy(both(gpu.asarray(x), gpu.asarray(kernel))), both(x, kernel), 1e-11)
    assert len(launched) == 15


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_convolutions_keep_their_dtype(dtype: str, gpu: Any) -> None:
    x, kernel = X.astype(dtype) / 64, RNG.standard_normal((6, 3, 3, 2)).astype(dtype)
    both = fd.value_and_grad(lambda x, kernel: fnp.sum(F.conv2d(x, kernel) ** 2), (0, 1))
    got, expected = fd.to_numpy(both(gpu.asarray(x), gpu.asarray(kernel))), both(x, kernel)
    assert [g.dtype for g in fd.tree.leaves(got)] == [e.dtype for e in fd.tree.leaves(expected)]
    for g, e in zip(fd.tree.leaves(got), fd.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(g.astype(float), e.astype(float), atol=float(abs(e.astype(float)).max()) * (3e-3 if dtype == "float16" else 1e-6))


def test_stacks_of_images_and_kernels_are_one_product(gpu: Any, launched: list[str]) -> None:
    x, kernel = RNG.standard_normal((3, 2, 3, 5, 4)), RNG.standard_normal((3, 4, 3, 2, 2))
    for axes in ((0, 0), (0, None), (None, 0)):
        args = [z if axis == 0 else z[0] for z, axis in zip((x, kernel), axes, strict=True)]
        function = fd.vmap(lambda x, w: windows.conv(x, w, size=(4, 3), strides=(1, 1), before=(0, 0), dilation=(1, 1), groups=1), axes)
        assert_trees_close(fd.to_numpy(function(*map(gpu.asarray, args))), function(*args), 1e-12)
    assert launched == ["columns2"] * 3


# Arrays side by side


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "bool"])
def test_arrays_are_joined_by_one_kernel(dtype: str, axis: int, gpu: Any, launched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_kernels, "launch", window_kernels.launch)
    pieces = [(10 * RNG.standard_normal((2, 3, 4))).astype(dtype) for _ in range(3)]
    pieces[1] = np.concatenate([pieces[1]] * 2, axis=axis)
    there = [gpu.asarray(piece) for piece in pieces]
    assert_trees_equal(fd.to_numpy(fnp.concatenate(there, axis=axis)), np.concatenate(pieces, axis=axis))
    assert launched == ["joined3"]
    whole = gpu.asarray(np.concatenate(pieces, axis=axis))
    parts = lambda x: fnp.split(x, 4, axis=axis)[::-1]
    if np.dtype(dtype).kind == "f":
        weights = [k + 1.0 for k in range(4)]
        gradient = fd.compile(fd.grad(lambda x: sum(w * fnp.sum(p * p) for w, p in zip(weights, parts(x), strict=True))))
        for _ in range(2):
            got = fd.to_numpy(gradient(whole))
        expected = fd.grad(lambda x: sum(w * fnp.sum(p * p) for w, p in zip(weights, parts(x), strict=True)))(np.concatenate(pieces, axis=axis))
        assert_trees_close(got, expected, 1e-3 if dtype == "float16" else 1e-6)
        assert launched.count("joined4") >= 1


def test_what_cannot_be_joined_by_a_kernel_is_joined_by_cupy(gpu: Any, launched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_kernels, "launch", window_kernels.launch)
    many = [np.ones((2, 1)) * k for k in range(30)]
    for pieces in (many, [np.ones((2, 1)) * 1j, np.ones((2, 3)) * 2j]):
        assert_trees_equal(fd.to_numpy(fnp.concatenate([gpu.asarray(x) for x in pieces], axis=1)), np.concatenate(pieces, axis=1))
    assert launched == []
    empty = [np.ones((2, 0)), np.ones((2, 3)), np.ones((2, 0))]
    assert_trees_equal(fd.to_numpy(fnp.concatenate([gpu.asarray(x) for x in empty], axis=1)), np.ones((2, 3)))
    with pytest.raises(ShapeError):
        fnp.concatenate([gpu.asarray(np.ones((2, 3))), gpu.asarray(np.ones((3, 3)))], axis=1)
