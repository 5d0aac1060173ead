"""Processes and threads that ranks start: they have the rank's place, and cannot disturb its collectives."""

import pickle
import threading
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import StructureError

from ..io.test_io_saving import posix
from .ranks import launch, on_ranks


@posix
def test_processes_of_a_rank_have_its_place_and_take_part_in_no_collective() -> None:
    run = launch(2, "-m", "tests.distributed.children")
    assert (run.code, run.stdout.count("well")) == (0, 2), run


@on_ranks(2)
def test_two_threads_in_one_world_are_an_error(world: Any) -> None:
    part, errors = world.split(0), []
    watch = part.engine.watch

    def call() -> None:
        for f in (
            lambda: part.all_reduce(1.0),
            lambda: part.all_gather(np.ones(2)),
            part.barrier,
            lambda: part.split(0),
        ):
            with pytest.raises(
                StructureError, match="another thread of rank . is in a collective of the same world"
            ) as caught:
                f()
            errors.append(caught.value)

    watch.enter("all_reduce")  # as a thread that is within
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    watch.leave()
    assert len(errors) == 4
    assert part.all_reduce(1.0) == part.size


@on_ranks(2)
def test_threads_with_worlds_of_their_own(world: Any) -> None:
    found: dict[int, list[float]] = {}

    def work(number: int, part: Any) -> None:
        found[number] = [float(part.all_reduce(np.full(n, world.rank + 1.0)).sum()) for n in range(1, 60)]

    threads = [threading.Thread(target=work, args=(number, world.split(0))) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {key: [3.0 * n for n in range(1, 60)] for key in range(2)}


@on_ranks(1, 2)
def test_a_world_in_a_tree_is_no_leaf(world: Any) -> None:
    assert fd.tree.leaves({"world": world, "x": 1.0}) == [1.0]
    total = fd.compile(lambda world, x: world.all_reduce(x))
    assert total(world, 2.0) == 2.0 * world.size
    assert fd.grad(lambda tree: tree["world"].all_reduce(tree["x"]))({"world": world, "x": 3.0})["x"] == world.size


@on_ranks(2)
def test_a_pickled_world_is_not_that_of_another_back_end(world: Any) -> None:
    assert fd.distributed.world("none").size == 1
    assert pickle.loads(pickle.dumps(world)) == world
