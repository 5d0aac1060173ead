"""The stand-in's kernels and functions that write into given arrays behave as in CuPy, which a machine with a GPU also tests."""

import re
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..laws.samples import SAMPLES, Sample
from .strict_cupy_kernel import build

X = np.cos(np.arange(12.0)).reshape(3, 4)
EXPRESSIONS = [
    sample
    for sample in SAMPLES
    if getattr(sample.primitive, "c", None) and not any(map(np.iscomplexobj, [*sample.args, np.empty(0, sample.params.get("dtype", float))]))
]


# --- arithmetic ------------------------------------------------------------------------------------------------------


def groups() -> list[list[Sample]]:
    """The expressions on arrays of one shape, a dozen at a time: a kernel takes longer to compile than to run."""
    by_shape: dict[tuple[int, ...], list[Sample]] = {}
    for sample in EXPRESSIONS:
        by_shape.setdefault(np.broadcast_shapes(*map(np.shape, sample.args)), []).append(sample)
    return [samples[i : i + 12] for samples in by_shape.values() for i in range(0, len(samples), 12)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("samples", groups(), ids=lambda samples: "-".join(sample.name for sample in samples))
def test_every_expression_is_its_operation(samples: list[Sample], dtype: str, gpu: Any) -> None:
    inputs: list[np.ndarray] = []
    expected, operations = [], []
    for number, sample in enumerate(samples):
        kinds = [np.asarray(x).dtype.kind for x in sample.args]
        kept = "bi" if set(kinds) == {"i"} or sample.name == "ldexp" else "b"
        args = [np.asarray(x, None if kind in kept else dtype) for x, kind in zip(sample.args, kinds, strict=True)]
        expected.append(np.asarray(sample.primitive(*args, **sample.params)))
        expression = sample.primitive.expression({x.dtype.kind for x in args})  # type: ignore[attr-defined]
        operations.append(f"out{number} = " + re.sub(r"\bx(\d)\b", lambda name: f"x{len(inputs) + int(name[1])}", expression))
        inputs += args
    parameters = [", ".join(f"{x.dtype} {letter}{i}" for i, x in enumerate(arrays)) for letter, arrays in (("x", inputs), ("out", expected))]
    kernel = gpu.ElementwiseKernel(*parameters, "; ".join(operations), "fdezero_expressions", return_tuple=True)
    close = {"rtol": 1e-12} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
    for sample, y, value in zip(samples, kernel(*map(gpu.asarray, inputs)), expected, strict=True):
        assert isinstance(y, gpu.ndarray)
        assert (y.dtype, y.shape) == (value.dtype, value.shape)
        np.testing.assert_allclose(y.get(), value, **close, err_msg=str(sample))


@pytest.mark.parametrize(
    "expression",
    ["exp(x)", "erf(x)", "pow(x, x)", "pow(x, 2)", "fmin(x, 1)", "fmax(x, x)", "max(x, x)", "copysign(x, x)", "abs(x)", "fma(x, x, x)",
     "x > 0 ? x : 0", "1 / (1 + exp(-x))", "rsqrt(x)", "atan2(x, x)"],
)  # fmt: skip
def test_functions_of_floats_give_floats_and_of_doubles_doubles(expression: str, gpu: Any) -> None:
    for dtype, size in (("float32", 4), ("float64", 8)):
        kernel = gpu.ElementwiseKernel(f"{dtype} x", "int32 y", f"y = sizeof({expression})")
        assert kernel(gpu.ones(1, dtype)).get().tolist() == [size]


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16"])
def test_every_dtype_is_read_and_written(dtype: str, gpu: Any) -> None:
    x = np.array([0, 1, 1, 0]).astype(dtype) if dtype == "bool" else np.arange(4).astype(dtype) + np.asarray(100, dtype)
    y, z = gpu.ElementwiseKernel(f"{dtype} x", f"{dtype} y, float64 z", "y = x; z = x")(gpu.asarray(x))
    assert (y.dtype, z.dtype) == (dtype, np.float64)
    assert y.get().tolist() == z.get().tolist() == x.tolist()


def test_halves_are_computed_as_floats_and_rounded_where_they_are_assigned(gpu: Any) -> None:
    x = gpu.asarray(np.array([0.1, 1000.0, 60000.0], np.float16))
    y = gpu.ElementwiseKernel("float16 x", "float16 y", "y = x * x / x + exp(x - x)")(x)
    wide = x.get().astype(np.float32)
    assert y.get().tolist() == (wide * wide / wide + 1).astype(np.float16).tolist()


def test_choices_numbers_and_names_are_those_of_cuda(gpu: Any) -> None:
    x = gpu.asarray(np.array([np.nan, -2.5, 7.0]))
    operation = "a = max(x, 1.0); b = isnan(x); c = CUDART_INF; d = M_PI; e = min((long long)x, k); f = i"
    outputs = "float64 a, bool b, float64 c, float32 d, int64 e, int32 f"
    found = gpu.ElementwiseKernel("float64 x, int64 k", outputs, operation)(x, 3)
    assert [y.get().tolist() for y in (*found[:4], found[4][1:], found[5])] == [
        [1.0, 1.0, 7.0], [True, False, False], [np.inf] * 3, [np.float32(np.pi)] * 3, [-2, 3], [0, 1, 2],
    ]  # fmt: skip


# Expressions that C++ with <cmath> accepts, but NVRTC refuses.
@pytest.mark.parametrize(
    "expression",
    ["exp(1)", "sqrt(k)", "fmax(x, 0.0)", "pow(x, 2.0)", "fabs(k)", "max(x, 0)", "std::exp(x)", "INFINITY", "NAN", "isnan(k)", "y0", "x = 1"],
)  # fmt: skip
def test_what_is_ambiguous_or_unknown_to_cuda_is_no_kernel(expression: str, gpu: Any) -> None:
    kernel = gpu.ElementwiseKernel("float32 x, int64 k", "float32 y", f"y = {expression}")
    with pytest.raises(gpu.cuda.compiler.CompileException):
        kernel(gpu.ones(2, "float32"), 1)


def test_raw_parameters_are_arrays_and_atomic_additions_meet(gpu: Any) -> None:
    x, place = gpu.asarray(X), gpu.asarray(np.array([5, 0, 11]))
    assert gpu.ElementwiseKernel("raw float64 x, int64 j", "float64 y", "y = x[j]")(x.T, place).get().tolist() == X.T.ravel()[[5, 0, 11]].tolist()
    total = gpu.zeros(2, "complex64")
    adds = "atomicAdd((float*)&y[i % 2], x.real()); atomicAdd((float*)&y[i % 2] + 1, x.imag())"
    gpu.ElementwiseKernel("complex64 x", "raw complex64 y", adds)(gpu.asarray(np.array([1 + 1j, 2, 3j], "complex64")), total)
    assert total.get().tolist() == [1 + 4j, 2]


def test_a_preamble_may_define_what_the_operation_calls(gpu: Any) -> None:
    preamble = "template <class T> __device__ T twice(T x) { return x + x; }"
    operation = "T z = twice(x); y = z"
    kernel = gpu.ElementwiseKernel("float64 x", "float64 y", operation.replace("T", "double"), "named", preamble=preamble)
    assert kernel(gpu.asarray(X)).get().tolist() == (X + X).tolist()
    assert (kernel.name, kernel.__name__, kernel.nin, kernel.nout, kernel.nargs) == ("named", "named", 1, 1, 2)


# --- arguments -------------------------------------------------------------------------------------------------------


def scaled(gpu: Any, **options: Any) -> Any:
    return gpu.ElementwiseKernel("float64 x, float64 k", "float64 y", "y = x * k", "scaled", **options)


def test_inputs_broadcast_and_may_be_numbers(gpu: Any) -> None:
    x = gpu.asarray(X)
    for k in (3.0, 3, True, np.float32(3), np.int8(3), gpu.asarray(3.0), gpu.asarray(X[0]), gpu.asarray(X[:, :1]), gpu.asarray(X[None])):
        y = scaled(gpu)(x, k)
        expected = X * (k.get() if isinstance(k, gpu.ndarray) else k)
        assert (y.shape, y.get().tolist()) == (expected.shape, expected.tolist())
    assert scaled(gpu)(gpu.asarray(2.0), 3.0).shape == ()
    assert scaled(gpu)(x[:0], 3.0).shape == (0, 4)


@pytest.mark.parametrize("look", [lambda x: x.T, lambda x: x[::2], lambda x: x[:, ::-1], lambda x: x[1:, 1:3], lambda x: x[None, 2]])
def test_arrays_are_read_and_written_where_they_lie(look: Callable[[Any], Any], gpu: Any) -> None:
    x, y = gpu.asarray(X), gpu.zeros((3, 4))
    expected = np.zeros((3, 4))
    look(expected)[...] = look(X) * 2
    view = look(y)
    assert scaled(gpu)(look(x), 2.0, view) is view
    assert y.get().tolist() == expected.tolist()
    assert scaled(gpu)(x.T, 2.0).flags.c_contiguous


def test_outputs_may_be_inputs_entry_by_entry(gpu: Any) -> None:
    for look in (lambda x: x, lambda x: x.T, lambda x: x[:, ::2]):
        x = gpu.asarray(X)
        scaled(gpu)(look(x), 2.0, look(x))
        expected = X.copy()
        look(expected)[...] *= 2
        assert x.get().tolist() == expected.tolist()
    total = gpu.ones((3, 4))
    gpu.ElementwiseKernel("float64 x", "float64 y", "y += x")(gpu.asarray(X), total)
    assert total.get().tolist() == (1 + X).tolist()


def test_one_output_is_an_array_and_several_are_a_tuple(gpu: Any) -> None:
    x = gpu.asarray(X)
    y, z = gpu.ElementwiseKernel("float64 x", "float64 y, bool z", "y = -x; z = x > 0")(x)
    assert y.get().tolist() == (-X).tolist()
    assert z.get().tolist() == (X > 0).tolist()
    assert isinstance(scaled(gpu, return_tuple=True)(x, 1.0), tuple)
    assert scaled(gpu, no_return=True)(x, 1.0) is None
    given = gpu.empty((3, 4))
    assert scaled(gpu, return_tuple=True)(x, 1.0, given)[0] is given


def test_mistakes_are_refused_as_cupy_refuses_them(gpu: Any) -> None:
    x, y, single = gpu.asarray(X), gpu.zeros((3, 4)), gpu.zeros((3, 4), "float32")
    make, kernel = gpu.ElementwiseKernel, scaled(gpu)
    refusals: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: kernel(single, 2.0), TypeError, "Type is mismatched. x float32 float64"),
        (lambda: kernel(x, gpu.asarray(2)), TypeError, "Type is mismatched. k int64 float64"),
        (lambda: kernel(x, 2.0, single), TypeError, "Type is mismatched. y float32 float64"),
        (lambda: kernel(x, 2.0, y[0]), ValueError, "Out shape is mismatched"),
        (lambda: kernel(x, x[:2], y), ValueError, "(?i)broadcast"),
        (lambda: kernel(x), TypeError, "Wrong number of arguments for 'scaled'. It must be either 2 or 3"),
        (lambda: kernel(x, 2.0, y, y), TypeError, "given 4"),
        (lambda: kernel(x, X), TypeError, "Unsupported type .*numpy.ndarray"),
        (lambda: kernel(x, None), TypeError, "Unsupported type .*NoneType"),
        (lambda: kernel(x, 2.0, X), TypeError, "Unsupported type .*numpy.ndarray"),
        (lambda: kernel(1.0, 2.0), ValueError, "Loop size is undecided"),
        (lambda: kernel(x, 2.0, size=12), ValueError, "'size' can be used only if"),
        (lambda: kernel(x, 2.0, out=y), TypeError, "out"),
        (lambda: make("int32 x, int32 k", "int32 y", "y = k")(gpu.zeros(1, "int32"), 2**31), OverflowError, "bounds|too large|convert"),
        (lambda: make("int32 x, int32 k", "int32 y", "y = k")(gpu.zeros(1, "int32"), float("nan")), ValueError, "NaN"),
        (lambda: make("float64 x", "float64 y", "y = x", "a name"), ValueError, "Invalid kernel name"),
        (lambda: make("float64 i", "float64 y", "y = i"), ValueError, "Can not use 'i' as a parameter name"),
        (lambda: make("x", "float64 y", "y = x"), Exception, "Syntax error: x"),
        (lambda: make("float65 x", "float64 y", "y = x"), TypeError, "float65"),
    ]
    for act, error, text in refusals:
        with pytest.raises(error, match=text):
            act()
    assert not y.get().any()


def test_an_output_may_be_larger_than_the_inputs(gpu: Any) -> None:
    y = gpu.zeros((2, 4))
    scaled(gpu)(gpu.asarray(X[0]), 2.0, y)
    assert y.get().tolist() == [(X[0] * 2).tolist()] * 2


def test_arrays_lie_on_the_current_device(strict_cupy: Any) -> None:
    with strict_cupy.cuda.Device(1):
        there = strict_cupy.asarray(X)
        assert scaled(strict_cupy)(there, 2.0).device.id == 1
    with pytest.raises(ValueError, match="different from the current device"):
        scaled(strict_cupy)(there, 2.0)
    with pytest.raises(ValueError, match="different from the current device"):
        scaled(strict_cupy)(strict_cupy.asarray(X), 2.0, there)


def test_the_stand_in_refuses_races_and_missing_features(strict_cupy: Any) -> None:
    x = strict_cupy.asarray(np.arange(16.0).reshape(4, 4))
    pair = strict_cupy.ElementwiseKernel("float64 x", "float64 y, float64 z", "y = x; z = x")
    races = [
        lambda: scaled(strict_cupy)(x[1:], 2.0, x[:-1]),
        lambda: scaled(strict_cupy)(x, 2.0, x.T),
        lambda: scaled(strict_cupy)(x[0], 2.0, x),
        lambda: pair(strict_cupy.ones((4, 4)), x, x),
        lambda: pair(strict_cupy.ones((3, 4)), x[1:], x[:-1]),
        lambda: scaled(strict_cupy)(1.0, 2.0, strict_cupy.broadcast_to(x[:1], (4, 4))),
    ]
    for race in races:
        with pytest.raises(ValueError, match="race"):
            race()
    assert x.get().tolist() == np.arange(16.0).reshape(4, 4).tolist()
    for parameter in ("T x", "raw T x", "_non_const float64 x"):
        with pytest.raises(NotImplementedError, match="the stand-in's kernels"):
            strict_cupy.ElementwiseKernel(parameter, "float64 y", "y = x")
    with pytest.raises(ValueError, match="_x"):
        strict_cupy.ElementwiseKernel("float64 _x", "float64 y", "y = _x")


def test_a_source_is_compiled_once(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    plain = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: (runs.append(args), plain(*args, **kwargs))[1])
    build.cache_clear()
    for _ in range(2):
        kernel = scaled(strict_cupy)
        assert not runs or len(runs) == 1
        kernel(strict_cupy.asarray(X), 2.0)
        kernel(strict_cupy.asarray(X[0]), 2.0)
    assert len(runs) == 1


# --- functions that write into what is given -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda xp, x, **out: xp.matmul(x, x.T, **out), lambda xp, x, **out: xp.dot(x, x.T, **out),
        lambda xp, x, **out: xp.matmul(xp.stack([x, x]), x.T, **out),
        lambda xp, x, **out: x.sum(axis=0, **out), lambda xp, x, **out: x.sum(**out), lambda xp, x, **out: xp.sum(x, axis=1, **out),
        lambda xp, x, **out: x.sum(axis=(0, 1), keepdims=True, **out), lambda xp, x, **out: x.prod(axis=1, **out),
        lambda xp, x, **out: x.max(axis=0, **out), lambda xp, x, **out: x.min(axis=0, keepdims=True, **out),
        lambda xp, x, **out: (x > 0).any(axis=0, **out), lambda xp, x, **out: (x > 0).all(axis=1, **out),
        lambda xp, x, **out: xp.concatenate([x, x[:1]], axis=0, **out), lambda xp, x, **out: xp.stack([x, x], axis=1, **out),
        lambda xp, x, **out: xp.cumsum(x, axis=1, **out), lambda xp, x, **out: xp.cumprod(x, axis=0, **out),
        lambda xp, x, **out: xp.take(x, xp.asarray([2, 0]), axis=0, **out), lambda xp, x, **out: xp.clip(x, -0.5, 0.5, **out),
        lambda xp, x, **out: xp.add(x, 1.0, **out), lambda xp, x, **out: xp.less(x, 0.0, **out), lambda xp, x, **out: xp.exp(x, **out),
    ],
)  # fmt: skip
def test_functions_write_into_out_and_return_it(write: Callable[..., Any], gpu: Any) -> None:
    x, expected = gpu.asarray(X), np.asarray(write(np, X))
    out = gpu.empty(expected.shape, expected.dtype)
    assert write(gpu, x, out=out).data.ptr == out.data.ptr
    np.testing.assert_allclose(out.get(), expected, rtol=1e-12)
    with pytest.raises((TypeError, ValueError)):
        write(gpu, x, out=np.empty(expected.shape, expected.dtype))
    with pytest.raises((TypeError, ValueError)):
        write(gpu, x, out=gpu.empty((7, *expected.shape), expected.dtype)[..., None][:, ..., :0])


def test_out_may_stand_at_its_place(gpu: Any) -> None:
    x, y, z = gpu.asarray(X), gpu.empty((3, 4)), gpu.empty((3, 4))
    assert gpu.add(x, 1.0, y) is y
    assert gpu.multiply(x, 2.0, out=(z,)) is z
    assert gpu.cumsum(x, 0, None, y).data.ptr == y.data.ptr
    assert y.get().tolist() == np.cumsum(X, 0).tolist()
    row = gpu.empty(4)
    assert x.sum(0, None, row) is row
    whole, part = gpu.divmod(x, 0.5, out=(y, None))
    assert whole is y
    assert (part.get().tolist(), y.get().tolist()) == ((X % 0.5).tolist(), (X // 0.5).tolist())
    refusals: list[tuple[Callable[[], Any], type[Exception]]] = [
        (lambda: gpu.matmul(x, x.T, gpu.empty((3, 3))), TypeError),
        (lambda: gpu.add(x, 1.0, y, out=z), ValueError),
        (lambda: gpu.add(x, 1.0, out=(y, z)), ValueError),
        (lambda: gpu.add(x), TypeError),
        (lambda: gpu.add(x, 1.0, out=gpu.empty((3, 4), "int32")), TypeError),
    ]
    for act, error in refusals:
        with pytest.raises(error):
            act()


def test_copyto(gpu: Any) -> None:
    x, y = gpu.asarray(X), gpu.zeros((3, 4), "float32")
    assert gpu.copyto(y, x) is None
    assert y.get().tolist() == X.astype("float32").tolist()
    gpu.copyto(y, 2)
    gpu.copyto(y, x[0], where=x[:, :1] > 0)
    assert y.get().tolist() == np.where(X[:, :1] > 0, X[0], 2).astype("float32").tolist()
    gpu.copyto(y, 0.0, where=gpu.asarray(True))
    assert not y.get().any()
    gpu.copyto(y, gpu.ones((1, 1, 4)))
    assert y.get().all()
    gpu.copyto(y, np.full(1, 5.0))
    np.copyto(y[:1], x[:1])
    assert y.get().tolist() == [X[0].astype("float32").tolist(), [5.0] * 4, [5.0] * 4]
    refusals: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: gpu.copyto(y, X), ValueError, "non-scalar numpy.ndarray cannot be used for copyto"),
        (lambda: gpu.copyto(y, x, where=X > 0), TypeError, "Unsupported type"),
        (lambda: gpu.copyto(y, x, where=gpu.ones((3, 4))), TypeError, "Cannot cast array data"),
        (lambda: gpu.copyto(gpu.zeros((3, 4), int), x), TypeError, "Cannot cast"),
        (lambda: gpu.copyto(gpu.zeros((3, 4), int), 1.5), TypeError, "Cannot cast"),
        (lambda: gpu.copyto(y, x[:2]), ValueError, "could not broadcast"),
    ]
    for act, error, text in refusals:
        with pytest.raises(error, match=text):
            act()


def test_copyto_goes_between_devices_but_not_with_a_mask(strict_cupy: Any) -> None:
    x, y = strict_cupy.asarray(X), strict_cupy.zeros((3, 4))
    with strict_cupy.cuda.Device(1):
        there = strict_cupy.zeros((3, 4))
        strict_cupy.copyto(y, x)
    strict_cupy.copyto(there, x)
    assert there.get().tolist() == y.get().tolist() == X.tolist()
    with pytest.raises(ValueError, match="different from the current device"):
        strict_cupy.copyto(there, x, where=x > 0)


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_an_array_is_made_with_strides(gpu: Any) -> None:
    x = gpu.ndarray((3, 4), "float32", strides=(4, 12))
    assert (x.shape, x.strides, x.dtype, x.device.id) == ((3, 4), (4, 12), np.float32, 0)
    assert gpu.ndarray((3, 4), order="F").strides == (8, 24)
    assert gpu.ndarray(3).dtype == np.float64
    with pytest.raises(ValueError, match="negative strides"):
        gpu.ndarray((3, 4), "float32", strides=(-16, 4))


def test_views_have_a_base_and_new_arrays_have_none(gpu: Any) -> None:
    x = gpu.asarray(X)
    assert x.base is None
    assert (x + 1).base is None
    for view in (x[0], x.T, x[1:].T[::2], x.reshape(4, 3), gpu.broadcast_to(x, (2, 3, 4)), x.T.ravel("F")):
        assert view.base is x
    assert x.astype(float, copy=False) is x
    assert x[1:].data.ptr == x.data.ptr + 32
    assert x.copy().data.ptr != x.data.ptr


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex128", "int8", "uint64", "bool"])
def test_new_memory_of_the_stand_in_holds_nothing_usable(dtype: str, strict_cupy: Any) -> None:
    wanted = {"f": "nan", "c": "(nan+0j)", "i": "127", "u": str(2**64 - 1), "b": "True"}[np.dtype(dtype).kind]
    for made in (
        strict_cupy.empty((2,), dtype),
        strict_cupy.empty_like(strict_cupy.ones(2, dtype)),
        strict_cupy.ndarray(2, dtype),
    ):
        assert [str(entry) for entry in made.tolist()] == [wanted] * 2
