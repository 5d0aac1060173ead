"""Native loops store results past the caches where nobody reads them soon, and large updates that nothing connects have loops of their own."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero import optim
from fdezero.compiler.planning import fuse, streaming
from fdezero.compiler.running.memory import FEW, Generation
from fdezero.testing import assert_trees_equal

from ..native.compilers import needs_compiler

RNG = np.random.default_rng(7)


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of any size are more than the caches hold."""
    monkeypatch.setattr(streaming, "CACHES", 0)


@needs_compiler
@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize("threads", [1, 3])
def test_streamed_results_have_the_bits_of_eager_code_at_any_length_and_place(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdezero.compiler.running.blocks.SHARE", 40)
    lengths = (1, 63, 64, 65, 128, FEW - 1, FEW, FEW + 1, FEW + 129)

    def f(xs: Any, ys: Any) -> Any:
        return [(x * 3 - y, x + y.astype(np.float64), x > y) for x, y in zip(xs, ys, strict=True)]

    xs, ys = ([RNG.standard_normal(n, np.float32) for n in lengths] for _ in range(2))
    compiled = fd.compile(f, native=True, threads=threads)
    kept = [compiled(xs, ys) for _ in range(3)]
    assert compiled.source.count("stream(") >= 3
    for each in kept:
        assert_trees_equal(each, f(xs, ys), bits=True)


@needs_compiler
@pytest.mark.usefixtures("_always")
def test_only_results_that_nobody_reads_are_streamed() -> None:
    def f(x: Any) -> Any:
        y = x * 2 + 1
        return y, fnp.sum(fnp.sort(y)), x[:, ::2] * 3 - 1

    compiled = fd.compile(f, native=True)
    x = RNG.standard_normal((40, 64))
    assert_trees_equal(compiled(x), f(x), bits=True)
    assert compiled.source.count("streamed();") == 1  # not y, which the sort reads


@needs_compiler
def test_small_results_stay_in_the_caches() -> None:
    compiled = fd.compile(lambda x: x * 2 + 1, native=True)
    compiled(np.ones((400, 400)))
    assert "streamed();" not in compiled.source


def test_large_outputs_begin_on_a_cache_line() -> None:
    for dtype in (np.float16, np.float32, np.complex128, np.bool_):
        (y,) = Generation([((FEW // 2, 3), dtype, (3 * np.dtype(dtype).itemsize, np.dtype(dtype).itemsize))]).written
        assert y.ctypes.data % 64 == 0
        assert y.shape == (FEW // 2, 3)
        y[...] = 1


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=needs_compiler)])
def test_updates_of_two_large_parameters_are_two_groups_and_of_two_small_ones_one(native: bool) -> None:
    opt = optim.momentum(0.1)
    for size, count in ((fuse.LARGE, 2), (100, 1)):
        params = {name: RNG.standard_normal(size, np.float32) for name in "ab"}
        step = fd.compile(opt.step, native=native, threads=1)
        state = opt.init(params)
        assert_trees_equal(step(params, params, state), opt.step(params, params, state), bits=True)
        calls = [line for line in step.source.splitlines() if line.strip().startswith(("fused", "run")) and "(state" in line]
        assert len(calls) == (count if native or size > 100 else 0), step.source


def test_steps_that_an_operand_connects_stay_together() -> None:
    x, y = RNG.standard_normal((2, fuse.LARGE), np.float32)
    compiled = fd.compile(lambda x, y: (x * 2 + 1, y * 3 - 1, x - y), threads=1)
    assert_trees_equal(compiled(x, y), (x * 2 + 1, y * 3 - 1, x - y), bits=True)
    assert compiled.source.count(" = blocks") == 1
