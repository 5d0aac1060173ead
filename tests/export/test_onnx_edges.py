"""Models at the edges: entries that are NaN, empty batches, names that operators have too, and integers."""

import functools
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero.errors import ExportError

from .sessions import assert_alike, exported, run

RNG = np.random.default_rng(1)


def test_a_nan_is_the_greatest_entry_and_the_least() -> None:
    def f(x: np.ndarray) -> Any:
        pooled = F.max_pool2d(x[None], 2, stride=1, padding=1)
        back = fd.grad(lambda x: np.sum(F.max_pool2d(x[None], 2)))(x)
        rows = [g(x, axis=axis) for g in (np.max, np.min, np.argmax, np.argmin) for axis in (0, -1, None)]
        return pooled, back, *rows, np.max(x, axis=-1, keepdims=True)

    x = RNG.standard_normal((4, 6)).astype(np.float32)
    x[0, 1] = x[2, 2] = x[3, 4] = np.nan
    x[1, 3], x[2, 0] = np.inf, np.inf
    for got, wanted in zip(run(fd.export.onnx(f, x), x), f(x), strict=True):
        assert_alike(got, np.asarray(wanted))


def test_truth_values_of_an_empty_batch() -> None:
    def f(x: np.ndarray) -> Any:
        return (x > 0).any(axis=0), (x > 0).all(axis=0), (x > 0).any(), (x > 0).all(axis=1)

    exported(f, RNG.standard_normal((3, 2)).astype(np.float32), batch_axis=0, sizes=(0, 1))


@pytest.mark.parametrize("kind", ["i8", "u4"])
def test_places_of_large_integers(kind: str) -> None:
    x = np.array([[3, 2**31 + 1, 2**31 + 1, 0], [0, 0, 0, 0]], kind)
    exported(lambda x: (np.argmax(x, axis=-1), np.argmin(x, axis=-1, keepdims=True), np.argmax(x)), x, batch_axis=None)


def test_padding_of_some_axes_leaves_the_batch_free() -> None:
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    exported(lambda x: np.pad(x, ((0, 0), (1, 2))), x, batch_axis=0, sizes=(1, 4))
    exported(lambda x: np.pad(x, ((2, 1), (0, 1))), x, batch_axis=0, sizes=(1, 4))


def test_gradients_of_rows_of_the_batch() -> None:
    def loss(x: Any) -> Any:
        return np.sum(x[1:] * x[:-1]) + np.sum(x[-1] ** 2 * x[0]) + np.sum(x[-2:, 1]) + np.sum(x[1, None] ** 3)

    exported(fd.grad(loss), RNG.standard_normal((4, 3)).astype(np.float32), batch_axis=0, sizes=(2, 7))


def test_numbers_of_numpy_in_an_index() -> None:
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    exported(lambda x: np.roll(x, 1, axis=0), x, batch_axis=0, sizes=(1, 7))
    exported(fd.grad(lambda x: np.sum(x[np.int64(1)] ** 2 + x[:, np.int64(0), None] ** 3)), x)


def test_loops_in_loops() -> None:
    def grown(row: Any) -> Any:
        return fd.while_loop(lambda c: np.sum(c) < 9, lambda c: c + abs(row), np.zeros(3, np.float32))

    def f(x: Any) -> Any:
        total, kept = fd.scan(lambda c, row: (c + grown(row), grown(c)), x[0], x)
        return total, kept, fd.cond(x[0, 0] > 0, lambda x: grown(x[0]), lambda x: fd.scan(lambda c, r: (r, None), x[0], x)[0], x)

    exported(f, RNG.standard_normal((4, 3)).astype(np.float32), batch_axis=0, sizes=(1, 5))


def test_a_loop_over_rows_that_keeps_none() -> None:
    def last(x: Any) -> Any:
        return fd.scan(lambda c, row: (c * row + 1, None), x[0], x)[0]

    exported(last, RNG.standard_normal((4, 3)).astype(np.float32), batch_axis=0, sizes=(1, 7))


def test_windows_may_begin_and_end_in_the_padding() -> None:
    x = RNG.standard_normal((2, 3, 7, 8)).astype(np.float32)
    pooled = functools.partial(F.max_pool2d, kernel_size=2, stride=2, padding=1, dilation=2, ceil_mode=True)
    exported(lambda x: pooled(x), x, batch_axis=0, sizes=(1, 3))


def test_a_number_that_is_rounded_from_the_size_of_the_batch() -> None:
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    exported(lambda x: x[: len(x) // 2] * 2, x, batch_axis=0, sizes=(1, 5, 6))
    for f in (lambda x: x[: (len(x) + 1) // 2] * 2, lambda x: np.broadcast_to(x[::2], (2, (len(x) + 1) // 2, 3))):
        with pytest.raises(ExportError, match=r"depends on the batch's size.* batches of 4, 8, 12, 15"):
            fd.export.onnx(f, x, batch_axis=0)


def test_results_keep_their_keys_beside_operators_and_parameters() -> None:
    x = np.ones(3, np.float32)
    made = fd.export.onnx(lambda x: {"add": x + 1, "mul": x * 2, "output": x, "x": x}, x)
    assert [y.name for y in made.graph.output] == ["add", "mul", "output", "output/x"]
    back = fd.export.onnx(lambda w, x: fd.grad(lambda w: np.sum(w["W"] * x))(w), {"W": x}, x, parameters=("w",))
    assert [y.name for y in back.graph.output] == ["output/W"]
