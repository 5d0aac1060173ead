"""What compiled code keeps is bounded: recordings by number, memory by bytes, and nothing that one call needs outlives the call."""

import copy
import functools
import gc
import linecache
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler import program, recordings
from fdezero.compiler.running import store
from fdezero.core import REGISTRY
from fdezero.native import libraries
from fdezero.tree import structure


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """At most sixteen recordings, so that loops over shapes are short."""
    monkeypatch.setattr(recordings, "MOST", 16)
    return 16


def sources() -> int:
    return sum(name.startswith("<fdezero: ") for name in linecache.cache)


def test_the_recordings_used_last_are_kept(few: int) -> None:
    ran = []
    f = fd.compile(lambda x: (ran.append(x.shape[0]), x * 2)[1])
    for n in range(40):
        assert np.array_equal(f(np.ones(n)), np.full(n, 2.0))
        f(np.ones(0))  # used in turn with all others, so it stays
    assert len(f.recordings) == few
    assert ran == list(range(40))
    assert [r.number for r in f.recordings] == [1, *range(26, 41)]
    assert f.explain().startswith("<lambda>: 40 recordings, of which the 16 most recently used are kept\n  1. at ")
    f(np.ones(30))
    assert ran == list(range(40))
    f(np.ones(3))  # dropped, so it is recorded anew
    assert ran[-1] == 3
    assert [r.number for r in f.recordings][-1] == 41


def test_a_limit_on_recordings_keeps_all_of_them(few: int) -> None:
    f = fd.compile(lambda x: x * 2, max_recordings=40)
    for n in (*range(40), *range(40)):
        f(np.ones(n))
    with pytest.raises(fd.errors.StormError, match="40 times"):
        f(np.ones(40))


def test_clear_forgets_recordings_and_memory() -> None:
    f = fd.compile(lambda x: np.tanh(x) @ x, max_recordings=1)
    x = np.ones((300, 300))
    kept = f(x)
    f(x)
    assert f.recordings[-1].program.executable.nbytes >= 2 * x.nbytes
    before = sources()
    f.clear()
    assert sources() == before - 1
    assert f.recordings == []
    assert f.explain() == "<lambda>: 0 recordings"
    with pytest.raises(fd.errors.StaticError, match="call it once"):
        f.source  # noqa: B018
    assert np.array_equal(f(x[:3, :3]), np.tanh(x[:3, :3]) @ x[:3, :3])  # counted anew, so the limit allows it
    assert np.array_equal(kept, np.tanh(x) @ x)


def test_a_recording_that_captures_traced_values_serves_one_call(few: int) -> None:
    for scale in range(30):
        inner = fd.compile(lambda x: x * scale)
        outer = lambda w: fnp.sum(fd.compile(lambda x: x * w)(np.ones(3)))
        assert fd.grad(outer)(1.0) == 3.0
        assert np.array_equal(inner(np.ones(3)), np.full(3, float(scale)))
    closed: list[Any] = []
    f = fd.compile(lambda x: x * closed[0])
    for w in range(30):

        def loss(w: Any) -> Any:
            closed[:] = [w]
            return fnp.sum(f(np.ones(3)))

        assert fd.grad(loss)(float(w)) == 3.0
    assert f._recordings.made == 30
    assert len(f.recordings) <= recordings.MOST_CAPTURING


def test_programs_used_longest_ago_give_their_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty shapes of a few hundred kilobytes, with room for five of them."""
    memory = store.Memory(2_000_000)
    monkeypatch.setattr(program, "MEMORY", memory)
    monkeypatch.setattr("fdezero.compiler.running.memory.MEMORY", memory)
    f = fd.compile(lambda x: np.sin(np.tanh(x) @ x.T) @ x)
    ran = len(f.recordings)
    for n in (*range(150, 180), *range(150, 180)):
        x = np.full((n, n), 0.1)
        for _ in range(3):
            assert np.array_equal(f(x), np.sin(np.tanh(x) @ x.T) @ x)
            held = [r.program.executable.nbytes for r in f.recordings]
            assert sum(held) <= memory.most
            assert sum(held) <= memory.total
    ran = len(f.recordings)
    assert ran == 30  # memory was given back, but nothing was recorded again
    assert sum(size > 0 for size in held) < 12
    assert held[-1] > 0


def test_a_program_larger_than_all_memory_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = store.Memory(1000)
    monkeypatch.setattr(program, "MEMORY", memory)
    monkeypatch.setattr("fdezero.compiler.running.memory.MEMORY", memory)
    f, g = fd.compile(lambda x: np.tanh(x) + x), fd.compile(lambda x: np.sin(x))
    x = np.linspace(0, 1, 1000)
    kept = []
    for _ in range(4):
        kept += [f(x), g(x)]
    for y, z in zip(kept[::2], kept[1::2], strict=True):
        assert np.array_equal(y, np.tanh(x) + x)
        assert np.array_equal(z, np.sin(x))


def entries() -> dict[str, int]:
    """The sizes of everything in the library that lives as long as the process."""
    gc.collect()
    return {
        "sources": sources(),
        "operations": len(REGISTRY),
        "classes": max(len(structure._known), structure.MOST_CLASSES),
        "native libraries": libraries._library.cache_info().currsize,
        "programs": sum(isinstance(x, program.Executable | program.Program) for x in gc.get_objects()),
        "recordings": sum(isinstance(x, recordings.Recording) for x in gc.get_objects()),
    }


def of_shapes(count: int) -> None:
    f = fd.compile(lambda x: np.tanh(x).sum() * x)
    batched = fd.compile(lambda x: np.sin(x) * 2)
    for n in range(count):
        f(np.ones(n))
        fd.vmap(batched)(np.ones((n % 100 + 1, 2)))


def of_new_functions(count: int) -> None:
    for n in range(count):
        f = fd.compile(lambda x: x * n)
        f(np.ones(3))
        fd.grad(lambda x: fnp.sum(f(x)))(np.ones(3))
        fd.checkpoint(lambda x: x * n)(np.ones(2))
        fd.scan(lambda c, x: (c * n, c), np.float64(1), np.ones(2))
        fd.cond(n > 3, lambda x: x * n, lambda x: x, 2.0)
        rule = fd.custom_vjp(lambda x: x * n)
        rule.defvjp(lambda x: (x * n, None), lambda _, t: (t * n,))
        fd.grad(rule)(1.0)


def of_new_loops(count: int) -> None:
    for n in range(count):
        step = lambda c, x: (np.tanh(c * n + x), c)
        loop = fd.compile(lambda c, xs: fd.scan(step, c, xs)[0])
        fd.grad(loop)(np.float64(1), np.ones(3))
        fd.compile(lambda x: fd.cond(x > 0, lambda x: x * n, lambda x: x, x))(np.float64(1))
        fd.compile(fd.grad(fd.checkpoint(lambda x: np.sin(x) * n)))(np.float64(1))


def of_new_classes(count: int) -> None:
    for _ in range(count):
        fd.tree.leaves([type("Leaf", (), {})()])


GROWING: dict[str, tuple[Callable[[int], None], int]] = {
    "shapes": (of_shapes, 150),
    "functions": (of_new_functions, 30),
    "loops": (of_new_loops, 12),
    "classes": (of_new_classes, 1500),
}


@pytest.mark.parametrize("name", GROWING)
def test_nothing_grows_with_the_number_of_calls(few: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MOST_CLASSES", 1000)
    monkeypatch.setattr(program, "MOST_DERIVED", 8)
    run, count = GROWING[name]
    run(count)
    before = entries()
    run(2 * count)
    after = entries()
    assert after.keys() == before.keys()
    assert all(after[what] <= before[what] + 20 for what in before), f"{before} grew to {after}"


def test_a_program_goes_with_its_function_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = sources()
        for n in range(5):
            f = fd.compile(lambda x: fd.scan(lambda c, r: (np.tanh(c * r), c), x, np.ones((3, 2)))[0] * n)
            f(np.ones(2))
            fd.vjp(f, np.ones(2))[1](np.ones(2))
            assert sources() > before
            del f
            assert sources() == before
    finally:
        gc.enable()


# Copies
@fd.compile
def doubled(x: Any) -> Any:
    return x * 2


def plus(x: Any, y: Any, mode: str = "plain") -> Any:
    return x + y if mode == "plain" else x - y


class Adder:
    def __init__(self, y: float) -> None:
        self.y = y

    def add(self, x: Any) -> Any:
        return x + self.y

    @fd.compile
    def compiled(self, x: Any) -> Any:
        return x + self.y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adder) and self.y == other.y

    def __hash__(self) -> int:
        return hash(self.y)


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda f: pickle.loads(pickle.dumps(f)),
    "the oldest pickle": lambda f: pickle.loads(pickle.dumps(f, 0)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
MADE: dict[str, Callable[[], Any]] = {
    "a function": lambda: fd.compile(plus),
    "a decorated function": lambda: functools.partial(doubled),
    "a partial of it": lambda: functools.partial(fd.compile(plus), np.ones(3)),
    "a partial by keyword": lambda: functools.partial(fd.compile(plus, static=("mode",), threads=1), mode="minus"),
    "of a partial": lambda: fd.compile(functools.partial(plus, np.ones(3))),
    "of a method": lambda: fd.compile(Adder(2.0).add),
    "a compiled method": lambda: Adder(2.0).compiled,
    "a ufunc": lambda: fd.compile(np.add),
    "with a limit": lambda: fd.compile(plus, max_recordings=2),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("called", [False, True], ids=["new", "called"])
def test_a_compiled_function_can_be_copied(name: str, way: str, called: bool) -> None:
    f, (x, y) = MADE[name](), (np.arange(3.0), np.full(3, 0.5))
    inner = getattr(f, "func", f)
    given = {"a function": (x, y), "a ufunc": (x, y), "with a limit": (x, y), "a partial by keyword": (x, y)}.get(name, (x,))
    bound = (f.__self__,) if hasattr(f, "__self__") else getattr(f, "args", ())
    expected = inner.function(*bound, *given, **getattr(f, "keywords", {}))
    if called:
        assert np.array_equal(f(*given), expected)
        assert np.array_equal(f(*given), expected)
    other = COPIES[way](f)
    copied = getattr(other, "func", other)
    for _ in range(3):
        assert np.array_equal(other(*given), expected)
        assert np.array_equal(f(*given), expected)
    assert (copied.max_recordings, copied.options, copied.static) == (inner.max_recordings, inner.options, inner.static)
    if "pickle" in way and "decorated" not in name and name[-6:] != "method":
        assert copied is not inner
        assert len(copied.recordings) == 1


def test_a_decorated_function_pickles_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert pickle.loads(pickle.dumps(Adder.compiled)) is Adder.compiled


# Checkpoints around loops
ROUNDS, SEGMENTS, STATE = 96, 8, np.linspace(-1, 1, 12_000)
INPUTS = np.linspace(0, 1, ROUNDS)


def _in_segments(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    block = wrap(lambda h, xs: fd.scan(lambda h, x: (np.tanh(h * 0.9 + x), None), h, xs)[0])

    def loss(h: Any) -> Any:
        for xs in np.split(INPUTS, SEGMENTS):
            h = block(h, xs)
        return fnp.sum(h)

    return loss


def _nested(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    block = wrap(lambda h, xs: fd.scan(lambda h, x: (np.tanh(h * 0.9 + x), None), h, xs))
    return lambda h: fnp.sum(fd.scan(block, h, INPUTS.reshape(SEGMENTS, -1))[0])


def _only_the_rows_count(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The last carry gets no cotangent, and the first cotangent of a checkpoint is a plain array of zeros."""
    block = wrap(lambda h, xs: fd.scan(lambda h, x: (np.tanh(h * 0.9 + x), h.sum()), h, xs))

    def loss(h: Any) -> Any:
        total = 0.0
        for xs in np.split(INPUTS, SEGMENTS):
            h, sums = block(h, xs)
            total = total + fnp.sum(sums)
        return total

    return loss


def states(function: Callable[..., Any], *args: Any) -> float:
    """How many states a call holds at most, with those that idle programs keep."""
    for _ in range(2):
        function(*args)
    gc.collect()
    tracemalloc.start()
    try:
        function(*args)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    idle = sum(keeper.nbytes for keeper in store.MEMORY._keepers)
    return float(peak + idle) / STATE.nbytes


@pytest.mark.parametrize("make", [_in_segments, _nested, _only_the_rows_count])
@pytest.mark.parametrize("way", [lambda f: f, lambda f: fd.compile(f, threads=1)], ids=["eager", "compiled"])
def test_a_checkpoint_around_a_loop_keeps_one_segment(make: Any, way: Any) -> None:
    gc.collect()
    already = sum(keeper.nbytes for keeper in store.MEMORY._keepers) / STATE.nbytes
    plain, saving = way(fd.grad(make(lambda block: block))), way(fd.grad(make(fd.checkpoint)))
    np.testing.assert_allclose(saving(STATE), plain(STATE), rtol=1e-12)
    most = states(saving, STATE) - already
    assert most < 3 * (ROUNDS // SEGMENTS) + SEGMENTS + 12, "the states of one segment, and the first state of each"
    assert states(plain, STATE) - already > ROUNDS


def test_the_numbers_of_a_checkpointed_loop_are_computed_again() -> None:
    loop = lambda h: fd.scan(lambda h, _: (np.sin(h) * 1.5, None), h, length=1000)[0]
    gradient = fd.compile(fd.grad(fd.checkpoint(loop)))
    for h in (np.float64(0.3), np.array(0.4), 0.5):
        assert gradient(h) == fd.grad(loop)(h)
    lines = [line for line in gradient.source.splitlines() if "scan" in line]
    assert sum("fence" in line for line in gradient.source.splitlines()) == 1
    assert len(lines) == 2  # the value is not needed; one loop keeps the states, and one goes back
