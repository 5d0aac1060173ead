"""Collectives inside loops, branches and checkpoints, where all ranks go the same way; and programs that fail on one rank only."""

import re

import numpy as np
import pytest

import fdezero as fd
import fdezero.numpy as fnp
from fdezero.compiler.program import Executable

from .gpus import gpu_world, gpus, with_gpus
from .ranks import on_ranks
from .test_operations import counting

ROUNDS = 3


def looped(world, x):
    """A loop whose carry is the sum over ranks of what each rank has."""

    world.broadcast(x)  # whose result nobody reads

    def body(carry, row):
        total = world.all_reduce(fnp.tanh(carry) * row)
        return total, world.permute(total * row, 1)

    return fd.scan(body, x[0], x)


def chosen(world, x):
    flag = world.all_reduce(x.sum()) > -1e9  # the same on every rank
    return fd.cond(flag, lambda x: world.all_reduce(x * x), lambda x: world.all_reduce(x) * 0.0, x), flag * 1.0


def kept(world, x):
    return fd.checkpoint(lambda x: fnp.sin(world.all_reduce(x * x)) * x)(x), x


def mapped(world, x):
    return fd.vmap(lambda row: world.all_reduce(row) * row)(x), x


def regions(world, x):
    return fd.compile(lambda x: world.all_reduce(x * x))(x), world.broadcast(x, world.size - 1)


CASES = {"scan": looped, "cond": chosen, "checkpoint": kept, "vmap": mapped, "compile": regions}


def given(rank):
    return np.random.default_rng(rank).standard_normal((ROUNDS, 4))


def model(name, xs):
    """The results of all ranks, in plain NumPy."""
    size = len(xs)
    if name == "scan":
        carry, ys = [x[0] for x in xs], []
        for i in range(ROUNDS):
            carry = [sum(np.tanh(c) * x[i] for c, x in zip(carry, xs, strict=True))] * size
            products = [c * x[i] for c, x in zip(carry, xs, strict=True)]
            ys.append(products[-1:] + products[:-1])
        return [(c, np.stack(rows)) for c, rows in zip(carry, zip(*ys, strict=True), strict=True)]
    total, squares = sum(xs), sum(x * x for x in xs)
    return {
        "cond": [(squares, 1.0)] * size,
        "checkpoint": [(np.sin(squares) * x, x) for x in xs],
        "vmap": [(total * x, x) for x in xs],
        "compile": [(squares, xs[-1])] * size,
    }[name]


def loss_of_all(name, xs):
    return sum((a**2).sum() * (rank + 1) + np.sum(b) for rank, (a, b) in enumerate(model(name, xs)))


def gradient_of_model(name, xs, rank):
    """Central differences of the sum of all ranks' functions by the entries of one rank."""
    g = np.zeros_like(xs[rank])
    for place in np.ndindex(g.shape):
        moved = [[x.copy() for x in xs] for _ in range(2)]
        moved[0][rank][place] += 1e-6
        moved[1][rank][place] -= 1e-6
        g[place] = (loss_of_all(name, moved[0]) - loss_of_all(name, moved[1])) / 2e-6
    return g


@on_ranks(1, 2, 4)
@pytest.mark.parametrize("name", list(CASES))
def test_loops_and_branches(world, name):
    watched, _ = counting(world)
    xs = [given(rank) for rank in range(world.size)]
    x = xs[world.rank]
    f = lambda x: CASES[name](watched, x)

    def loss(x):
        a, b = f(x)
        return (a**2).sum() * (world.rank + 1) + fnp.sum(b)

    expected = model(name, xs)[world.rank]
    of_model = gradient_of_model(name, xs, world.rank)
    eager = fd.grad(loss)(x)
    is_native = world.size == 2 and name in ("scan", "cond")  # every rank calls the C++ compiler
    for values in (f, fd.compile(f), fd.compile(f, native=is_native)):
        for _ in range(2):  # the first call records
            for a, b in zip(values(x), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)
    for g in (fd.grad(loss), fd.compile(fd.grad(loss)), fd.grad(fd.compile(loss))):
        for _ in range(2):
            np.testing.assert_allclose(g(x), of_model, rtol=1e-6, atol=1e-6)
            if name != "compile":  # a program in eager code adds its own cotangents first
                np.testing.assert_array_equal(g(x), eager)
    v = np.ones_like(x)
    moved = fd.jvp(loss, (x,), (v,))[1]
    assert moved == fd.compile(lambda x, v: fd.jvp(loss, (x,), (v,))[1])(x, v)
    # the sum over ranks of the tangents is the sum of all gradients: every rank moved
    total = sum((gradient_of_model(name, xs, rank)).sum() for rank in range(world.size))
    np.testing.assert_allclose(world.all_reduce(moved), total, rtol=1e-6)


@on_ranks(2)
@pytest.mark.parametrize("name", list(CASES))
def test_compiled_loops_say_what_eager_ones_say(world, name):
    watched, said = counting(world)
    x = given(world.rank)

    def f(x):
        a, b = CASES[name](watched, x)
        return (a**2).sum() + fnp.sum(b)

    for g in (f, fd.grad(f), lambda x: fd.jvp(f, (x,), (x,))):
        del said[:]
        g(x)
        eager = said[:]
        compiled = fd.compile(g)
        for _ in range(3):
            del said[:]
            compiled(x)
            assert said == eager, f"{said} {eager}"


@on_ranks(2)
def test_while_loops(world):
    watched, said = counting(world)

    def f(x):
        return fd.while_loop(lambda c: watched.all_reduce(c.sum()) < 100.0, lambda c: c + watched.all_reduce(c), x)

    x = np.ones(2) * (world.rank + 1)
    expected = [np.ones(2), 2 * np.ones(2)]
    while sum(c.sum() for c in expected) < 100:
        expected = [c + sum(expected) for c in expected]
    np.testing.assert_array_equal(f(x), expected[world.rank])
    eager, compiled = said[:], fd.compile(f)
    for _ in range(2):
        del said[:]
        np.testing.assert_array_equal(compiled(x), expected[world.rank])
        assert said == eager
    del said[:]
    later = fd.compile(lambda x: fd.while_loop(lambda c: watched.all_reduce(c.sum()) < 100.0, lambda c: c + watched.all_reduce(x), np.zeros(2)))
    for _ in range(2):  # the carry is plain in the first round, and recorded from the second one on
        del said[:]
        np.testing.assert_array_equal(later(x), 27 * np.ones(2))
        assert len(said) == 10 + 1  # the sum of x, which all rounds share, comes from the closure
    # only the rows of one rank need more rounds
    batch = np.stack([x, x * (1 + world.rank)])
    np.testing.assert_array_equal(fd.vmap(f)(batch)[0], expected[world.rank])


@on_ranks(1, 2)
def test_values_of_the_closure_are_asked_in_every_call(world):
    watched, said = counting(world)
    counts = {"now": np.array([1.0, 2.0])}
    f = fd.compile(lambda x: x * watched.all_reduce(counts["now"]) + watched.all_reduce(2))
    for _ in range(3):
        np.testing.assert_array_equal(f(np.ones(2)), world.size * counts["now"] + 2 * world.size)
    assert len(said) == (6 if world.size > 1 else 0)


@on_ranks(2)
def test_recording_does_not_talk(world):
    watched, said = counting(world)
    f = fd.compile(lambda x: fnp.sin(watched.all_reduce(x)) * x)
    x = np.ones(3)
    f(x)
    assert len(said) == 1
    _, pullback = fd.vjp(f, x)  # records the derivative
    assert len(said) == 2
    pullback(x)
    assert len(said) == 3


@on_ranks(2)
def test_a_program_that_fails_on_one_rank_only_does_not_ask_twice(world):
    watched, said = counting(world)

    def f(x, n):
        rounds, _ = fd.scan(lambda c, row: (watched.all_reduce(c + row), row * 2), x[0], x)  # nobody reads the rows
        total = watched.all_reduce(x) + rounds
        y = total * 2**n  # 2**n is an integer, or a float where n < 0: there the program fails, and eager code does not
        return watched.all_reduce(y.astype(float)), total

    compiled = fd.compile(f)
    x = np.arange(3)
    compiled(x, 1)
    before = Executable.rescued
    n = -1 if world.rank == 0 else 1
    del said[:]
    y, total = compiled(x, n)
    assert len(said) == 5
    rounds = x[0]
    for row in x:
        rounds = 2 * (rounds + row)
    np.testing.assert_array_equal(total, 2 * x + rounds)
    np.testing.assert_array_equal(y, total * (0.5 + 2))
    assert (Executable.rescued > before) == (world.rank == 0)
    with np.errstate(all="raise"):
        y, total = compiled(x, n)
    assert len(said) == 10
    np.testing.assert_array_equal(y, total * (0.5 + 2))


@on_ranks(2)
def test_an_error_while_it_talks_is_raised_as_it_is(world):
    watched, said = counting(world)

    class BrokenError(Exception):
        pass

    def broken(*args):
        said.append("asked")
        raise BrokenError("the line is dead")

    compiled = fd.compile(lambda x: watched.all_reduce(x * 2))
    compiled(np.ones(2))
    said[:] = []
    watched.engine.all_reduce = broken
    with pytest.raises(BrokenError, match="the line is dead"):
        compiled(np.ones(2))
    assert said == ["asked"]


@with_gpus
@on_ranks(2)
def test_programs_of_gpus_say_what_eager_code_says(world, kind):
    with gpus(kind):
        watched, said = counting(gpu_world())

        def f(x, n):
            a = watched.all_reduce({"x": fnp.sin(x) * n, "y": x[0] * 2.0})
            watched.broadcast(x)  # whose result nobody reads
            b = fd.scan(lambda c, row: (watched.all_reduce(c * row), c + 1.0), a["y"], x)
            return a["x"].sum() + b[0].sum() + b[1].sum() + watched.permute(x, 1)[0, 0]

        g = lambda x: fd.value_and_grad(lambda x: f(x, 2.0))(x)
        x = given(world.rank)
        expected = fd.value_and_grad(lambda x: f(x, 2.0))(fd.to_device(x, watched.device))
        eager, compiled = said[:], fd.compile(g)
        for _ in range(3):
            del said[:]
            for a, b in zip(compiled(fd.to_device(x, watched.device)), expected, strict=True):
                np.testing.assert_allclose(fd.to_numpy(a), fd.to_numpy(b), rtol=1e-9)
            assert said == eager


@on_ranks(1, 2)
def test_programs_write_results_over_what_nobody_reads_any_more(world):
    def f(x, z):
        a, b = world.all_reduce([x * 2.0, x * 3.0])
        doubled = x * 5.0
        c, d = world.all_reduce([doubled, doubled])  # the same array twice
        e = world.broadcast(z - x)
        kept = x + z
        g, h = world.all_reduce([kept, x * 7.0])  # the second one alone has memory to give
        return fnp.sin(a) + b * c - d, e, g, h, kept, world.all_reduce(x), world.all_reduce(z, "mean")

    compiled = fd.compile(f)
    x, z = np.arange(5.0) + world.rank, np.ones(5) * world.rank
    for _ in range(3):
        x, z = x + 1, z - 1
        before = x.copy(), z.copy()
        for a, b in zip(compiled(x, z), f(x, z), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal((x, z), before)
    source = compiled.source
    assert (re.search(r"all_reduce\w*\((b\d), (b\d), into=\[\1, \2\]\)", source) is not None) == (world.size > 1)
    assert (re.search(r"broadcast\w*\((\w\d), into=\[\1\]\)", source) is not None) == (world.size > 1)


@on_ranks(2)
def test_examples_that_functions_refuse(world):
    """The sum of both ranks' matrices has an inverse. That of one rank, which recordings see, does not have any."""
    watched, said = counting(world)

    def solved(x):
        return fnp.linalg.solve(watched.all_reduce(x[:, None] * x[None]), x)

    def f(x):
        total, _ = fd.scan(lambda c, row: (c + fd.checkpoint(solved)(row).sum(), c), fnp.sum(solved(x[0])), x)
        return total + fd.vmap(solved)(x).sum() + fd.cond(watched.all_reduce(total) > 1e9, lambda x: 0.0 * x.sum(), lambda x: solved(x[1]).sum(), x)

    x = np.array([[1.0, 2.0], [0.5, -1.0], [1.0, 0.0]]) if world.rank else np.array([[0.3, -2.0], [1.0, 1.0], [0.0, 2.0]])
    del said[:]
    value, gradient = f(x), fd.grad(f)(x)
    eager = said[:]
    for g in (fd.compile(f), f):
        for h in (fd.grad(g), fd.compile(fd.grad(g))):
            for _ in range(2):
                del said[:]
                np.testing.assert_allclose(g(x), value)
                np.testing.assert_allclose(h(x), gradient, rtol=1e-9)
                assert said == eager
