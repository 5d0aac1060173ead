"""float16 and bfloat16: what is added up in float32, what NumPy cannot do, and bfloat16 in every part of the library."""

import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.signal

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, special, stats
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, MissingExtraError
from fdezero.testing import assert_trees_equal, check_grads

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype(np.float16), BFLOAT16]
EPS = {HALVES[0]: 2.0**-11, BFLOAT16: 2.0**-8}  # half the distance of neighbours of 1
KEY = fd.random.key(0)
halves = pytest.mark.parametrize("half", HALVES, ids=str)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# Sums in float32, against float64

SUMS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "sum": (fnp.sum, (drawn(3000),)),
    "sum in front": (lambda x: fnp.sum(x, axis=0), (1 + drawn(5000, 2),)),
    "sum of the middle": (lambda x: fnp.sum(x, axis=(0, 2)), (1 + drawn(40, 3, 50),)),
    "sum where": (lambda x: fnp.sum(x, axis=0, where=np.arange(9000)[:, None] % 3 > 0, initial=2.0), (1 + drawn(9000, 2),)),
    "mean": (lambda x: fnp.mean(x, axis=0), (1 + drawn(5000, 2),)),
    "var": (lambda x: fnp.var(x, axis=0), (drawn(5000, 2),)),
    "std": (lambda x: fnp.std(x, axis=0, ddof=1), (drawn(5000, 2),)),
    "cumsum": (lambda x: fnp.cumsum(x, axis=0), (1 + drawn(4000, 2),)),
    "norm": (fnp.linalg.vector_norm, (drawn(100, 50),)),
    "norm of large numbers": (fnp.linalg.vector_norm, (3e3 * drawn(64),)),
    "logsumexp": (fnp.logsumexp, (drawn(5000),)),
    "matmul": (fnp.matmul, (drawn(5, 3000), drawn(3000, 4))),
    "dot": (fnp.dot, (drawn(3000), drawn(3000, seed=1))),
    "tensordot": (fnp.tensordot, (drawn(50, 60), drawn(50, 60, seed=1))),
    "linear": (F.linear, (drawn(5, 3000), drawn(3000, 4), 100 + drawn(4))),
    "conv2d": (F.conv2d, (drawn(2, 64, 6, 6), drawn(3, 64, 5, 5))),
    "global_avg_pool": (F.global_avg_pool, (1 + drawn(2, 3, 60, 60),)),
    "layer_norm": (F.layer_norm, (5 + drawn(3, 4000),)),
    "softmax_cross_entropy": (lambda x: F.softmax_cross_entropy(x, np.arange(4000) % 5), (drawn(4000, 5),)),
    "pmean": (lambda x: fd.vmap(lambda x: fd.pmean(x, "n"), axis_name="n")(x)[0], (1 + drawn(5000, 2),)),
    "gradient of a bias": (lambda b: fd.grad(lambda b, x: fnp.sum((x + b).astype(np.float32)))(b, np.ones((5000, 3), b.dtype)), (drawn(3),)),
    "gradient of a broadcast": (lambda b: fd.grad(lambda b: fnp.sum(fnp.broadcast_to(b, (5000, 3)).astype(np.float32)))(b), (drawn(3),)),
    "gradient of a shared scale": (lambda s: fd.grad(lambda s: fnp.sum((s * np.ones((9, 700), s.dtype)).astype(np.float32)))(s), (drawn(1, 1),)),
    "gradient by vmap": (lambda b: fd.grad(lambda b: fnp.sum(fd.vmap(lambda x: (x + b).astype(np.float32))(np.ones((5000, 3), b.dtype))))(b), (drawn(3),)),
    "tangent of max": (lambda x: fd.jvp(lambda x: fnp.max(x, axis=0), (x * 0,), (x * 0 + 1,))[1], (drawn(5000, 2),)),
    "embedding": (lambda W: fd.grad(lambda W: fnp.sum(F.embedding(np.zeros(5000, int), W).astype(np.float32)))(W), (drawn(3, 2),)),
}  # fmt: skip


@halves
@pytest.mark.parametrize("name", SUMS)
def test_terms_are_added_up_in_float32_and_the_sum_is_rounded_once(name: str, half: Any) -> None:
    function, args = SUMS[name]
    narrow = [x.astype(half) for x in args]
    got, exact = function(*narrow), np.asarray(function(*[x.astype(np.float64) for x in narrow]))
    assert got.dtype in ((half, np.float32) if name == "matmul" else (half,))  # NumPy's product of bfloat16 is float32
    scale = np.abs(exact).max() if name in ("sum", "matmul", "dot", "tensordot", "linear", "conv2d") else np.abs(exact)
    roundings = 1.1 + (name == "std")  # of NumPy's variance, and of its root
    assert (np.abs(np.asarray(got, float) - exact) <= roundings * EPS[half] * scale + 1e-7).all()
    assert_trees_equal(fd.compile(function)(*narrow), got, bits=True)


@halves
def test_arguments_by_name_are_widened_as_well(half: Any) -> None:
    x, W, b = (drawn(*shape).astype(half) for shape in ((3, 900), (900, 2), (2,)))
    assert_trees_equal(F.linear(x=x, W=W, b=b), F.linear(x, W, b), bits=True)
    assert_trees_equal(F.softplus(x=x), F.softplus(x), bits=True)
    assert_trees_equal(F.leaky_relu(x, slope=half.type(0.3)), F.leaky_relu(x, half.type(0.3)), bits=True)
    assert F.leaky_relu(x, slope=half.type(0.3)).dtype == half
    assert F.leaky_relu(x, slope=np.float32(0.3)).dtype == np.float32  # wider than half
    assert F.elu(x.astype(np.float32), alpha=half.type(2)).dtype == np.float32


def test_products_of_float16_have_the_speed_of_float32_in_layers_alone() -> None:
    """`x @ W` keeps NumPy's bits: its own loop, which also adds in float32."""
    x, W = drawn(20, 30).astype(np.float16), drawn(30, 10).astype(np.float16)
    assert_trees_equal(fd.compile(lambda x, W: x @ W)(x, W), x @ W, bits=True)
    exact = x.astype(np.float64) @ W.astype(np.float64)
    assert_trees_equal(F.linear(x, W), exact.astype(np.float32).astype(np.float16))


# What NumPy does with bfloat16 also holds for traced and compiled code

EXPRESSIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an integer": (lambda x: 2 * x + 1, "bfloat16"), "a float": (lambda x: x * 1.5, "float32"), "a complex": (lambda x: x * 1j, "complex64"),
    "a truth value": (lambda x: x * True, "bfloat16"), "its own number": (lambda x: x * x.dtype.type(1.5), "bfloat16"),
    "float32": (lambda x: x + np.float32(1), "float32"), "float64": (lambda x: np.float64(1) - x, "float64"),
    "float16": (lambda x: x + np.ones(3, np.float16), "float32"), "int8": (lambda x: x * np.ones(3, np.int8), "bfloat16"),
    "integers": (lambda x: x * np.arange(3), "float64"), "a power": (lambda x: x**2, "bfloat16"), "a root": (lambda x: x**0.5, "float32"),
    "a product": (lambda x: x @ x.T, "float32"), "dot": (lambda x: np.dot(x, x.T), "bfloat16"), "where": (lambda x: np.where(x > 1, x, 0), "bfloat16"),
    "maximum": (lambda x: np.maximum(x, 1), "bfloat16"), "clip": (lambda x: np.clip(x, 0.5, 1.5), "float32"), "exp": (np.exp, "bfloat16"),
    "concatenate": (lambda x: np.concatenate([x, x.astype(np.float32)]), "float32"), "a quotient": (lambda x: x / 3, "bfloat16"),
    "a comparison": (lambda x: x > 1.0, "bool"), "a cast": (lambda x: x.astype(int), "int64"), "a view": (lambda x: x.T[::-1], "bfloat16"),
    "fft": (np.fft.fft, "complex64"), "stack": (lambda x: np.stack([x, x]), "bfloat16"), "max": (lambda x: x.max(axis=0), "bfloat16"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_traced_and_compiled_code_has_the_dtypes_and_the_bits_of_numpy(name: str) -> None:
    function, dtype = EXPRESSIONS[name]
    x = np.arange(1, 7).reshape(2, 3).astype(BFLOAT16)
    y = function(x)
    assert y.dtype == dtype
    value, pullback = fd.vjp(function, x)
    assert_trees_equal(value, y, bits=True)
    assert_trees_equal(fd.compile(function)(x), y, bits=True)
    assert pullback(np.ones_like(y))[0].dtype == BFLOAT16


def test_loops_of_a_compiler_leave_bfloat16_to_numpy() -> None:
    x = drawn(3, 3000).astype(BFLOAT16)

    def function(x: Any) -> Any:
        return fnp.sum(F.tanh(x) * x + F.softplus(x.astype(np.float32)).astype(BFLOAT16), axis=1)

    for run in (function, fd.grad(lambda x: fnp.sum(function(x)))):
        exact, native = run(x), fd.compile(run, native=True)(x)
        assert native.dtype == BFLOAT16
        np.testing.assert_allclose(native.astype(float), exact.astype(float), rtol=0.01)


def test_nan_is_sorted_to_the_end() -> None:
    x = np.array([3, np.nan, 1, 2.5, np.nan], BFLOAT16)
    expected = np.array([1, 2.5, 3, np.nan, np.nan], BFLOAT16)
    assert_trees_equal(fnp.sort(x), expected)
    assert_trees_equal(fnp.unique(x, equal_nan=False), expected)
    assert_trees_equal(fd.compile(fnp.argsort)(x), np.array([2, 3, 0, 1, 4]))
    assert fnp.nanmedian(x) == 2.5
    assert np.isnan(fnp.median(x))


def test_limits_belong_to_the_dtype() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1], BFLOAT16)
    assert_trees_equal(fnp.nan_to_num(x).astype(float), np.array([3.3895313892515355e38, -3.3895313892515355e38, 0, 1]))
    assert_trees_equal(fnp.gradient(np.arange(4).astype(BFLOAT16)), np.ones(4, BFLOAT16))


# Every part of the library


def test_derivatives_of_every_kind() -> None:
    x = np.array([0.5, -1.25, 2.0], BFLOAT16)

    def f(x: Any) -> Any:
        return F.tanh(x) * x

    for y in (
        fd.hessian(lambda x: fnp.sum(f(x)))(x), fd.jacobian(f)(x), fd.jvp(f, (x,), (x,))[1], fd.hvp(lambda x: fnp.sum(f(x)), (x,), (x,))[0],
        fd.vmap(fd.grad(f))(x), fd.grad(lambda x: fnp.sum(fd.checkpoint(f)(x)))(x), fd.linearize(f, x)[1](x),
        fd.debug(fd.grad(lambda x: fnp.sum(f(x))))(x), fd.grad(lambda x: x * 2.5)(x[0]), fd.compile(fd.grad(lambda x: fnp.sum(f(x))))(x),
    ):  # fmt: skip
        assert y.dtype == BFLOAT16
    check_grads(lambda x: fnp.sum(f(x)), (x,))
    with pytest.raises(Exception, match="log"):
        fd.debug(lambda x: np.log(x))(x)


def test_loops_and_branches() -> None:
    x = np.array([0.5, 0.25, 2.0], BFLOAT16)

    def total(x: Any) -> Any:
        end, ys = fd.scan(lambda c, v: (F.tanh(c + v), c), fnp.zeros((), x.dtype), x)
        return fnp.sum(ys) + fd.cond(x[0] > 0, lambda x: x * x, lambda x: x, end)

    assert fd.grad(total)(x).dtype == BFLOAT16
    assert_trees_equal(fd.compile(fd.value_and_grad(total))(x), fd.value_and_grad(total)(x), bits=True)
    assert_trees_equal(fd.while_loop(lambda c: c[0] < 10, lambda c: c + c, x[:1]), np.array([16], BFLOAT16))


def test_random_numbers() -> None:
    u = fd.random.uniform(KEY, (4000,), dtype=BFLOAT16)
    assert u.dtype == BFLOAT16
    assert set(np.unique(u.astype(float) * 256)) == set(range(256))  # multiples of 2**-8
    assert abs(u.astype(float).mean() + 2**-9 - 0.5) < 0.02
    shifted = fd.random.uniform(KEY, (4000,), low=-1.0, high=3.0, dtype=BFLOAT16)
    np.testing.assert_allclose(shifted.astype(float), 4 * u.astype(float) - 1, atol=0.01)
    normal = fd.random.normal(KEY, (4000,), dtype="bfloat16")
    assert_trees_equal(normal, fd.random.normal(KEY, (4000,), dtype=np.float64).astype(BFLOAT16), bits=True)
    for draw in (fd.random.gamma(KEY, 2.0, (5,), dtype=BFLOAT16), fd.random.beta(KEY, 2.0, 3.0, (5,), dtype=BFLOAT16)):
        assert draw.dtype == BFLOAT16
    assert fd.random.permutation(KEY, normal).dtype == BFLOAT16


def test_layers_losses_statistics_and_optimisers() -> None:
    layer = nn.LSTM.init(KEY, 4, 3, forget_bias=1.0, dtype="bfloat16")
    assert {leaf.dtype for leaf in fd.tree.leaves(layer)} == {BFLOAT16}
    assert repr(nn.Linear.init(KEY, 2, 3, dtype=BFLOAT16)) == "Linear(W=bfloat16[2,3], b=bfloat16[3])"
    x = drawn(4).astype(BFLOAT16)
    for y in (
        stats.norm.logpdf(x),
        special.gammaln(abs(x)),
        F.mean_squared_error(x, x * 2),
        F.sigmoid_cross_entropy(x, np.ones(4)),
    ):
        assert y.dtype == BFLOAT16
    opt = optim.adam(0.1)
    params, state = opt.step({"w": x}, {"w": x}, opt.init({"w": x}))
    assert params["w"].dtype == BFLOAT16
    assert {leaf.dtype for leaf in fd.tree.leaves(state)} == {np.dtype(np.float32), np.dtype(np.int64)}
    wide, _ = opt.step({"w": x}, {"w": x.astype(np.float32)}, opt.init({"w": x}))  # a gradient in float32 also fits
    assert_trees_equal(wide, params, bits=True)


def test_correlation_of_vectors() -> None:
    x, w = (1 + drawn(3000)).astype(BFLOAT16), np.ones(2500, BFLOAT16)
    exact = scipy.signal.correlate(x.astype(float), w.astype(float), "valid")
    y = fd.signal.correlate(x, w, "valid") if hasattr(fd.signal, "correlate") else fnp.convolve(x, w, "valid")
    np.testing.assert_allclose(y.astype(float), exact, rtol=0.01)


# Errors


def test_what_is_not_known_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.eye(2, dtype=BFLOAT16)
    for function in (fnp.linalg.inv, fnp.linalg.svd, fnp.linalg.eigh, fnp.linalg.cholesky):
        with pytest.raises(
            DTypeError, match=r"computes in float32, .* got bfloat16\[2,2\]. Cast first: x.astype\('float32'\)"
        ):
            function(a)
    with pytest.raises(DTypeError, match="odeint: y0 is bfloat16.*astype"):
        fd.odeint(lambda y, t: -y, a[0], np.array([0.0, 1.0]))
    with pytest.raises(DTypeError, match=r"got float8_e4m3fn\[2\]"):
        fd.grad(lambda x: fnp.sum(x))(np.ones(2, ml_dtypes.float8_e4m3fn))
    with pytest.raises(TypeError, match="could not be promoted"):
        fnp.concatenate([a, np.eye(2, dtype=int)])
    assert fnp.bfloat16 is ml_dtypes.bfloat16
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MissingExtraError, match="bfloat16 needs the package ml_dtypes: pip install"):
        _ = fnp.bfloat16
