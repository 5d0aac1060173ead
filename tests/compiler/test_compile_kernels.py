"""Kernels on CuPy arrays agree with eager code for every operation, dtype and special value, and in random programs."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.planning import expressions
from fdezero.core import REGISTRY

from ..devices.strict_cupy import make_cupy
from ..devices.test_cuda_sources import compile_cuda, kernel_source
from ..profiles import NIGHTLY, examples
from .programs import Program, programs

INF, NAN = float("inf"), float("nan")
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, 700.0, INF, -INF, NAN]
DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]
# The kernels of the others differ in the C type alone from those of int64 and uint8. Casts are tested from and to all of them.
USUAL = DTYPES if NIGHTLY else ["float64", "float32", "float16", "int64", "uint8", "bool"]
UNARY = (
    "negative positive square reciprocal absolute exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan arcsin arccos arctan sinh cosh "
    "tanh arcsinh arccosh arctanh deg2rad rad2deg sigmoid relu invert logical_not isnan isinf isfinite signbit sign floor ceil trunc rint"
).split()
BINARY = (
    "add subtract multiply divide power remainder floor_divide fmod logaddexp logaddexp2 arctan2 hypot maximum minimum fmax fmin copysign equal not_equal "
    "less less_equal greater greater_equal bitwise_and bitwise_or bitwise_xor left_shift right_shift logical_and logical_or logical_xor"
).split()
# For these operations compiled code gives the bits of eager code. Others come from another library and differ in the last places.
EXACT = set(
    "negative positive square reciprocal absolute sqrt relu invert logical_not isnan isinf isfinite signbit sign floor ceil trunc rint add "
    "subtract multiply divide remainder floor_divide fmod maximum minimum fmax fmin copysign equal not_equal less less_equal greater greater_equal "
    "bitwise_and bitwise_or bitwise_xor left_shift right_shift logical_and logical_or logical_xor".split()
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def values(dtype: str) -> np.ndarray:
    """Numbers of the dtype, including all its special values."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype.startswith("float"):
        return np.array([*FLOATS, np.finfo(dtype).max, np.finfo(dtype).tiny]).astype(dtype)
    info = np.iinfo(dtype)
    return np.array([*{0, 1, 2, 3, 7, info.max, info.max // 2 + 1, info.min, max(info.min, -1), max(info.min, -3)}], dtype)


def defined(names: Sequence[str], *examples: np.ndarray) -> list[str]:
    """The operations that NumPy has for these dtypes."""
    found = []
    for name in names:
        try:
            y = REGISTRY[name](*examples)
        except (TypeError, ValueError):  # Integers do not have negative powers.
            continue
        found += [name] if y.dtype.name in DTYPES else []
    return found


def all_at_once(names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    return lambda *args: {name: REGISTRY[name](*args) for name in names}


def assert_same(name: str, actual: Any, expected: Any, exact: bool) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), name
    if exact or expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, name)
        # The maximum of 0.0 and -0.0 may be either.
        if name not in ("maximum", "minimum", "fmax", "fmin", "relu") and expected.dtype.kind == "f":
            numbers = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]), f"{name}: signs")
    else:
        units = {2: 2, 4: 8, 8: 8}[expected.dtype.itemsize]
        tiny = np.finfo(expected.dtype).tiny
        np.testing.assert_allclose(actual.astype("f8"), expected.astype("f8"), units * float(np.finfo(expected.dtype).eps), float(tiny), err_msg=name)


def check(function: Callable[..., dict[str, Any]], xp: Any, *args: np.ndarray) -> str:
    """Two calls of the compiled function against eager code on the same arrays; the source."""
    given_ = [xp.asarray(x) for x in args]
    expected, compiled = fd.to_numpy(function(*given_)), fd.compile(function)
    for _ in range(2):
        for name, y in fd.to_numpy(compiled(*given_)).items():
            assert_same(name, y, expected[name], name in EXACT)
    for x, given_x in zip(args, given_, strict=True):
        np.testing.assert_array_equal(given_x.get(), x)
    return str(compiled.source)


# --- every operation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", USUAL)
def test_operations_of_one_operand(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    names = defined(UNARY, x)
    names = [name for name in names if dtype[0] == "f" or name != "reciprocal"]  # 1 // 0 is undefined
    source = check(all_at_once(names), gpu, x)
    assert source.count("ElementwiseKernel") >= 1


@pytest.mark.parametrize("dtype", USUAL)
def test_operations_of_two_operands(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    names = [name for name in defined(BINARY, x, x) if name != "power" or dtype[0] == "f"]
    pairs = np.array([*itertools.product(x, x)], dtype)
    if dtype.startswith("float"):  # 700 and 3 are too far apart for logaddexp2: float32 cannot hold 2**-697.
        names = [name for name in names if name != "logaddexp2"]
    source = check(all_at_once(names), gpu, pairs[:, 0].copy(), pairs[:, 1].copy())
    assert source.count("ElementwiseKernel") >= 1


PAIRS = [("float32", "int32"), ("float32", "bool"), ("float16", "float32"), ("int8", "uint8"), ("uint16", "int64"), ("int64", "uint64"), ("bool", "int16")]


@pytest.mark.parametrize("dtypes", PAIRS, ids="-".join)
def test_operands_of_two_dtypes(dtypes: tuple[str, str], gpu: Any) -> None:
    left, right = map(values, dtypes)
    names = [name for name in defined(BINARY, left[:1], right[:1]) if name in EXACT]
    check(all_at_once(names), gpu, left[:, None].copy(), right)


@pytest.mark.parametrize("dtype", USUAL)
def test_choices_bounds_and_casts(dtype: str, gpu: Any) -> None:
    x = values(dtype)
    others = x[::-1].copy()

    def function(mask: Any, x: Any, y: Any) -> dict[str, Any]:
        made = {"where": fnp.where(mask, x, y), "by itself": fnp.where(x, y, x), "clip": fnp.clip(x, y, x)}
        if dtype != "bool":
            made |= {"numbers": fnp.where(mask, x, 1), "bounds": fnp.clip(x, 1, 3)}
        if dtype[0] == "f":
            made |= {"pairs": REGISTRY["clip"](x, y, fnp.flip(y)), "weak": x * 0.1 + 2 - True, "infinite": fnp.minimum(x, INF)}
        return made

    mask = np.arange(x.size) % 2 == 0
    source = check(function, gpu, mask, x, others)
    assert "ElementwiseKernel" in source


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_cast(dtype: str, gpu: Any) -> None:
    x = np.array([0, 1, 2, 3, 100]).astype(dtype)  # Values beyond the range of the integer are undefined.
    check(lambda x: {to: x.astype(to) for to in DTYPES if to != dtype}, gpu, x)


def test_a_double_becomes_a_half_by_one_rounding(gpu: Any) -> None:
    x = np.random.default_rng(0).normal(size=100_000)
    halves = x.astype("float16")
    assert (halves != x.astype("float32").astype("float16")).any()  # where two roundings would show
    there = gpu.asarray(x)
    for f in (lambda x: (x.astype("float16"), x + 1), compiled := fd.compile(lambda x: (x.astype("float16"), x + 1)), compiled):
        np.testing.assert_array_equal(f(there)[0].get(), halves)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_numbers_that_change_from_call_to_call(dtype: str, gpu: Any) -> None:
    def function(x: Any, rate: float, step: int) -> tuple[Any, ...]:
        moved = x * rate + 1
        return moved, moved * step, x * step > 2, fnp.where(x > step, x, rate)

    compiled = fd.compile(function)
    x = gpu.asarray(np.array([0, 1, 2, 5]).astype(dtype))
    for rate, step in ((0.1, 2), (0.3, 3), (NAN, 0), (-INF, 1)):
        for y, expected in zip(compiled(x, rate, step), function(x, rate, step), strict=True):
            assert y.dtype == expected.dtype
            np.testing.assert_array_equal(y.get(), expected.get())
    assert len(compiled.recordings) == 1


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0.1, "float32", "0.1f"), (0.1, "float64", "0.1"), (1e-8, "float32", "1e-08f"), (-0.0, "float32", "(-0.0f)"), (1, "float16", "1.0f"),
        (INF, "float32", "CUDART_INF_F"), (-INF, "float64", "(-CUDART_INF)"), (NAN, "float16", "CUDART_NAN_F"), (True, "bool", "true"),
        (3, "int64", "3LL"), (-(2**63), "int64", "(-9223372036854775807LL - 1)"), (2**64 - 1, "uint64", "18446744073709551615ULL"),
        (-3, "int8", "(signed char)(-3)"), (7, "uint32", "7u"), (-(2**31), "int32", "(-2147483647 - 1)"),
    ],
)  # fmt: skip
def test_literals(value: Any, dtype: str, text: str) -> None:
    assert expressions.literal(value, np.dtype(dtype)) == text
    with pytest.raises(OverflowError):
        expressions.literal(300, np.dtype("uint8"))


@pytest.mark.parametrize("dtype", USUAL)
def test_nvrtc_compiles_every_operation(dtype: str, written: list[Any], strict_cupy: Any) -> None:
    x = values(dtype)
    compiled = fd.compile(lambda x: {**all_at_once(defined(UNARY, values(dtype)))(x), **all_at_once(defined(BINARY, *[values(dtype)[:1]] * 2))(x, x)})
    x = strict_cupy.asarray(np.ones(3, dtype))
    compiled(x)
    compiled(x)
    assert written
    for pieces in written:
        assert f".entry {pieces[3]}" in compile_cuda(kernel_source(*pieces))


# --- random programs -------------------------------------------------------------------------------------------------

NAMES = ["+", "-", "*", "<", ">=", "==", "maximum", "minimum", "square", "where", "sign", "floor", "fmax", "clip_arrays", "logical_xor", "astype"]
NAMES = NAMES * 3 + ["transpose", "broadcast_to", "index", "reshape", "sum", "expand_dims"]
patient = settings(max_examples=examples(5), suppress_health_check=list(HealthCheck))


def on_gpu(xp: Any, inputs: Sequence[Any]) -> list[Any]:
    return [xp.asarray(np.array(x)) if isinstance(x, np.ndarray) else x for x in inputs]


@pytest.fixture(scope="module")
def module() -> Iterator[Any]:
    """The stand-in, for all examples of a test."""
    with pytest.MonkeyPatch.context() as patch:
        made: Any = make_cupy()
        patch.setitem(sys.modules, "cupy", made)
        yield made


def agree(program: Program, seed: int, module: Any, chains: Sequence[Sequence[str]], same: Callable[[Any, Any], None]) -> None:
    """Compare three calls of the program under each chain of transforms with the first chain, which is eager."""
    inputs = on_gpu(module, program.arguments(seed))
    vars(program.body)["closure"] = on_gpu(module, program.body.closure)
    before = fd.to_numpy(inputs)
    eager, *others = [program.transformed(chain, fd.compile) for chain in chains]
    try:
        expected = fd.to_numpy(eager(*inputs))
    except (TypeError, OverflowError, fd.errors.FdezeroError) as error:  # CuPy refuses, for example, NumPy arrays.
        event(f"no eager result: {type(error).__name__}")
        assume(False)
    for compiled in others:
        for _ in range(3):
            result = fd.to_numpy(compiled(*inputs))
            for y, e in zip(fd.tree.leaves(result), fd.tree.leaves(expected), strict=True):
                assert getattr(y, "dtype", type(y)) == getattr(e, "dtype", type(e))
                same(y, e)
            for x, b in zip(fd.to_numpy(inputs), before, strict=True):
                np.testing.assert_array_equal(x, b)


@patient
@given(program=programs(names=NAMES, most=14), seed=st.integers(0, 99))
def test_random_programs_have_the_bits_of_eager_ones(program: Program, seed: int, module: Any) -> None:
    agree(program, seed, module, [(), ("compile",)], np.testing.assert_array_equal)


@patient
@given(program=programs(names=NAMES, most=10, real=True), seed=st.integers(0, 99))
def test_gradients_of_random_programs(program: Program, seed: int, module: Any) -> None:
    def same(y: Any, e: Any) -> None:
        wide = np.asarray(y, np.float64), np.asarray(e, np.float64)
        size = 1 + np.max(np.abs(wide[1]), initial=0)
        np.testing.assert_allclose(*wide, rtol=0, atol=size * (1e-2 if np.asarray(e).dtype == np.float16 else 1e-4))  # Sums may be in another order.

    assume(all(program.inputs[i].kind == "array" for i in program.body.outputs if i < len(program.inputs)))
    agree(program, seed, module, [("value_and_grad",), ("value_and_grad", "compile"), ("compile", "value_and_grad")], same)
