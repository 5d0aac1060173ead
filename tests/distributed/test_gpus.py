"""Worlds with GPUs: what they compute is what a world of CPUs computes, by NCCL, by an MPI that reads GPUs, and through the host."""

import pickle
from collections.abc import Callable
from typing import Any

import attrs
import ml_dtypes
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.distributed.engines import placed
from fdezero.distributed.engines.mpi import Mpi, mpi
from fdezero.distributed.engines.nccl import Nccl
from fdezero.distributed.messages import Messages
from tests.devices.strict_cupy_array import TRANSFERS
from tests.distributed import nccl_stand_in
from tests.distributed.gpus import gpu_world, gpus, with_gpus
from tests.distributed.ranks import on_ranks

DTYPES = [*"? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split(), ml_dtypes.bfloat16]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T.copy().T,
    "strided": lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda world, x: world.all_reduce(x),
    "mean": lambda world, x: world.all_reduce(x, "mean"),
    "max": lambda world, x: world.all_reduce(x, "max"),
    "min": lambda world, x: world.all_reduce(x, "min"),
    "gather": lambda world, x: world.all_gather(x),
    "gather columns": lambda world, x: world.all_gather(x, axis=1),
    "scatter": lambda world, x: world.reduce_scatter(x),
    "scatter columns": lambda world, x: world.reduce_scatter(x, axis=1),
    "broadcast": lambda world, x: world.broadcast(x, world.size - 1),
    "ring": lambda world, x: world.permute(x, 1),
}
WAYS = {"nccl": "backend nccl", "cuda-aware": "backend mpi (MPI reads the memory of GPUs)", "through the host": "backend mpi (arrays of GPUs are copied through the host)"}


def numbers(rank: int, dtype: Any, shape: tuple[int, ...] = (4, 8)) -> np.ndarray:
    """Whole numbers, so that float sums are exact in any order."""
    drawn = np.random.default_rng(rank).integers(-60, 60, shape)
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return (drawn + 1j * drawn[::-1]).astype(dtype)
    return (drawn > 0 if dtype.kind == "b" else drawn % 60 if dtype.kind == "u" else drawn).astype(dtype)


def on_device(tree: Any, world: Any) -> Any:
    return fd.to_device(tree, world.device)


def same(found: Any, wanted: Any) -> None:
    found = fd.to_numpy(found)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("way", "said"), WAYS.items())
@with_gpus
@on_ranks(2)
def test_every_operation_gives_what_the_cpus_give(world: Any, kind: str, way: str, said: str) -> None:
    if kind == "device" and way == "cuda-aware":
        pytest.skip("this MPI may not read the memory of GPUs")
    with gpus(kind), pytest.MonkeyPatch.context() as patch:
        patch.setattr(placed, "says_cuda_aware", lambda: "" if way == "through the host" else "as the test wants")
        patch.setattr("fdezero.distributed.joining.says_cuda_aware", placed.says_cuda_aware)
        of_gpus = gpu_world(None if way == "nccl" else "mpi")
        assert (of_gpus.device, of_gpus.backend) == (f"gpu:{world.rank}", "nccl" if way == "nccl" else "mpi")
        assert repr(of_gpus) == f"<world: rank {world.rank} of 2, local rank {world.rank} of 2 on gpu:{world.rank}, {said}>"
        for dtype in DTYPES:
            if kind == "real" and dtype is ml_dtypes.bfloat16:
                continue  # the emulator does not compile CuPy's kernels for bfloat16
            x = numbers(world.rank, dtype)
            for name, operation in OPERATIONS.items():
                if x.dtype.kind == "c" and name in ("max", "min"):
                    continue
                try:
                    same(operation(of_gpus, fd.to_device(x, of_gpus.device)), operation(world, x))
                except Exception as error:
                    error.add_note(f"{name} of {x.dtype} {way}")
                    raise
        for dtype in ("f4", "i2", "c8", "f2"):
            for change in LAYOUTS.values():
                x = numbers(world.rank, dtype)
                of_layout = change(on_device(x, of_gpus))
                for name, operation in OPERATIONS.items():
                    if dtype == "c8" and name in ("max", "min"):
                        continue
                    same(operation(of_gpus, of_layout), operation(world, x))
        used = {name for name, *_ in nccl_stand_in.CALLS}
        if kind != "device":
            assert used == ({"allReduce", "allGather", "reduceScatter", "broadcast", "send", "recv"} if way == "nccl" else set())


@with_gpus
@on_ranks(2)
def test_a_tree_travels_in_one_message_and_what_is_on_the_host_apart(world: Any, kind: str) -> None:
    with gpus(kind):
        of_gpus = gpu_world()
        x = numbers(world.rank, "f4")
        tree = {"a": x, "b": [x.T, x[0, 0], x[:0]], "c": np.arange(3) + world.rank, "f4 on the host": x * 2, "number": float(world.rank)}
        placed_tree = {**on_device({name: tree[name] for name in ("a", "b", "c")}, of_gpus), "f4 on the host": tree["f4 on the host"], "number": tree["number"]}
        nccl_stand_in.CALLS.clear()
        found = of_gpus.all_reduce(placed_tree)
        calls = [(name, count) for name, count, _ in nccl_stand_in.CALLS]
        assert kind == "device" or calls == [("allReduce", 2 * x.size + 1), ("allReduce", 3)]
        nccl_stand_in.CALLS.clear()
        of_gpus.all_reduce([placed_tree["b"], placed_tree["a"], placed_tree["c"]])
        if kind != "device":
            assert [count for _, count, _ in nccl_stand_in.CALLS] == [32, 1, 32, 3]
            assert nccl_stand_in.GROUPS[-1] == 4  # nothing is packed, and all of them are one message
        wanted = world.all_reduce(tree)
        assert isinstance(found["f4 on the host"], np.ndarray)
        assert fd.device_of(found["b"]) == of_gpus.device
        for a, b in zip(fd.tree.leaves(found), fd.tree.leaves(wanted), strict=True):
            same(a, b)


@with_gpus
@on_ranks(2)
def test_nan_wins_and_infinities_stay(world: Any, kind: str) -> None:
    x = np.array([[1, np.nan, -np.inf, np.inf, -0.0, 5], [2, 3, -np.inf, 1, 0.0, np.nan]][world.rank])
    with gpus(kind):
        of_gpus = gpu_world()
        for dtype in ("f2", "f4", "f8"):
            for op in ("max", "min"):
                same(of_gpus.all_reduce(on_device(x.astype(dtype), of_gpus), op), world.all_reduce(x.astype(dtype), op))


@with_gpus
@on_ranks(2)
def test_messages_go_to_the_current_stream_and_nothing_waits(world: Any, kind: str) -> None:
    with gpus(kind) as cupy:
        of_gpus = gpu_world()
        x = on_device(numbers(world.rank, "f4"), of_gpus)
        stream = cupy.cuda.Stream(non_blocking=True)
        nccl_stand_in.CALLS.clear()
        if kind == "stand-in":
            TRANSFERS.clear()
        with stream:
            for operation in OPERATIONS.values():
                operation(of_gpus, x)
        assert kind == "device" or {each for *_, each in nccl_stand_in.CALLS} == {stream.ptr}
        if kind == "stand-in":
            assert not TRANSFERS


@with_gpus
@on_ranks(2)
def test_derivatives_and_compiled_functions(world: Any, kind: str) -> None:
    def f(world: Any, x: Any, w: Any) -> Any:
        y = world.all_reduce(np.tanh(x @ w))
        rows = world.all_gather(y * x[:, :1])
        ring = world.permute(np.sin(rows), 1)
        return (world.reduce_scatter(ring) ** 2).sum() + world.broadcast(y, 1).mean() + world.all_reduce(y, "max").sum()

    x, w = numbers(world.rank, "f8") / 60, numbers(9, "f8", (8, 3)) / 60
    with gpus(kind):
        of_gpus = gpu_world()
        there = on_device((x, w), of_gpus)
        gradient = lambda world: fd.grad(lambda x, w: f(world, x, w), (0, 1))
        wanted, eager = gradient(world)(x, w), gradient(of_gpus)(*there)
        compiled = fd.compile(gradient(of_gpus))
        for found in (eager, compiled(*there), compiled(*there)):
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(fd.to_numpy(a), b, rtol=1e-10, atol=1e-12)
        for a, b in zip(compiled(*there), eager, strict=True):
            np.testing.assert_array_equal(fd.to_numpy(a), fd.to_numpy(b))
        assert len(compiled.recordings) == 1

        def body(c: Any, row: Any) -> tuple[Any, Any]:
            c = of_gpus.all_reduce(c * row)
            return c, c.sum()

        scanned = fd.compile(lambda c, rows: fd.scan(body, c, rows)[1])
        want = fd.to_numpy(fd.scan(body, there[0][0], there[0])[1])
        np.testing.assert_allclose(fd.to_numpy(scanned(there[0][0], there[0])), want)


@with_gpus
@on_ranks(4)
def test_parts_of_a_world(world: Any, kind: str) -> None:
    with gpus(kind, needed=4):
        of_gpus = gpu_world()
        column, row = of_gpus.split(world.rank % 2), of_gpus.split(world.rank // 2)
        assert (column.device, column.backend, column.members) == (of_gpus.device, "nccl", (world.rank % 2, world.rank % 2 + 2))
        x = on_device(np.full(3, float(world.rank)), of_gpus)
        same(column.all_reduce(x), np.full(3, 2.0 * (world.rank % 2) + 2))
        same(row.all_reduce(x), np.full(3, 4.0 * (world.rank // 2) + 1))
        same(of_gpus.all_gather(x)[::3], np.arange(4.0))
        assert pickle.loads(pickle.dumps(of_gpus)) is of_gpus
        assert pickle.loads(pickle.dumps(row)) == row


@with_gpus
@on_ranks(2)
def test_gradients_over_all_ranks(world: Any, kind: str) -> None:
    x, t = numbers(world.rank, "f4") / 60, numbers(world.rank + 2, "f4", (4, 3)) / 60
    model = nn.MLP.init(fd.random.key(0), (8, 5, 3), activation=F.tanh)
    loss = lambda model, x, t: ((model(x) - t) ** 2).mean()
    with gpus(kind):
        of_gpus = gpu_world()
        there = on_device((model, x, t), of_gpus)
        for options in ({}, {"reproducible": True, "shards": 4}):
            wanted = fd.distributed.value_and_grad(loss, world, **options)(model, x, t)
            step = fd.distributed.value_and_grad(loss, of_gpus, **options)
            for found in (step(*there), fd.compile(step)(*there)):
                assert fd.device_of(found) == of_gpus.device
                for a, b in zip(fd.tree.leaves(found), fd.tree.leaves(wanted), strict=True):
                    np.testing.assert_allclose(fd.to_numpy(a), b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
@on_ranks(2)
def test_layouts_by_mpi_as_between_machines(world: Any, layout: str) -> None:
    """On one machine, ranks use its memory instead."""
    by_mpi = attrs.evolve(world, messages=Messages(Mpi(mpi().COMM_WORLD.Dup())))
    x, of_all = numbers(world.rank, "f4"), np.stack([numbers(rank, "f4") for rank in range(2)])
    found = {name: operation(by_mpi, LAYOUTS[layout](x)) for name, operation in OPERATIONS.items()}
    rank = world.rank
    wanted = {
        "sum": of_all.sum(0), "mean": of_all.mean(0), "max": of_all.max(0), "min": of_all.min(0),
        "gather": of_all.reshape(8, 8), "gather columns": np.concatenate(of_all, axis=1),
        "scatter": of_all.sum(0)[2 * rank : 2 * rank + 2], "scatter columns": of_all.sum(0)[:, 4 * rank : 4 * rank + 4],
        "broadcast": of_all[1], "ring": of_all[1 - rank],
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for name in found:
        same(found[name], wanted[name])


@with_gpus
@on_ranks(2)
def test_nccl_of_one_rank(world: Any, kind: str) -> None:
    """What a machine with one GPU can run: each rank has an NCCL of its own."""
    with gpus(kind, needed=1):
        engine = Nccl(mpi().COMM_SELF.Dup(), 0, world.engine.watch)
        for dtype in DTYPES:
            if kind == "real" and dtype is ml_dtypes.bfloat16:
                continue
            x = numbers(world.rank, dtype).reshape(-1)
            there = fd.to_device(x, "gpu")
            for op in ("sum", "mean", "max", "min"):
                if (op == "mean" and x.dtype.kind not in "fcV") or (op in ("max", "min") and x.dtype.kind == "c"):
                    continue
                engine.all_reduce(there, out := np.empty_like(there), op)
                same(out, x)
            for whole in (x, x.view(np.uint8)):
                there = fd.to_device(whole, "gpu")
                engine.reduce_scatter(there.reshape(1, -1), out := np.empty_like(there))
                same(out, whole)
            engine.all_gather(there, rows := np.empty_like(there, shape=(1, there.size)))
            engine.broadcast(there, 0)
            engine.permute(there, out := np.empty_like(there), 0, 0)
            same(rows, whole.reshape(1, -1))
            same(there, whole)
            same(out, whole)
        engine.barrier()
        engine.close()


@with_gpus
@on_ranks(2)
def test_two_ranks_share_one_gpu(world: Any, kind: str) -> None:
    with gpus(kind, needed=1):
        of_gpu = gpu_world("mpi", "gpu:0")
        assert (of_gpu.device, of_gpu.backend) == ("gpu:0", "mpi")
        for dtype in ("f4", "c8", "i2"):
            x = numbers(world.rank, dtype)
            for name, operation in OPERATIONS.items():
                if dtype == "c8" and name in ("max", "min"):
                    continue
                same(operation(of_gpu, on_device(x, of_gpu)), operation(world, x))
