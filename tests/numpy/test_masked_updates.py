"""`fd.at(x)[mask]`: updates where a mask is true, against NumPy's assignments, under every transform."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.testing import check_grads

X = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, 6.0]])
METHODS = {"set": lambda x, y: y, "add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}
MASKS = {"entries": X > 0, "rows": np.array([True, False]), "none": X > 9, "all": X < 9, "a list": [True, True]}
VALUES: list[Any] = [2, 2.5, np.float32(1.5), np.array(3.0), np.array([2.0]), np.array([[2.0]])]


def expected(x: Any, mask: Any, method: str, y: Any) -> Any:
    result = x.copy()
    result[mask] = METHODS[method](x[mask], y)
    return result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "complex128"])
def test_updates_are_numpys_assignments(method: str, name: str, dtype: str) -> None:
    mask, x = MASKS[name], X.astype(dtype)
    values = [y for y in VALUES if np.ndim(y) <= (2 if np.ndim(mask) == 1 else 1)]
    if np.ndim(mask) == 1:
        values += [np.arange(3.0), np.arange(3.0)[None], np.array([2.0])]
    for y in values:
        update = lambda x, mask, y: getattr(fd.at(x)[mask], method)(y)
        right = expected(x, mask, method, np.asarray(y).astype(dtype))
        result = update(x, mask, y)
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(result, right)
        compiled = fd.compile(lambda x, mask, y: update(x, mask, y))
        for _ in range(2):
            np.testing.assert_array_equal(compiled(x, np.asarray(mask), y), right)
        masks = np.stack([np.asarray(mask), ~np.asarray(mask)])
        batch = fd.vmap(update, in_axes=(None, 0, None))(x, masks, y)
        np.testing.assert_array_equal(batch[0], right)
        np.testing.assert_array_equal(batch[1], expected(x, masks[1], method, np.asarray(y).astype(dtype)))


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_of_masked_updates(method: str) -> None:
    mask = X > 0
    for y in (2.5, np.array(2.5), np.array([0.5])):
        check_grads(lambda x, y: getattr(fd.at(x)[mask], method)(y), (X, y))
    rows = np.array([True, False])
    check_grads(lambda x, y: getattr(fd.at(x)[rows], method)(y), (X, np.array([0.25, 0.5, 7.0])))
    both = fd.grad(lambda x, y: fnp.sum(getattr(fd.at(x)[mask], method)(y)), argnums=(0, 1))
    for a, b in zip(fd.compile(both)(X, 2.5), both(X, 2.5), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_not_chosen_do_not_spoil_the_derivative(method: str) -> None:
    x, mask = np.array([1.0, np.inf, np.nan]), np.array([True, False, False])
    by_x, by_y = fd.grad(lambda x, y: getattr(fd.at(x)[mask], method)(y)[0], argnums=(0, 1))(x, 3.0)
    assert np.isfinite(by_x).all()
    assert np.isfinite(by_y)
    with np.errstate(invalid="ignore"):
        by_x, by_y = fd.grad(lambda x, y: fnp.sum(fd.at(x)[mask].multiply(y)[:1]), argnums=(0, 1))(np.ones(3), np.inf)
    assert by_x.tolist() == [np.inf, 0.0, 0.0]
    assert by_y == 1.0


def test_a_value_for_each_chosen_entry() -> None:
    mask = X > 0
    y = np.arange(4.0)
    np.testing.assert_array_equal(fd.at(X)[mask].set(y), expected(X, mask, "set", y))
    np.testing.assert_array_equal(fd.at(X)[mask].add(y), expected(X, mask, "add", y))
    np.testing.assert_array_equal(fd.at(X)[mask, ].multiply(y), expected(X, mask, "multiply", y))  # fmt: skip
    np.testing.assert_array_equal(fd.at(X)[:, mask[1]].set(7.0)[:, 1:], np.full((2, 2), 7.0))
    with pytest.raises(fd.errors.TraceError, match=r"fd.numpy.where\(mask, x, 0\)"):
        fd.compile(lambda x, mask: fd.at(x)[mask].set(y))(X, mask)
    with pytest.raises(fd.errors.ShapeError, match="does not broadcast"):
        fd.at(X)[mask].set(np.arange(3.0))


def test_masks_of_another_shape() -> None:
    for mask in (np.ones(3, bool), np.ones((2, 2), bool), np.ones((2, 3, 1), bool)):
        with pytest.raises(IndexError, match="must have the shape of the first axes of float64"):
            fd.at(X)[mask].set(1.0)


@pytest.mark.parametrize("method", ["min", "max", "multiply"])
@pytest.mark.parametrize("index", [0, slice(None), ([0, 1], [1, 0]), np.array([[True, False], [False, True]]), np.array([False, True])], ids=str)
@pytest.mark.parametrize("y", [0.0, 0.5])
def test_second_derivatives_know_no_ties_of_other_entries(method: str, index: object, y: float) -> None:
    """Each entry meets its own value alone: not that of its neighbour, and not the numbers that stand in for entries beside a mask."""
    x = np.array([[0.25, -1.0], [2.0, -3.0]])

    def slopes(x: object, y: object) -> object:
        by_x, by_y = fd.grad(lambda x, y: fnp.sum(getattr(fd.at(x)[index], method)(y) ** 2), (0, 1))(x, y)
        return fnp.sum(by_x) + by_y

    step = 1e-4
    values = [float(slopes(x, y + h)) for h in (-step, step)]
    assert np.isclose(fd.grad(slopes, 1)(x, y), (values[1] - values[0]) / (2 * step), atol=1e-6)
    assert np.isfinite(fd.grad(slopes)(x, y)).all()
