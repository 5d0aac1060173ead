"""Operations over the ranks of a world: sums, gathers, broadcasts and permutations of several arrays in one message.

A collective takes arrays and returns as many. The world is a static part of it. Ranks together compute one function: a cotangent is
that of the sum of all ranks' functions. So the adjoint of a sum over ranks is a sum over ranks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Region
from ..core.tracer import Tracer
from ..errors import TraceError
from ..values import is_differentiable, shape_of, with_shape
from .talking import TALK, make_harmless


class Collective(Region):
    """An operation over all ranks of `world`. Result i depends on leaf i of each rank alone."""

    fresh = True
    linear = True
    setting = "name"  # the attribute that ranks must agree on
    met: Any = None  # what `meet` has found
    tree: Any = None  # the structure of the tree that the leaves come from, for messages

    def __init__(self, world: Any) -> None:
        self.world = world

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        recorder = TALK.recorder
        if TALK.apart is not None and len({*TALK.apart[0].members} & {*self.world.members}) > 1:
            raise TraceError(
                f"{self.name} over {self.world.size} ranks was called within the function of {TALK.apart[1]}. It runs once for each "
                "shard, so ranks would meet at different shards, and results would depend on how many ranks there are. A layer such as "
                "BatchNorm leaves out world=: its statistics are those of a shard. Call other collectives outside the function."
            )
        if recorder is not None and not any(isinstance(leaf, Tracer) for leaf in leaves):
            return tuple(recorder.process_region(self, leaves))
        return super().__call__(*leaves)

    def run(self, *leaves: Any, into: Sequence[Any] | None = None) -> tuple[Any, ...]:
        # Numbers of NumPy become arrays: other ranks may have arrays in their place.
        arrays = [np.asarray(leaf) if isinstance(leaf, np.generic) else with_shape(leaf) for leaf in leaves]
        outs = [
            self._out(x) if out is None else out for x, out in zip(arrays, into or [None] * len(arrays), strict=True)
        ]
        if TALK.silent:
            for x, out in zip(arrays, outs, strict=True):
                self.example(x, out)
            make_harmless(outs)
        else:
            self.communicate(arrays, outs)
        return tuple(
            [out if isinstance(x, np.ndarray) or out.ndim else out[()] for x, out in zip(leaves, outs, strict=True)]
        )

    def filled(self, results: Sequence[Any]) -> tuple[int, ...]:
        return tuple([i for i, y in enumerate(results) if y.kind == "array"])

    def _out(self, x: Any) -> Any:
        return np.empty_like(x)

    def communicate(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        """Compare this call with those of the other ranks, and talk to them. One thread at a time does so in a world."""
        watch = self.world.engine.watch
        if watch is None:
            return self.talk(arrays, outs)
        watch.enter(self.name)
        try:
            self.meet(watch, arrays)
            self.talk(arrays, outs)
        except BaseException:
            watch.is_broken = True
            raise
        finally:
            watch.leave()

    def meet(self, watch: Any, arrays: Sequence[Any]) -> None:
        """Compare this call with those of the other ranks, if it is a new one."""
        now = watch, [x.shape for x in arrays], [x.dtype for x in arrays]
        if self.met is not None and self.met[1:] == now:  # in a program, which calls it again and again
            watch.meet_again(self.met[0])
            return
        key = (type(self), getattr(self, self.setting), self.tree, tuple(now[1]), tuple(now[2]))
        self.met = (watch.meet(key, self, arrays), *now)

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        """Write the results for the arrays of all ranks into `outs`."""
        raise NotImplementedError

    def example(self, x: Any, out: Any) -> None:
        """Write a possible result into `out`, as if the other ranks held x as well."""
        out[...] = x

    def of(self, mask: Sequence[bool]) -> "Collective":
        """The same operation on the leaves where `mask` is true."""
        return self

    def adjoint(self) -> "Collective":
        """The operation that takes the cotangents of the results to those of the leaves."""
        raise NotImplementedError

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        return self(*leaves), tuple(
            [traced and is_differentiable(x) for traced, x in zip(is_traced, leaves, strict=True)]
        )

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        return _spread(residuals, self.of(residuals).adjoint(), cotangents)

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        is_active = [t is not None and is_differentiable(x) for x, t in zip(leaves, tangents, strict=True)]
        return self(*leaves), _spread(is_active, self.of(is_active), tangents)

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            return tuple(
                [
                    y if batched else np.broadcast_to(y, (size, *shape_of(y)))
                    for y, batched in zip(self(*leaves), is_batched, strict=True)
                ]
            )

        return run


def _spread(mask: Sequence[bool], operation: Callable[..., tuple[Any, ...]], values: Sequence[Any]) -> tuple[Any, ...]:
    """The results of the operation on the values where `mask` is true, and None elsewhere."""
    given = [t for t, wanted in zip(values, mask, strict=True) if wanted]
    results = iter(operation(*given) if given else ())
    return tuple([next(results) if wanted else None for wanted in mask])


class AllReduce(Collective):
    """The sum or mean over ranks, for each entry."""

    name, setting, in_place = "all_reduce", "op", True

    def __init__(self, world: Any, op: str) -> None:
        super().__init__(world)
        self.op = op

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.all_reduce(arrays, outs, self.op)

    def adjoint(self) -> Collective:
        return self


class Extreme(AllReduce):
    """The greatest or least value over ranks, for each entry. Ranks that share it share the derivative evenly."""

    linear = False

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        results = self(*leaves)
        is_active = tuple([traced and is_differentiable(x) for traced, x in zip(is_traced, leaves, strict=True)])
        return results, (is_active, *[tuple(part) if part else () for part in (leaves, results)])

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        is_active, leaves, results = residuals
        chosen = self._chosen(is_active, leaves, results)
        ts = [t for t, wanted in zip(cotangents, is_active, strict=True) if wanted]
        both = AllReduce(self.world, "sum")(*chosen, *ts) if chosen else ()
        counts, totals = both[: len(chosen)], iter(both[len(chosen) :])
        known = [y for y, wanted in zip(results, is_active, strict=True) if wanted]
        shares = iter([_share(c, n, y, next(totals)) for c, n, y in zip(chosen, counts, known, strict=True)])
        return tuple([next(shares) if wanted else None for wanted in is_active])

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        results = self(*leaves)
        is_active = [t is not None and is_differentiable(x) for x, t in zip(leaves, tangents, strict=True)]
        total = AllReduce(self.world, "sum")
        chosen = self._chosen(is_active, leaves, results)
        counts = total(*chosen) if chosen else ()
        ts = [t for t, wanted in zip(tangents, is_active, strict=True) if wanted]
        known = [y for y, wanted in zip(results, is_active, strict=True) if wanted]
        terms = iter([_share(c, n, y, t) for c, n, y, t in zip(chosen, counts, known, ts, strict=True)])
        return results, _spread(is_active, total, [next(terms) if wanted else None for wanted in is_active])

    def _chosen(self, is_active: Sequence[bool], leaves: Sequence[Any], results: Sequence[Any]) -> list[Any]:
        """Where this rank has the extreme: 1, elsewhere 0. Where the extreme is NaN, every rank has it."""
        triples = zip(leaves, results, is_active, strict=True)
        return [((x == y) | (y != y)).astype(y.dtype) for x, y, wanted in triples if wanted]


def _share(chosen: Any, count: Any, y: Any, t: Any) -> Any:
    """This rank's share of t; NaN where the extreme is NaN, unless t is 0."""
    return np.where(chosen > 0, np.where((y == y) | (t == 0), t / count, np.nan), 0).astype(y.dtype)


class Along(Collective):
    """A collective that works along an axis of each leaf, counted from the end."""

    setting = "axes"

    def __init__(self, world: Any, axes: tuple[int, ...]) -> None:
        super().__init__(world)
        self.axes = axes

    def of(self, mask: Sequence[bool]) -> Collective:
        return type(self)(self.world, tuple([axis for axis, wanted in zip(self.axes, mask, strict=True) if wanted]))

    def shape(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        """The shape of the result."""
        raise NotImplementedError

    def run(self, *leaves: Any, into: Sequence[Any] | None = None) -> tuple[Any, ...]:
        outs = [
            np.empty_like(x, shape=self.shape(x.shape, axis), order="C") if out is None else out
            for x, axis, out in zip(leaves, self.axes, into or [None] * len(leaves), strict=True)
        ]
        if TALK.silent:
            for x, axis, out in zip(leaves, self.axes, outs, strict=True):
                self.example_along(x, axis, out)
            make_harmless(outs)
        else:
            self.communicate(leaves, outs)
        return tuple(outs)

    def example_along(self, x: Any, axis: int, out: Any) -> None:
        """Write a possible result into `out`."""
        raise NotImplementedError


class AllGather(Along):
    """The arrays of all ranks joined along an axis, in the order of ranks."""

    name = "all_gather"

    def shape(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        return _times(shape, axis, lambda n: n * self.world.size)

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.all_gather(arrays, outs, self.axes)

    def example_along(self, x: Any, axis: int, out: Any) -> None:
        out[...] = np.concatenate([x] * self.world.size, axis=axis)

    def adjoint(self) -> Collective:
        return ReduceScatter(self.world, self.axes)


class ReduceScatter(Along):
    """This rank's part, along an axis, of the sum over ranks."""

    name = "reduce_scatter"

    def shape(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        return _times(shape, axis, lambda n: n // self.world.size)

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.reduce_scatter(arrays, outs, self.axes)

    def example_along(self, x: Any, axis: int, out: Any) -> None:
        part = out.shape[axis]
        start = self.world.rank * part
        out[...] = x[(..., slice(start, start + part), *[slice(None)] * (-1 - axis))]

    def adjoint(self) -> Collective:
        return AllGather(self.world, self.axes)


def _times(shape: tuple[int, ...], axis: int, change: Callable[[int], int]) -> tuple[int, ...]:
    changed = list(shape)
    changed[axis] = change(changed[axis])
    return tuple(changed)


class Rooted(Collective):
    """A collective with a root, the rank that has the value or gets the sum."""

    setting, in_place = "root", True

    def __init__(self, world: Any, root: int) -> None:
        super().__init__(world)
        self.root = root


class Broadcast(Rooted):
    """The array of rank `root`, on every rank."""

    name = "broadcast"

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.broadcast(arrays, outs, self.root)

    def adjoint(self) -> Collective:
        return SumTo(self.world, self.root)


class SumTo(Rooted):
    """The sum over ranks on rank `root`, and zeros elsewhere: the adjoint of `Broadcast`."""

    name = "sum_to"

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.all_reduce(arrays, outs, "sum")
        if self.world.rank != self.root:
            for out in outs:
                out[...] = 0

    def adjoint(self) -> Collective:
        return Broadcast(self.world, self.root)


class Permute(Collective):
    """The array of another rank: what rank r has goes to rank `to[r]`."""

    name, setting = "permute", "to"

    def __init__(self, world: Any, to: tuple[int, ...]) -> None:
        super().__init__(world)
        self.to = to

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        rank = self.world.rank
        self.world.messages.permute(arrays, outs, self.to[rank], self.to.index(rank))

    def adjoint(self) -> Collective:
        return Permute(self.world, tuple([self.to.index(rank) for rank in range(len(self.to))]))


class Barrier(Collective):
    """All ranks wait for each other. The result is the number 0, because passes of the compiler look at results."""

    name = "barrier"

    def run(self, *leaves: Any, into: Sequence[Any] | None = None) -> tuple[Any, ...]:
        if not TALK.silent:
            self.communicate((), ())
        return (0,)

    def talk(self, arrays: Sequence[Any], outs: Sequence[Any]) -> None:
        self.world.messages.barrier()
