"""What was once wrong, each as a test of its own, with the reason."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp


def assert_bits(got: Any, expected: Any) -> None:
    """Two trees of the same dtypes, shapes and bits."""
    got, expected = fd.tree.leaves(got), fd.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(map(np.asarray, got), map(np.asarray, expected), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def assert_compiled(function: Any, *args: Any) -> None:
    """Eager bits, in the first call and the later ones, whose results are held meanwhile."""
    expected, compiled = function(*args), fd.compile(function)
    for result in [compiled(*args) for _ in range(4)]:
        assert_bits(result, expected)


# Compiled code


def test_a_group_does_not_write_a_choice_over_its_own_condition() -> None:
    rng = np.random.default_rng(0)
    x, p, q = rng.normal(size=(3, 300, 300)), rng.random((300, 300)) > 0.5, rng.random((300, 300)) > 0.5

    def function(x: Any, p: Any, q: Any) -> Any:
        y = fnp.where(fnp.any(x > 1, axis=0), p, q)
        return y, fnp.logical_not(y)

    assert_compiled(function, x, p, q)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - (-0.0),
        lambda x: (-0.0) ** (x + 2),
        lambda x: x * (-1j),
        lambda x: x * complex(-0.0, 0.0),
        lambda x: x + complex(0.0, -0.0),
    ],
)
def test_the_signs_of_zeros_in_constants_are_kept(function: Any) -> None:
    assert_compiled(function, np.array([0.0, -0.0, 1.0]))
