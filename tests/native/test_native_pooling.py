"""Native code of pooling: random windows, layouts, ties and NaN give what loops and the ordinary calls give."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.ops import pooling
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

RNG = np.random.default_rng(5)


def channels_last(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Rounded numbers, so that windows have ties."""
    first, channels, *rest = shape
    x = RNG.normal(0, 2, (first, *rest, channels)).round().astype(dtype)
    return np.moveaxis(x, -1, 1)


def drawn(rank: int) -> tuple[tuple[int, ...], pooling.Windows]:
    """The lengths of axes, and windows along them that have an entry each."""
    windows, lengths = [], []
    for _ in range(rank):
        kernel, stride, dilation, n = (int(RNG.integers(1, high)) for high in (4, 4, 3, 10))
        reach = (kernel - 1) * dilation
        before = int(RNG.integers(0, kernel // 2 + 1)) if dilation == 1 else 0
        n = max(n, reach + 1 - before + stride)  # two windows: one alone does not tell the order of axes
        size = (n + 2 * before - reach - 1) // stride + 1
        windows.append((size, kernel, stride, before, dilation))
        lengths.append(n)
    return tuple(lengths), tuple(windows)


def by_loops(x: np.ndarray, windows: pooling.Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The greatest entries, the numbers of the first of them, and the sums."""
    count = len(windows)
    loops, sizes = x.shape[:-count], tuple(window[0] for window in windows)
    greatest, number, total = (np.empty((*loops, *sizes), dtype) for dtype in (x.dtype, np.uint8, x.dtype))
    for place in np.ndindex(*loops, *sizes):
        best: Any = None
        total[place] = 0
        for k, at in enumerate(np.ndindex(*[window[1] for window in windows])):
            index = [o * w[2] - w[3] + i * w[4] for o, i, w in zip(place[-count:], at, windows, strict=True)]
            if any(not 0 <= i < n for i, n in zip(index, x.shape[-count:], strict=True)):
                continue
            entry = x[(*place[:-count], *index)]
            total[place] += entry
            if best is None or entry > best or (entry != entry and best == best):
                best, greatest[place], number[place] = entry, entry, k
    return greatest, number, total


def compiled_both(function: Any, *args: Any, threads: int = 1, calls: int = 2) -> tuple[Any, Any]:
    """The results compiled and compiled to native code, once it is sure that native code ran."""
    native = fd.compile(function, native=True, threads=threads)
    native(*args)  # the first call is as recorded
    found = native(*args)
    assert native.source.count("= make") >= calls
    return fd.compile(function)(*args), found


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_random_windows_give_what_loops_give(rank: int, dtype: Any) -> None:
    for channels in (2, 7, 45, 107):
        lengths, windows = drawn(rank)
        x = channels_last(2, channels, *lengths, dtype=dtype)
        x[RNG.random(x.shape) < 0.02] = np.nan
        value, number, total = by_loops(x, windows)
        like = lambda y: np.moveaxis(np.ascontiguousarray(np.moveaxis(y, 1, -1)), -1, 1)
        t, s, number = (like(y) for y in (RNG.normal(size=value.shape).astype(dtype), RNG.normal(size=x.shape).astype(dtype), number))

        def call(x: Any, t: Any, s: Any, number: Any, windows: Any = windows, lengths: Any = lengths) -> Any:
            y = pooling.greatest(x, windows=windows)
            first = pooling.first_greatest(x, y, windows=windows)
            sums = pooling.summed(x, windows=windows)
            adjoints = pooling.placed_at(t, number, windows=windows, shape=lengths), pooling.spread(t, windows=windows, shape=lengths)
            return y, first, sums, adjoints, pooling.chosen_of(s, number, windows=windows)

        plain, native = compiled_both(call, x, t, s, number, calls=6)
        assert_trees_equal(native[:2], (value, number))
        assert_trees_close(native[2], total, 1e-6)
        assert_trees_close(native, plain, 1e-5)


@pytest.mark.parametrize("options", [(2,), (3, 2, 1), (3, 1, 1), (2, 3)], ids=str)
def test_gradients_of_every_order_and_batches_agree(options: tuple[int, ...]) -> None:
    x, t = channels_last(3, 9, 8, 7), RNG.normal(size=(3, 9, 8, 7)).astype(np.float32)

    def gradients(x: Any, t: Any, pool: Any) -> Any:
        loss = lambda x: fnp.sum(fnp.sin(pool(x * t, *options)))
        return fd.value_and_grad(loss)(x), fd.hvp(loss, (x,), (t,)), fd.vmap(fd.grad(lambda x: fnp.sum(pool(x, *options) ** 2)))(x[:, None])

    for pool in (F.max_pool2d, F.avg_pool2d):
        plain, native = compiled_both(lambda x, t, pool=pool: gradients(x, t, pool), x, t)
        assert_trees_close(native, plain, 1e-4)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdezero.ops.native_pooling.SHARE", 1)
    for x in (channels_last(5, 20, 6, 7), channels_last(1, 131, 6, 7)):

        def call(x: Any) -> Any:
            y, pullback = fd.vjp(lambda x: (F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2)), x)
            return y, pullback(y)

        found = [compiled_both(call, x, threads=threads)[1] for threads in (1, 2, 3)]
        assert_trees_equal(found[1], found[0], bits=True)
        assert_trees_equal(found[2], found[0], bits=True)


def test_numbers_that_name_padding_are_nothing() -> None:
    windows = ((3, 3, 2, 1, 1), (2, 2, 2, 1, 2))
    t, s = channels_last(1, 9, 3, 2), channels_last(1, 9, 5, 3)
    number = np.moveaxis(RNG.integers(0, 6, (1, 3, 2, 9)).astype(np.uint8), -1, 1)
    call = lambda t, s, number: (pooling.placed_at(t, number, windows=windows, shape=(5, 3)), pooling.chosen_of(s, number, windows=windows))
    plain, native = compiled_both(call, t, s, number)
    assert_trees_close(native, plain, 1e-6)


def test_an_operand_in_another_order_is_copied_into_that_of_the_result() -> None:
    x, t = channels_last(3, 5, 8, 6), RNG.normal(size=(3, 5 * 4 * 3)).astype(np.float32)

    def call(x: Any, t: Any) -> Any:
        y, pullback = fd.vjp(lambda x: F.max_pool2d(x, 2).reshape(3, -1), x)
        z, pull_mean = fd.vjp(lambda x: F.avg_pool2d(x, 2).reshape(3, -1), x)
        return y, z, pullback(t), pull_mean(t)

    plain, native = compiled_both(call, x, t, calls=4)
    assert_trees_close(native, plain, 1e-6)


def test_rows_and_other_types_are_left_to_numpy() -> None:
    rows, integers = RNG.normal(size=(2, 3, 8)).astype(np.float32), channels_last(2, 4, 6, 6, dtype=np.int32)
    for call, x in ((lambda x: F.max_pool1d(x, 2), rows), (lambda x: F.max_pool2d(x, 2), integers)):
        native = fd.compile(call, native=True)
        native(x)
        assert_trees_equal(native(x), call(x), bits=True)
        assert "native0(" not in native.source
