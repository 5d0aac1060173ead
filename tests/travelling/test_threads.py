"""Many threads at once: eager and compiled code give each thread the bits that it gets alone."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import data, nn, optim
from fdezero import functions as F
from fdezero.compiler import recordings
from fdezero.testing import assert_trees_equal

from ..compiler.test_compile_threads import together
from ..laws.layer_row import KEY, called
from ..laws.layers import LAYERS
from ..laws.optimisers import OPTIMISERS
from ..native.compilers import needs_compiler

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((32, 6)).astype(np.float32), np.arange(32) % 3
MANY = 6  # threads


# Eager code
def _of_layer(row: Any) -> Any:
    layer, xs = row.layer(KEY, np.float32), row.xs(np.float32)
    call = called(True)
    results = call(layer, *xs)
    floating = [leaf for leaf in fd.tree.leaves(fd.tree.trainable(layer)) if fd.tree.is_differentiable(leaf)]
    if not row.order or not floating:
        return results
    return results, fd.grad(lambda layer: _sum(call(layer, *xs)))(layer)


def _sum(tree: Any) -> Any:
    return sum(fd.numpy.sum(fd.numpy.square(leaf)) for leaf in fd.tree.leaves(tree) if fd.tree.is_differentiable(leaf))


def test_layers_and_their_gradients_in_many_threads() -> None:
    rows = LAYERS[::3]
    expected = [_of_layer(row) for row in rows]

    def work(i: int) -> None:
        for k in range(len(rows)):
            place = (k + i * 7) % len(rows)
            assert_trees_equal(_of_layer(rows[place]), expected[place], bits=True)

    together(work, 3)


def _trained(seed: int, step: Any) -> Any:
    """A small network with statistics, dropout and Adam, after a few steps over batches of a loader."""
    keys = fd.random.split(fd.random.key(seed), 4)
    layers = [nn.Linear.init(keys[0], 6, 8), nn.BatchNorm.init(keys[1], 8), F.relu, nn.Dropout(0.3), nn.Linear.init(keys[2], 8, 3)]
    model, opt = nn.Sequential(layers), optim.chain(optim.clip_by_global_norm(1.0), optim.adam(optim.schedules.cosine(0.1, 20)))
    state = opt.init(model)
    loader = data.DataLoader((X, T), 8, key=keys[3], transform=data.transforms.noise(0.1), workers=seed % 2)
    for number, batch in enumerate(loader.epoch(0)):
        model, state, loss = step(opt, model, state, *batch, fd.random.fold_in(keys[3], number))
    return model, state, loss


def _step(opt: Any, model: Any, state: Any, x: Any, t: Any, key: Any) -> Any:
    def loss(model: Any) -> Any:
        y, after = nn.step(model, x, key=key)
        return F.softmax_cross_entropy(y, t), after

    (value, model), grads = fd.value_and_grad(loss, has_aux=True)(model)
    return (*opt.step(model, grads, state), value)


@pytest.mark.parametrize("way", ["eager", "compiled", pytest.param("native", marks=needs_compiler)])
def test_trainings_in_many_threads(way: str) -> None:
    make: dict[str, Any] = {
        "eager": lambda: _step,
        "compiled": lambda: fd.compile(_step, static=("opt",)),
        "native": lambda: fd.compile(_step, static=("opt",), native=True, threads=1),
    }
    step, found = make[way](), {}
    alone = [_trained(seed, step) for seed in range(MANY)]
    step = make[way]()  # a new one, so that threads also record at once

    def work(i: int) -> None:
        found[i] = _trained(i, step)

    together(work, MANY)
    for i in range(MANY):
        assert_trees_equal(found[i], alone[i], bits=True)


def test_optimisers_in_many_threads() -> None:
    params = {"w": np.linspace(-2, 3, 6, dtype=np.float32).reshape(2, 3)}

    def after(name: str) -> Any:
        opt, ours = OPTIMISERS[name](0.1), params
        state = opt.init(ours)
        for _ in range(2):
            ours, state = opt.step(ours, fd.tree.map(lambda p: p * (1 + abs(p)), ours), state)
        return ours, state

    names = list(OPTIMISERS)
    expected = {name: after(name) for name in names}

    def work(i: int) -> None:
        for k in range(len(names)):
            name = names[(k + 9 * i) % len(names)]
            assert_trees_equal(after(name), expected[name], bits=True)

    together(work, 3)


def test_threads_share_large_arrays_that_nobody_writes() -> None:
    """A gradient makes a large array read-only while it runs; another thread's gradient must not take that for the array's own."""
    big = RNG.standard_normal((400, 400))
    loss = lambda w: np.sum(np.tanh(w * big))
    expected = fd.grad(loss)(big)

    def work(i: int) -> None:
        own = np.array(big)
        for k in range(6):
            np.testing.assert_array_equal(fd.grad(loss)(big), expected)
            fd.grad(lambda w: np.sum(np.tanh(w * own)))(own)
            own[0, k] = 0.0  # an array of this thread's alone stays writable in between

    together(work, 4)
    assert big.flags.writeable


def test_a_new_class_is_met_by_many_threads_at_once() -> None:
    for _ in range(30):

        @attrs.frozen
        class Plain:
            a: Any

        tree = {"x": Plain(X)}

        def work(i: int) -> None:
            gradient = fd.grad(lambda tree: np.sum(tree["x"].a))(tree) if i % 2 else fd.tree.map(np.ones_like, tree)  # the two ways to read a tree
            np.testing.assert_array_equal(gradient["x"].a, np.ones_like(X))

        together(work, 6)


# Compiled code
@pytest.mark.parametrize("native", [False, pytest.param(True, marks=needs_compiler)])
def test_one_thread_records_and_the_others_wait(native: bool) -> None:
    runs = []

    def f(w: Any) -> Any:
        runs.append(threading.get_ident())
        return np.tanh(w) * 2

    for _ in range(5):
        runs.clear()
        compiled = fd.compile(f, max_recordings=1, native=native)
        together(lambda i: compiled(np.ones(5)), 8)  # of which all but one would be a storm
        assert len(runs) == 1
        assert len(compiled.recordings) == 1


def test_a_recording_that_clear_overtakes_is_forgotten() -> None:
    """`clear` is how a function sees new constants of its closure, also while another thread still records the old ones."""
    scale, recording, cleared = [2.0], threading.Event(), threading.Event()

    @fd.compile
    def f(x: Any) -> Any:
        old = scale[0]
        if old == 2.0:
            recording.set()
            assert cleared.wait(10)
        return x * old

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(f(np.ones(2))))
    thread.start()
    assert recording.wait(10)
    scale[0] = 3.0
    f.clear()
    np.testing.assert_array_equal(f(np.ones(2)), [3, 3])
    cleared.set()
    thread.join()
    np.testing.assert_array_equal(found, [[2, 2]])
    for _ in range(2):
        np.testing.assert_array_equal(f(np.ones(2)), [3, 3])
    assert len(f.recordings) == 1


def test_threads_that_record_each_other_do_not_wait_in_a_ring() -> None:
    start = threading.Barrier(2)
    one, other = np.ones(3), np.ones(4)

    def meet() -> None:
        if not start.broken:
            start.wait(10)  # now both threads are recording

    @fd.compile
    def f(x: Any, deep: Any) -> Any:
        if deep is None:
            meet()
            return x + g(one, "deep").sum()
        return x * 2

    @fd.compile
    def g(x: Any, deep: Any) -> Any:
        if deep is None:
            meet()
            return x + f(other, "deep").sum()
        return x * 3

    found: dict[int, Any] = {}

    def work(i: int) -> None:
        found[i] = (f, g)[i](np.ones(2), None)

    together(work, 2)
    np.testing.assert_array_equal(found[0], [10, 10])
    np.testing.assert_array_equal(found[1], [9, 9])


def test_a_thread_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "PATIENCE", 0.01)
    inner: list[Any] = []

    @fd.compile
    def f(x: Any) -> Any:
        if not inner:  # a recording that waits for a thread that waits for the recording
            inner.append(None)
            thread = threading.Thread(target=lambda: inner.append(f(x_plain)))
            thread.start()
            thread.join(10)
        return x * 2

    x_plain = np.ones(3)
    np.testing.assert_array_equal(f(x_plain), [2, 2, 2])
    np.testing.assert_array_equal(inner[1], [2, 2, 2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads is what is tested
def test_a_child_that_is_forked_while_a_thread_records_can_record() -> None:
    recording, forked = threading.Event(), threading.Event()

    @fd.compile
    def f(x: Any) -> Any:
        if x.shape == (2,):
            recording.set()
            forked.wait(10)
        return x * 2

    thread = threading.Thread(target=lambda: f(np.ones(2)))
    thread.start()
    assert recording.wait(10)
    child = os.fork()
    if child == 0:  # pragma: no cover, in the child
        import signal

        signal.alarm(9)
        os._exit(0 if np.array_equal(f(np.ones(3)), np.full(3, 2.0)) else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# A program that begins with threads
COLD = """
import threading, sys
import numpy as np
import fdezero as fd

sys.setswitchinterval(1e-5)
start, errors = threading.Barrier(8), []

def work(i):
    start.wait()
    try:
        model = fd.nn.MLP.init(fd.random.key(i), (3, 4, 2), activation=fd.numpy.tanh)
        opt = fd.optim.adam(1e-2)
        loss = lambda model, x: fd.numpy.mean(fd.functions.softplus(model(x)))
        step = fd.compile(lambda model, state, x: opt.step(model, fd.grad(loss)(model, x), state))
        step(model, opt.init(model), np.ones((2, 3), np.float32))
        fd.vmap(fd.hessian(np.sin))(np.ones(3)), fd.special.xlogy(1.0, 2.0), fd.stats.norm.logpdf(0.5)
    except BaseException as error:
        errors.append(error)
        raise

threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not errors
"""


def test_names_are_loaded_by_many_threads_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLD], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
