"""Optimisers around optimisers: accumulated gradients, slow weights, skipped steps, norms for logs."""

from functools import cached_property
from typing import Any, dataclass_transform

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..compiler.recording.examples import example_of
from ..compiler.recording.record import is_structured
from ..control.cond import cond
from ..errors import NanError, StructureError
from ..messages import describe
from ..ops.checks import checked
from ..tree import static
from .chains import unused
from .leaves import global_norm, leafwise, times, times_all, weak, widened, zeros_of
from .settings import Number, number, shown
from .transformation import GradientTransformation, State, Tree

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


class accumulate(Wrapper):
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

    def init(self, params: Tree) -> State:
        """Zeros, and the state of the optimiser."""
        total = trees.map(zeros_of, trees.trainable(params))
        return self.joined(self.optimiser.init(params), sum=total, batch=np.int64(0))

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the optimiser for the mean, or zeros."""
        inner = self.inner(state)
        total = leafwise(lambda g, s: s + widened(g), grads, state["sum"], names=("the state's sum",))
        number_of_batch, optimiser, share = state["batch"] + 1, self.optimiser, 1 / self.k
        is_last = number_of_batch >= self.k

        def step(total: Tree, inner: State, params: Tree) -> Any:
            updates, inner = optimiser.update(times_all(total, share), inner, params)
            return updates, inner, trees.map(zeros_of, total)

        def wait(total: Tree, inner: State, params: Tree) -> Any:
            return trees.map(zeros_of, total), inner, total

        updates, inner, total = cond(is_last, step, wait, total, inner, trees.trainable(params))
        left = fnp.where(is_last, 0, number_of_batch) + np.int64(0)
        return updates, self.joined(inner, sum=total, batch=left)


class lookahead(Wrapper):
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

    def init(self, params: Tree) -> State:
        """The parameters as slow weights, and the state of the optimiser."""
        slow = trees.map(lambda p: widened(p) * 1, trees.trainable(params))
        return self.joined(self.optimiser.init(params), slow=slow, since=np.int64(0))

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the optimiser, or those to the new slow weights."""
        updates, inner = self.optimiser.update(grads, self.inner(state), params)
        since, share = state["since"] + 1, self.share
        syncs = since >= self.k
        params = trees.trainable(params)
        slow = leafwise(
            lambda u, s, p: chosen(syncs, lambda: _like(s, s + times(widened(p) + u - s, share)), lambda: s),
            updates, state["slow"], params, names=("the state's slow", "the parameter"),
        )  # fmt: skip
        updates = leafwise(
            lambda u, s, p: chosen(syncs, lambda: s - widened(p), lambda: u),
            updates,
            slow,
            params,
            names=("the slow weights", "the parameter"),
        )
        return updates, self.joined(inner, slow=slow, since=fnp.where(syncs, 0, since) + np.int64(0))


def _like(before: Any, now: Any) -> Any:
    """A number of the kind of the one before: a Python number remains one."""
    return weak(now) if before.__class__ is float else now


class skip_nonfinite(Wrapper):
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
        zero = np.int64(0)
        return self.joined(self.optimiser.init(params), calls=zero, skipped=zero, in_a_row=zero)

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the optimiser, or zeros."""
        inner = self.inner(state)
        found = trees.flatten_with_path(grads)
        finite = [fnp.all(fnp.isfinite(g)) for _, g in found]
        good: Any = np.True_
        for is_finite in finite:
            good = fnp.logical_and(good, is_finite)
        calls, row = state["calls"] + 1, fnp.where(good, 0, state["in_a_row"] + 1) + np.int64(0)
        if found:
            self._give_up(row, calls, [path for path, _ in found], finite)
        zeros = trees.map(zeros_of, grads)

        def step() -> Any:
            return self.optimiser.update(grads, inner, params)

        updates, after = chosen(good, step, lambda: (zeros, inner))
        skipped = state["skipped"] + fnp.where(good, 0, 1)
        return updates, self.joined(after, calls=calls, skipped=skipped, in_a_row=row)

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

        checked(code, test=_is_negative, error=error)


def _is_negative(x: Any) -> Any:
    return x < 0


def chosen(condition: Any, yes: Any, no: Any) -> Any:
    """`yes()` or `no()`. In compiled code both are computed, so that no device is waited for."""
    if not is_structured(condition):
        return yes() if condition else no()

    def choose(a: Any, b: Any) -> Any:
        result = fnp.where(condition, a, b)
        # A number stays a number: an array without axes would be another kind of argument in the next step.
        return result if isinstance(example_of(b), np.ndarray) else result * np.asarray(1, result.dtype)[()]

    return trees.map(choose, yes(), no())


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
        return self.joined(self.optimiser.init(params), gradient_norm=np.float64(0), update_norm=np.float64(0))

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the optimiser."""
        updates, inner = self.optimiser.update(grads, self.inner(state), params)
        one = np.float64(1)
        norms = {"gradient_norm": global_norm(grads) * one, "update_norm": global_norm(updates) * one}
        return updates, self.joined(inner, **norms)
