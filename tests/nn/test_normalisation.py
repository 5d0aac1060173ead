"""Normalisation against PyTorch, DeZero and float64: precision, blocks, memory orders, statistics, and what it refuses."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.ops import memory_order
from fdezero.ops import normalisation as ops
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(9)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def standard(x: np.ndarray, axes: Any, eps: float = 1e-5) -> np.ndarray:
    exact = x.astype(np.longdouble)
    y: np.ndarray = (exact - exact.mean(axes, keepdims=True)) / np.sqrt(exact.var(axes, keepdims=True) + eps)
    return y


def pulled(function: Any, args: Any) -> Any:
    """The value, and the gradients of a weighed sum."""
    value, pullback = fd.vjp(function, *args)
    return value, pullback(np.cos(np.arange(value.size, dtype=value.dtype)).reshape(value.shape))


# Against PyTorch


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (3, 4, 5, 6), (2, 4, 2, 3, 4)])
def test_values_and_gradients_are_pytorchs(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    T = torch.nn.functional
    x, (scale, shift, mean) = RNG.normal(1, 2, shape), RNG.normal(size=(3, 4))
    variance, last, n = RNG.uniform(0.5, 2, 4), RNG.normal(size=shape[-1]), shape[-1]
    pairs = [
        (F.batch_norm, lambda x, s, b: T.batch_norm(x, None, None, s, b, True), (x, scale, shift)),
        (F.batch_norm, lambda x, s, b, m, v: T.batch_norm(x, m.detach(), v.detach(), s, b), (x, scale, shift, mean, variance)),
        (F.layer_norm, lambda x, s, b: T.layer_norm(x, (n,), s, b), (x, last, last[::-1].copy())),
        (F.rms_norm, lambda x, s: T.rms_norm(x, (n,), s, eps=1e-5), (x, last)),
        (lambda x, s, b: F.group_norm(x, 2, s, b), lambda x, s, b: T.group_norm(x, 2, s, b), (x, scale, shift)),
        (lambda x: F.local_response_norm(x, 3, 0.5, 0.7, 2.0), lambda x: T.local_response_norm(x, 3, 0.5, 0.7, 2.0), (x,)),
        (F.instance_norm, lambda x, s, b: T.instance_norm(x, None, None, s, b), (x, scale, shift)),
    ]
    for ours, theirs, args in pairs:
        if len(shape) == 2 and (ours is F.instance_norm or len(args) == 1):
            continue
        given = [torch.tensor(a, requires_grad=True) for a in args]
        expected = theirs(*given)
        value, gradients = pulled(ours, args)
        np.testing.assert_allclose(value, expected.detach().numpy(), atol=1e-12)
        expected.backward(torch.tensor(np.cos(np.arange(value.size)).reshape(value.shape)))
        for gradient, a in list(zip(gradients, given, strict=True))[:3]:
            np.testing.assert_allclose(gradient, a.grad.numpy(), atol=1e-11)


# Against DeZero


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2, 5)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_gives_dezeros_values_gradients_and_statistics(monkeypatch: pytest.MonkeyPatch, shape: Any, train: bool) -> None:
    pytest.importorskip("matplotlib")  # which DeZero imports
    monkeypatch.setattr(np, "int", int, raising=False)  # which NumPy 2 dropped
    dezero = pytest.importorskip("dezero")
    x, (scale, shift, mean), variance = RNG.normal(1, 2, shape), RNG.normal(size=(3, 4)), RNG.uniform(0.5, 2, 4)
    given = [dezero.Variable(a.copy()) for a in (x, scale, shift)]
    running = mean.copy(), variance.copy()
    with dezero.using_config("train", train):
        expected = dezero.functions.batch_nrom(*given, *running)
        expected.grad = dezero.Variable(np.cos(np.arange(x.size)).reshape(shape))
        if train:
            expected.backward()
    statistics = () if train else (mean, variance)
    value, gradients = pulled(lambda x, s, b: F.batch_norm(x, s, b, *statistics, eps=2e-5), (x, scale, shift))
    np.testing.assert_allclose(value, expected.data, atol=1e-12)
    if train:  # the gradient of DeZero's inference is that of its training
        assert_trees_close(gradients, tuple(a.grad.data for a in given), 1e-11)
        _, here, spread = F.batch_norm_with_statistics(x)
        n = x.size // 4
        np.testing.assert_allclose(running[0], 0.9 * mean + 0.1 * here, atol=1e-13)
        np.testing.assert_allclose(running[1], 0.9 * variance + 0.1 * spread * n / (n - 1), atol=1e-13)


# Precision


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last], ids=["channels first", "channels last"])
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (1e4, 1), (-1e6, 10), (1e-3, 1e-6), (0, 1e-18)])
def test_float32_keeps_its_digits_far_from_0(layout: Any, mean: float, std: float) -> None:
    x = layout((mean + std * RNG.standard_normal((8, 6, 24, 24))).astype(np.float32))
    x[:, 3] *= 3
    calls = [(F.batch_norm, (0, 2, 3)), (F.instance_norm, (2, 3)), (lambda x, eps: F.layer_norm(x, axis=(1, 2, 3), eps=eps), (1, 2, 3))]
    for call, axes in calls:
        y = call(x, eps=0.0)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.astype(float), standard(x, axes, 0).astype(float), atol=3e-6)
        if std > 1e-9:
            exact = pulled(lambda x: call(x, eps=0.0), (x.astype(np.float64),))[1][0]
            np.testing.assert_allclose(pulled(lambda x: call(x, eps=0.0), (x,))[1][0] * std, exact * std, atol=3e-6)


def test_one_entry_unlike_all_others_costs_no_digits() -> None:
    x = (1e4 + RNG.standard_normal((64, 4, 30, 30))).astype(np.float32)
    x[0], x[:, :, 0] = 0, 0  # a black image, and a black row in each
    for given in (x, channels_last(x)):
        np.testing.assert_allclose(F.batch_norm(given).astype(float), standard(given, (0, 2, 3)).astype(float), atol=3e-6)


def test_float16_is_computed_in_float32() -> None:
    x = (1000 + 30 * RNG.standard_normal((16, 3, 20, 20))).astype(np.float16)  # whose squares and sums overflow
    for call, axes in ((F.batch_norm, (0, 2, 3)), (F.layer_norm, -1)):
        y = call(x)
        assert y.dtype == np.float16
        np.testing.assert_allclose(y.astype(float), standard(x, axes).astype(float), rtol=2**-10, atol=2**-12)
    _, mean, variance = F.batch_norm_with_statistics(x)
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(mean, x.astype(float).mean((0, 2, 3)), rtol=1e-6)
    assert F.batch_norm(x, mean=mean, variance=variance).dtype == np.float16
    np.testing.assert_allclose(F.rms_norm(x).astype(float), x / np.sqrt((x.astype(float) ** 2).mean(-1, keepdims=True)), rtol=2**-10)


def test_statistics_are_those_of_numpy_in_double_precision() -> None:
    x = (1e4 + RNG.standard_normal((8, 6, 24, 24))).astype(np.float32)
    for given in (x, channels_last(x)):
        _, mean, variance = F.batch_norm_with_statistics(given)
        np.testing.assert_allclose(mean, x.mean((0, 2, 3), dtype=float), rtol=2**-24)
        np.testing.assert_allclose(variance, x.astype(float).var((0, 2, 3)), rtol=1e-6)


# Blocks


@pytest.mark.parametrize("block", [200, 1000, 1 << 14])
@pytest.mark.parametrize("shape", [(16, 8), (4, 6, 10), (5, 8, 4, 6), (3, 16, 16, 2), (2, 4, 3, 2, 3), (40, 3, 1, 1), (1, 8, 9, 1)])
def test_blocks_of_any_size_in_any_memory_order_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch, block: int, shape: Any) -> None:
    c, last = shape[1], shape[-1]
    affine = RNG.normal(size=(2, c))
    x = RNG.normal(2, 3, shape)
    layouts = [x, channels_last(x), np.repeat(x, 2, axis=0)[::2], x[:, ::-1].copy()[:, ::-1], np.asfortranarray(x)]
    calls = [
        (lambda x, s, b: F.batch_norm(x, s, b), affine), (lambda x, s, b: F.group_norm(x, c // 2 if c > 3 else 1, s, b), affine),
        (lambda x, s, b: F.layer_norm(x, s, b, axis=1), affine), (lambda x, s: F.rms_norm(x, s, axis=1), affine[:1]),
        (lambda x, s, b: F.batch_norm_with_statistics(x, s)[2] + b, affine), (lambda x: F.batch_norm(x, axis=-1), ()),
        *([(lambda x, s, b: F.layer_norm(x, s, b), RNG.normal(size=(2, last)))] if last > 1 else []),
    ]  # fmt: skip
    for call, given in calls:
        expected = pulled(call, (x, *given))
        with monkeypatch.context() as patch:
            patch.setattr(memory_order, "BLOCK", block)
            patch.setattr(memory_order, "SMALL", block)
            for laid in layouts:
                assert_trees_close(pulled(call, (laid, *given)), expected, 1e-10)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last], ids=["channels first", "channels last"])
def test_compiled_blocks_have_the_bits_of_eager_ones(layout: Any) -> None:
    x = layout(RNG.normal(2, 3, (24, 16, 40, 20)).astype(np.float32))  # several blocks
    scale, shift = RNG.normal(size=(2, 16)).astype(np.float32)
    for call in (F.batch_norm, lambda x, s, b: F.group_norm(x, 4, s, b), lambda x, s, b: F.layer_norm(x, s, b, axis=1)):

        def both(x: Any, s: Any, b: Any) -> Any:
            value, pullback = fd.vjp(lambda *args: F.relu(call(*args)), x, s, b)
            return value, pullback(value)

        compiled, expected = fd.compile(both), both(x, scale, shift)
        for _ in range(3):
            assert_trees_equal(compiled(x, scale, shift), expected, bits=True)
        assert expected[0].strides == x.strides


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_without_a_mean_to_subtract_there_are_zeros_and_the_mean_square(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    monkeypatch.setattr(memory_order, "SMALL", small)
    monkeypatch.setattr(memory_order, "BLOCK", 300)
    x = RNG.normal(3, 1, (6, 5, 4))
    for axes in ((-1,), (-3, -1), (-3, -2, -1)):
        found = ops.moments(x, axes=axes, centred=False)
        assert_trees_equal(found[..., :2], np.zeros_like(found[..., :2]))
        np.testing.assert_allclose(found[..., 2], (x**2).mean(axes, keepdims=True), rtol=1e-13)


def test_statistics_of_another_dtype_widen_the_result_of_large_arrays_as_of_small_ones() -> None:
    x, mean, variance = RNG.normal(size=(400, 64)).astype(np.float32), RNG.normal(size=64), RNG.uniform(1, 2, 64)
    for given in (x, x[:2]):
        y = F.batch_norm(given, None, None, mean, variance)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, (given - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)


def test_a_result_may_be_written_over_an_operand_that_is_read_late() -> None:
    x, scale = RNG.normal(size=(2, 4096, 40)).astype(np.float32)

    def function(x: Any, scale: Any) -> Any:
        return F.layer_norm(x * 2, scale * 3, scale * 5, axis=(0, 1))

    expected, compiled = function(x, scale), fd.compile(function)
    for _ in range(2):
        assert_trees_equal(compiled(x, scale), expected, bits=True)


# Across the examples of a vmap


@pytest.mark.parametrize("shape", [(6,), (6, 5, 4)])
def test_statistics_over_a_named_batch_axis_are_those_of_the_batch(shape: Any) -> None:
    x, (scale, shift) = RNG.normal(100, 2, (8, *shape)), RNG.normal(size=(2, 6))

    def each(x: Any, scale: Any, shift: Any) -> Any:
        return F.batch_norm_with_statistics(x, scale, shift, axis=0, axis_name="batch")

    def mapped(x: Any, scale: Any, shift: Any) -> Any:
        return fd.vmap(each, (0, None, None), out_axes=(0, None, None), axis_name="batch")(x, scale, shift)

    assert_trees_close(mapped(x, scale, shift), F.batch_norm_with_statistics(x, scale, shift), 1e-10)
    weights = RNG.normal(size=x.shape)
    ours = fd.grad(lambda *args: fnp.sum(mapped(*args)[0] * weights), argnums=(0, 1, 2))(x, scale, shift)
    assert_trees_close(ours, fd.grad(lambda *args: fnp.sum(F.batch_norm(*args) * weights), argnums=(0, 1, 2))(x, scale, shift), 1e-9)


# Refusals


X = np.ones((2, 4, 3, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.batch_norm(np.ones((1, 4))), ShapeError, r"x float64\[1,4\] has one number for each of 4 channels, so there is no variance .* Use a larger batch, or the statistics of training: train=False"),
        (lambda: F.batch_norm(np.ones((1, 4, 1, 1))), ShapeError, "one number for each of 4 channels"),
        (lambda: F.batch_norm(np.ones((0, 4))), ShapeError, r"batch_norm: x float64\[0,4\] has no entries"),
        (lambda: F.batch_norm(X, np.ones(3)), ShapeError, r"batch_norm: scale must have shape \(4,\) for this x and axis, got float64\[3\]"),
        (lambda: F.batch_norm(X, np.ones(4), np.ones((4, 1))), ShapeError, "shift must have shape"),
        (lambda: F.batch_norm(X, None, None, np.ones(2), np.ones(4)), ShapeError, "mean must have shape"),
        (lambda: F.batch_norm(X, mean=np.ones(4)), StructureError, "takes mean and variance together"),
        (lambda: F.batch_norm(np.ones(4)), ShapeError, r"expects x of shape \(N, C, ...\) with its channels along axis 1, got float64\[4\]"),
        (lambda: F.batch_norm(X, eps=-1), RangeError, "eps is added to a variance, so it is a number of at least 0; got -1"),
        (lambda: F.batch_norm(X + 1j), DTypeError, "batch_norm takes real numbers, got complex128"),
        (lambda: F.layer_norm(X, np.ones(4)), ShapeError, r"layer_norm: scale must have shape \(3,\)"),
        (lambda: F.layer_norm(np.ones((3, 0))), ShapeError, "has no entries along axis=-1"),
        (lambda: F.layer_norm(1.0), ShapeError, "layer_norm normalises along an axis"),
        (lambda: F.rms_norm(X, np.ones(4), axis=0), ShapeError, r"rms_norm: scale must have shape \(2,\)"),
        (lambda: F.group_norm(X, 3), RangeError, "num_groups must divide the number of channels, which is 4 in x float64.*got 3"),
        (lambda: F.group_norm(X, 0), RangeError, "num_groups"),
        (lambda: F.group_norm(np.ones(4), 2), ShapeError, "group_norm expects x of shape"),
        (lambda: F.group_norm(np.ones((2, 4)), 4), ShapeError, "one number in each group of an example"),
        (lambda: F.instance_norm(np.ones((2, 4, 1))), ShapeError, "one number in each channel of an example"),
        (lambda: F.instance_norm(np.ones((2, 4))), ShapeError, "with axes behind the channels"),
        (lambda: F.local_response_norm(X, 0), RangeError, "local_response_norm: size must be an integer of at least 1, got int 0"),
        (lambda: F.local_response_norm(np.ones(3), 2), ShapeError, "local_response_norm expects x"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_with_the_way_out(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
