"""Collectives obey laws, on every rank: each is compared with a model in NumPy that has the arrays of all ranks."""

import pickle

import numpy as np
import pytest
from attrs import evolve

import fdezero as fd
from fdezero import distributed
from fdezero.distributed.messages import Messages
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError

from .ranks import on_ranks
from .rows import NAMES, ROWS, arrays, drawn, flat, matrix, parts, row_of

LINEAR = [row.name for row in ROWS if row.linear]
by_row = pytest.mark.parametrize("name", NAMES)
by_linear_row = pytest.mark.parametrize("name", LINEAR)


def test_every_operation_has_a_row():
    named = {name.partition("-")[0] for name in NAMES}
    assert named == {*distributed.operations.__all__} - {"barrier"}
    assert {name.partition("-")[2] for name in NAMES if name.startswith("all_reduce")} == set(
        distributed.operations.OPS
    )


@on_ranks(1, 2, 4)
@by_row
def test_values_are_the_models(world, name):
    row = row_of(name)
    for dtype in ("f8", "f4", "i4", "i8", "u1"):
        xs = arrays(world, row, dtype=dtype)
        y, expected = row.call(xs[world.rank], world), row.model(xs)[world.rank]
        np.testing.assert_allclose(y, expected, rtol=1e-6 if dtype == "f4" else 1e-14)
        assert y.dtype == (np.float64 if "mean" in name and dtype[0] != "f" else xs[0].dtype)
        assert y.flags.writeable
        assert not np.shares_memory(y, xs[world.rank])


@on_ranks(1, 2)
@by_row
def test_complex_numbers_truth_values_and_half_precision(world, name):
    row = row_of(name)
    xs = arrays(world, row, dtype="c16")
    if row.linear:
        np.testing.assert_allclose(row.call(xs[world.rank], world), row.model(xs)[world.rank])
    else:
        with pytest.raises(DTypeError, match="complex numbers do not have a m"):
            row.call(xs[world.rank], world)
    xs = arrays(world, row, dtype="?")
    counted = name.startswith(("all_reduce-sum", "reduce_scatter"))
    y = row.call(xs[world.rank], world)
    np.testing.assert_array_equal(y, row.model([x.astype(int) for x in xs] if counted else xs)[world.rank])
    assert y.dtype == (np.int64 if counted else np.float64 if "mean" in name else bool)
    for dtype in ("f2", "bfloat16"):
        if dtype == "bfloat16":
            dtype = pytest.importorskip("ml_dtypes").bfloat16
        xs = arrays(world, row, dtype=dtype)
        y = row.call(xs[world.rank], world)
        assert y.dtype == xs[0].dtype
        # added in float32, and rounded once
        np.testing.assert_array_equal(y, row.model([x.astype(np.float32) for x in xs])[world.rank].astype(y.dtype))


@on_ranks(1, 2, 4)
@by_linear_row
def test_the_adjoint_is_the_transposed_global_map(world, name):
    row = row_of(name)
    xs, A = arrays(world, row), matrix(row, world.size)
    ts = [drawn(np.random.default_rng(7 + rank), y.shape, y.dtype) for rank, y in enumerate(row.model(xs))]
    y, pullback = fd.vjp(lambda x: row.call(x, world), xs[world.rank])
    (t,) = pullback(ts[world.rank])
    np.testing.assert_allclose(t, parts(A.T @ flat(ts), world.size, world.rank, xs[0].shape), atol=1e-12)
    vs = arrays(world, row, seed=3)
    y, dy = fd.jvp(lambda x: row.call(x, world), (xs[world.rank],), (vs[world.rank],))
    np.testing.assert_allclose(y, row.model(xs)[world.rank])
    np.testing.assert_allclose(dy, row.model(vs)[world.rank])


@on_ranks(1, 2, 4)
@by_linear_row
def test_second_derivatives_are_those_of_the_sum_over_ranks(world, name):
    # the sum over ranks of (weight * y ** 3).sum(), with y = A x: its gradient is A.T (3 w y^2), its Hessian A.T diag(6 w y) A
    row, rank, size = row_of(name), world.rank, world.size
    xs, vs, A = arrays(world, row), arrays(world, row, seed=3), matrix(row, world.size)
    f = lambda x: (row.call(x, world) ** 3).sum() * (rank + 1)
    y = A @ flat(xs)
    weights = np.repeat(np.arange(size) + 1.0, y.size // size)
    gradient = parts(A.T @ (3 * weights * y**2), size, rank, xs[0].shape)
    hessian = parts(A.T @ (6 * weights * y * (A @ flat(vs))), size, rank, xs[0].shape)
    for g in (fd.grad(f), fd.compile(fd.grad(f)), fd.grad(fd.compile(f))):
        np.testing.assert_allclose(g(xs[rank]), gradient, atol=1e-11)
        np.testing.assert_allclose(fd.jvp(g, (xs[rank],), (vs[rank],))[1], hessian, atol=1e-11)
        np.testing.assert_allclose(fd.grad(lambda x: (g(x) * vs[rank]).sum())(xs[rank]), hessian, atol=1e-11)


@on_ranks(2, 4)
@pytest.mark.parametrize("op", ["max", "min"])
def test_ranks_that_share_an_extreme_share_its_derivative(world, op):
    size, rank = world.size, world.rank
    sign = 1.0 if op == "max" else -1.0
    own = sign * np.array([[0.0, float(rank)], [5.0, np.nan if rank == 0 else 1.0]])  # all, the last, all, NaN
    t = np.array([[1.0, 2.0], [3.0, 4.0]]) * (rank + 1)
    total = np.array([[1.0, 2.0], [3.0, 4.0]]) * size * (size + 1) / 2
    expected = total * np.array([[1 / size, float(rank == size - 1)], [1 / size, np.nan]])
    f = lambda x: world.all_reduce(x, op)
    for g in (f, fd.compile(f)):
        y, pullback = fd.vjp(g, own)
        np.testing.assert_array_equal(y, sign * np.array([[0.0, size - 1.0], [5.0, np.nan]]))
        np.testing.assert_allclose(pullback(t)[0], expected)
        dy = fd.jvp(g, (own,), (t,))[1]
        np.testing.assert_allclose(dy, [[total[0, 0] / size, 2.0 * size], [total[1, 0] / size, np.nan]])
    integers = world.all_reduce({"i": np.int32(rank), "b": rank == 0}, op)
    assert integers == {"i": size - 1 if op == "max" else 0, "b": op == "max"}


@on_ranks(1, 2)
@by_row
def test_vmap_is_a_loop(world, name):
    row = row_of(name)
    batches = [np.stack(each) for each in zip(*[arrays(world, row, seed) for seed in range(3)], strict=True)]
    shared = arrays(world, row, seed=9)
    x, c = batches[world.rank], shared[world.rank]
    f = lambda x, c: row.call({"x": x, "c": c, "s": x * c}, world)
    expected = [f(each, c) for each in x]
    for g in (fd.vmap(f, (0, None)), fd.compile(fd.vmap(f, (0, None))), fd.vmap(fd.compile(f), (0, None))):
        y = g(x, c)
        for key in "xcs":
            np.testing.assert_array_equal(y[key], np.stack([each[key] for each in expected]))
    h = lambda x: (f(x, c)["s"] ** 2).sum()
    loop = np.stack([fd.grad(h)(each) for each in x])
    np.testing.assert_allclose(fd.vmap(fd.grad(h))(x), loop, rtol=1e-12)
    np.testing.assert_allclose(fd.grad(lambda x: fd.vmap(h)(x).sum())(x), loop, rtol=1e-12)


class Counting:
    """An engine that counts its messages, and their bytes. It does not stream, so arrays are packed for it."""

    def __init__(self, engine):
        self.engine, self.said = engine, []

    def __getattr__(self, name):
        if name == "streaming":
            return lambda xs: None
        found = getattr(self.engine, name)
        if name not in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "permute", "barrier"):
            return found

        def counted(*args):
            self.said.append((name, args[0].dtype.name, args[0].size) if args else (name,))
            return found(*args)

        return counted


def counting(world):
    """The same world, and the list that its messages are written into."""
    engine = Counting(world.engine)
    return evolve(world, messages=Messages(engine)), engine.said


def tree(rank, scale=1.0):
    rng = np.random.default_rng(rank)
    return {
        "W": scale * rng.standard_normal((4, 3)),
        "F": np.asfortranarray(scale * rng.standard_normal((4, 3))),
        "b": np.float32(scale) * rng.standard_normal(3).astype(np.float32),
        "0d": np.array(scale * rank),
        "empty": np.zeros((0, 3)),
        "strided": (scale * rng.standard_normal((6, 4)))[::2, ::-2],
        "i": np.arange(3) * rank,
        "number": 2.5 * scale * rank,
    }


@on_ranks(1, 2, 4)
def test_a_tree_is_one_message_for_each_dtype(world):
    watched, said = counting(world)
    y = watched.all_reduce(tree(world.rank))
    for key, value in y.items():
        np.testing.assert_allclose(value, sum(tree(rank)[key] for rank in range(world.size)), rtol=1e-5)
    assert y["F"].flags.f_contiguous
    assert isinstance(y["number"], np.float64)
    assert isinstance(y["0d"], np.ndarray)
    if world.size > 1:
        assert said == [("all_reduce", "float64", 32), ("all_reduce", "float32", 3), ("all_reduce", "int64", 3)]
        del said[:]
        gradient = fd.grad(lambda t: sum((x**2).sum() for x in watched.all_reduce(t).values()))
        gradient({k: v for k, v in tree(world.rank).items() if k != "i"})
        assert [name for name, *_ in said] == ["all_reduce"] * 4


@on_ranks(1, 2)
def test_compiled_programs_have_eager_bits_and_messages(world):
    world, said = counting(world)

    def f(t):
        total, parts = world.all_reduce(t, "mean"), world.all_gather(t["W"] @ t["b"])
        ring = world.permute({"F": t["F"] * t["number"], "b": t["b"]}, 1)
        unread = world.broadcast(t["W"])  # whose result nobody reads: other ranks wait for it
        again = world.all_reduce(t["W"]) + world.all_reduce(t["W"])  # not one message less
        del unread
        world.barrier()
        return {
            "total": total,
            "parts": parts,
            "ring": ring,
            "again": again,
            "top": world.all_reduce(t["W"].max(), "max"),
        }

    def loss(t):
        return sum((x * x).sum() for x in fd.tree.leaves(f(t)) if fd.tree.is_differentiable(x))

    derived = {
        "values": f,
        "grad": lambda t: fd.value_and_grad(lambda u: loss(u | {"i": t["i"]}))(
            {k: v for k, v in t.items() if k != "i"}
        ),
        "jvp": lambda t: fd.jvp(lambda W: loss(t | {"W": W}), (t["W"],), (t["F"],)),
    }
    for name, g in derived.items():
        compiled, native = fd.compile(g), fd.compile(g, native=True) if name != "jvp" else None
        for scale in (1.0, 2.0, 3.0):
            t = tree(world.rank, scale)
            del said[:]
            eager, messages = g(t), list(said)
            del said[:]
            program, expected = compiled(t), messages
            for (path, a), b in zip(fd.tree.flatten_with_path(eager), fd.tree.leaves(program), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"{name} {path}")
                assert np.asarray(a).strides == np.asarray(b).strides or 0 in np.shape(a), (name, path)
            assert said == expected, (name, scale)
            if native is not None:
                for (path, a), b in zip(fd.tree.flatten_with_path(eager), fd.tree.leaves(native(t)), strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=f"{name} {path}")


@on_ranks(1, 2)
def test_worlds_are_values(world):
    assert pickle.loads(pickle.dumps(world)) == world  # the whole world that was made last
    assert hash(world) == hash(evolve(world))
    assert world == evolve(world)
    assert world.share == (world.rank, world.size)
    mesh = world.split(world.rank % 2)
    assert pickle.loads(pickle.dumps(mesh)) == mesh
    assert mesh.members == tuple(rank for rank in range(world.size) if rank % 2 == world.rank % 2)
    assert mesh.all_reduce(np.float64(world.rank)) == sum(mesh.members)
    assert repr(world).startswith(f"<world: rank {world.rank} of {world.size}")
    with pytest.raises(RangeError, match=r"from 0 on as colour; got -1"):
        world.split(-1)


@on_ranks(1, 2)
def test_mistakes_are_named_before_any_message(world):
    x = np.zeros((3, 2))
    with pytest.raises(RangeError, match=r"op is one of sum, mean, max, min; got 'avg'"):
        world.all_reduce(x, "avg")
    with pytest.raises(StructureError, match=r"takes arrays and numbers, but a leaf is str. \(at a/1\)"):
        world.all_reduce({"a": [x, "text"]})
    with pytest.raises(ShapeError, match=r"works along axis 2, which the leaf float64\[3,2\] does not have. \(at a\)"):
        world.all_gather({"a": x}, axis=2)
    with pytest.raises(RangeError, match=r"root is a rank from 0 to .; got 7"):
        world.broadcast(x, root=7)
    with pytest.raises(RangeError, match=r"names every rank from 0 to . once; got \[0, 0, 0\]"):
        world.permute(x, [0, 0, 0])
    for to in ({0: 1, 1: 0}, "10"):
        with pytest.raises(RangeError, match=r"to is a number of ranks to go on, or one rank for each rank; got"):
            world.permute(x, to)
    with pytest.raises(DTypeError, match=r"the whole number 1\d+ does not fit into 64 bits. .* \(at a\)"):
        world.all_reduce({"a": 10**30})
    if world.size > 1:
        with pytest.raises(RangeError, match="a colour below 2147483648"):
            world.split(2**40)
    assert world.permute(world.rank, np.arange(world.size)) == world.rank  # an array of ranks
    with pytest.raises(RangeError, match=r"axis is a whole number; got 0.5"):
        world.all_gather(x, axis=0.5)
    with pytest.raises(RangeError, match=r"one rank for each rank; got 0.5"):
        world.permute(x, 0.5)
    for name in ("all_reduce", "all_gather", "reduce_scatter", "broadcast"):
        with pytest.raises(StructureError, match=rf"{name}: a world is what .* got function. Call it: fd.distributed.world\(\)"):
            getattr(distributed, name)(x, distributed.world)
    with pytest.raises(StructureError, match=r"permute: a world is what .* got int 2"):
        distributed.permute(x, 2, 1)
    with pytest.raises(StructureError, match=r"barrier: a world is what"):
        distributed.barrier(distributed.world)
    if world.size == 2:
        with pytest.raises(
            ShapeError,
            match=r"cuts axis 0 into 2 equal parts, one for each rank, but the leaf is float64\[3,2\]. \(at 0\)",
        ):
            world.reduce_scatter([x])
    world.barrier()


def test_names_of_other_libraries_say_what_to_write():
    with pytest.raises(AttributeError, match="use all_reduce"):
        distributed.allreduce  # noqa: B018, the error is what is asked for
    with pytest.raises(AttributeError, match=r"use fd.distributed.world\(\)"):
        distributed.init_process_group  # noqa: B018, the same


@on_ranks(1, 2)
def test_arrays_of_all_kinds(world):
    size = world.size
    y = world.all_reduce({"turned": np.arange(3, dtype=">f4"), "none": None, "fraction": fd.Frozen(np.ones(2))})
    np.testing.assert_array_equal(y["turned"], size * np.arange(3.0))
    assert y["none"] is None
    np.testing.assert_array_equal(y["fraction"].value, size * np.ones(2))
    assert world.all_reduce([2, 2.5, True, 1j]) == [2 * size, 2.5 * size, size, 1j * size]
    with pytest.raises(DTypeError, match="masked entries"):
        world.all_reduce(np.ma.array([1.0, 2.0], mask=[True, False]))
    assert world.all_reduce({}) == {}
    key = world.broadcast(fd.random.key(world.rank))
    np.testing.assert_array_equal(fd.random.normal(key, (2,)), fd.random.normal(fd.random.key(0), (2,)))


@on_ranks(1, 2)
def test_other_transforms(world):
    x = np.arange(3.0) + world.rank
    f = lambda x: world.all_reduce(x * x)
    diagonal = np.diag(2 * x * world.size)
    np.testing.assert_array_equal(fd.jacrev(f)(x), diagonal)
    np.testing.assert_array_equal(fd.linearize(f, x)[1](x), world.all_reduce(2 * x * x))
    np.testing.assert_array_equal(
        fd.linear_transpose(lambda x: world.all_reduce(2.0 * x), x)(x)[0], 2 * world.all_reduce(x)
    )
    np.testing.assert_array_equal(fd.debug(fd.grad(lambda x: f(x).sum()))(x), np.diag(diagonal))
    assert ("all_reduce" in str(fd.trace(f)(x))) == (world.size > 1)
    text = str(fd.profile(fd.compile(fd.grad(lambda x: f(x).sum())), runs=1)(x))
    assert ("all_reduce" in text) == (world.size > 1)
