"""Checkpoints of several ranks: one writes, all get its errors, and another number of ranks goes on with the same values."""

import datetime
import errno
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim, training
from fdezero.errors import CheckpointError, CheckpointWarning, DTypeError, FileError, RangeError
from fdezero.io import Checkpoints, checkpoints
from fdezero.testing import assert_trees_close, assert_trees_equal
from fdezero.tree.parts import Part
from fdezero.tree.wholes import cut
from tests.distributed.gpus import gpu_world, gpus, with_gpus
from tests.distributed.ranks import on_ranks


def begun(world: Any) -> tuple[Any, Any]:
    """An optimiser with parts, and a state with leaves of all kinds."""
    opt = optim.sharded(optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.1)), world, least=1)
    model = nn.Sequential([nn.Linear.init(fd.random.key(0), 3, 5), nn.BatchNorm.init(fd.random.key(0), 5)])
    extra = {"flags": np.array([True, False]), "half": np.float16(2), "turned": np.arange(6.0).reshape(2, 3).T, "rate": 0.5}
    return opt, training.State.init(model, opt, fd.random.key(1), extra=extra)


def stepped(opt: Any, state: Any, steps: int = 3) -> Any:
    for _ in range(steps):
        grads = fd.tree.map(lambda p: p * (1 + abs(p)), fd.tree.trainable(state.model))
        model, optimiser = opt.step(state.model, grads, state.optimiser)
        state = state.replace(model=model, optimiser=optimiser, step=state.step + 1)
    return state


@on_ranks(1, 2, 3)
def test_another_number_of_ranks_goes_on_with_the_same_bits(world: Any, tmp_path: Path) -> None:
    opt, state = begun(world)
    with Checkpoints(tmp_path / "runs", world=world) as saved:
        state = stepped(opt, state)
        assert saved.save(state, state.step)
    expected = fd.distributed.gathered(stepped(opt, state))
    fewer = world.split(world.rank // 2)  # of 3 ranks: two and one
    opt, new = begun(fewer)
    for like in (new, new.replace(optimiser=optim.adam(0.1).init(new.model))):  # and without parts
        found = Checkpoints(tmp_path / "runs", world=fewer).restore(like=like)
        assert [type(leaf) for leaf in fd.tree.leaves(found)] == [type(leaf) for leaf in fd.tree.leaves(like)]
        assert found.extra["turned"].strides == (8, 24)
        assert found.step == 3
    alone = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.1))
    assert_trees_equal(stepped(alone, found), expected, bits=True)
    found = Checkpoints(tmp_path / "runs", world=fewer).restore(like=new)
    assert_trees_equal(fd.distributed.gathered(stepped(opt, found)), expected, bits=True)
    parts = [leaf for leaf in fd.tree.leaves(found.optimiser) if getattr(leaf, "size", 0) > 1]
    assert all(part.base is None or part.base.nbytes == part.nbytes for part in parts)  # no part keeps its whole
    flat = Checkpoints(tmp_path / "runs", world=fewer).restore()
    assert_trees_equal(flat, fd.tree.flatten_to_dict(fd.distributed.gathered(state)))


@on_ranks(2)
def test_the_first_rank_alone_writes_and_reads(world: Any, tmp_path: Path) -> None:
    opt, state = begun(world)
    folder = tmp_path / f"of rank {world.rank}"
    with Checkpoints(folder, keep=2, every=2, best="loss", mode="min", world=world) as saved:
        assert saved.latest() is None
        did = []
        for loss in (4.0, 1.0, 3.0, 2.0, 5.0, 6.0):
            state = stepped(opt, state, 1)
            did.append(saved.save(state, state.step, {"loss": loss}))
        assert did == [False, True, False, True, False, True]
        assert not saved.due(7)
        assert [found.step for found in saved.all()] == [2, 4, 6]
        best, last = saved.best(), saved.latest()
        assert best is not None
        assert last is not None
        assert (best.step, best.metrics, last.step) == (2, {"loss": 1.0}, 6)
        assert best.path.parent == tmp_path / "of rank 0"
    world.barrier()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["of rank 0"]
    again = Checkpoints(folder, best="loss", mode="min", world=world)
    assert again.restore(like=state, step="best").step == 2
    assert again.restore(like=state, step=4).step == 4
    less = again.restore(like={"model": state.model, "more": np.float64(world.rank)}, strict=False)
    assert_trees_equal(less["model"], state.model, bits=True)
    assert less["more"] == world.rank
    other = state.optimiser | {"more": Part.of(np.arange(5.0) + world.rank, world)}
    found = again.restore(like={"optimiser": other}, strict=False)["optimiser"]
    assert_trees_equal(found, other, bits=True)  # parts that the file lacks stay as they are


@on_ranks(2)
def test_errors_of_the_writer_reach_all_ranks(world: Any, tmp_path: Path) -> None:
    _, state = begun(world)
    saved = Checkpoints(tmp_path / "full", world=world)
    saved.save(state, 0)
    saved.wait()
    write = checkpoints.write_whole

    def full(path: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints.write_whole = full  # type: ignore[assignment]  # put back below
    try:
        assert saved.save(state, 1)
        with pytest.raises(CheckpointError, match=r"step-1.npz could not be written: .*No space left"):
            saved.wait()
        assert saved.save(state, 2)
        with pytest.raises(CheckpointError, match=r"step-2.npz could not be written"):
            saved.save(state, 3)
    finally:
        checkpoints.write_whole = write
    assert saved.save(state, 4)
    last = saved.latest()
    assert last is not None
    assert last.step == 4
    with pytest.raises(FileError, match="holds checkpoints of steps 0, 4 of an earlier run") as raised:
        Checkpoints(tmp_path / "full", world=world).save(state, 5)
    if world.rank:
        assert raised.value.__notes__ == ["Rank 0 raised this error, which writes and reads the checkpoints of all ranks."]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="is no folder for checkpoints"):
        Checkpoints(tmp_path / "file" / "below", world=world).save(state, 0)
    with pytest.raises(DTypeError, match="the metrics are a dict of numbers"):
        Checkpoints(tmp_path / "new", world=world).save(state, 0, 3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(FileError, match="cannot keep"):
        Checkpoints(tmp_path / "new", world=world).save({"name": "x"}, 0)
    with pytest.raises(FileError, match="does not fit the tree"):
        saved.restore(like=state.replace(extra={}))
    with pytest.raises(FileError, match="there is no checkpoint"):
        Checkpoints(tmp_path / "none", world=world).restore(like=state)
    with pytest.raises(RangeError, match="keep is how many stay"):
        Checkpoints(tmp_path / "none", keep=0, world=world)
    with pytest.raises(TypeError, match=r"world is what .* returns, got function. Call it: fd.distributed.world\(\)"):
        Checkpoints(tmp_path / "none", world=fd.distributed.world)
    with pytest.raises(ZeroDivisionError), Checkpoints(tmp_path / "new", world=world):
        1 / 0  # noqa: B018, an error of the block leaves it without a message to other ranks


@on_ranks(2)
def test_a_damaged_checkpoint_gives_all_ranks_the_one_before(world: Any, tmp_path: Path) -> None:
    opt, state = begun(world)
    with Checkpoints(tmp_path, world=world) as saved:
        for step in (1, 2):
            state = stepped(opt, state, 1)
            saved.save(state, step)
    if world.rank == 0:
        path = tmp_path / "step-2.npz"
        path.write_bytes(path.read_bytes()[:-100])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = Checkpoints(tmp_path, world=world).restore(like=state)
    assert found.step == 1
    assert [warning.category for warning in told] == [CheckpointWarning] * (world.rank == 0)


@on_ranks(2)
def test_the_clock_of_the_first_rank_says_what_is_due(world: Any, tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, every=datetime.timedelta(hours=1), world=world)
    assert not saved.due(1)
    writer = saved._writer
    (writer or saved)._last_time = time.monotonic() - (4000 if writer else 0)
    assert saved.due(1)
    assert saved.save({"x": np.ones(2)}, 1)
    assert not saved.save({"x": np.ones(2)}, 2)
    saved.close()


@with_gpus
@on_ranks(2)
def test_parts_lie_on_the_gpus_of_their_ranks(world: Any, kind: str, tmp_path: Path) -> None:
    opt, state = begun(world)
    expected = fd.distributed.gathered(stepped(opt, state.replace(extra=None)))
    with gpus(kind):
        there = gpu_world(None)
        opt, state = begun(there)
        new = fd.to_device(state.replace(extra=None), there.device)
        state = stepped(opt, new)
        assert_trees_close(fd.to_numpy(fd.distributed.gathered(state)), expected, 1e-5)
        with Checkpoints(tmp_path, world=there) as saved:
            saved.save(state, state.step)
            found = saved.restore(like=new)
        assert {fd.device_of(leaf) for leaf in fd.tree.leaves(found) if np.shape(leaf)} == {f"gpu:{world.rank}"}
        assert_trees_equal(fd.to_numpy(found), fd.to_numpy(state), bits=True)


def test_a_world_of_one_changes_nothing(tmp_path: Path) -> None:
    world = fd.distributed.world("none")
    opt, state = begun(world)
    with Checkpoints(tmp_path, world=world) as saved:
        assert type(saved) is Checkpoints
        state = stepped(opt, state)
        saved.save(state, state.step)
    assert_trees_equal(fd.load(tmp_path / "step-3.npz", like=state), state, bits=True)
    whole = fd.distributed.gathered(state)
    assert_trees_equal(fd.load(tmp_path / "step-3.npz", like=whole), whole, bits=True)
    assert_trees_equal(cut(whole, like=state), state, bits=True)
