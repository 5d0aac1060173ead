"""Memory of compiled functions: the steady state allocates nothing, and arrays held by a caller never change."""

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.compiler.running import memory

from .program_checks import assert_same_bits

counts_references = pytest.mark.skipif(
    sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="reference counts do not tell who holds an array",
)
rng = np.random.default_rng(0)
Y = rng.standard_normal((3, 2))


def training(sizes: tuple[int, ...], batch: int, method: Any = None) -> tuple[Any, Any, Any]:
    """A step of training, the state it starts from, and a batch."""
    opt = method or optim.sgd(0.1)
    model = nn.MLP.init(fd.random.key(0), sizes)

    def step(state: Any, x: Any, t: Any) -> Any:
        model, moments = state
        loss, gradient = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(x), t))(model)
        return opt.step(model, gradient, moments), loss

    x = rng.standard_normal((batch, sizes[0])).astype(np.float32)
    return step, (model, opt.init(model)), (x, rng.integers(0, sizes[-1], batch))


@pytest.fixture
def traced() -> Iterator[None]:
    """Count Python's memory, including NumPy's arrays."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated(function: Callable[[], Any]) -> int:
    """The largest rise in bytes of the memory in use during a call."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    function()
    return tracemalloc.get_traced_memory()[1] - before


def growth(function: Callable[[int], None], counts: tuple[int, int]) -> int:
    """The growth in bytes of the memory in use between the first and the second number of calls."""
    found = []
    for count in counts:
        function(count)
        gc.collect()
        found.append(tracemalloc.get_traced_memory()[0])
    return abs(found[1] - found[0])


@pytest.fixture
def small_buffers() -> Iterator[None]:
    """NumPy's own buffer for broadcasting, 8192 entries, would hide arrays of that size."""
    before = np.setbufsize(64)
    yield
    np.setbufsize(before)


# The steady state
@counts_references
@pytest.mark.usefixtures("traced", "small_buffers")
@pytest.mark.parametrize("method", [optim.sgd(0.1), optim.momentum(0.1, 0.9)], ids=["sgd", "momentum"])
def test_a_step_of_training_on_mnist_allocates_no_array(method: Any) -> None:
    step, state, batch = training((784, 1000, 10), 100, method)
    compiled = fd.compile(step, threads=1)
    assert allocated(lambda: step(state, *batch)) > 1_000_000  # Without compilation the measurement finds memory.
    for _ in range(4):
        state, loss = compiled(state, *batch)
    for _ in range(5):
        held = [state, loss]

        def run(held: list[Any] = held) -> None:
            held[:] = compiled(held[0], *batch)

        rise = allocated(run)
        state, loss = held
        # Arrays of 4 kB to 3 MB are written; what is left are the views of blocks, Python's frames, and indices of 100 labels.
        assert rise < 16_000, f"{rise} bytes"


@counts_references
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("sizes", "batch", "counts"), [((8, 16, 4), 10, (200, 2000)), ((784, 1000, 10), 20, (20, 200))])
def test_memory_is_flat_over_many_steps(sizes: tuple[int, ...], batch: int, counts: tuple[int, int]) -> None:
    step, *box, inputs = training(sizes, batch)
    compiled = fd.compile(step)

    def run(count: int) -> None:
        for _ in range(count):
            box[0], _ = compiled(box[0], *inputs)

    run(5)
    assert growth(run, counts) < 10_000


@counts_references
def test_results_that_are_dropped_are_written_again() -> None:
    f = fd.compile(lambda x: x * 2)
    x = np.arange(5.0)
    f(x)
    places = {f(x).__array_interface__["data"][0] for _ in range(10)}
    assert len(places) == 1


@counts_references
@pytest.mark.usefixtures("traced")
def test_memory_does_not_grow_with_results_that_were_held_and_dropped() -> None:
    f, x = fd.compile(lambda x: x * 2), np.zeros(10_000)

    def run(count: int) -> None:
        for _ in range(count):
            held = [f(x) for _ in range(20)]
            del held

    run(2)
    assert growth(run, (3, 30)) < 40_000  # half of one array


# Results that callers hold
def test_results_that_are_held_never_change() -> None:
    f = fd.compile(lambda x: (x * 2, {"sum": fnp.sum(x), "T": x.T, "row": (x + 1)[1], "same": x * 2}))
    held, copies = [], []
    for i in range(20):
        held.append(f(rng.standard_normal((3, 4)) + i))
        copies.append(fd.tree.map(lambda y: np.array(y) if y.shape else y, held[-1]))
        for result, copy in zip(held, copies, strict=True):
            assert_same_bits(result, copy, f"after call {i}")


VIEWS: dict[str, Callable[[Any], Any]] = {
    "a slice": lambda y: y[1:],
    "a row": lambda y: y[0],
    "a transpose": lambda y: y.T,
    "a transpose of a slice": lambda y: y[::2].T,
    "a reshape": lambda y: y.reshape(-1),
    "a view of another dtype": lambda y: y.view(np.int64),
    "a buffer": lambda y: np.frombuffer(memoryview(y.T if y.flags.f_contiguous else y), np.uint8),
    "a memoryview": memoryview,
    "a memoryview of a slice": lambda y: memoryview(y[1:]),
    "a broadcast": lambda y: np.broadcast_to(y, (2, *y.shape)),
    "an iterator": lambda y: y.flat,
    "a subclass": lambda y: y.view(np.recarray),
    "asarray": np.asarray,
    "the base": lambda y: y.base,
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, (2, 2)),
    "another library's view": lambda y: np.asarray(SimpleNamespace(array=y, __array_interface__=y.__array_interface__)),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("returned", [lambda x: x * 2, lambda x: (x * 2).T, lambda x: (x * 2)[1:], lambda x: fnp.reshape(x * 2, (4, 3))])
def test_views_alone_keep_their_result(name: str, returned: Any) -> None:
    f = fd.compile(returned)
    held, copies = [], []
    for i in range(12):
        held.append(VIEWS[name](f(np.full((3, 4), float(i)))))
        copies.append(np.array(held[-1]))
        for view, copy in zip(held, copies, strict=True):
            np.testing.assert_array_equal(np.array(view), copy, err_msg=f"after call {i}")


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")  # of a shape or dtype, since NumPy 2.5
def test_results_may_be_written_and_reshaped() -> None:
    f = fd.compile(lambda x: (x * 2, (x * 3).T, fnp.sum(x, axis=0), np.broadcast_to(x.sum(), (2, 2)), Y, Y[1:], x * 2))
    eager, x = lambda x: (x * 2, x.T * 3, x.sum(axis=0), np.full((2, 2), 6.0), Y.copy(), Y[1:].copy(), x * 2), np.ones((2, 3))
    held: list[Any] = []
    for _ in range(6):
        results, expected = f(x), eager(x)
        assert_same_bits(results, expected, "a call")
        assert not any(np.may_share_memory(a, b) for i, a in enumerate(results) for b in results[:i])
        for y in results:
            y[...] = 7
            if y.flags.c_contiguous:
                y.shape = (y.size,)
                y.dtype = np.int64
            assert y.base is None or not y.base.flags.writeable
        held += [results[0], weakref.ref(results[1])]
        del results, y
        assert held[-1]() is None


def test_a_weak_reference_dies_with_its_result() -> None:
    f = fd.compile(lambda x: x * 2)
    for _ in range(4):
        reference = weakref.ref(f(np.ones(3)))
        assert reference() is None


# Detecting whether a result is held
@counts_references
def test_reference_counts_are_calibrated() -> None:
    assert memory.FREE is not None
    assert memory._calibrated() == memory.FREE


@counts_references
def test_outputs_know_who_is_held() -> None:
    outputs = memory.Outputs([((2, 3), np.dtype(np.float32), (12, 4))])
    first = outputs.take()
    assert outputs.take() is first
    view = first.written[0][:1]
    second = outputs.take()
    assert second is not first
    del view
    assert outputs.take() in (first, second)
    held = [outputs.take().written[0].view() for _ in range(10)]
    assert len({id(y.base) for y in held}) == 10
    assert len(outputs.generations) <= memory.Outputs.MOST_GENERATIONS


def test_without_reference_counts_every_result_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FREE", None)
    step, state, batch = training((8, 16, 4), 10)
    compiled, eager, seen = fd.compile(step), state, []
    for _ in range(6):
        eager, expected = step(eager, *batch)
        state, loss = compiled(state, *batch)
        seen.append(fd.tree.leaves(state))
        assert_same_bits((state, loss), (eager, expected), "a step")
    places = [y.__array_interface__["data"][0] for leaves in seen for y in leaves]
    assert len(set(places)) == len(places)
