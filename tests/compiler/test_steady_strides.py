"""Strides mean nothing along axes of length 1 and without entries: arrays that differ in them share a recording and its bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import nn, optim

from ..debugging.debugged import bits
from ..native.compilers import HAS_COMPILER

SHAPE = (8, 1, 3, 1)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: np.tanh(x) * 2.0 + x,
    "sums": lambda x: (x.sum(axis=1), x.sum(axis=(1, 3)), x.mean()),
    "views": lambda x: (x.transpose(3, 0, 1, 2).copy(), x.reshape(8, 3) * 2.0, x[:, 0] * 2.0, x[::2, :, 1:] + 1.0),
    "product": lambda x: x.reshape(8, 3).T @ x[:, 0, :, 0],
    "gradient": fd.grad(lambda x: (np.sin(x) * x.swapaxes(1, 2).reshape(x.shape)).sum()),
    "rows": lambda x: fd.scan(lambda c, row: (c + row, c * row), x[0] * 0.0, x),
}
SHIFTS = st.lists(st.sampled_from([0, 8, -8, 24, 999, 1 << 20]), min_size=2, max_size=2)
kinds = pytest.mark.parametrize("settings", [{}, pytest.param({"native": True}, marks=pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler"))])


def strided(x: np.ndarray, shifts: Any) -> np.ndarray:
    """The same array with other strides of its axes of length 1."""
    found = np.lib.stride_tricks.as_strided(x, strides=(x.strides[0], shifts[0], x.strides[2], shifts[1]))
    np.testing.assert_array_equal(found, x)
    return found


@pytest.fixture(scope="module")
def compiled() -> dict[Any, Any]:
    return {}


@kinds
@pytest.mark.parametrize("name", FUNCTIONS)
@given(shifts=SHIFTS)
def test_one_recording_and_the_same_bits(name: str, settings: dict[str, Any], compiled: dict[Any, Any], shifts: Any) -> None:
    key = name, *settings
    step = compiled.setdefault(key, fd.compile(FUNCTIONS[name], max_recordings=1, **settings))
    x = np.linspace(-1, 1, 24).reshape(SHAPE)
    step(x)  # the first call has the bits of eager code, also in native programs
    assert bits(step(strided(x, shifts))) == bits(step(x))


def test_large_groups_see_the_same_memory() -> None:
    x = np.linspace(-1, 1, 8 * 30_000).reshape(8, 1, 30_000, 1)
    step = fd.compile(lambda x, y: np.exp(x) * y + x, max_recordings=1)
    assert bits(step(x, x)) == bits(step(strided(x, (8, 999)), strided(x, (1 << 20, 0))))


def test_arrays_without_entries_share_a_recording() -> None:
    step = fd.compile(lambda x, y: (x + y, x.sum(), x.reshape(-1)), max_recordings=1)
    for strides in ((0, 0), (24, 8), (8, 24), (-8, 0)):
        x = np.lib.stride_tricks.as_strided(np.zeros((0, 3)), (0, 3), strides)
        assert bits(step(x, np.zeros((0, 3)))) == bits((np.zeros((0, 3)), np.float64(0), np.zeros(0)))


def test_a_convolution_of_one_channel_is_trained_by_one_recording() -> None:
    model = nn.Conv2d.init(fd.random.key(0), 1, 2, kernel_size=3)
    opt = optim.adam(0.1)
    state, x = opt.init(model), np.ones((2, 1, 5, 5), np.float32)

    @fd.compile(max_recordings=1)
    def step(model: Any, state: Any, x: Any) -> Any:
        return opt.step(model, fd.grad(lambda model: (model(x) ** 2).sum())(model), state)

    for _ in range(4):
        model, state = step(model, state, x)
    assert state["step"] == 4


def test_other_strides_are_another_layout() -> None:
    x = np.linspace(-1, 1, 24).reshape(SHAPE)
    step = fd.compile(lambda x: x * 2.0)
    step(x)
    step(np.asfortranarray(x))
    assert len(step.recordings) == 2
