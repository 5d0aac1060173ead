"""What a snapshot holds is never torn: not by compiled programs, which write their outputs again, and not by you."""

import gc
import os
import shutil
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.core.owners import COUNTS, LARGE
from fdezero.errors import CheckpointError
from fdezero.io import Checkpoints, npz
from fdezero.io.snapshots import Snapshot

from ..profiles import NIGHTLY
from ..transforms.test_interrupts import interrupted

SIZE = LARGE // 8 + 1000  # of float64: a large array
EVERY = 1 if NIGHTLY else 17  # one line in so many is interrupted

counted = pytest.mark.skipif(COUNTS is None, reason="this interpreter does not count references")


class Held:
    """Writing waits until `go` is called."""

    def __init__(self) -> None:
        self.began, self.may = threading.Event(), threading.Event()

    def go(self) -> None:
        self.may.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    hold, working = Held(), npz.write

    def write(*args: Any) -> None:
        hold.began.set()
        assert hold.may.wait(60)
        working(*args)

    monkeypatch.setattr(npz, "write", write)
    yield hold
    hold.go()


def addresses(tree: Any) -> set[int]:
    return {leaf.ctypes.data for leaf in fd.tree.leaves(tree)}


@counted
def test_a_compiled_program_does_not_write_into_a_snapshot_and_does_so_again_later(tmp_path: Path, held: Held) -> None:
    step = fd.compile(lambda state: {"w": state["w"] + 1.0, "b": state["b"] * 2.0}, max_recordings=1)
    state = {"w": np.zeros(SIZE), "b": np.ones(3)}
    for _ in range(5):
        state = step(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, 5)
        assert held.began.wait(60)
        place, seen = state["w"].ctypes.data, set()
        for _ in range(8):
            state = step(state)
            seen |= addresses(state)
        assert place not in seen
        held.go()
        checkpoints.wait()
        saved = checkpoints.restore()
        np.testing.assert_array_equal(saved["w"], np.full(SIZE, 5.0))
        np.testing.assert_array_equal(saved["b"], np.full(3, 32.0))
        for _ in range(8):
            state = step(state)
            seen |= addresses(state)
        assert place in seen, "the memory of the snapshot is not used again"
    np.testing.assert_array_equal(state["w"], np.full(SIZE, 21.0))


@counted
def test_the_outputs_of_a_program_are_held_and_not_copied() -> None:
    step = fd.compile(lambda x: x + 1.0)
    tree = {"plain": np.zeros(SIZE), "output": step(step(np.zeros(SIZE))), "turned": np.zeros((SIZE, 2)).T}
    snapshot = Snapshot(tree)
    assert all(np.shares_memory(snapshot.leaves[name], leaf) for name, leaf in tree.items())
    assert not any(snapshot.leaves[name] is leaf for name, leaf in tree.items())  # whose shape and dtype could still be set
    assert not any(leaf.flags.writeable for leaf in tree.values())
    snapshot.release()
    assert all(leaf.flags.writeable for leaf in tree.values())
    assert snapshot.leaves == {}


@counted
def test_a_write_into_what_is_held_is_an_error_or_harmless(tmp_path: Path, held: Held) -> None:
    base = np.zeros(2 * SIZE)
    elsewhere = np.zeros(SIZE)
    tree = {"large": np.zeros(SIZE), "small": np.zeros(3), "view": base[SIZE:], "elsewhere": elsewhere, "twice": [elsewhere, elsewhere]}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(tree, 1)
    with pytest.raises(ValueError, match="read-only"):
        tree["large"][0] = 1.0
    tree["small"][0] = 1.0
    base[:] = 1.0
    elsewhere[:] = 1.0
    held.go()
    checkpoints.wait()
    assert all(not leaf.any() for leaf in checkpoints.restore().values())
    tree["large"][0] = 1.0  # it is written, so it is yours again


def test_what_was_locked_is_free_again_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npz, "write", failing)
    tree = {"large": np.zeros(SIZE)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(tree, 1)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.wait()
    tree["large"][0] = 1.0


@counted
def test_an_array_that_another_snapshot_holds_is_copied() -> None:
    tree = {"large": np.zeros(SIZE)}
    first, second = Snapshot(tree), Snapshot(tree)
    assert not np.shares_memory(first.leaves["large"], second.leaves["large"])
    second.release()
    assert not tree["large"].flags.writeable
    first.release()
    assert tree["large"].flags.writeable


def test_layouts_and_kinds_of_leaves_stay() -> None:
    tree = {"turned": np.arange(6.0).reshape(2, 3).T, "number": 3, "scalar": np.float32(2), "steps": np.arange(10)[::3], "none": np.zeros((0, 3))}
    leaves = Snapshot(tree).leaves
    fd.testing.assert_trees_equal(leaves, tree)
    assert [type(leaves[name]) for name in ("number", "scalar")] == [int, np.float32]
    assert leaves["turned"].flags.f_contiguous


def test_at_most_one_snapshot_is_in_flight_unless_asked(tmp_path: Path, held: Held) -> None:
    two = Checkpoints(tmp_path / "two", in_flight=2)
    two.save({"a": np.zeros(3)}, 1)
    two.save({"a": np.ones(3)}, 2)
    one, order = Checkpoints(tmp_path / "one"), []
    one.save({"a": np.zeros(3)}, 1)
    second = threading.Thread(target=lambda: order.append(one.save({"a": np.ones(3)}, 2)))
    second.start()
    second.join(0.05)
    assert (order, len(two._tasks)) == ([], 2)
    held.go()
    second.join(60)
    assert order == [True]
    for checkpoints in (one, two):
        assert [found.step for found in checkpoints.all()] == [1, 2]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_save_needs_no_more_memory_than_one_leaf(tmp_path: Path, suffix: str) -> None:
    leaf = 4 << 20
    tree = {"a": [np.zeros((leaf // 16, 2)) for _ in range(5)], "turned": [np.zeros((2, leaf // 32, 2)).transpose(2, 0, 1) for _ in range(3)]}
    with Checkpoints(tmp_path, suffix=suffix) as checkpoints:
        checkpoints.save({"warm": np.zeros(3)}, 0)
        checkpoints.wait()
        tracemalloc.start()
        try:
            checkpoints.save(tree, 1)
            checkpoints.wait()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1.5 * leaf, f"{peak / leaf:.1f} leaves"
    fd.testing.assert_trees_equal(checkpoints.restore(like=tree), tree)


def test_an_interrupt_between_any_two_lines_leaves_nothing_locked_and_no_checkpoint_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes out of `save`; then the state is the user's again, and the next save and restore are those of a whole state."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # hundreds of waits for a disk that others use
    w, number, again = np.zeros(SIZE), 1, True
    while again:
        checkpoints = Checkpoints(tmp_path / str(number))
        tree = {"w": w, "n": number}
        again = interrupted(lambda c=checkpoints, t=tree: c.save(t, 1), number)  # type: ignore[misc]  # called at once
        del tree
        checkpoints.wait()
        assert not again or all(found.step == 1 for found in checkpoints.all())
        gc.collect()
        w[0] = number  # raises if it is locked
        del w
        w = np.full(SIZE, float(number))
        checkpoints.save({"w": w, "n": number}, 2)
        found = checkpoints.restore()
        assert (found["w"] == number).all()
        assert found["n"] == number
        shutil.rmtree(checkpoints.folder)
        number += EVERY
    assert number > 10 * EVERY, "no line of the library was interrupted"


def test_arrays_of_a_gpu_are_copied_there(gpu: Any, tmp_path: Path, held: Held) -> None:
    tree = fd.to_device({"a": np.arange(6.0).reshape(2, 3), "turned": np.arange(6.0).reshape(3, 2).T, "n": 3}, "gpu")
    wanted = fd.to_numpy(tree)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(tree, 1)
        for name in ("a", "turned"):
            tree[name][...] = -1.0
        held.go()
        found = checkpoints.restore(like=tree)
    assert fd.device_of(found) == "gpu:0"
    fd.testing.assert_trees_equal(found, wanted)


def test_without_room_on_the_device_the_copy_is_made_on_the_cpu_at_once(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = fd.to_device({"a": np.arange(6.0)}, "gpu")

    def full(*args: Any, **options: Any) -> None:
        raise MemoryError("out of memory allocating 48 bytes")

    monkeypatch.setattr(type(tree["a"]), "copy", full)
    snapshot = Snapshot(tree)
    tree["a"][...] = -1.0
    np.testing.assert_array_equal(snapshot.leaves["a"].read(), np.arange(6.0))


def test_the_thread_waits_for_the_copy_on_a_stream_of_its_own(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[Any] = []
    made = strict_cupy.cuda.Stream

    def stream(**options: Any) -> Any:
        assert options == {"non_blocking": True}
        streams.append(made(**options))
        return streams[-1]

    monkeypatch.setattr(strict_cupy.cuda, "Stream", stream)
    here = made()
    with here:
        snapshot = Snapshot(fd.to_device({"a": np.arange(6.0)}, "gpu"))
    np.testing.assert_array_equal(snapshot.leaves["a"].read(), np.arange(6.0))
    assert [found.waited for found in streams] == [[("event of", here)]]
