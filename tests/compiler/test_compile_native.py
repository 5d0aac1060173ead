"""`fd.compile(f, native=True)` gives NumPy's bits for exact operations, and agrees in all but the last places for others."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.compiler.program import Options
from fdezero.compiler.running import blocks
from fdezero.core import REGISTRY
from fdezero.testing import assert_trees_close

from ..laws.samples import SAMPLES
from ..native.compilers import needs_compiler
from ..profiles import NIGHTLY
from .program_checks import assert_same_bits, check_calls
from .programs import Program, laid_out, programs

pytestmark = needs_compiler
named_cpp = pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler of the name c++")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 4))
# The operations that are rounded correctly, or not at all: the same bits from every compiler. Not maximum, minimum and clip: of 0.0 and -0.0
# NumPy's own take now one, now the other.
EXACT = (
    "add subtract multiply divide negative square sqrt absolute where sign less greater_equal equal logical_and "
    "logical_not isnan floor transpose reshape broadcast_to"
).split()


@pytest.fixture(autouse=True, scope="module")
def _kept_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All libraries of these tests are loaded from a cache on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDEZERO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("FDEZERO_NATIVE_CACHE")
        yield


def native(function: Any, **options: Any) -> Any:
    return fd.compile(function, native=True, **options)


@settings(max_examples=max(10, settings().max_examples // 2), suppress_health_check=list(HealthCheck))
@given(programs(names=[name for name in EXACT if name in REGISTRY or hasattr(np, name)], most=16), st.lists(st.integers(0, 99), min_size=2, max_size=2))
def test_exact_operations_have_the_bits_of_eager_code(program: Program, seeds: list[int]) -> None:
    def run(*args: Any) -> Any:  # GCC computes 0.0 - (double)0 as -0.0: the sign of a zero is not promised
        return fd.tree.map(lambda y: y + 0.0 if isinstance(y, float) or getattr(y, "dtype", np.dtype(int)).kind == "f" else y, program.run(*args))

    with np.errstate(all="ignore"):
        check_calls(run, native(run), [program.arguments(seed) for seed in (*seeds, *seeds)])


ELEMENTWISE = [s for s in SAMPLES if getattr(s.primitive, "c", "") and all(np.asarray(a).dtype.kind != "c" for a in s.args)]


@pytest.mark.parametrize(("part", "dtype"), [(part, dtype) for part in range(8) for dtype in ("float32", "float64") if NIGHTLY or (dtype == "float32") == part % 2])
def test_every_operation_agrees_with_numpy(part: int, dtype: str) -> None:
    samples = ELEMENTWISE[part::8]
    narrow = lambda x: np.asarray(x).astype(dtype) if np.asarray(x).dtype.kind == "f" else np.asarray(x)
    args = [[narrow(x) for x in sample.args] for sample in samples]

    def f(args: Any) -> Any:  # One operation alone does not make a group.
        results = [s.primitive(*xs, **s.params) for s, xs in zip(samples, args, strict=True)]
        return results, [np.logical_not(y) if y.dtype.kind == "b" else y + y for y in results]

    compiled = native(f)
    for _ in range(2):
        for sample, actual, expected in zip([*samples, *samples], fd.tree.leaves(compiled(args)), fd.tree.leaves(f(args)), strict=True):
            assert actual.dtype == expected.dtype, sample
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(actual, expected, rtol=64 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps, err_msg=str(sample))
            else:
                assert np.array_equal(actual, expected), sample


def chain(x: Any, y: Any) -> Any:
    return np.sqrt(np.abs(x * 2 + y)) - np.maximum(x, y) / 3


@pytest.mark.parametrize("layout", ["C", "F", "reversed", "sliced", "offset", "broadcast", "readonly"])
def test_arrays_that_lie_otherwise_in_memory(layout: str) -> None:
    dtype = "float32" if layout in ("reversed", "offset", "readonly") else "float64"
    for shapes in (((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((5,), ()), ((1, 1), (1,))):
        x, y = [laid_out(RNG.standard_normal(shape).astype(dtype), layout) for shape in shapes]
        check_calls(chain, native(chain), [[x, y]] * 3)


def test_an_array_that_is_not_aligned() -> None:
    raw = np.zeros(8 * 101 + 1, np.uint8)
    x = raw[1:].view(np.float64)
    x[:] = RNG.standard_normal(101)
    assert not x.flags.aligned
    check_calls(chain, native(chain), [[x, x]] * 3)


def test_numbers_truth_values_and_integers() -> None:
    def f(x: Any, n: Any, rate: Any, mask: Any, k: Any) -> Any:
        return np.where(mask & (k > n), x * rate, k * n - x), np.where(x > rate, k, 0) * 3, ~mask | (x < n)

    args = [X, 2, 0.1, X > 0, np.arange(12).reshape(3, 4)]
    check_calls(f, native(f), [args, [X, 3, -0.5, X < 1, -args[4]], args])
    check_calls(f, native(f), [[X.astype(np.float32), np.int64(1), np.float32(0.3), np.bool_(True), np.int8(3)]] * 2)


def test_integers_beyond_64_bits() -> None:
    """A C++ loop does not take them, so these calls run operation by operation."""
    compiled = native(lambda x, n: x * n + 1)
    for n in (2, 2**62, -(2**63), 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 2**100, 2, 2**63):
        assert_same_bits(compiled(X, n), X * n + 1, str(n))
    assert len(compiled.recordings) == 3


def test_infinities_nan_and_signed_zeros() -> None:
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.0, 5e-324])
    x, y = (a.copy() for a in np.meshgrid(values, values))

    def f(x: Any, y: Any) -> Any:
        return x + y, x * y, x / y, np.where(x > y, x, -y) + 0, np.isnan(x + 1), np.isfinite(x * 1), np.sqrt(x + 0) * 1, np.signbit(-x)

    with np.errstate(all="ignore"):
        check_calls(f, native(f), [[x, y]] * 2)


def test_a_sum_that_ends_a_group_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SHARE", 8)
    x = RNG.standard_normal((61, 7))
    value = lambda x: np.sum(np.sin(x) * np.exp(-x * x))
    for threads in (1, 2, 3):
        compiled = native(fd.value_and_grad(value), threads=threads)
        for _ in range(3):
            assert_trees_close(compiled(x), fd.value_and_grad(value)(x), tolerance=1e-12)
    assert ", 61, 3, np.float64)" in compiled.source or ", 427, 3, np.float64)" in compiled.source


def step_of(opt: Any) -> Any:
    def step(model: Any, state: Any, x: Any, t: Any, key: Any) -> Any:
        loss = lambda model: F.softmax_cross_entropy(model(x, key=key, train=True), t)
        value, gradients = fd.value_and_grad(loss)(model)
        model, state = opt.step(model, gradients, state)
        return model, state, value

    return step


def test_training_steps_agree() -> None:
    opt = optim.adam(1e-2)
    start = nn.MLP.init(fd.random.key(0), (6, 16, 16, 3), activation=F.relu, dropout=0.5)
    x, t = RNG.standard_normal((10, 6)).astype(np.float32), RNG.integers(0, 3, 10)
    runs = []
    for step in (step_of(opt), native(step_of(opt))):
        model, state = start, opt.init(start)
        for i in range(10):
            model, state, loss = step(model, state, x, t, fd.random.key(i))
        runs.append((model, state, loss))
    assert_trees_close(*runs, tolerance=1e-4)


def test_loops_and_branches_within_are_native_too() -> None:
    def f(x: Any, xs: Any) -> Any:
        last, ys = fd.scan(lambda c, r: (np.tanh(c * r) + c, c * c - r), x, xs)
        return fd.cond(np.sum(ys) > 0, lambda a: np.exp(a) * a, lambda a: a - a * a, last)

    args = (X[0], X)
    compiled = native(f)
    assert_trees_close(compiled(*args), f(*args), tolerance=1e-12)
    found = [program for i in compiled.recordings[-1].program.executable.graph.instructions for program in vars(i.operation).values()]
    assert [p.options for p in found if hasattr(p, "options")] == [Options(compiled.options.threads, True)] * 3
    gradient = fd.grad(lambda *a: np.sum(compiled(*a)))
    assert_trees_close(gradient(*args), fd.grad(lambda *a: np.sum(f(*a)))(*args), tolerance=1e-10)


def first_row(x: Any) -> Any:
    return fd.numpy.broadcast_to(x[0] * 1, x.shape)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        (lambda x: (x + 1).T, lambda x: x[::-1] - x),
        (lambda x: x[::-1] - x, lambda x: (x * 2)[::-1]),
        (first_row, lambda x: x - 1),
        (lambda x: x - 1, first_row),
        (lambda x: np.sum(x), lambda x: (x[0, :1] * 1).reshape(())),
        (lambda x: (x[0, :1] * 1).reshape(()), lambda x: np.sum(x)),
    ],
)
def test_branches_whose_results_lie_otherwise_in_memory(yes: Any, no: Any) -> None:
    def f(x: Any, p: Any) -> Any:
        y = fd.cond(p > 0, yes, no, x)
        return (y * 2 + 1) * y, (x * y + 1).T * 2

    x = RNG.standard_normal((4, 4))
    check_calls(f, native(f), [[x, p] for p in (1.0, -1.0, 1.0, -1.0)])
    check_calls(f, native(f), [[x, p] for p in (-1.0, 1.0, -1.0, 1.0)])


def test_a_loop_of_rounds_whose_layout_changes() -> None:
    f = lambda x, most: (lambda y: (y * 2 + 1) * y)(fd.while_loop(lambda y: np.sum(np.abs(y)) < most, lambda y: (y * 2).T, x))
    x = RNG.standard_normal((4, 4))
    check_calls(f, native(f), [[x, most] for most in (1.0, 20.0, 50.0, 100.0, 200.0, 1.0)])


def test_groups_in_loops_and_groups_in_blocks_have_names_of_their_own() -> None:
    z = RNG.standard_normal(100_000) + 1j

    def f(x: Any, z: Any) -> Any:
        return (x * 2 + 1) * x, (z - 3) * z * z

    check_calls(f, native(f), [[X, z]] * 3)


def test_a_value_that_lies_in_several_results() -> None:
    def twice(x: Any) -> Any:
        y, z = x * 3, x * 2
        return y, fd.numpy.stack([y, z]), fd.numpy.concatenate([z, y]), fd.numpy.concatenate([y, y])

    check_calls(twice, native(twice), [(np.arange(6.0).reshape(2, 3),), (-np.ones((2, 3)),)])


@pytest.mark.parametrize("name", ["library", "function", "compiled", "whole", "fused0", "results", "outputs", "build", "b0", "k0"])
def test_functions_called_like_what_programs_use_themselves(name: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec(f"def {name}(x, k):\n    return np.sqrt(np.abs(x * k + x) @ x.T + 1) - 1", names)
    for compiled in (native(names[name]), fd.compile(names[name])):
        check_calls(names[name], compiled, [[X + 2, 2]] * 3)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_around(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.array([info.min, info.min + 1, 0, 1, 2, 7, info.max // 2 + 1, info.max - 1, info.max], dtype)
    x, y = (a.copy() for a in np.meshgrid(values, values))

    def f(x: Any, y: Any) -> Any:
        wrapped = x + y, x - y, x * y, -x, np.square(x), np.abs(x), np.abs(x) < 0, (x + 1) > x, (x * y) >> 1, x << y, x >> y
        return (*wrapped, x % y, np.fmod(x, y), (x & y) | (~x ^ y), np.sign(x), np.maximum(x, y), (x * y) < 0, (-x < 0) == (x > 0))

    with np.errstate(all="ignore"):
        check_calls(f, native(f), [[x, y]] * 2)


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_beyond_the_range_of_integers(source: str) -> None:
    values = np.array([1.5, -1.5, 2.5, 128, -129, 256, -300, 65536, 2.0**31, -(2.0**31) - 1, 2.0**32, 2.0**63, 1e20, -1e20, np.inf, np.nan])
    x = np.tile(values.astype(source), 5)

    def f(x: Any) -> Any:
        return [((x + 0).astype(name), x * 2) for name in (*INTEGERS, "bool")]

    with np.errstate(all="ignore"):
        check_calls(f, native(f), [[x]] * 2)


def test_zeros_of_both_signs_beside_each_other() -> None:
    x, y = np.tile([0.0, -0.0, 0.0, -0.0], 5), np.tile([0.0, 0.0, -0.0, -0.0], 5)
    f = lambda x, y: (np.maximum(x, y) * 1, np.minimum(x, y) * 1, F.relu(x) * 1)
    check_calls(f, native(f), [[x, y], [y, x]])


def test_groups_of_very_many_operands() -> None:
    xs = [RNG.standard_normal(5) for _ in range(500)]

    def f(xs: Any, g: Any) -> Any:
        moved = [x - 0.5 * g * x for x in xs]
        return moved, np.sum(moved[3] * xs[4])

    moved, total = f(xs, X[0, 0])
    compiled = native(f)
    for _ in range(2):
        actual = compiled(xs, X[0, 0])
        assert_same_bits(actual[0], moved, "the arrays")
        np.testing.assert_allclose(actual[1], total, rtol=1e-14)


def test_derivatives_and_batches_of_native_functions() -> None:
    f = lambda x: np.tanh(x * x) / (1 + np.exp(-x))
    compiled = native(f)
    v = X.ravel()
    assert_trees_close(fd.vmap(compiled)(X), fd.vmap(f)(X), tolerance=1e-12)
    assert_trees_close(fd.jvp(compiled, (v,), (v,)), fd.jvp(f, (v,), (v,)), tolerance=1e-12)
    assert_trees_close(fd.hessian(lambda x: np.sum(compiled(x)))(v), fd.hessian(lambda x: np.sum(f(x)))(v), tolerance=1e-10)


def test_what_has_no_loop_runs_as_ever() -> None:
    cases = [X.astype(np.float16), X + 1j * X[::-1], X.astype(">f8"), np.zeros((0, 3)), np.arange(12)]
    f = lambda x: x * x + x
    for x in cases:
        check_calls(f, native(f), [[x]] * 3)
    whole = lambda x: (x // 3) * 2 + x % 5
    check_calls(whole, native(whole), [[np.arange(-6, 6)]] * 2)


def test_results_may_be_written_and_those_held_do_not_change() -> None:
    compiled = native(lambda x: np.sin(x) * 2 + 1)
    results = [compiled(X + i) for i in range(6)]
    for i, y in enumerate(results):
        np.testing.assert_allclose(y, np.sin(X + i) * 2 + 1, rtol=1e-14, atol=1e-14)
        y[...] = 0


def test_the_source_shows_the_loop() -> None:
    compiled = native(lambda x, b: np.maximum(x + b, 0) * 2)
    compiled(X, X[0])
    assert 'extern "C" void fused0(void *x0_, void *x1_, void *out0_, long long start, long long stop) {' in compiled.source
    assert "for (long long i0 = start; i0 < stop; i0++) {" in compiled.source
    assert "test_compile_native.py:" in compiled.source


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_all_widths(dtype: str) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x, y = np.array([low, high, 0, 1, 2, 3, high // 2], dtype), np.array([1, 2, 3, 0, high, 1, 7], dtype)

    def f(x: Any, y: Any) -> Any:
        bits, shifted = (x & y) | (x ^ y) & ~x, (x << y) + (x >> y)
        divided = (x % y) + (x // y) + np.fmod(x, y)
        chosen = np.where(x > y, x, y) * 2 + np.maximum(x, y) - np.minimum(x, y)
        return (x + y) * y - x, -x + np.abs(x) * np.sign(y), bits, shifted, divided, chosen, (x < y) & (x != 3) | (y >= x), x / y + y

    with np.errstate(all="ignore"):
        check_calls(f, native(f), [[x, y]] * 2)


def test_truth_values_that_are_not_0_or_1_in_memory() -> None:
    mask = np.array([0, 1, 2, 255], np.uint8).view(bool)
    f = lambda m, x: np.where(m & (x > 0), x, -x) * 2
    check_calls(f, native(f), [[mask, np.arange(4.0)]] * 2)


def test_names_that_programs_use_themselves() -> None:
    def f(library: Any, function: Any, compiled: Any, whole: Any, fused0: Any, start: Any, stop: Any, total: Any, x0: Any, DATA: Any) -> Any:
        return (library * function + compiled - whole * fused0) / (start + stop) + total * x0 - DATA

    check_calls(f, native(f), [list(RNG.standard_normal((10, 3)))] * 2)


@pytest.mark.parametrize("name", ['we"""ird\\ name.py', "a*/b.py", "q'uote??/x.py", "üñï.py", "two\nlines.py", "back\\", "sur\udcff.py"])
def test_names_of_files_that_comments_might_trip_over(name: str) -> None:
    names: dict[str, Any] = {}
    exec(compile("def f(x):\n    return x * 2 + 1\n", name, "exec"), names)
    for compiled in (native(names["f"]), fd.compile(names["f"])):
        check_calls(names["f"], compiled, [[X]] * 2)


def test_constants_of_every_layout() -> None:
    c = np.asfortranarray(RNG.standard_normal((3, 4)))
    unaligned = np.frombuffer(b"\0" + np.arange(12.0).tobytes(), np.uint8)[1:].view("f8").reshape(3, 4)
    for constant in (c, c[::-1], np.broadcast_to(c[0], (3, 4)), unaligned, np.float32(2), np.array(2.0), c.astype(">f8"), np.arange(4)):
        f = lambda x, constant=constant: (x * constant + constant) / 3
        check_calls(f, native(f), [[X]] * 2)


def test_several_threads_at_once() -> None:
    f = lambda x: np.sqrt(x * x + 1) - x * 3
    compiled = native(f)

    def right(k: int) -> bool:
        arrays = [np.full(50 + k % 3, float(i + k)) for i in range(200)]
        return all(np.array_equal(compiled(x), f(x)) for x in arrays)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(right, range(6)))
