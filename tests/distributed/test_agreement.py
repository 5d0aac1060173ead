"""Ranks that do not do the same get an error that names ranks and leaf, and no hang; and the words of these errors."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero.distributed import waiting as waiting_of
from fdezero.distributed.agreement import Call, Place, disagreement, ended, first_difference, listed, waiting
from fdezero.distributed.engines.mpi import Mpi
from fdezero.distributed.messages import Messages
from fdezero.errors import DisagreementError, RangeError

from ..profiles import NIGHTLY
from .ranks import on_ranks

TREE = {"a": np.ones(3), "layers": [np.ones((2, 4), np.float32), np.ones(())]}


def changed(**leaves: Any) -> Any:
    return {**TREE, **leaves}


class Tagged(fd.Module):
    x: Any
    tag: int = fd.static()


# What one rank does while all others call world.all_reduce(TREE), and words of the error on every rank.
OTHERS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "shape": (lambda world: world.all_reduce(changed(a=np.ones(4))), ["a is float64[3] on rank", "and float64[4] on rank 1"]),
    "dtype": (lambda world: world.all_reduce(changed(layers=[np.ones((2, 4)), np.ones(())])), ["layers/0 is float32[2,4] on", "float64[2,4] on rank 1"]),
    "axes": (lambda world: world.all_reduce(changed(a=np.ones((3, 1)))), ["a is float64[3] on", "float64[3,1] on rank 1"]),
    "keys": (lambda world: world.all_reduce({"b": TREE["a"], "layers": TREE["layers"]}), ["Only rank 1 has b"]),
    "more leaves": (lambda world: world.all_reduce(changed(layers=[*TREE["layers"], 1.0])), ["Only rank 1 has layers/2"]),
    "containers": (lambda world: world.all_reduce(changed(layers=tuple(TREE["layers"]))), ["rank 1 has dict(*, tuple(*, *))"]),
    "op": (lambda world: world.all_reduce(TREE, "max"), ["all_reduce(op='sum') at", "rank 1 calls all_reduce(op='max') at"]),
    "operation": (lambda world: world.all_gather(TREE["a"]), ["all_reduce(op='sum') at", "rank 1 calls all_gather(axes=(-1,)) at"]),
    "barrier": (lambda world: world.barrier(), ["rank 1 calls barrier() at"]),
    "split": (lambda world: world.split(0), ["rank 1 calls split() at"]),
    "root": (lambda world: world.broadcast(TREE, 1), ["rank 1 calls broadcast(root=1) at"]),
    "ring": (lambda world: world.permute(TREE, 1), ["rank 1 calls permute(to=("]),
}  # fmt: skip


@on_ranks(*((2, 4) if NIGHTLY else (2,)))
@pytest.mark.parametrize("other", OTHERS)
def test_ranks_that_differ_get_an_error_that_says_how(world: Any, other: str) -> None:
    call, words = OTHERS[other]
    part = world.split(0)  # new: none of its calls was compared before
    with pytest.raises(DisagreementError) as caught:
        call(part) if part.rank == 1 else part.all_reduce(TREE)
    for text in [*words, "test_agreement.py:"]:
        assert text in str(caught.value)
    texts = part.all_gather(np.frombuffer(str(caught.value).encode()[:200].ljust(200), np.uint8)).reshape(part.size, -1)
    assert (texts == texts[0]).all()  # and the world still works


@on_ranks(2)
@pytest.mark.parametrize("how", ["eager", "compiled", "in a scan", "gradient"])
def test_calls_in_programs_are_compared(world: Any, how: str) -> None:
    part = world.split(0)
    x = np.ones(3 + world.rank)

    def total(x: Any) -> Any:
        return part.all_reduce({"x": x})["x"]

    calls: dict[str, Callable[[], Any]] = {
        "eager": lambda: total(x),
        "compiled": lambda: fd.compile(total)(x),
        "in a scan": lambda: fd.compile(lambda x: fd.scan(lambda c, _: (total(c), None), x, None, length=2))(x),
        "gradient": lambda: fd.compile(fd.grad(lambda x: total(x).sum()))(x),
    }
    with pytest.raises(DisagreementError, match=r"float64\[3\] on rank 0 and float64\[4\] on rank 1"):
        calls[how]()


@on_ranks(2)
def test_a_call_is_compared_once(world: Any) -> None:
    part = world.split(0)
    compared = []
    watch = part.engine.watch
    agree = watch._agree
    watch._agree = lambda call: compared.append(call.call.name) or agree(call)
    step = fd.compile(lambda x: part.all_reduce(x, "mean"))
    for _ in range(10):
        part.all_reduce(TREE)
        step(np.ones(3))
        part.barrier()
    assert compared == ["all_reduce", "all_reduce", "barrier"]
    watch.every = 50  # as between machines, where ranks may call them in another order
    for _ in range(50):
        part.barrier()
    assert compared[3:] == ["barrier"]


@on_ranks(2)
def test_what_only_one_rank_has_in_a_static_field_is_no_difference(world: Any) -> None:
    part = world.split(0)
    for step in range(4):
        assert part.all_reduce(Tagged(1, tag=step if part.rank else 0)).x == 2


@on_ranks(2)
@pytest.mark.parametrize("what", ["lengths", "static fields"])
def test_ever_new_calls_take_no_more_memory(world: Any, what: str) -> None:
    part = world.split(0)
    watch = part.engine.watch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting_of, "MOST", 16)
        for number in range(40):
            if what == "lengths":
                part.broadcast(np.empty(number, np.uint8))
            else:
                part.all_reduce(Tagged(1, tag=number))
            assert max(len(watch.known), len(watch.agreed)) <= 16
    assert part.all_reduce(1) == 2


def apart(world: Any) -> Any:
    """A part whose messages go by MPI, as between machines."""
    part = world.split(0)
    engine = Mpi(part.engine.host.comm.Dup())
    return attrs.evolve(part, messages=Messages(engine))


@on_ranks(2)
@pytest.mark.parametrize("where", ["on one machine", "between machines"])
def test_another_order_of_known_calls_is_found(world: Any, where: str) -> None:
    part = world.split(0) if where == "on one machine" else apart(world)
    calls = [lambda: part.all_reduce(np.ones(3)), lambda: part.all_reduce(np.zeros(3), "max")]
    for call in calls:
        call()

    def loop() -> None:
        for _ in range(60):
            for call in calls[:: 1 - 2 * part.rank]:
                call()

    with pytest.raises(DisagreementError, match=r"as number 3: rank 0 calls all_reduce\(op='sum'\).*rank 1 calls all_reduce\(op='max'\)"):
        loop()


@on_ranks(4)
def test_the_ranks_of_an_error_are_those_of_the_whole_run(world: Any) -> None:
    part = world.split(world.rank % 2)
    if world.rank % 2:
        with pytest.raises(DisagreementError, match=r"float64\[1\] on rank 1 and float64\[3\] on rank 3"):
            part.all_reduce(np.ones(world.rank))
    else:
        assert part.all_reduce(1) == 2


def test_a_limit_is_a_number_of_seconds() -> None:
    for wrong in (0, -1.0, True, "1", float("nan")):
        with pytest.raises(RangeError, match="limit is a number of seconds"):
            fd.distributed.world(limit=wrong)
    assert fd.distributed.world(limit=5).size >= 1


LEAVES = Call("all_reduce", "op='sum'", ("a", "b"), ("float32[3]", "float32[]"), "dict(*, *)")


def places(*calls: Call, number: int = 7, where: str = "train.py:12") -> dict[int, Place]:
    return {rank: Place(call, number, where) for rank, call in enumerate(calls)}


def test_ranks_are_listed_in_runs() -> None:
    assert listed([3]) == "rank 3"
    assert listed([2, 0]) == "ranks 0 and 2"
    assert listed([1, 0]) == "ranks 0 and 1"
    assert listed(range(64)) == "ranks 0-63"
    assert listed([0, 1, 2, 5, 6, 9]) == "ranks 0-2, 5, 6 and 9"


def test_the_words_of_a_disagreement() -> None:
    other = Call("all_reduce", "op='sum'", ("a", "b"), ("float32[4]", "float64[]"), "dict(*, *)")
    assert str(disagreement(places(LEAVES, other, LEAVES))).startswith(
        "all_reduce at train.py:12: the leaves of the ranks differ: a is float32[3] on ranks 0 and 2 and float32[4] on rank 1; "
        "b is float32[] on ranks 0 and 2 and float64[] on rank 1. All ranks of a world call"
    )
    many = Call("f", "", tuple(map(str, range(9))), ("float32[3]",) * 9)
    assert "and 6 leaves more differ" in str(disagreement(places(many, Call("f", "", many.paths, ("int64[]",) * 9))))
    apart = {0: Place(LEAVES, 7, "train.py:12"), 1: Place(other, 7, "train.py:15")}
    assert str(disagreement(apart)).startswith("all_reduce (rank 0 at train.py:12; rank 1 at train.py:15): ")
    keys = Call("all_reduce", "op='sum'", ("a", "c"), LEAVES.leaves)
    assert "have different leaves. Only ranks 0 and 2 have b. Only rank 1 has c. " in str(disagreement(places(LEAVES, keys, LEAVES)))
    barrier = Call("barrier")
    assert str(disagreement(places(barrier, LEAVES, LEAVES))).startswith(
        "The ranks do not call the same collective as number 7: rank 0 calls barrier() at train.py:12, "
        "ranks 1 and 2 call all_reduce(op='sum') at train.py:12. "
    )
    steps = {0: Place(LEAVES, 7, "train.py:12"), 1: Place(LEAVES, 9, "train.py:12")}
    assert "not at the same step: rank 0 is at its collective number 7, rank 1 is at its collective number 9" in str(disagreement(steps))


def test_the_first_difference_is_named() -> None:
    barrier = Call("barrier")
    past = {0: {n: Place(LEAVES, n, f"a.py:{n}") for n in range(9)}, 1: {n: Place(LEAVES if n < 5 else barrier, n, f"a.py:{n}") for n in range(2, 9)}}
    assert "as number 5: rank 0 calls all_reduce(op='sum') at a.py:5, rank 1 calls barrier() at a.py:5" in str(first_difference(past))


def test_the_words_for_ranks_at_their_end() -> None:
    assert str(ended(places(LEAVES), {1: 6, 2: 6})).startswith(
        "ranks 1 and 2 ended after 6 collectives, but rank 0 waits for them in all_reduce(op='sum') at train.py:12, collective number 7. "
    )
    assert str(ended(places(LEAVES), {3: 1})).startswith("rank 3 ended its script after 1 collective, but rank 0 waits for it in all_reduce")


def test_the_words_of_a_limit() -> None:
    here = places(LEAVES, LEAVES)
    error = waiting(here, {}, {2: "data.py:40", 3: ""}, 30.0, Place(Call("barrier"), 6, "train.py:11"))
    assert isinstance(error, TimeoutError)
    assert str(error) == (
        "Ranks 0 and 1 waited in all_reduce(op='sum') at train.py:12 longer than the limit of 30 s for ranks 2 and 3, which did not come. "
        "Rank 2 is at data.py:40. The last collective that all ranks completed was number 6, barrier() at train.py:11. "
        "The limit is set by fd.distributed.world(limit=...), in seconds."
    )
    crossed = str(waiting(here, {2: Place(Call("barrier"), 3, "train.py:50")}, {}, 30.0, None))
    assert "longer than the limit of 30 s. Rank 2 waits in barrier() at train.py:50. The limit" in crossed
    assert "All ranks have come, so their messages do not arrive: is a network or a machine down? The limit" in str(waiting(here, {}, {}, 30.0, None))


def test_a_digest_is_that_of_the_words() -> None:
    same = Call("all_reduce", "op='sum'", ("a", "b"), ("float32[3]", "float32[]"), "dict(*, *)")
    assert same.digest == LEAVES.digest
    changes = [{"name": "sum_to"}, {"settings": "op='max'"}, {"paths": ("a", "c")}, {"leaves": ("float32[3]",) * 2}, {"structure": "list(*, *)"}]
    assert len({LEAVES.digest, *[attrs.evolve(LEAVES, **change).digest for change in changes]}) == 6
    assert 0 <= LEAVES.digest < 2**62
