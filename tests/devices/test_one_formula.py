"""Eager code, the first call of a compiled function, its later calls and a group compute by one formula on a GPU: that of the CPU."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core import REGISTRY
from fdezero.ops.kernels import Own

from ..compiler.test_compile_kernels import BINARY, EXACT, PAIRS, UNARY, defined, values

DTYPES = ["float64", "float32", "float16", "int64", "uint8", "bool"]
OWN = [name for name, operation in REGISTRY.items() if isinstance(operation.impl, Own)]
EITHER = ("maximum", "minimum", "fmax", "fmin", "relu", "clip")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def same(name: str, found: Any, expected: Any, exact: bool = False) -> None:
    """Check dtype, shape and bits; any NaN is as good as another. Unless `exact`, the greater of 0.0 and -0.0 is either."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
    np.testing.assert_array_equal(found, expected, name)
    if expected.dtype.kind == "f" and (exact or name.split()[0] not in EITHER):
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]), name)


def obeys(calls: dict[str, Callable[..., Any]], args: tuple[Any, ...], xp: Any) -> None:
    """Check each call alone, eager and compiled, and all calls as one compiled function, against NumPy."""
    expected = {name: np.asarray(call(*args)) for name, call in calls.items()}
    there = tuple([xp.asarray(x) if isinstance(x, np.ndarray) else x for x in args])
    together = fd.compile(lambda *args: {name: call(*args) for name, call in calls.items()})
    eager = {name: fd.to_numpy(call(*there)) for name, call in calls.items()}
    for name, call in calls.items():
        same(name, eager[name], expected[name])
        alone = fd.compile(call)
        for _ in range(3 if name not in REGISTRY or name in OWN else 0):
            same(f"{name} alone", fd.to_numpy(alone(*there)), eager[name], exact=True)
    for _ in range(3):
        for name, y in fd.to_numpy(together(*there)).items():
            same(name, y, eager[name], exact=name in OWN)


def calls_of(names: list[str], *args: np.ndarray) -> dict[str, Callable[..., Any]]:
    return {name: REGISTRY[name] for name in defined(names, *[x[:1] for x in args]) if name in EXACT}


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_of_one_operand(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    obeys({name: call for name, call in calls_of(UNARY, x).items() if dtype[0] == "f" or name != "reciprocal"}, (x,), gpu)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_of_two_operands(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    pairs = np.array([*itertools.product(x, x)], dtype)
    obeys(calls_of(BINARY, x, x), (pairs[:, 0].copy(), pairs[:, 1].copy()), gpu)


@pytest.mark.parametrize("dtypes", PAIRS[2:6], ids="-".join)
def test_operations_of_two_dtypes(dtypes: tuple[str, str], gpu: Any) -> None:
    left, right = map(values, dtypes)
    obeys(calls_of(BINARY, left, right), (left[:, None].copy(), right), gpu)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
def test_bounds(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    low, high = x[:, None].copy(), x[::-1, None, None].copy()
    calls: dict[str, Callable[..., Any]] = {"clip": lambda x, low, high: fnp.clip(x, low, high), "clip by numbers": lambda x, *_: fnp.clip(x, 1, 3)}
    if dtype == "uint8":
        calls["clip by numbers beyond the dtype"] = lambda x, *_: fnp.clip(x, -1, 300)
    obeys(calls, (x, low, high), gpu)


X = np.array([7.0, -7.0, 1e8, np.inf])


@pytest.mark.parametrize("y", [-2, -2.5, np.float32(0.3), True, 0], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_numbers_beside_arrays(dtype: str, y: Any, gpu: Any) -> None:
    x = X.astype(dtype) if dtype[0] == "f" else np.array([7, -7, 2**31 - 1], dtype)
    calls = {name: REGISTRY[name] for name in ("remainder", "floor_divide", "fmod")}
    calls["quotient first"], calls["remainder first"] = lambda x, y: fnp.divmod(x, y)[0], lambda x, y: fnp.divmod(x, y)[1]
    calls["number first"] = lambda x, y: fnp.mod(y, x)
    obeys(calls, (x, y), gpu)


def test_the_smallest_inputs(gpu: Any) -> None:
    x = gpu.asarray(np.array([1.0]))
    nan = gpu.asarray(np.array([np.nan]))
    bounded = fd.compile(lambda x, low: fnp.clip(x, low, 2.0) * 2)
    assert all(np.isnan(bounded(x, nan).get()) for _ in range(3))
    assert fnp.remainder(gpu.asarray(np.array([1e8], np.float32)), np.float32(0.3)).get() == np.remainder(np.float32(1e8), np.float32(0.3)) > 0
    assert fnp.fmod(gpu.asarray(np.array([2**62 + 1])), 7).get() == 5
    assert np.isnan(fnp.floor_divide(gpu.asarray(np.array([np.inf])), 2.0).get())
    assert fnp.left_shift(gpu.asarray(np.array([1])), gpu.asarray(np.array([2**32 + 1]))).get() == 0
    assert fnp.logical_and(gpu.asarray(np.array([-1])), gpu.asarray(np.array([1], np.uint64))).get()


COMPLEX = np.array([0, 1j, 1, np.nan, 2 + 1j, 1 + 2j, -1])


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_complex_numbers_have_truth_and_order(dtype: str, gpu: Any) -> None:
    x, y = COMPLEX.astype(dtype), COMPLEX[::-1, None].astype(dtype)
    calls: dict[str, Callable[..., Any]] = {name: REGISTRY[name] for name in ("logical_and", "logical_or", "logical_xor")}
    calls |= {"logical_not": lambda x, y: fnp.logical_not(x), "mixed": lambda x, y: fnp.logical_and(x, y.real)}
    calls |= {"clip": lambda x, y: fnp.clip(x, 0.5j, y), "clip below": lambda x, y: fnp.clip(x, None, y)}
    obeys(calls, (x, y), gpu)


def test_a_number_that_no_entry_can_hold_is_refused(gpu: Any) -> None:
    x = gpu.asarray(np.array([1, 200], np.uint8))
    for compiled in (fnp.clip, fd.compile(lambda x, low, high: fnp.clip(x, low, high))):
        for _ in range(2):
            with pytest.raises(OverflowError):
                compiled(x, 300, 400)
