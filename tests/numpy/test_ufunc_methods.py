"""The methods of NumPy's ufuncs, and `r_` and `c_`, on plain and on traced arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import ImmutableError
from fdezero.testing import assert_trees_close, check_grads

X, M = np.array([1.5, 0.5, -2.0, 3.0]), np.arange(12.0).reshape(3, 4)[:, ::-1] / 4 + 0.3
UFUNCS = ("add", "multiply", "maximum", "minimum", "subtract", "divide", "logaddexp", "hypot", "fmax", "fmin")
CALLS: dict[str, Callable[[Any], Any]] = {
    "reduce": lambda u: [u.reduce(M), u.reduce(M, axis=1, keepdims=True), u.reduce(M, axis=-1, initial=2.0)],
    "accumulate": lambda u: [u.accumulate(M), u.accumulate(M, axis=1)],
    "reduceat": lambda u: [u.reduceat(M, [0, 2, 1]), u.reduceat(M, [1, 3, 0, 0], axis=-1)],
    "outer": lambda u: [u.outer(M, X), u.outer(2.0, X)],
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("name", UFUNCS)
def test_methods_are_numpys(name: str, method: str) -> None:
    call = CALLS[method]
    with np.errstate(all="ignore"):
        expected = call(getattr(np, name))
        assert_trees_close(call(getattr(fnp, name)), expected, 1e-13)


@pytest.mark.parametrize("name", UFUNCS)
def test_methods_are_traced(name: str) -> None:
    ufunc, x = getattr(np, name), np.abs(M) + 0.5

    def call(x: Any) -> list[Any]:
        return [ufunc.reduce(x, axis=1), ufunc.accumulate(x, axis=0), ufunc.reduceat(x, [0, 2, 1]), ufunc.outer(x[0], X**2)]

    assert_trees_close(fd.compile(call)(x), call(x), 1e-13)
    assert_trees_close(fd.vmap(call)(x[None])[0][0], call(x)[0], 1e-13)
    check_grads(lambda x: call(x)[:3] if name == "maximum" else call(x), (x,), order=1)


def test_other_arguments_of_reduce() -> None:
    assert fnp.add.reduce(np.array([[1, 2], [3, 4]], np.int8), axis=None, dtype="float32").dtype == np.float32
    assert fnp.add.reduce(X, where=X > 0) == 5.0
    assert fnp.subtract.reduce(np.zeros((2, 0)), axis=1, initial=1.5).tolist() == [1.5, 1.5]
    with pytest.raises(ValueError, match=r"subtract.reduce of no entries, in float64\[0\], needs initial="):
        fnp.subtract.reduce(np.zeros(0))
    with pytest.raises(IndexError, match="indices must lie between 0 and 3"):
        fnp.add.reduceat(X, [4])
    with pytest.raises(TypeError, match="cannot accumulate on a scalar"):
        fnp.add.accumulate(1.0)


def test_at_names_the_way_out_and_has_a_form_that_returns() -> None:
    for call in (lambda v: np.add.at(np.zeros(3), [0, 0], v), lambda v: np.add.at(v, [0, 1], 1.0), lambda v: fnp.add.at(v, [0], 1.0)):
        with pytest.raises(ImmutableError, match=r"np.add.at would write into float64.*Write a = fd.at\(a\)\[indices\].add\(b\)"):
            fd.grad(lambda v: call(v) or v.sum())(np.ones(2))
    with pytest.raises(ImmutableError, match=r"fd.at\(a\)\[indices\] has set, add"):
        fnp.divide.at(X, [0], 2.0)
    with pytest.raises(NotImplementedError, match="divide.at is not here"):
        fnp.divide.at(X, [0], 2.0, inplace=False)
    for name in ("add", "subtract", "multiply", "maximum", "minimum"):
        expected = X.copy()
        getattr(np, name).at(expected, [0, 2, 0], [2.0, -1.0, 0.25])
        assert getattr(fnp, name).at(X, [0, 2, 0], [2.0, -1.0, 0.25], inplace=False).tolist() == expected.tolist()
    assert fd.grad(lambda v: (fnp.add.at(np.zeros(3), [0, 0], v, inplace=False) ** 2).sum())(np.array([1.0, 2.0])).tolist() == [6.0, 6.0]


INDICES = {
    "a range and a number": np.s_[1:4, X, 0], "one number": np.s_[0.5], "rows": np.s_["-1", M, M], "as matrices": np.s_["0,2", X, X], "as columns": np.s_["1,2,0", X, X],
    "three axes": np.s_["0,3,1", M, M], "a linspace": np.s_[1:2:5j, 3], "weak numbers": np.s_[X.astype("f4"), 0.5], "lists": np.s_[[1, 2], 3, [4]], "one array": np.s_["1", M],
    "vectors and matrices": np.s_["0,3,-1", X, M], "one vector": np.s_["0,3,0", X], "booleans": np.s_[True, X > 0],
}  # fmt: skip


@pytest.mark.parametrize("name", ["r_", "c_"])
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_joined_by_an_index(name: str, index: Any) -> None:
    try:
        expected = getattr(np, name)[index]
    except ValueError:
        with pytest.raises(ValueError, match="must agree"):
            getattr(fnp, name)[index]
        return
    got = getattr(fnp, name)[index]
    assert got.dtype == expected.dtype
    assert got.tolist() == expected.tolist()


def test_joined_by_an_index_when_traced_and_wrong_indices() -> None:
    assert fd.grad(lambda x: np.sum(fnp.r_[0, x, x] * np.arange(9.0)))(X).tolist() == [6.0, 8.0, 10.0, 12.0]
    assert fd.compile(lambda x: fnp.c_[x, x + 1])(X).tolist() == np.c_[X, X + 1].tolist()
    with pytest.raises(NotImplementedError, match=r"r_\['r', ...\] makes a np.matrix"):
        fnp.r_["r", X]
    with pytest.raises(ValueError, match="unknown directive 'x'"):
        fnp.r_["x", X]
    with pytest.raises(ValueError, match="the directive '0' must come first"):
        fnp.r_[X, "0"]
    with pytest.raises(ValueError, match="needs at least one array"):
        fnp.r_[()]
    assert (len(fnp.r_), repr(fnp.c_)) == (0, "fdezero.numpy.c_")
