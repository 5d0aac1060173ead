"""Native groups with reductions: softmax, norms and losses in a few passes over each line, with eager code's results to rounding."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.compiler.running import blocks
from fdezero.testing import assert_trees_close

from ..native.compilers import needs_compiler
from .line_programs import LineProgram, line_programs

pytestmark = needs_compiler
RNG = np.random.default_rng(7)


def groups_of(compiled: Any) -> list[Any]:
    """The groups with reductions in the last program."""
    instructions = compiled.recordings[-1].program.executable.graph.instructions
    return [i.operation for i in instructions if getattr(i.operation, "schedule", None) is not None]


def assert_alike(actual: Any, expected: Any) -> None:
    for y, like in zip(fd.tree.leaves(actual), fd.tree.leaves(expected), strict=True):
        assert (np.shape(y), getattr(y, "dtype", None)) == (np.shape(like), getattr(like, "dtype", None))
        if np.size(like):
            tolerance = 3000 * np.finfo(like.dtype).eps * max(1.0, float(np.max(np.abs(like))))
            np.testing.assert_allclose(y, like, rtol=0, atol=tolerance)


def outputs_of(all_programs: list[LineProgram], arguments: list[Any]) -> list[Any]:
    return [program.run(*given) for program, given in zip(all_programs, arguments, strict=True)]


@settings(
    max_examples=max(5, settings().max_examples // 8), phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    st.sampled_from(["float32", "float64"]).flatmap(
        lambda dtype: st.lists(line_programs(dtype), min_size=2, max_size=3)
    ),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_random_programs_with_reductions(programs: list[LineProgram], threads: int, seed: int) -> None:
    """Values, and gradients by all floating arguments; several programs in one, because the C++ compiler takes the time."""

    def value(floating: Any, masks: Any) -> Any:
        outputs = outputs_of(programs, [[*xs, mask] for xs, mask in zip(floating, masks, strict=True)])
        return sum(fnp.mean(fnp.cos(y)) for y in fd.tree.leaves(outputs)), outputs

    function = fd.value_and_grad(value, has_aux=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SHARE", 8)
        compiled = fd.compile(function, native=True, threads=threads)
        for k in (seed, seed + 1):
            arguments = [program.arguments(k) for program in programs]
            given = [xs[:-1] for xs in arguments], [xs[-1] for xs in arguments]
            assert_alike(compiled(*given), function(*given))


def normalised(x: Any) -> Any:
    """A norm as a user writes it."""
    rest = x - fnp.mean(x, axis=-1, keepdims=True)
    return rest / fnp.sqrt(fnp.mean(rest * rest, axis=-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "layer_norm", "normalised", "rms_norm"])
def test_a_value_and_its_gradient_are_one_group(name: str) -> None:
    f = {"normalised": normalised}.get(name) or getattr(F, name)
    x, t = RNG.standard_normal((2, 6, 40)).astype(np.float32)
    function = fd.value_and_grad(lambda x, t: fnp.mean(f(x) * t))
    compiled = fd.compile(function, native=True)
    compiled(x, t)
    assert_trees_close(compiled(x, t), function(x, t), tolerance=1e-5)
    assert [len(group.body.inputs) for group in groups_of(compiled)] == [2]


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.0, 3e38, -3e38, 1e-40])


def reductions(x: Any) -> Any:
    """What every reduction gives beside the values that it was computed from, so that they make a group."""
    top, low = fnp.max(x, axis=-1, keepdims=True), fnp.min(x, axis=-1, keepdims=True)
    total, squares = fnp.sum(x, axis=-1), fnp.sum(x * 0.5, axis=-1, keepdims=True)
    return top, low, total * 2, x - top, x == low, fnp.where(x == top, x, squares), fnp.mean(x, axis=-1) + 1


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)], ids=["along", "beside"])
@pytest.mark.parametrize("width", [1, 2, 9, 70])
def test_nan_infinities_zeros_and_overflow(width: int, axes: tuple[int, int]) -> None:
    lines = [RNG.choice(SPECIAL, width) for _ in range(30)] + [np.full(width, value) for value in SPECIAL]
    lines += [np.where(np.arange(width) == k % width, np.nan, 1.0) for k in range(5)]
    x = np.array(lines).astype(np.float32).transpose(axes).copy().transpose(axes)
    with np.errstate(all="ignore"):
        compiled = fd.compile(reductions, native=True)
        compiled(x)
        for y, like in zip(compiled(x), reductions(x), strict=True):
            # A sum is that of NumPy, or it does not overflow on its way to a finite number.
            finite = np.isfinite(np.broadcast_to(like, np.shape(y)))
            np.testing.assert_allclose(np.where(finite, y, 0), np.where(finite, like, 0), rtol=1e-5)
            assert np.array_equal(np.isnan(y) & ~np.isnan(like), np.zeros_like(finite))
            assert y.dtype == like.dtype
        for y, like in zip(compiled(x)[:2], reductions(x)[:2], strict=True):
            assert np.array_equal(y, like, equal_nan=True)
    assert len(groups_of(compiled)) == (width > 1)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (1, 1), (1, 7), (7, 1), (7,), (2, 1, 3)])
def test_empty_lines_and_lines_of_one_entry(shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape)
    f = lambda x: [F.softmax(x) if x.shape[-1] else x, fnp.sum(x * 2, axis=-1) * 3, x - fnp.sum(x, axis=0)]
    compiled = fd.compile(f, native=True)
    for _ in range(2):
        assert_alike(compiled(x), f(x))


def test_what_has_no_native_form_runs_as_ever() -> None:
    f = lambda x: (fnp.sum(x * 2, axis=-1, keepdims=True) + x, fnp.max(x + x, axis=0) * 2)
    for x in (
        RNG.standard_normal((5, 4)).astype(np.float16),
        np.arange(20).reshape(5, 4),
        RNG.standard_normal((5, 4)) + 1j,
    ):
        compiled = fd.compile(f, native=True)
        for _ in range(2):
            assert_alike(compiled(x), f(x)) if x.dtype.kind == "f" else assert_trees_close(
                compiled(x), f(x), tolerance=1e-12
            )
        assert groups_of(compiled) == []


def statistics(x: Any) -> Any:
    """Sums along lines and over columns, and one of everything."""
    rest = x - fnp.mean(x, axis=-1, keepdims=True)
    return rest, fnp.sum(rest * rest, axis=-1), fnp.sum(fnp.tanh(rest), axis=0), fnp.sum(fnp.exp(x) * rest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_and_lines_have_the_same_bits_for_any_number_of_threads(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SHARE", 8)
    x = RNG.standard_normal((301, 67)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        compiled = fd.compile(statistics, native=True, threads=threads)
        compiled(x)
        results.append(compiled(x))
        assert f", {threads}, np.{dtype}, " in compiled.source
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0][:3], other[:3], strict=True))
        np.testing.assert_allclose(results[0][3], other[3], rtol=1e-6 if dtype == "float32" else 1e-14)
    assert_alike(results[0], statistics(x))


@pytest.mark.parametrize("order", ["channels first", "channels last", "transposed", "strided"])
def test_statistics_of_channels_in_every_memory_order(order: str) -> None:
    x = RNG.standard_normal((3, 4, 5, 6)).astype(np.float32)
    if order == "channels last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif order == "transposed":
        x = np.ascontiguousarray(x.T).T
    elif order == "strided":
        x = np.repeat(x, 2, axis=2)[:, :, ::2]
    scale, shift, t = (
        RNG.standard_normal(4).astype("f4"),
        RNG.standard_normal(4).astype("f4"),
        RNG.standard_normal(x.shape).astype("f4"),
    )

    def value(x: Any, scale: Any, shift: Any) -> Any:
        y, mean, variance = F.batch_norm_with_statistics(x, scale, shift)
        return fnp.sum(y * t + F.group_norm(x, 2, scale, shift)), (y, mean, variance)

    function = fd.value_and_grad(value, argnums=(0, 1, 2), has_aux=True)
    compiled = fd.compile(function, native=True)
    for _ in range(2):
        assert_alike(compiled(x, scale, shift), function(x, scale, shift))
    assert groups_of(compiled)


def test_a_mean_far_from_zero_keeps_its_digits() -> None:
    x = (RNG.standard_normal((50, 700)) + 1e4).astype(np.float32)
    exact = x.astype(np.float64)
    exact -= exact.mean(-1, keepdims=True)
    exact /= np.sqrt(np.square(exact).mean(-1, keepdims=True) + 1e-5)
    compiled = fd.compile(lambda x: F.layer_norm(x) * 1, native=True)
    for _ in range(2):
        assert np.abs(compiled(x) - exact).max() < 7e-7
    assert groups_of(compiled)


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 100_000), 1), ((2, 3000, 40), (0, 2)), ((50_000, 4), 0), ((7, 300, 300), (1, 2))]
)
def test_sums_are_at_least_as_accurate_as_numpys(shape: tuple[int, ...], axis: Any) -> None:
    for dtype in (np.float32, np.float64):
        x = (RNG.random(shape) + 0.5).astype(dtype)
        exact = np.sum(x, axis=axis, dtype=np.longdouble)
        compiled = fd.compile(lambda x: fnp.sum(x, axis=axis) * 2, native=True)  # exact, and so makes a group
        compiled(x)
        mine, numpys = (np.abs(y - exact).max() / exact.max() for y in (compiled(x) / 2, np.sum(x, axis=axis)))
        assert mine <= max(numpys, np.finfo(dtype).eps)
        assert groups_of(compiled)


def test_results_that_lie_over_operands() -> None:
    """A later pass reads its operands again, so the result of an earlier pass must not lie over them."""

    def f(x: Any, w: Any) -> Any:
        h = fnp.exp(x @ w)  # memory of the program's own, which a result may take over
        early = h * 2
        top = fnp.sum(early, axis=-1, keepdims=True)
        late = h / top
        return early @ w, late @ w, fnp.tanh(top) @ w[:1]

    x, w = RNG.standard_normal((2, 9, 9))
    compiled = fd.compile(f, native=True)
    for _ in range(3):
        assert_alike(compiled(x, w), f(x, w))
        assert_alike(fd.grad(lambda x: fnp.sum(compiled(x, w)[1]))(x), fd.grad(lambda x: fnp.sum(f(x, w)[1]))(x))


def test_branches_whose_results_lie_otherwise_in_memory() -> None:
    def f(x: Any, p: Any) -> Any:
        y = fd.cond(p > 0, lambda x: (x + 1).T, lambda x: x[::-1] - x, x)
        return F.softmax(y * 2) + y, fnp.sum(y * y, axis=0) * 2

    x = RNG.standard_normal((4, 4))
    compiled = fd.compile(f, native=True)
    for p in (1.0, -1.0, 1.0, -1.0):
        assert_alike(compiled(x, p), f(x, p))


def test_long_programs_are_several_groups() -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = fnp.tanh(x - fnp.mean(x, axis=-1, keepdims=True)) * 1.5
        return x

    x = RNG.standard_normal((3, 20))
    compiled = fd.compile(f, native=True)
    compiled(x)
    assert_trees_close(compiled(x), f(x), tolerance=1e-9)
    assert 3 <= len(groups_of(compiled)) <= 5


def test_views_of_line_values_that_leave_the_group() -> None:
    def f(x: Any) -> Any:
        total = fnp.sum(x * 2, axis=-1)
        return (
            total,
            fnp.expand_dims(total, -1),
            fnp.broadcast_to(fnp.expand_dims(total, -1), x.shape),
            x - fnp.expand_dims(total, -1),
        )

    x = RNG.standard_normal((3, 4))
    compiled = fd.compile(f, native=True)
    for _ in range(3):
        results = compiled(x)
        assert_alike(results, f(x))
        assert not any(np.shares_memory(a, b) for i, a in enumerate(results) for b in results[:i])


def test_layers_that_repeat_are_compiled_once() -> None:
    def f(W: Any, x: Any) -> Any:
        for w in W:
            x = F.layer_norm(F.relu(x @ w))
        return fnp.mean(x * x)

    W, x = RNG.standard_normal((8, 6, 6)), RNG.standard_normal((5, 6))
    function = fd.value_and_grad(f)
    counts = []
    for k in (4, 8):
        compiled = fd.compile(function, native=True)
        compiled(list(W[:k]), x)
        assert_alike(compiled(list(W[:k]), x), function(list(W[:k]), x))
        assert len(groups_of(compiled)) >= 2 * k - 1
        counts.append(compiled.source.count('extern "C"'))
    assert counts[0] == counts[1] <= 3


@pytest.mark.parametrize("function", [fnp.exp, fnp.tanh, fnp.log1p, fnp.sqrt], ids=["exp", "tanh", "log1p", "sqrt"])
def test_an_entry_has_the_same_bits_in_every_pass(function: Any) -> None:
    """A vector function and a scalar one may differ in the last place, and the end of a line is often done by the scalar one."""

    def f(x: Any) -> Any:
        y = function(x)
        return fnp.sum(fnp.where(y == fnp.max(y, axis=-1, keepdims=True), 1.0, 0.0), axis=-1), fnp.where(
            y == fnp.max(y, axis=-1, keepdims=True), x, 0
        )

    x = RNG.random((2000, 37)) + 0.1
    for dtype in (np.float32, np.float64):
        compiled = fd.compile(f, native=True)
        compiled(x.astype(dtype))
        counts, chosen = compiled(x.astype(dtype))
        assert counts.min() >= 1
        assert np.array_equal(np.max(chosen, axis=-1), np.max(x.astype(dtype), axis=-1))
        assert groups_of(compiled)


def test_a_line_value_that_broadcasts_along_other_lines() -> None:
    x = RNG.standard_normal((4, 4))
    f = lambda x: (
        x * 2 - fnp.sum(x * 3, axis=-1),
        x / fnp.max(x * 2, axis=0),
        (x + fnp.sum(x * 5, axis=1)[:, None]) * fnp.sum(x, axis=1),
    )
    compiled = fd.compile(f, native=True)
    for _ in range(2):
        assert_alike(compiled(x), f(x))
