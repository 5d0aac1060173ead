"""Queries of values, which treat arrays, traced values and Python numbers alike."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.values import broadcasts_to, dtype_of, is_complex, is_differentiable, own_dtype, shape_of, with_shape

VALUES = [2, 2.0, 2j, True, np.float32(2), np.ones((2, 3)), np.ones(2, np.complex64), np.arange(3)]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_what_an_array_of_it_is(value: Any) -> None:
    array = np.asarray(value)
    assert (shape_of(value), dtype_of(value)) == (array.shape, array.dtype)
    assert (is_complex(value), is_differentiable(value)) == (array.dtype.kind == "c", array.dtype.kind in "fc")
    assert shape_of(with_shape(value)) == array.shape
    assert own_dtype(value) == (None if type(value) in (bool, int, float) else array.dtype)


@pytest.mark.parametrize("value", [2.0, 2j, np.float32(2), np.ones((2, 3)), np.ones(2, np.complex64)], ids=repr)
def test_a_traced_value_is_what_it_traces(value: Any) -> None:
    def function(x: Any) -> Any:
        assert with_shape(x) is x
        seen.append((shape_of(x), dtype_of(x), is_complex(x), is_differentiable(x)))
        return x

    seen: list[Any] = []
    fd.vjp(function, value)
    assert seen == [(shape_of(value), dtype_of(value), is_complex(value), is_differentiable(value))]


@pytest.mark.parametrize("value", ["text", None, np.array(["text"]), np.float64], ids=repr)
def test_values_that_are_not_numbers_do_not_have_derivatives(value: Any) -> None:
    assert not is_differentiable(value)
    assert not is_complex(value)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1), (1, 1, 3), (0,)])
@pytest.mark.parametrize("wanted", [(), (3,), (2, 3), (1, 3), (0,), (4, 2, 3)])
def test_broadcasting_to_a_shape_is_numpys(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    try:
        np.broadcast_to(np.ones(shape), wanted)
    except ValueError:
        assert not broadcasts_to(shape, wanted)
    else:
        assert broadcasts_to(shape, wanted)
