"""State that changes in a step: layers with statistics, and `step`, which runs a model and returns its successor."""

from collections.abc import Callable
from typing import Any

from ..errors import StructureError, TraceError
from ..numpy.arguments import Array
from ..transforms import stop_gradient
from ..tree import Module, statistic
from ..tree import structure as trees
from . import standing
from .abstract import called

__all__ = ["Stateful", "statistic", "step"]


class Stateful(Module):
    """Base of layers with statistics, which `nn.step` changes.

    A subclass declares its statistics, `mean: np.ndarray = nn.statistic()`, and defines `step`, which returns the result and a
    successor that differs in statistics alone. Users call the layer as any other.
    """

    def step(self, x: Array, *args: Any, key: Array | None = None, train: bool = False) -> tuple[Any, Any]:
        """`(y, successor)`. With train=False, the successor is the layer itself."""
        raise NotImplementedError(
            f"{type(self).__name__} defines step(self, x, *, key=None, train=False) -> (y, successor)."
        )

    def __call__(self, x: Array, *args: Any, key: Array | None = None, train: bool = False, **options: Any) -> Any:
        """The result of `step` alone. Raises StructureError for train=True outside of `nn.step`, where statistics would be lost."""
        if train:
            raise StructureError(
                f"{type(self).__name__} with train=True changes its statistics, so its successor must be kept. Run the whole model by "
                "nn.step: y, model = nn.step(model, x, key=key, train=True)."
            )
        return self.step(x, *args, key=key, train=train, **options)[0]


def step(
    model: Any, x: Any, *more: Any, key: Array | None = None, train: bool = True, call: Callable[..., Any] | None = None
) -> tuple[Any, Any]:
    """`(y, successor)`: `model(x, *more)`, with `key` and `train` if the model takes them, and the model with its new statistics.

    Only statistics differ in the successor. A layer that is called twice goes on from its first call. Layers within `Frozen` keep
    their statistics and use them. `call(model, x, *more)` runs in place of `model(...)`, for a model that is a tree of layers.

    Raises StructureError for a layer that changes more than its statistics; TraceError, with its path, for a layer that runs within
    `fd.scan`, `fd.checkpoint`, `fd.vmap` or `fd.compile` inside of the model.
    """
    recorders: dict[tuple[int, bool], _Statistics] = {}

    def replace(copy: Any, node: standing.Node) -> Any:
        if not isinstance(copy, Stateful):
            return copy
        recorder = recorders[id(node.value), node.frozen] = _Statistics(node)
        recorder.stand = standing.stand_in(copy, recorder, node.path)
        return recorder.stand

    y = called(standing.rebuilt(model, replace), x, more, key, train, call)
    return y, standing.rebuilt(
        model, lambda copy, node: _succeeded(copy, recorders.get((id(node.value), node.frozen)))
    ) if recorders else model


class _Statistics:
    """Keeps the statistics of one layer up to date in its stand-in while a model runs."""

    __slots__ = ("detached", "has_changed", "is_held", "node", "outer", "stand")

    def __init__(self, node: standing.Node) -> None:
        self.node, self.stand, self.has_changed = node, None, False
        self.outer = standing.recorder_of(node.value)  # of a step that runs around this one
        self.is_held = node.frozen or standing.policy_of(node.value) is _held
        self.detached = _held if self.is_held else _lost

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The layer's own step, from the statistics that its last call left."""
        self.refuse_escaped()
        layer = standing.original(self.stand)
        if self.is_held:
            return layer(*args, **options | {"train": False})
        y, successor = layer.step(*args, **options)
        if successor is not layer:
            self.update(stop_gradient(changes_of(layer, successor, self.node.path)))
        return y

    def update(self, statistics: dict[str, Any]) -> None:
        """Take the statistics that the layer has now."""
        self.has_changed = True
        for name, value in statistics.items():
            object.__setattr__(self.stand, name, value)
        if self.outer is not None:
            self.outer.update(statistics)

    def refuse_escaped(self) -> None:
        """Raise the error for statistics that a transform inside of the model has left behind."""
        if self.has_changed:
            standing.refuse_escaped(statistics_in(self.stand), self.node.path, "the statistics", INSTEAD)


INSTEAD = (
    "Call the layer outside of it; or run it by nn.checkpoint(layer) or by nn.step inside, and return its successor."
)


def _lost(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if options.get("train"):
        raise TraceError(
            f"{type(layer).__name__} at {path or 'the root'} was given to a transform inside of the model (fd.scan, fd.vmap, "
            f"fd.checkpoint, fd.compile, fd.tree.map), where nn.step would lose its statistics. {INSTEAD}"
        )
    return layer(*args, **options)


def _held(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return layer(*args, **options | {"train": False})


def statistics_in(layer: Any) -> dict[str, Any]:
    """The statistics of a layer by name."""
    return {name: getattr(layer, name) for name in trees.statistics_of(type(layer))}


def changes_of(layer: Any, successor: Any, path: str) -> dict[str, Any]:
    """The statistics of a successor. Raises StructureError if anything else has changed."""
    kind = type(layer)
    where = f"{kind.__name__}.step at {path or 'the root'}"
    if type(successor) is not kind:
        raise StructureError(f"{where} returned {type(successor).__name__} as its successor.")
    statistics = trees.statistics_of(kind)
    for field in kind.__attrs_attrs__:
        name = field.name
        if name not in statistics and not _same(getattr(layer, name), getattr(successor, name)):
            raise StructureError(
                f"{where} changed {name}, which is not a statistic. Declare it: {name}: Array = nn.statistic()."
            )
    return statistics_in(successor)


def _same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    ours, theirs = trees.leaves(old), trees.leaves(new)
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))


def _succeeded(copy: Any, recorder: _Statistics | None) -> Any:
    if recorder is None:
        return copy
    recorder.refuse_escaped()
    if recorder.has_changed:
        return standing.original(copy, statistics_in(recorder.stand))
    return standing.original(copy) if standing.is_stand_in(copy) else copy
