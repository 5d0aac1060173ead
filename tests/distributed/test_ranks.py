"""The harness itself: a pool says which rank failed, ends ranks that hang, and starts anew."""

import os
import time

import numpy as np
import pytest

from ..profiles import nightly
from .ranks import Pool, launch, on_ranks, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@on_ranks(1, 2, 4)
def test_every_rank_runs_the_function(world):
    assert world.all_reduce(np.float64(2**world.rank)) == 2**world.size - 1


@on_ranks(2)
@pytest.mark.parametrize("number", [3, 5])
def test_arguments_reach_every_rank(world, number, tmp_path):
    (tmp_path / str(world.rank)).write_text(str(number))
    world.barrier()
    assert [(tmp_path / str(rank)).read_text() for rank in range(world.size)] == [str(number)] * 2


def one_rank_fails(world):
    assert world.rank != 1, "meant"
    world.barrier()


def all_ranks_fail(world):
    raise AssertionError("meant")


def one_rank_ends(world):
    if world.rank == 1:
        os._exit(3)
    world.barrier()


def one_rank_hangs(world):
    while world.rank == 1:
        time.sleep(0.1)


def none_of_them_can(world):
    pytest.skip("no reason")


# What the decorator would make of them, but these are not collected.
for function in (one_rank_fails, all_ranks_fail, one_rank_ends, one_rank_hangs, none_of_them_can):
    function.on_rank = function


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("one_rank_fails", "(?s)rank 1 of 2:.*AssertionError: meant"),
        pytest.param("one_rank_ends", "rank 1 of 2", marks=nightly),
        pytest.param("one_rank_hangs", r"ranks \[1\] did not come back", marks=nightly),
    ],
)
def test_a_skip_is_a_skip_and_a_failure_names_its_rank(name, match, monkeypatch):
    monkeypatch.setattr("tests.distributed.ranks.GRACE", 0.5)
    pool = Pool(2)
    with pytest.raises(pytest.skip.Exception, match="no reason"):
        pool.run(__name__, "none_of_them_can", {}, 20.0)
    with pytest.raises(pytest.fail.Exception, match=r"(?s)rank 0 of 2:.*meant.*rank 1 of 2:.*meant"):
        pool.run(__name__, "all_ranks_fail", {}, 20.0)
    with pytest.raises(pytest.fail.Exception, match=match):  # it still works after a failure of all ranks
        pool.run(__name__, name, {}, 2.0 if "hangs" in name else 10.0)
    pool.process.wait(5)
    assert pool.process.poll() is not None, "the pool still runs"


@nightly
def test_a_pool_ends_well():
    pool = Pool(2)
    with pytest.raises(pytest.fail.Exception, match=r"(?s)rank 0 of 2:.*meant.*rank 1 of 2:.*meant"):
        pool.run(__name__, "all_ranks_fail", {}, 20.0)
    pool.close()
    assert pool.process.poll() == 0


def test_a_launch_gives_code_and_words():
    run = launch(2, "-c", "import sys; print('here'); sys.exit(4)")
    assert run.code == 4
    assert run.stdout.count("here") == 2
    assert launch(2, "-c", "import time; time.sleep(60)", timeout=0.5).code is None
