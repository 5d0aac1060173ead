"""`scan`, `cond`, `while_loop` and `checkpoint`, eager and compiled, give the values and derivatives of plain Python."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.passes.order import optimise
from fdezero.errors import DTypeError, ShapeError, StructureError, TraceError
from fdezero.testing import assert_trees_close

from ..profiles import NIGHTLY

rng = np.random.default_rng(0)
W, XS, H0 = rng.standard_normal((4, 4)) * 0.5, rng.standard_normal((6, 4)), rng.standard_normal(4)
V = rng.standard_normal((4, 4))
Q, P = np.array([0.3, 0.4]), np.array([1.0, 2.0])


# The same programs, with control functions and in plain Python
def rnn(W: Any, h: Any, xs: Any) -> Any:
    h, ys = fd.scan(lambda h, x: (np.tanh(h @ W + x), h * 2), h, xs)
    return fnp.sum(h) + fnp.sum(ys * ys)


def rnn_plain(W: Any, h: Any, xs: Any) -> Any:
    ys = []
    for i in range(xs.shape[0]):
        h, y = np.tanh(h @ W + xs[i]), h * 2
        ys.append(y)
    return fnp.sum(h) + fnp.sum(fnp.stack(ys) ** 2)


def backwards(W: Any, h: Any, xs: Any) -> Any:
    (h, count), ys = fd.scan(lambda c, x: ((np.sin(c[0] @ W) * x, c[1] + 1.0), {"y": c[0] * c[1]}), (h, np.float64(0)), xs, reverse=True)
    return fnp.sum(h * count) + fnp.sum(ys["y"] * XS)


def backwards_plain(W: Any, h: Any, xs: Any) -> Any:
    ys: list[Any] = [None] * len(XS)
    for i in reversed(range(len(XS))):
        ys[i] = h * float(len(XS) - 1 - i)
        h = np.sin(h @ W) * xs[i]
    return fnp.sum(h * float(len(XS))) + fnp.sum(fnp.stack(ys) * XS)


def power(W: Any, h: Any, xs: Any) -> Any:
    h, none = fd.scan(lambda h, _: (np.tanh(W @ h) + xs[0], None), h, length=5)
    assert none is None
    return fnp.sum(h * h)


def power_plain(W: Any, h: Any, xs: Any) -> Any:
    for _ in range(5):
        h = np.tanh(W @ h) + xs[0]
    return fnp.sum(h * h)


def branch(W: Any, h: Any, xs: Any) -> Any:
    return fnp.sum(fd.cond(fnp.sum(h) > 0, lambda h: np.sin(h @ W) * xs[1], lambda h: np.exp(h) + h * 0, h))


def branch_plain(W: Any, h: Any, xs: Any) -> Any:
    return fnp.sum(np.where(fnp.sum(h) > 0, np.sin(h @ W) * xs[1], np.exp(h) + h * 0))


def loop_in_branch(W: Any, h: Any, xs: Any) -> Any:
    return fd.cond(fnp.sum(h) > 0, lambda h: rnn(W, h, xs), lambda h: power(W, h, xs), h)


def loop_in_branch_plain(W: Any, h: Any, xs: Any) -> Any:
    return np.where(fnp.sum(h) > 0, rnn_plain(W, h, xs), power_plain(W, h, xs))


def branch_in_loop(W: Any, h: Any, xs: Any) -> Any:
    step = lambda h, x: (fd.cond(fnp.sum(x) > 0, lambda h: np.tanh(h @ W), lambda h: h * x, h), None)
    return fnp.sum(fd.scan(step, h, xs)[0] ** 2)


def branch_in_loop_plain(W: Any, h: Any, xs: Any) -> Any:
    for i in range(len(XS)):
        h = np.where(fnp.sum(xs[i]) > 0, np.tanh(h @ W), h * xs[i])
    return fnp.sum(h**2)


def saving(W: Any, h: Any, xs: Any) -> Any:
    block = fd.checkpoint(lambda x: np.tanh(np.tanh(x @ W) @ W) * x)
    return fnp.sum(block(block(xs)) * h)


def saving_plain(W: Any, h: Any, xs: Any) -> Any:
    for _ in range(2):
        xs = np.tanh(np.tanh(xs @ W) @ W) * xs
    return fnp.sum(xs * h)


def saving_loop(W: Any, h: Any, xs: Any) -> Any:
    return fnp.sum(fd.scan(fd.checkpoint(lambda h, x: (np.tanh(h @ W + x), h)), h, xs)[0])


def saving_loop_plain(W: Any, h: Any, xs: Any) -> Any:
    for i in range(len(XS)):
        h = np.tanh(h @ W + xs[i])
    return fnp.sum(h)


PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "scan": (rnn, rnn_plain),
    "scan, a tree as carry, reverse": (backwards, backwards_plain),
    "scan, length only": (power, power_plain),
    "cond": (branch, branch_plain),
    "scan in cond": (loop_in_branch, loop_in_branch_plain),
    "cond in scan": (branch_in_loop, branch_in_loop_plain),
    "checkpoint": (saving, saving_plain),
    "checkpoint in scan": (saving_loop, saving_loop_plain),
}


def _forward(f: Any) -> Any:
    return lambda W, h, xs: fd.jvp(f, (W, h, xs), (V, h, np.sin(xs)))


def _gradient(f: Any) -> Any:
    return fd.grad(f, argnums=(0, 1, 2))


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "grad": _gradient,
    "jvp": _forward,
    "jvp of grad": lambda f: lambda W, h, xs: fd.jvp(lambda W: _gradient(f)(W, h, xs), (W,), (V,)),
    "grad of grad": lambda f: fd.grad(lambda W, h, xs: fnp.sum(fd.grad(f)(W, h, xs) ** 2), argnums=(0, 1)),
    "grad of jvp": lambda f: fd.grad(lambda W, h, xs: _forward(f)(W, h, xs)[1]),
    "vmap": lambda f: lambda W, h, xs: fd.vmap(f, (0, None, None))(np.stack([W, 2 * W]), h, xs),
    "vmap over all": lambda f: lambda W, h, xs: fd.vmap(f)(np.stack([W, 2 * W]), np.stack([h, -h]), np.stack([xs, xs * 2])),
    "vmap of grad": lambda f: lambda W, h, xs: fd.vmap(_gradient(f), (None, 0, None))(W, np.stack([h, -h]), xs),
    "grad of vmap": lambda f: fd.grad(lambda W, h, xs: fnp.sum(fd.vmap(f, (None, 0, None))(W, np.stack([h, h * 3]), xs))),
}


# By default, each program with every other transform
PAIRS = [(name, transform) for i, name in enumerate(PROGRAMS) for j, transform in enumerate(TRANSFORMS) if NIGHTLY or (i + j) % 2 == 0]


@pytest.mark.parametrize(("name", "transform"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_against_plain_python(name: str, transform: str) -> None:
    f, plain = map(TRANSFORMS[transform], PROGRAMS[name])
    compiled, around = fd.compile(f), TRANSFORMS[transform](fd.compile(PROGRAMS[name][0]))
    second = transform in ("jvp of grad", "grad of grad", "grad of jvp")
    for h in (H0, -H0, H0):
        expected = plain(W, h, XS)
        assert_trees_close(f(W, h, XS), expected, 1e-12, "eager")
        assert_trees_close(compiled(W, h, XS), expected, 1e-12, "compiled")
        if NIGHTLY or not second or h is H0:  # a program's second derivative runs eagerly, and takes longest
            assert_trees_close(around(W, h, XS), expected, 1e-12, "around compiled")
    assert len(compiled.recordings) == 1


# scan
def test_scan_gives_the_last_carry_and_the_stacked_ys() -> None:
    carry, ys = fd.scan(lambda c, x: ({"n": c["n"] + x}, (c["n"], x * 2)), {"n": np.int64(0)}, np.arange(4))
    assert carry["n"] == 6
    assert_trees_close(ys, (np.array([0, 0, 1, 3]), np.array([0, 2, 4, 6])), 0)
    carry, ys = fd.scan(lambda c, x: (c + x, c), np.int64(0), np.arange(4), reverse=True)
    assert carry == 6
    assert_trees_close(ys, np.array([6, 5, 3, 0]), 0)


@pytest.mark.parametrize("wrap", [lambda f: f, fd.grad, lambda f: lambda W, h, xs: fd.jvp(f, (W, h, xs), (W, h, xs))])
def test_a_compiled_loop_is_as_short_for_a_thousand_rounds(wrap: Any) -> None:
    xs = rng.standard_normal((1000, 4))
    short, long = fd.compile(wrap(rnn)), fd.compile(wrap(rnn))
    short(W, H0, xs[:3])
    assert_trees_close(long(W, H0, xs), wrap(rnn_plain)(W, H0, xs), 1e-9)
    assert len(long.graph.instructions) == len(short.graph.instructions) < 40
    assert any(i.name == "scan" for i in long.graph.instructions)
    assert [i.name for i in long.graph.instructions].count("scan") <= 2
    assert str(long.graph).count("scan(") <= 2


def test_the_function_of_a_compiled_loop_is_called_few_times() -> None:
    calls = []

    def step(c: Any, x: Any) -> Any:
        calls.append(1)
        return c + x, None

    f = fd.compile(lambda xs: fd.scan(step, np.float64(0), xs)[0])
    f(np.ones(500))
    assert len(calls) <= 2
    assert f(np.arange(500.0)) == 499 * 250
    assert len(calls) <= 2


@pytest.mark.parametrize("length", [0, 1, 3])
def test_sums_over_rounds_keep_the_sign_of_zero(length: int) -> None:
    def gradient(w: Any, xs: Any) -> Any:
        return fd.grad(lambda w: -fd.scan(lambda c, x: (c + w * x, None), np.float64(0), xs)[0])(w)

    xs = np.zeros(length)
    eager, compiled = gradient(np.float64(2), xs), fd.compile(gradient)(np.float64(2), xs)
    assert np.signbit(eager) == np.signbit(compiled) == bool(length)


def test_scan_with_closures_over_traced_values() -> None:
    def f(a: Any, b: Any) -> Any:
        return fd.grad(lambda b: fd.scan(lambda c, x: (c * a + b * x, None), b, np.array([1.0, 2.0, 3.0]))[0])(b)

    plain = fd.grad(lambda b, a: ((b * a + b) * a + b * 2) * a + b * 3)
    for a in (0.5, -2.0):
        expected = plain(np.float64(2), np.float64(a))
        assert_trees_close(f(np.float64(a), np.float64(2)), expected, 1e-12)
        assert_trees_close(fd.compile(f)(np.float64(a), np.float64(2)), expected, 1e-12)
        assert_trees_close(fd.grad(fd.compile(f))(np.float64(a), np.float64(2)), fd.grad(lambda a: plain(np.float64(2), a))(np.float64(a)), 1e-12)


@pytest.mark.parametrize("wrap", [lambda f: f, fd.compile])
def test_errors_of_scan(wrap: Any) -> None:
    with pytest.raises(ShapeError, match=r"carry.*float64\[4\] before a round and float64\[8\] after"):
        wrap(lambda h, xs: fd.scan(lambda h, x: (np.concatenate([h, x]), None), h, xs))(H0, XS)
    with pytest.raises(ShapeError, match=r"carry.*float32\[4\] before a round and float64\[4\] after"):
        wrap(lambda h, xs: fd.scan(lambda h, x: (h + x, None), h, xs))(H0.astype(np.float32), XS)
    with pytest.raises(StructureError, match="the carry"):
        wrap(lambda h, xs: fd.scan(lambda h, x: ((x, x), None), h, xs))(H0, XS)
    with pytest.raises(ShapeError, match="the lengths differ: .*a has 6 rows.*b has 5 rows"):
        wrap(lambda h, xs: fd.scan(lambda h, x: (h, None), h, {"a": xs, "b": xs[1:]}))(H0, XS)
    with pytest.raises(ShapeError, match="the lengths differ: length=3"):
        wrap(lambda h, xs: fd.scan(lambda h, x: (h, None), h, xs, length=3))(H0, XS)
    with pytest.raises(ShapeError, match="length=10"):
        wrap(lambda h: fd.scan(lambda h, x: (h, None), h))(H0)
    with pytest.raises(ShapeError, match="no rows"):
        wrap(lambda h, x: fd.scan(lambda h, x: (h, None), h, x))(H0, np.float64(1))
    with pytest.raises(StructureError, match=r"must return \(carry, y\)"):
        wrap(lambda h, xs: fd.scan(lambda h, x: h, h, xs))(H0, XS)


# cond
@pytest.mark.parametrize("wrap", [lambda f: f, fd.compile])
def test_cond_takes_one_branch(wrap: Any) -> None:
    f = wrap(lambda p, x: fd.cond(p, lambda x: {"a": x * 2}, lambda x: {"a": x - 1}, x))
    for p in (np.True_, np.False_, np.True_):
        assert_trees_close(f(p, Q), {"a": Q * 2 if p else Q - 1}, 0)


def test_eager_cond_calls_the_branch_that_is_taken_only() -> None:
    def never(x: Any) -> Any:
        raise AssertionError("the other branch was called")

    assert fd.cond(True, lambda x: x, never, 1) == 1
    assert fd.cond(np.float64(0) > 1, never, lambda x: x, 2) == 2


def test_compiled_cond_runs_the_branch_that_is_taken_only(monkeypatch: pytest.MonkeyPatch) -> None:
    f = fd.compile(lambda x: fd.cond(x[0] > 0, lambda x: x * 2, lambda x: -x, x))
    f(Q)
    assert [i.name for i in f.graph.instructions].count("cond") == 1
    cond = next(i.operation for i in f.graph.instructions if i.name == "cond")
    ran = []
    for branch in (cond.yes, cond.no):
        monkeypatch.setattr(branch, "run", lambda *leaves, branch=branch, run=branch.run: (ran.append(branch), run(*leaves))[1])
    assert_trees_close(f(Q), Q * 2, 0)
    assert ran == [cond.yes]
    assert_trees_close(f(-Q), Q, 0)
    assert ran == [cond.yes, cond.no]


def test_cond_under_vmap_over_the_predicate_chooses_by_member() -> None:
    f = lambda x: fd.cond(x[0] > 0, lambda x: np.sin(x), lambda x: x * 3, x)
    X = np.stack([Q, -Q, P])
    expected = np.stack([np.sin(Q), -Q * 3, np.sin(P)])
    for g in (fd.vmap(f), fd.compile(fd.vmap(f)), fd.vmap(fd.compile(f))):
        for _ in range(3):
            assert_trees_close(g(X), expected, 1e-15)


def test_errors_of_cond() -> None:
    compiled = lambda yes, no: fd.compile(lambda x: fd.cond(x[0] > 0, yes, no, x))
    with pytest.raises(ShapeError, match="in one branch and .* in the other"):
        compiled(lambda x: x, lambda x: x[:1])(Q)
    with pytest.raises(DTypeError, match="float32.*float64.*astype"):
        compiled(lambda x: x.astype(np.float32), lambda x: x)(Q)
    with pytest.raises(StructureError, match="first branch"):
        compiled(lambda x: (x, x), lambda x: x)(Q)
    with pytest.raises(ShapeError, match="the predicate must be a scalar"):
        fd.cond(Q > 0, lambda x: x, lambda x: x, Q)


# while_loop
def doubled(x: Any) -> Any:
    return fd.while_loop(lambda c: c[0] < np.float64(100), lambda c: (c[0] * 2, c[1] + np.sin(c[0]) * x[0]), (x[0], x[1]))


def doubled_plain(x: Any, rounds: int) -> Any:
    a, b = x[0], x[1]
    for _ in range(rounds):
        a, b = a * 2, b + np.sin(a) * x[0]
    return a, b


@pytest.mark.parametrize(("x", "rounds"), [(Q, 9), (Q * 3, 7), (Q * 1000, 0)])
def test_while_loop(x: Any, rounds: int) -> None:
    plain = lambda x: doubled_plain(x, rounds)
    expected, moved = plain(x), fd.jvp(plain, (x,), (P,))
    compiled, around, inside = fd.compile(doubled), fd.compile(doubled), fd.compile(lambda x: fd.jvp(doubled, (x,), (P,)))
    assert_trees_close(doubled(x), expected, 0)
    assert_trees_close(fd.jvp(doubled, (x,), (P,)), moved, 1e-13)
    assert_trees_close(fd.grad(lambda x: doubled(x)[1])(x), fd.grad(lambda x: plain(x)[1])(x), 1e-13)
    for _ in range(3):
        assert_trees_close(compiled(x), expected, 0)
        assert_trees_close(fd.jvp(around, (x,), (P,)), moved, 1e-13)
        assert_trees_close(inside(x), moved, 1e-13)


def test_a_compiled_while_loop_goes_on_as_long_as_values_say() -> None:
    compiled = fd.compile(doubled)
    for x, rounds in ((Q, 9), (Q * 3, 7), (Q * 1000, 0), (Q, 9)):
        assert_trees_close(compiled(x), doubled_plain(x, rounds), 0)
    assert len(compiled.recordings) == 1


def test_while_loop_under_vmap_stops_for_each_member() -> None:
    X = np.stack([Q, Q * 3, Q * 1000])
    expected = tuple(map(np.stack, zip(*[doubled(x) for x in X], strict=True)))
    for g in (fd.vmap(doubled), fd.compile(fd.vmap(doubled)), fd.vmap(fd.compile(doubled))):
        for _ in range(2):
            assert_trees_close(g(X), expected, 1e-15)


def test_errors_of_while_loop() -> None:
    for f in (fd.compile(fd.grad(lambda x: doubled(x)[1])), fd.grad(lambda x: fd.compile(doubled)(x)[1])):
        with pytest.raises(TraceError, match=r"while_loop has no reverse mode.*fd\.scan"):
            f(Q)
    for wrap in (lambda f: f, fd.compile):
        with pytest.raises(ShapeError, match="the carry"):
            wrap(lambda x: fd.while_loop(lambda c: c[0] < 9, lambda c: np.concatenate([c, c]), x))(Q)
        with pytest.raises(StructureError, match="the carry"):
            wrap(lambda x: fd.while_loop(lambda c: c[0] < 9, lambda c: (c, c), x))(Q)


# checkpoint
def deep(wrap: Any, depth: int = 30) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for _ in range(depth):
            x = wrap(lambda x: np.sin(np.tanh(np.sin(x) * 1.5) + np.exp(x * 0.1)))(x)
        return fnp.sum(x)

    return f


def peak(function: Callable[[], Any]) -> int:
    function()
    tracemalloc.start()
    function()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_checkpoint_keeps_less() -> None:
    x = rng.standard_normal(50_000)
    with_all, with_less = fd.grad(deep(lambda f: f)), fd.grad(deep(fd.checkpoint))
    assert_trees_close(with_less(x), with_all(x), 1e-12)
    assert peak(lambda: with_less(x)) < 0.5 * peak(lambda: with_all(x))


def test_a_tape_further_out_keeps_nothing_either() -> None:
    # The inner tape asks for the first run, the outer one records it.
    outer = lambda wrap: fd.grad(lambda x: fnp.sum(fd.vjp(deep(wrap), x)[0] * x))
    x = rng.standard_normal(50_000)
    assert_trees_close(outer(fd.checkpoint)(x), outer(lambda f: f)(x), 1e-12)
    assert peak(lambda: outer(fd.checkpoint)(x)) < 0.5 * peak(lambda: outer(lambda f: f)(x))


def test_checkpoint_computes_again_within_compile() -> None:
    plain, saved = fd.compile(fd.grad(saving_plain)), fd.compile(fd.grad(saving))
    assert_trees_close(saved(W, H0, XS), plain(W, H0, XS), 1e-12)
    matmuls = [[i.name for i in optimise(f.graph).instructions].count("matmul") for f in (plain, saved)]
    assert matmuls[1] > matmuls[0]


def test_checkpoint_takes_settings_and_trees() -> None:
    f = fd.checkpoint(lambda tree, *, double=False: {"y": tree["x"] * (2 if double else 1), "n": 3})
    assert_trees_close(f({"x": Q}, double=True), {"y": Q * 2, "n": 3}, 0)
    g = fd.grad(lambda x: fnp.sum(f({"x": x}, double=True)["y"]))
    assert_trees_close(g(Q), np.full(2, 2.0), 0)
