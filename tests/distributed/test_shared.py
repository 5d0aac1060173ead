"""The engine of one machine: what passes through shared memory, against NumPy on the arrays of all ranks, bit for bit."""

import gc
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdezero.distributed.engines import choice, memory
from fdezero.distributed.engines.machines import Machines
from fdezero.distributed.engines.mpi import Mpi
from fdezero.distributed.engines.pieces import cut, rounds
from fdezero.distributed.engines.shared import Shared
from fdezero.errors import DisagreementError
from tests.distributed.ranks import on_ranks

DTYPES = [np.dtype(name) for name in ("float32", "float64", "float16", "int32", "uint8", "complex64")]
UFUNCS = {"sum": np.add, "tree": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum}
CAPACITY = 1024  # bytes of a slot, so that small arrays take several rounds

sizes = st.lists(st.tuples(st.integers(1, 400), st.sampled_from(DTYPES)), min_size=1, max_size=6)


@given(sizes, st.sampled_from([64, 192, 1024]))
def test_a_cut_has_every_entry_once_and_no_byte_twice(arrays, length):
    seen = [[] for _ in arrays]
    for bin_ in cut(arrays, length):
        end = 0
        for piece in bin_:
            assert piece.at % 64 == 0
            assert piece.at >= end
            end = piece.at + (piece.stop - piece.start) * arrays[piece.array][1].itemsize
            seen[piece.array] += range(piece.start, piece.stop)
        assert 0 < end <= length
    assert seen == [list(range(entries)) for entries, _ in arrays]


@given(sizes, st.sampled_from([1, 2, 3, 5]))
def test_the_bins_of_a_round_lie_side_by_side(arrays, parts):
    capacity = 1024
    made = rounds(arrays, capacity, parts)
    places = [piece for round_ in made for bin_ in round_ for piece in bin_]
    assert sum(piece.stop - piece.start for piece in places) == sum(entries for entries, _ in arrays)
    for round_ in made:
        assert len(round_) == parts
        ends = [
            (piece.at, piece.at + (piece.stop - piece.start) * arrays[piece.array][1].itemsize)
            for bin_ in round_
            for piece in bin_
        ]
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))
        assert not ends or ends[-1][1] <= capacity


def test_slots_of_many_ranks_stay_within_their_bound():
    for size in (1, 2, 3, 8, 64, 500):
        capacity = memory.capacity_for(size)
        assert capacity % 64 == 0
        assert size * memory.SLOTS * capacity <= max(memory.TOTAL, size * memory.SLOTS * 4096)
        assert capacity <= memory.LARGEST


def engine_of(world: Any, capacity: int = CAPACITY) -> Shared:
    """A new engine for the ranks of a world, with slots so small that arrays take many rounds."""
    engine = Shared(world.engine.host.comm.Dup(), capacity=capacity)
    engine.watch.meet_for("test")  # as a collective does first: a rank that waits long says in which call
    return engine


def entries(rank: int, size: int, dtype: Any, seed: int) -> Any:
    """What a rank has: numbers of many magnitudes, so that the order of additions shows in the bits."""
    rng = np.random.default_rng([rank, seed])
    if dtype.kind in "iu":
        return rng.integers(0, 100, size).astype(dtype)
    numbers = rng.standard_normal(size) * 10.0 ** rng.integers(-2, 3, size)
    return (numbers + (1j * rng.standard_normal(size) if dtype.kind == "c" else 0)).astype(dtype)


def tree(ufunc: Any, rows: list[Any]) -> Any:
    """Pairs of neighbours, and pairs of pairs."""
    while len(rows) > 1:
        rows = [ufunc(*rows[i : i + 2]) if rows[i + 1 : i + 2] else rows[i] for i in range(0, len(rows), 2)]
    return rows[0]


def reduced(op: str, rows: list[Any]) -> Any:
    """The model: half precision in float32, rounded once."""
    dtype = rows[0].dtype
    total = tree(UFUNCS[op], [row.astype(np.float32) for row in rows] if dtype == np.float16 else rows)
    return (total / len(rows) if op == "mean" else total).astype(dtype)


def signatures(seed: int) -> list[tuple[int, Any]]:
    """Arrays of one message: sizes on both sides of a slot."""
    rng = np.random.default_rng(seed)
    return [
        (int(rng.choice([1, 3, 100, 256, 1500, 4000])), DTYPES[k])
        for k in rng.integers(0, len(DTYPES), rng.integers(1, 5))
    ]


@on_ranks(2, 3, 4)
def test_reductions_are_trees_over_ranks_bit_for_bit(world):
    engine = engine_of(world)
    for seed in range(6):
        arrays = signatures(seed)
        for op in ("sum", "tree", "mean", "max", "min"):
            kept = [
                (n, d)
                for n, d in arrays
                if d.kind == "f" or (op != "mean" and (op in ("sum", "tree") or d.kind != "c"))
            ]
            if not kept:
                continue
            rows = [[entries(rank, n, d, seed) for rank in range(world.size)] for n, d in kept]
            xs = [row[world.rank].copy() for row in rows]
            outs = xs if seed % 2 else [np.empty_like(x) for x in xs]  # also in place
            dtypes = [np.dtype(np.float32) if x.dtype == np.float16 else x.dtype for x in xs]
            engine.all_reduce_each(xs, outs, dtypes, op)
            for out, row in zip(outs, rows, strict=True):
                np.testing.assert_array_equal(out, reduced(op, row), err_msg=f"{op} {out.dtype} {out.size}, {seed}")


@on_ranks(2, 4)
def test_nan_wins_and_overflow_does_not_warn(world):
    engine = engine_of(world)
    x = np.array([np.nan if world.rank == 1 else 1.0, np.float32(3e38), np.inf if world.rank else -np.inf], np.float32)
    for op, expected in (
        ("max", [np.nan, 3e38, np.inf]),
        ("min", [np.nan, 3e38, -np.inf]),
        ("sum", [np.nan, np.inf, np.nan]),
    ):
        out = np.empty_like(x)
        engine.all_reduce(x, out, op)
        np.testing.assert_array_equal(out, np.array(expected, np.float32), err_msg=op)


@on_ranks(2, 3, 4)
def test_gathers_scatters_broadcasts_and_permutations(world):
    engine = engine_of(world)
    for seed in range(6):
        arrays = signatures(seed)
        rows = [[entries(rank, n, d, seed) for rank in range(world.size)] for n, d in arrays]
        xs = [row[world.rank] for row in rows]
        outs = [np.empty((world.size, n), d) for n, d in arrays]
        engine.all_gather_each(xs, outs)
        for out, row in zip(outs, rows, strict=True):
            np.testing.assert_array_equal(out, row)
        wide = [[entries(rank, world.size * n, d, seed) for rank in range(world.size)] for n, d in arrays]
        parts = [np.empty(n, d) for n, d in arrays]
        whole = [row[world.rank].reshape(world.size, -1) for row in wide]
        engine.reduce_scatter_each(
            whole, parts, [np.dtype(np.float32) if x.dtype == np.float16 else x.dtype for x in parts]
        )
        for part, row in zip(parts, wide, strict=True):
            np.testing.assert_array_equal(part, reduced("sum", row).reshape(world.size, -1)[world.rank])
        root = seed % world.size
        ys = [x.copy() for x in xs]
        engine.broadcast_each(ys, root)
        for y, row in zip(ys, rows, strict=True):
            np.testing.assert_array_equal(y, row[root])
        for x, row in zip(xs, rows, strict=True):
            out = np.empty_like(x)
            engine.permute(x, out, (world.rank + seed) % world.size, (world.rank - seed) % world.size)
            np.testing.assert_array_equal(out, row[(world.rank - seed) % world.size])


@on_ranks(2, 3, 4)
def test_ranks_that_come_late_or_early_never_see_half_a_message(world):
    """Steps of every kind in a mixed order, and a rank that sleeps before, between or after them."""
    engine = engine_of(world)
    order = np.random.default_rng(5)
    for seed in range(40):
        kind, n = int(order.integers(4)), int(order.choice([1, 200, 700, 4000]))
        slow = int(order.integers(world.size))
        rows = [entries(rank, n, DTYPES[0], seed) for rank in range(world.size)]
        x = rows[world.rank].copy()
        if world.rank == slow:
            time.sleep(0.002 * (seed % 3))
        if kind == 0:
            engine.all_reduce(x, x, "sum")
            np.testing.assert_array_equal(x, tree(np.add, rows))
        elif kind == 1:
            out = np.empty((world.size, n), np.float32)
            engine.all_gather(x, out)
            np.testing.assert_array_equal(out, rows)
        elif kind == 2:
            engine.broadcast(x, slow)
            np.testing.assert_array_equal(x, rows[slow])
        else:
            engine.barrier()


@on_ranks(2, 3)
@pytest.mark.parametrize(
    "calls",
    [
        (np.ones(3), np.ones(5000)),  # of another length
        ({"a": np.ones(3)}, {"b": np.ones(3)}),  # the same bytes for another leaf
    ],
    ids=["lengths", "leaves"],
)
def test_messages_that_ranks_send_in_another_order_are_an_error_on_all(world, calls):
    """Both are known on all ranks, so nothing is compared before they meet."""
    world = world.split(0)  # a world of its own, because its ranks have parted company afterwards
    for tree in calls:
        world.all_reduce(tree)
    with pytest.raises(DisagreementError, match="all_reduce"):
        world.all_reduce(calls[world.rank > 0])


@on_ranks(4)
def test_sums_over_machines_pass_through_the_memory_of_each(world):
    """Two machines that are this one: neighbours in rank, or every other rank."""
    comm = world.engine.host.comm.Dup()
    for number in (world.rank // 2, world.rank % 2):
        engine = Machines(comm, comm.Split(number, world.rank), small=64)
        engine.watch.meet_for("test")
        for op in ("sum", "max", "min"):
            for size in (1, 16, 17, 1000, 4003):
                for dtype in DTYPES[:2] + DTYPES[3:4]:
                    rows = [entries(rank, size, dtype, size) for rank in range(4)]
                    out = x = rows[world.rank].copy()
                    if size % 2:
                        out = np.empty_like(x)
                    engine.all_reduce(x, out, op)
                    tolerance = 1e-5 if op == "sum" and dtype.kind == "f" else 0  # machines are added last
                    np.testing.assert_allclose(out, reduced(op, rows), tolerance, 100 * tolerance)
                    bits = engine.comm.allgather(out.tobytes())
                    assert bits.count(bits[0]) == 4


@on_ranks(4)
def test_machines_with_equally_many_ranks_are_recognised(world):
    comm = world.engine.host.comm.Dup()
    assert type(choice.engine_of(comm)) is Shared

    class Two:
        """The communicator of machines that have some of the ranks each."""

        def __init__(self, colour):
            self.colour = colour

        def __getattr__(self, name):
            return getattr(comm, name)

        def Split_type(self, kind, rank):
            return comm.Split(self.colour, rank)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "Machines", lambda comm, here, make: ("machines", here.Get_size()))
        patch.setattr(choice, "Mpi", lambda comm, make: "mpi")
        assert choice.engine_of(Two(world.rank // 2)) == ("machines", 2)
        assert choice.engine_of(Two(int(world.rank == 3))) == "mpi"  # three ranks on one, one on the other
        assert choice.engine_of(Two(world.rank)) == "mpi"


@on_ranks(2)
def test_where_memory_cannot_be_shared_mpi_carries_everything(world):
    comm = world.engine.host.comm.Dup()
    assert type(choice.engine_of(comm)) is Shared
    with pytest.MonkeyPatch.context() as patch:
        if world.rank == 1:
            patch.setattr(choice, "has_room", lambda size: False)
        assert type(choice.engine_of(comm)) is Mpi  # on both ranks, though only one of them has too little


@on_ranks(2, 4)
def test_engines_of_worlds_that_have_ended_serve_the_next_ones(world: Any) -> None:
    def kept() -> int:
        gc.collect()
        return sum(map(len, world.messages.parts.made.values()))

    for colour in (
        0,
        world.rank // 2,
        world.rank % 2,
    ):  # the second one of the same ranks has the engine of the first but one
        for _ in range(3):
            assert world.split(colour).all_reduce(1.0) >= 1
    before = kept()
    for colour in (0, world.rank // 2, world.rank % 2):
        for _ in range(3):
            assert world.split(colour).all_reduce(1.0) >= 1
    assert kept() == before
    one, two = world.split(0), world.split(0)
    assert one.engine is not two.engine
    held = [one, two] if world.rank == 1 else []  # only one rank has them still
    engines = [one.engine, two.engine]
    del one, two
    gc.collect()
    new = [world.split(0) for _ in range(2)]
    assert not any(engine is part.engine for engine in engines for part in new)
    assert all(part.all_reduce(world.rank) == sum(range(world.size)) for part in new)
    assert len(held) == 2 * (world.rank == 1)


def test_memory_that_worlds_will_take_is_not_promised_twice() -> None:
    if not Path(memory.ROOM).is_dir():
        pytest.skip("shared memory has no folder")
    free = shutil.disk_usage(memory.ROOM).free
    promised = memory.Promised()
    assert memory.has_room(2, promised) == (free > 4 * memory.SLOTS * memory.capacity_for(2))
    assert not memory.has_room(2, memory.Promised(free // 2, 2))
    assert not memory.has_room(2, memory.Promised(free // 8, 8))  # the other ranks have promised as much
