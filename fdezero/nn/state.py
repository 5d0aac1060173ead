"""State that changes in a step: layers with statistics, and `step`, which runs a model and returns its successor."""

import sys
from collections.abc import Callable
from typing import Any

from .. import control
from ..compiler import Compiled
from ..compiler.recording.record import record
from ..core.tracer import tracers_of
from ..errors import FdezeroError, StructureError, TraceError
from ..numpy.arguments import Array
from ..transforms import stop_gradient
from ..tree import Module, statistic
from ..tree import structure as trees
from . import standing
from .abstract import called

__all__ = ["Checkpoint", "Stateful", "statistic", "step"]


class Stateful(Module):
    """Base of layers with statistics, which `nn.step` changes.

    A subclass declares its statistics, `mean: np.ndarray = nn.statistic()`, and defines `step`. It returns the result and a
    successor that differs in statistics alone. Users call the layer as any other.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.__call__ is not Stateful.__call__:
            raise StructureError(
                f"{cls.__name__} defines __call__, but nn.step runs step: put this code into step(self, x, *, key=None, train=False) "
                "-> (y, successor). A call gives the y of step."
            )
        super().__init_subclass__(**options)

    def step(self, x: Array, *args: Any, key: Array | None = None, train: bool = False) -> tuple[Any, Any]:
        """`(y, successor)`. With train=False, the successor is the layer itself."""
        raise NotImplementedError(
            f"{type(self).__name__} defines step(self, x, *, key=None, train=False) -> (y, successor)."
        )

    def __call__(self, x: Array, *args: Any, key: Array | None = None, train: bool = False, **options: Any) -> Any:
        """The result of `step` alone. Raises StructureError for train=True outside `nn.step`, where statistics would be lost."""
        kind: Any = type(self)
        if train and not standing.facts_of(kind).holds_still:
            raise StructureError(
                f"{type(self).__name__} with train=True changes its statistics, so its successor must be kept. Run the whole model by "
                "nn.step: y, model = nn.step(model, x, key=key, train=True)."
            )
        return self.step(x, *args, key=key, train=False, **options)[0]


def step(
    model: Any, x: Any, *more: Any, key: Array | None = None, train: bool = True, call: Callable[..., Any] | None = None
) -> tuple[Any, Any]:
    """`(y, successor)`: `model(x, *more)`, with `key` and `train` if the model takes them, and the model with its new statistics.

    Only statistics differ in the successor, and they are constants of every derivative. A layer that is called twice goes on from its
    first call. Layers within `Frozen` keep their statistics and use them. `call(model, x, *more)` runs in place of `model(...)`,
    for a model that is a tree of layers.

    Raises StructureError for a layer that changes more than its statistics; TraceError, with its path, for a layer that runs within
    `fd.scan`, `fd.cond`, `fd.while_loop`, `fd.checkpoint`, `fd.compile` or `fd.vmap` inside the model.
    """
    run: dict[tuple[int, bool], _Statistics] = {}

    def replace(copy: Any, node: standing.Node) -> Any:
        if not isinstance(copy, Stateful):
            return copy
        recorder = run[id(node.value), node.frozen] = _Statistics(node, run)
        recorder.stand = standing.stand_in(copy, recorder, node.path)
        object.__setattr__(recorder.stand, "step", recorder.step)
        return recorder.stand

    def succeed(copy: Any, node: standing.Node) -> Any:
        return _succeeded(copy, run.get((id(node.value), node.frozen)))

    changed: set[int] = set()
    try:
        y = called(standing.rebuilt(model, replace, changed=changed), x, more, key, train, call)
        return y, standing.rebuilt(model, succeed, within=changed) if run else model
    finally:
        for recorder in run.values():
            recorder.close()


class _Statistics:
    """Keeps the statistics of one layer up to date in its stand-in while a model runs."""

    __slots__ = ("detached", "has_changed", "is_held", "node", "outer", "run", "stand")

    def __init__(self, node: standing.Node, run: Any) -> None:
        self.node, self.run, self.stand, self.has_changed = node, run, None, False
        self.outer = standing.recorder_of(node.value)  # of a step that runs around this one
        self.is_held = node.frozen or standing.policy_of(node.value) is _held
        self.detached = _held if self.is_held else _lost

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The layer's own step, from the statistics that its last call left."""
        if self.stand is None:
            raise _misplaced(stand, self.node.path, "was kept by the model, and ran after nn.step had returned")
        layer = standing.original(stand, statistics_in(self.stand))
        if self.is_held:
            return layer(*args, **options | {"train": False})
        self.refuse_escaped()
        try:
            y, successor = layer.step(*args, **options)
        except FdezeroError as error:  # also within a model of a user's own, which adds no paths
            error.within(self.node.path)
            raise
        if successor is not layer:
            if (
                self.outer is None and standing.policy_of(self.node.value) is _lost
            ):  # of a step around this one, which sees nothing
                raise _misplaced(stand, getattr(self.node.value, standing.DETACHED)[0], REBUILT)
            self.refuse_loops()
            self.update(changes_of(layer, successor, self.node.path))
        return y

    def step(self, *args: Any, **options: Any) -> Any:
        """The layer's own `step`, which a model calls only by mistake: the step around it would not see the successor."""
        if options.get("train") and not self.is_held:
            raise StructureError(
                f"the step of {type(self.stand).__name__} at {self.node.path or 'the root'} was called within nn.step, "
                "so its successor would be lost. Call the layer: y = layer(x, train=train)."
            )
        return standing.original(self.stand, statistics_in(self.stand)).step(*args, **options | {"train": False})

    def update(self, statistics: dict[str, Any]) -> None:
        """Take the statistics that the layer has now."""
        if self.is_held:
            return
        self.has_changed = True
        for name, value in statistics.items():
            object.__setattr__(self.stand, name, value if value.__class__ in standing.LEAVES else stop_gradient(value))
        if self.outer is not None:
            self.outer.refuse_loops()
            self.outer.update(statistics)

    def close(self) -> None:
        """Let go of the stand-in, which refers to this recorder: no collection is needed to free the arrays of both."""
        self.stand, self.run = None, None

    def refuse_escaped(self) -> None:
        """Raise TraceError for statistics that a transform inside the model has left behind."""
        if not self.has_changed:
            return
        for value in statistics_in(self.stand).values():
            for leaf in () if value.__class__ in standing.LEAVES else trees.leaves(value):
                for tracer in tracers_of(leaf):
                    if not tracer.level.alive:
                        raise _misplaced(self.stand, self.node.path, f"ran within {tracer.level.name}")

    def refuse_loops(self) -> None:
        """Raise TraceError if the running code stands inside a transform that may run it any number of times.

        Eagerly a loop is a Python loop, and its rounds would change the statistics one after the other; but not if it is compiled.
        """
        frame: Any = sys._getframe(1)
        found = ""
        while frame is not None and not (frame.f_code is step.__code__ and frame.f_locals["run"] is self.run):
            found = _RUNS_ANY_NUMBER.get(frame.f_code.co_filename, found)
            frame = frame.f_back
        if found:
            raise _misplaced(self.stand, self.node.path, f"ran within {found}")


REBUILT = "is an argument of a transform, or part of a tree that was built again, and ran"

# The files of transforms that may run a function once for its program, or once a round
_RUNS_ANY_NUMBER = {
    function.__code__.co_filename: name
    for name, function in (
        ("fd.scan", control.scan),
        ("fd.cond", control.cond),
        ("fd.while_loop", control.while_loop),
        ("fd.checkpoint", control.checkpoint),
        ("fd.compile", Compiled.__call__),
        ("fd.compile", record),
    )
}


def _misplaced(layer: Any, path: str, what: str) -> TraceError:
    error = TraceError(
        f"{type(layer).__name__} at {path or 'the root'} {what} with train=True, inside the model. nn.step takes statistics from calls "
        "that run once: call the layer outside the transform, with train=False, or by nn.Checkpoint(layer) in place of fd.checkpoint."
    )
    error.has_whole_path = True  # the message says the path
    return error


def _lost(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if options.get("train"):
        raise _misplaced(layer, path, REBUILT)
    return layer(*args, **options)


def _held(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return layer(*args, **options | {"train": False})


class Checkpoint(Module):
    """`layer`, for which reverse mode keeps only the arguments and computes the rest again on the way back (`fd.checkpoint`).

    Statistics within reach the `nn.step` around it. It stands in a model, or wraps a layer for one call:
    `nn.Checkpoint(block)(x, key=key, train=train)`.
    """

    layer: Any

    def __call__(self, x: Any, *more: Any, key: Array | None = None, train: bool = False) -> Any:
        """`layer(x, *more)`, with `key` and `train` if the layer takes them."""
        return lifted(control.checkpoint, self.layer, (x, *more), key, train)


def lifted(transform: Callable[..., Any], layer: Any, args: Any, key: Array | None, train: bool) -> Any:
    """`transform` of a layer's call, through which the statistics of the layer reach the step around it."""
    layers = standing.layers_of(layer)
    if any(not isinstance(standing.recorder_of(node.value), _Statistics | None) for node in layers):
        return called(layer, args[0], args[1:], key, train)  # other recorders must see the calls themselves
    inside = [node for node in layers if isinstance(node.value, Stateful)]
    recorders = {node.path: standing.recorder_of(node.value) for node in inside}
    if not train or not any(recorders.values()):
        return transform(lambda layer, args, key: called(layer, args[0], args[1:], key, train))(layer, args, key)

    def run(layer: Any, args: Any, key: Any) -> Any:
        y, successor = step(_unmarked(layer), args[0], *args[1:], key=key, train=train)
        return y, {
            node.path: statistics_in(node.value)
            for node in standing.layers_of(successor)
            if isinstance(node.value, Stateful)
        }

    y, statistics = transform(run)(layer, args, key)
    if several := sorted(statistics.keys() - recorders.keys()):
        raise _misplaced(layer, several[0], "stands at several paths of a layer within nn.Checkpoint, and ran")
    for path, changes in statistics.items():
        recorders[path].update(changes)
    return y


def _unmarked(tree: Any) -> Any:
    """A tree that was built again, whose statistics the caller of `step` hands to the step around it."""

    def plain(copy: Any, node: standing.Node) -> Any:
        return standing.original(copy) if standing.policy_of(copy) is _lost else copy

    return standing.rebuilt(tree, plain)


def statistics_in(layer: Any) -> dict[str, Any]:
    """The statistics of a layer by name."""
    return {name: getattr(layer, name) for name in standing.facts_of(layer.__class__).statistics}


def changes_of(layer: Any, successor: Any, path: str) -> dict[str, Any]:
    """The statistics of a successor. Raises StructureError if anything else has changed."""
    kind: Any = type(layer)
    facts = standing.facts_of(kind)
    where = f"{kind.__name__}.step at {path or 'the root'}"
    if type(successor) is not kind:
        raise StructureError(f"{where} returned {type(successor).__name__} as its successor.")
    for name in facts.fields:
        if name not in facts.statistics and not _same(getattr(layer, name), getattr(successor, name)):
            raise StructureError(
                f"{where} changed {name}, which is not a statistic. Declare it: {name}: Array = nn.statistic()."
            )
    return statistics_in(successor)


def _same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    ours, theirs = trees.leaves(old), trees.leaves(new)
    return len(ours) == len(theirs) and all(
        a is b or (not hasattr(a, "shape") and a == b) for a, b in zip(ours, theirs, strict=True)
    )


def _succeeded(copy: Any, recorder: _Statistics | None) -> Any:
    if recorder is None:
        return copy
    recorder.refuse_escaped()
    if recorder.has_changed:
        return standing.original(copy, statistics_in(recorder.stand))
    return standing.original(copy) if standing.is_stand_in(copy) else copy
