"""Optimisers around optimisers: accumulated gradients, slow weights, skipped steps, norms for logs."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias, dataclass_transform

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..compiler.recording.examples import example_of
from ..compiler.recording.record import is_structured
from ..control.cond import cond
from ..devices import backend_of
from ..errors import NanError, StructureError
from ..messages import describe
from ..ops.checks import checked
from ..tree import static
from .chains import unused
from .leaves import (
    apply_updates,
    global_norm,
    leafwise,
    refuse_parts,
    side_by_side,
    times,
    times_all,
    weak,
    widened,
    zero_beside,
    zeros_of,
)
from .settings import Number, is_negative, number, shown
from .transformation import GradientTransformation, Params, State, Tree

__all__ = ["accumulate", "lookahead", "monitor", "skip_nonfinite"]


def _optimiser(value: Any, owner: Any, field: Any) -> GradientTransformation:
    if not isinstance(value, GradientTransformation):
        raise StructureError(
            f"{type(owner).__name__} wraps an optimiser, such as optim.adam(1e-3); got {describe(value)}."
        )
    return value


def wrapped() -> Any:
    """A field for the optimiser inside another."""
    return attrs.field(converter=attrs.Converter(_optimiser, takes_self=True, takes_field=True))


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, number, wrapped))
class Wrapper(GradientTransformation):
    """Base of optimisers around an `optimiser`, whose state lies beside their own, or in a folder if both share a name."""

    @property
    def optimiser(self) -> GradientTransformation:
        """The optimiser inside."""
        raise NotImplementedError

    @property
    def own(self) -> tuple[str, ...]:
        """The names that this class adds to the state."""
        raise NotImplementedError

    @cached_property
    def folder(self) -> str | None:
        """Where the state of the optimiser lies: None for beside the own names."""
        entries = self.optimiser.entries
        if entries is None or set(entries) & set(self.own):
            return unused(self.optimiser.name, set(self.own))
        return None

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The own names, and those of the optimiser."""
        return (*self.own, *((self.folder,) if self.folder else self.optimiser.entries or ()))

    def for_params(self, params: Tree) -> GradientTransformation:
        """The optimiser inside as it is for these parameters."""
        inside = self.optimiser.for_params(params)
        return self if inside is self.optimiser else self.replace(optimiser=inside)

    def inner(self, state: State) -> State:
        """The state of the optimiser inside."""
        self.check(state)
        return state[self.folder] if self.folder else {name: state[name] for name in self.optimiser.entries or ()}

    def __repr__(self) -> str:
        settings = [f"{name}={shown(getattr(self, name))}" for name in (f.name for f in attrs.fields(type(self))[1:])]
        return f"{self.name}({', '.join([shown(self.optimiser), *settings])})"

    def joined(self, inner: State, **own: Any) -> State:
        """The whole state."""
        return own | ({self.folder: inner} if self.folder else inner)


Finish: TypeAlias = Callable[[Tree, Tree | None], Tree]  # of parameters and updates, or None for no move


class Branching(Wrapper):
    """Base of wrappers that sometimes do not move. `advance` says what happens, for updates and for parameters alike.

    A step that does not move hands the parameters on, so it neither adds zeros nor makes them.
    """

    def advance(self, grads: Tree, state: State, params: Tree, finish: Finish) -> tuple[Tree, State]:
        """What `finish(params, updates)` makes of the updates, and the new state. `params` has None for what is not trained."""
        raise NotImplementedError

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates, zeros for no move, and the new state."""
        self.check(state)
        return self.advance(grads, state, trees.trainable(params), _as_updates)

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the new state. Raises as the step of every transformation does."""
        leaves, _, treedef = side_by_side(params, grads, "grads")
        self.check(state)
        moved, state = self.advance(grads, state, trees.trainable(params), _as_params)
        new = trees.flatten_trainable(moved)[0]
        return trees.unflatten(treedef, [p if n is None else n for p, n in zip(leaves, new, strict=True)]), state


def _as_updates(params: Tree, updates: Tree | None) -> Tree:
    return trees.map(zeros_of, params) if updates is None else updates


def _as_params(params: Tree, updates: Tree | None) -> Tree:
    return params if updates is None else apply_updates(params, updates)


class accumulate(Branching):
    """One step of the optimiser for the mean gradient of `k` batches, which takes as little memory as a batch.

    The other steps change nothing but the sum. The result is that of a batch k times as large, to rounding, if the loss is a mean
    and the batches are equally large.
    """

    optimiser: GradientTransformation = wrapped()
    k: int = number(least=1, whole=True)

    own = ("sum", "batch")

    @property
    def counts(self) -> bool:
        """The steps of the optimiser are fewer than the updates."""
        return False

    @property
    def elementwise(self) -> bool:
        """As the optimiser."""
        return self.optimiser.elementwise

    def init(self, params: Tree) -> State:
        """Zeros, and the state of the optimiser."""
        total = trees.map(zeros_of, trees.trainable(params))
        return self.joined(self.optimiser.init(params), sum=total, batch=np.int64(0))

    def advance(self, grads: Tree, state: State, params: Tree, finish: Finish) -> tuple[Tree, State]:
        """The move of the optimiser for the mean gradient, or none."""
        optimiser, share, number_of_batch = self.optimiser, 1 / self.k, state["batch"] + 1
        is_last = number_of_batch >= self.k

        def added(grads: Tree, total: Tree) -> Tree:
            return leafwise(lambda g, s: s + widened(g), grads, total, names=("the state's sum",))

        def step(grads: Tree, total: Tree, inner: State, params: Tree) -> Any:
            updates, inner = optimiser.update(times_all(added(grads, total), share), inner, params)
            return finish(params, updates), inner, trees.map(zeros_of, total)

        def wait(grads: Tree, total: Tree, inner: State, params: Tree) -> Any:
            return finish(params, None), inner, added(grads, total)

        moved, inner, total = either(is_last, step, wait, grads, state["sum"], self.inner(state), params)
        left = fnp.where(is_last, 0, number_of_batch) + np.int64(0)
        return moved, self.joined(inner, sum=total, batch=left)


class lookahead(Branching):
    """Slow weights that go `share` of the way to those of the optimiser every `k` steps, from where it goes on.

    Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019.
    """

    optimiser: GradientTransformation = wrapped()
    k: int = number(default=5, least=1, whole=True)
    share: Number = number(default=0.5, least=0, most=1)

    own = ("slow", "since")

    @property
    def counts(self) -> bool:
        """As the optimiser."""
        return self.optimiser.counts

    @property
    def elementwise(self) -> bool:
        """As the optimiser."""
        return self.optimiser.elementwise

    def init(self, params: Tree) -> State:
        """The parameters as slow weights, and the state of the optimiser."""
        slow = trees.map(lambda p: widened(p) * 1, trees.trainable(params))
        return self.joined(self.optimiser.init(params), slow=slow, since=np.int64(0))

    def advance(self, grads: Tree, state: State, params: Tree, finish: Finish) -> tuple[Tree, State]:
        """The move of the optimiser, or that to the new slow weights."""
        updates, inner = self.optimiser.update(grads, self.inner(state), params)
        since, share = state["since"] + 1, self.share
        syncs = since >= self.k

        def sync(updates: Tree, slow: Tree, params: Tree) -> Any:
            slow = leafwise(
                lambda u, s, p: _like(s, s + times(widened(p) + u - s, share)),
                updates, slow, params, names=("the state's slow", "the parameter"),
            )  # fmt: skip
            return finish(params, trees.map(lambda s, p: s - widened(p), slow, params)), slow

        def go_on(updates: Tree, slow: Tree, params: Tree) -> Any:
            return finish(params, updates), slow

        moved, slow = either(syncs, sync, go_on, updates, state["slow"], params)
        return moved, self.joined(inner, slow=slow, since=fnp.where(syncs, 0, since) + np.int64(0))


def _like(before: Any, now: Any) -> Any:
    """A number of the kind of the one before: a Python number remains one."""
    return weak(now) if before.__class__ is float else now


class skip_nonfinite(Branching):
    """Steps whose gradient has a NaN or an infinity change nothing. More than `most` of them in a row raise NanError.

    The state counts `skipped` steps, those `in_a_row`, and the `calls`. The error names the step and the leaf, also in compiled code.
    On a GPU nothing waits for the count, so there is no error: look at `optim.inspect(state)["in_a_row"]`.
    """

    optimiser: GradientTransformation = wrapped()
    most: int = number(default=10, least=0, whole=True)

    own = ("calls", "skipped", "in_a_row")

    @property
    def counts(self) -> bool:
        """Skipped steps do not count."""
        return False

    def init(self, params: Tree) -> State:
        """No step was skipped, and the state of the optimiser."""
        refuse_parts(self.name, params)
        skipped, row = zero_beside(params, np.int64), zero_beside(params, np.int64)
        # On a GPU all counts inside depend on numbers of the device, so they lie there from the start.
        inner = trees.map(
            lambda x: zero_beside(params, x.dtype) + x if isinstance(x, np.generic) else x, self.optimiser.init(params)
        )
        return self.joined(inner, calls=np.int64(0), skipped=skipped, in_a_row=row)

    def advance(self, grads: Tree, state: State, params: Tree, finish: Finish) -> tuple[Tree, State]:
        """The move of the optimiser, or none."""
        found, optimiser = trees.flatten_with_path(grads), self.optimiser
        finite = [fnp.all(fnp.isfinite(g)) for _, g in found]
        good: Any = np.True_
        for is_finite in finite:
            good = fnp.logical_and(good, is_finite)
        calls, row = state["calls"] + 1, fnp.where(good, 0, state["in_a_row"] + 1) + np.int64(0)
        if found:
            self._give_up(row, calls, [path for path, _ in found], finite)

        def step(grads: Tree, inner: State, params: Tree) -> Any:
            updates, inner = optimiser.update(grads, inner, params)
            return finish(params, updates), inner

        def skip(grads: Tree, inner: State, params: Tree) -> Any:
            return finish(params, None), inner

        moved, inner = either(good, step, skip, grads, self.inner(state), params)
        skipped = state["skipped"] + fnp.where(good, 0, 1)
        return moved, self.joined(inner, calls=calls, skipped=skipped, in_a_row=row)

    def _give_up(self, row: Any, calls: Any, paths: list[str], finite: list[Any]) -> None:
        """Raise NanError if too many steps in a row were skipped."""
        first = fnp.where(finite[-1], 0, len(paths) - 1)
        for i in range(len(paths) - 2, -1, -1):
            first = fnp.where(finite[i], first, i)
        # One number tells the check all that the error says: -1, or the call and the leaf.
        code = fnp.where(row > self.most, calls * len(paths) + first, -1)
        most = self.most

        def error(code: Any) -> NanError:
            call, place = divmod(int(np.max(code)), len(paths))
            return NanError(
                f"skip_nonfinite: the gradient of {paths[place] or 'the parameter'} has a NaN or an infinity in step {call - 1}, "
                f"and more than {most} steps in a row were skipped. fd.debug(step)(...) names the operation that made it."
            )

        checked(code, test=is_negative, error=error)


def either(condition: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    """`yes(*operands)` or `no(*operands)`. On a GPU compiled code computes both, because a branch would wait for the condition."""
    if not is_structured(condition) or backend_of(example_of(condition)).reads_at_once:
        return cond(condition, yes, no, *operands)

    def choose(a: Any, b: Any) -> Any:
        result = fnp.where(condition, a, b)
        # A number stays a number: an array without axes would be another kind of argument in the next step.
        return result * np.asarray(1, result.dtype)[()] if isinstance(example_of(b), np.generic) else result

    return trees.map(choose, yes(*operands), no(*operands))


class monitor(Wrapper):
    """The norms of the gradients that come in and of the updates that go out, kept for logs: see `optim.inspect`."""

    optimiser: GradientTransformation = wrapped()

    own = ("gradient_norm", "update_norm")

    @property
    def counts(self) -> bool:
        """As the optimiser."""
        return self.optimiser.counts

    def init(self, params: Tree) -> State:
        """Zeros, and the state of the optimiser."""
        refuse_parts(self.name, params)
        of_grads, of_updates = zero_beside(params, np.float64), zero_beside(params, np.float64)
        return self.joined(self.optimiser.init(params), gradient_norm=of_grads, update_norm=of_updates)

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the optimiser."""
        updates, inner = self.optimiser.update(grads, self.inner(state), params)
        one = np.float64(1)
        norms = {"gradient_norm": global_norm(grads) * one, "update_norm": global_norm(updates) * one}
        return updates, self.joined(inner, **norms)
