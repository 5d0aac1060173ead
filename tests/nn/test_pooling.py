"""Pooling against PyTorch and DeZero, at ties and NaN, in every layout, and what it refuses."""

import sys
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, RangeError, ShapeError
from fdezero.ops import pooling as ops
from fdezero.testing import assert_trees_equal

RNG = np.random.default_rng(5)


def pulled(function: Any, x: Any, t: Any) -> tuple[Any, Any]:
    value, pullback = fd.vjp(function, x)
    return value, pullback(t(value) if callable(t) else t)[0]


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


# Against PyTorch


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_random_windows_give_pytorchs_values_and_gradients_also_at_ties(kind: str, count: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(count)
    name, compared, refused = f"{kind}_pool{count}d", 0, 0
    for trial in range(40):
        x = rng.standard_normal((2, 2, *rng.integers(1, 8, count)))
        x = x.round() if trial % 2 else x
        kernel, stride, dilation = ([int(n) for n in rng.integers(1, high, count)] for high in (5, 4, 3))
        padding = [int(rng.integers(0, n // 2 + 1)) for n in kernel]
        options = (dilation, bool(trial & 2)) if kind == "max" else (bool(trial & 2), bool(trial & 4))
        given = torch.tensor(x, requires_grad=True)
        try:
            expected = getattr(torch.nn.functional, name)(given, kernel, stride, padding, *options)
        except RuntimeError as error:
            if "smaller than kernel size" not in str(error):  # 3-d means alone refuse a kernel that fits with its padding
                with pytest.raises((ShapeError, RangeError)):
                    getattr(F, name)(x, kernel, stride, padding, *options)
                refused += 1
            continue
        if torch.isinf(expected).any():  # windows between entries
            with pytest.raises(ShapeError, match="lie in the padding and between the entries"):
                getattr(F, name)(x, kernel, stride, padding, *options)
            continue
        t = rng.standard_normal(expected.shape)
        expected.backward(torch.tensor(t))
        value, gradient = pulled(lambda x: getattr(F, name)(x, kernel, stride, padding, *options), x, t)
        np.testing.assert_allclose(value, expected.detach().numpy(), atol=1e-13)
        np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-12)
        compared += 1
    assert compared > 10
    assert refused or name == "avg_pool3d"


# Against DeZero


@pytest.fixture
def dezero(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("matplotlib")  # which DeZero imports
    monkeypatch.setattr(np, "int", int, raising=False)  # which NumPy 2 dropped
    found = pytest.importorskip("dezero")
    yield found
    assert "dezero" in sys.modules


SQUARE = [(2,), (2, 2), (3, 2, 1), (2, 1, 1)]  # DeZero exchanges the axes of others in the gradient of the mean


@pytest.mark.parametrize(("name", "args"), [*[(name, args) for name in ("pooling", "average_pooling") for args in SQUARE], ("pooling", ((3, 2), (1, 2), 0))])
@pytest.mark.parametrize("ties", [False, True])
def test_dezeros_names_give_dezeros_values_and_gradients(dezero: Any, name: str, args: Any, ties: bool) -> None:
    x = RNG.standard_normal((2, 3, 6, 5))
    x = x.round() if ties else x  # DeZero takes the first of equal entries, too
    given = dezero.Variable(x)
    expected = getattr(dezero.functions, name)(given, *args)
    t = np.cos(np.arange(expected.size)).reshape(expected.shape)
    expected.grad = dezero.Variable(t.copy())
    expected.backward()
    value, gradient = pulled(lambda x: getattr(F, name)(x, *args), x, t)
    np.testing.assert_allclose(value, expected.data, atol=1e-14)
    np.testing.assert_allclose(gradient, given.grad.data, atol=1e-13)


def test_padding_counts_in_dezeros_maximum_but_not_in_ours() -> None:
    x = np.full((1, 1, 2, 2), -1.0)
    assert_trees_equal(F.pooling(x, 2, 2, 1), np.zeros((1, 1, 2, 2)))
    assert_trees_equal(F.max_pool2d(x, 2, 2, 1), np.full((1, 1, 2, 2), -1.0))


# Conventions


def test_the_first_of_equal_entries_gets_the_derivative_in_every_mode() -> None:
    x = np.zeros((1, 1, 4, 4))
    first = np.zeros((1, 1, 4, 4))
    first[..., ::2, ::2] = 1
    for function in (lambda x: F.max_pool2d(x, 2), lambda x: fd.vmap(lambda x: F.max_pool2d(x, 2))(x)):
        assert_trees_equal(fd.grad(lambda x: fnp.sum(function(x)))(x), first)
        assert_trees_equal(fd.compile(fd.grad(lambda x: fnp.sum(function(x))))(x), first)
        moved = fd.jvp(function, (x,), (np.arange(16.0).reshape(x.shape),))[1]
        assert_trees_equal(moved, np.array([[[[0.0, 2.0], [8.0, 10.0]]]]))
    one = np.zeros((1, 1, 4, 4))
    one[0, 0, 0, 0] = 1
    assert_trees_equal(fd.grad(lambda x: fnp.sum(F.global_max_pool(x)))(x), one)
    assert_trees_equal(fd.grad(lambda x: fnp.sum(F.adaptive_max_pool2d(x, 1)))(x), one)


@pytest.mark.parametrize("size", [4, 200])  # in one block, and in many
def test_a_nan_is_the_greatest_and_the_first_nan_gets_the_derivative(size: int) -> None:
    x = RNG.standard_normal((2, 3, size, 4))
    x[:, :, 1, 2:] = np.nan
    value, gradient = pulled(lambda x: F.max_pool2d(x, 2), x, lambda y: np.full(y.shape, 2.0))
    expected = np.zeros(value.shape, bool)
    expected[:, :, 0, 1] = True
    assert_trees_equal(np.isnan(value), expected)
    assert_trees_equal(gradient[:, :, 0:2, 2:], np.broadcast_to(np.array([[0.0, 0.0], [2.0, 0.0]]), (2, 3, 2, 2)))
    assert (gradient != 0).sum() == value.size
    assert np.isnan(F.global_max_pool(x)).all()


def test_windows_of_minus_infinity_have_a_first_entry_as_well() -> None:
    x = np.full((1, 1, 3), -np.inf)
    value, gradient = pulled(lambda x: F.max_pool1d(x, 3, 1, 1), x, np.array([[[1.0, 10.0, 100.0]]]))
    assert_trees_equal(value, np.full((1, 1, 3), -np.inf))
    assert_trees_equal(gradient, np.array([[[11.0, 100.0, 0.0]]]))


def test_infinities_stay_in_their_windows() -> None:
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    x[0, 0, 5, 5] = np.inf
    for value in (F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 4), F.max_pool2d(x, 3, 2, 1)):
        assert np.isinf(value).sum() == 1
    t = np.ones((1, 1, 3, 3))
    t[0, 0, 0, 0] = np.inf
    gradient = pulled(lambda x: F.max_pool2d(x, 2), x, t)[1]
    assert np.isinf(gradient).sum() == 1
    assert not np.isnan(gradient).any()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool])
def test_integers_keep_their_dtype_under_max_and_become_float64_under_mean(dtype: Any) -> None:
    x = np.array([[[-3, -2, -1, 0, 1]]]).astype(dtype)
    greatest = F.max_pool1d(x, 3, 2, 1)
    assert greatest.dtype == dtype
    assert_trees_equal(greatest, np.array([[[x[0, 0, :2].max(), x[0, 0, 1:4].max(), x[0, 0, 3:].max()]]]))
    assert F.avg_pool1d(x, 2).dtype == np.float64


@pytest.mark.parametrize("shape", [(3, 2, 8, 6), (40, 8, 30, 16), (2, 1, 300, 200)])
def test_memory_order_is_kept_and_changes_no_number(shape: tuple[int, ...]) -> None:
    x = RNG.integers(0, 9, shape).astype(np.float32)
    calls = [lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, (1, 3)), lambda x: F.max_pool2d(x, (5, 2), 1)]
    for call in calls:
        value, gradient = pulled(call, x, lambda y: np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
        last, gradient_last = pulled(call, channels_last(x), lambda y: np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
        np.testing.assert_allclose(last, value, rtol=1e-6)
        np.testing.assert_allclose(gradient_last, gradient, atol=1e-6)
        assert last.transpose(0, 2, 3, 1).flags.c_contiguous
        assert value.flags.c_contiguous
        compiled = fd.compile(lambda x: (call(x), fd.grad(lambda x: fnp.sum(call(x) ** 2))(x)))
        for given in (x, channels_last(x)):
            expected = (call(given), fd.grad(lambda x: fnp.sum(call(x) ** 2))(given))
            for _ in range(2):
                got = compiled(given)
                assert_trees_equal(got, expected, bits=True)
                assert got[0].strides == expected[0].strides


def test_float16_sums_are_sums_of_float32() -> None:
    x = np.full((1, 1, 64, 64), 30.0, np.float16)  # whose sum overflows
    assert_trees_equal(F.avg_pool2d(x, 64), np.full((1, 1, 1, 1), 30, np.float16))
    assert F.max_pool2d(x, 2).dtype == np.float16


def test_reverse_mode_keeps_one_byte_for_each_window() -> None:
    def loss(x: Any) -> Any:
        return fnp.sum(F.max_pool2d(x, 2))

    compiled = fd.compile(loss)
    x = np.ones((2, 3, 8, 8))
    fd.grad(compiled)(x)
    _, (back, _, _) = compiled.recordings[-1].program.reverse((True,), [x])
    assert [(v.dtype, v.shape) for v in back.graph.inputs if v.shape] == [(np.uint8, (2, 3, 4, 4))]


@pytest.mark.parametrize(("entries", "dtype"), [(256, np.uint8), (257, np.uint16), (1 << 16, np.uint16), ((1 << 16) + 1, np.int64)])
def test_the_number_of_an_entry_fits_its_dtype(entries: int, dtype: Any) -> None:
    x = np.zeros((1, entries))
    x[0, -1] = 1
    windows = ((1, entries, 1, 0, 1),)
    index = ops.first_greatest(x, ops.greatest(x, windows=windows), windows=windows)
    assert index.dtype == dtype
    assert index == entries - 1
    assert_trees_equal(fd.grad(lambda x: fnp.sum(F.global_max_pool(x[None])))(x), x)


# Refusals


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_pool2d(np.ones((1, 1, 3, 8)), 4), ShapeError, r"the window is 4 long along axis -2, but x float64\[1,1,3,8\] has only 3 there. Use a smaller kernel_size"),
        (lambda: F.avg_pool1d(np.ones((1, 1, 3)), 9, 1, 2), ShapeError, "has only 3 there, 7 with its padding"),
        (lambda: F.max_pool2d(np.ones((1, 1, 8, 8)), 3, padding=2), RangeError, "padding may be at most half of the window, which is 3 long along axis -2; got padding=2"),
        (lambda: F.max_pool1d(np.ones((1, 1, 1)), 2, padding=1, dilation=2), ShapeError, "some windows lie in the padding and between the entries"),
        (lambda: F.max_pool2d(np.ones((3, 4)), 2), ShapeError, r"max_pool2d expects x of shape \(N, C, H, W\), got float64\[3,4\]. Write x\[None, None\] for one example"),
        (lambda: F.max_pool1d(np.ones(3), 2), ShapeError, r"expects x of shape \(N, C, L\)"),
        (lambda: F.max_pool2d(np.ones((1, 1, 4, 4)), 0), RangeError, "max_pool2d: kernel_size must be an integer of at least 1, got int 0"),
        (lambda: F.max_pool2d(np.ones((1, 1, 4, 4)), (2, 2, 2)), RangeError, r"kernel_size must be a number, or one number for each of 2 axes, got \(2, 2, 2\)"),
        (lambda: F.avg_pool2d(np.ones((1, 1, 4, 4)), 2, 0.5), RangeError, "stride must be an integer of at least 1"),
        (lambda: F.max_pool2d(np.ones((1, 1, 4, 4)), 2, padding=-1), RangeError, "padding must be an integer of at least 0"),
        (lambda: F.max_pool2d(np.ones((1, 1, 4, 4)) + 1j, 2), DTypeError, r"takes real numbers, which have an order; got complex128\[1,1,4,4\]"),
        (lambda: F.global_max_pool(np.ones((1, 1, 4, 4)) + 1j), DTypeError, "real numbers"),
        (lambda: F.global_avg_pool(np.ones((3, 4))), ShapeError, r"expects x of shape \(N, C, ...\) with axes to pool behind the channels, got float64\[3,4\]"),
        (lambda: F.global_max_pool(np.ones((3, 4, 0))), ShapeError, "has no entries to pool"),
        (lambda: F.adaptive_avg_pool2d(np.ones((1, 1, 4, 0)), 2), ShapeError, "has no entries along axis -1"),
        (lambda: F.adaptive_max_pool1d(np.ones((1, 1, 4)), 0), RangeError, "output_size must be an integer of at least 1"),
        (lambda: F.adaptive_max_pool2d(np.ones((1, 1, 4, 4)), (2, 2, 2)), RangeError, "output_size"),
        (lambda: F.pooling(np.ones((1, 1, 2, 2)), 3), ShapeError, "pooling: the window is 3 long"),
        (lambda: F.pooling(np.ones((1, 1, 2, 2)), 2, pad=-1), RangeError, "pad must be an integer of at least 0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_with_the_way_out(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_empty_batch_gives_an_empty_result() -> None:
    x = np.ones((0, 3, 4, 4))
    for function in (lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_max_pool2d(x, 3)):
        value, gradient = pulled(function, x, lambda y: y)
        assert value.shape[:2] == (0, 3)
        assert gradient.shape == x.shape
