"""Values in between: `capture` runs a model and also returns what chosen layers gave, or puts other values in their place."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.tracer import tracers_of
from ..errors import StructureError, TraceError
from ..numpy.arguments import Array
from ..tree import structure as trees
from ..tree.patterns import is_pattern
from . import standing
from .abstract import called
from .places import Place, matching, places

__all__ = ["capture"]


def capture(
    model: Any,
    x: Any,
    *more: Any,
    paths: str | Iterable[str] = (),
    replace: Mapping[str, Any] | None = None,
    key: Array | None = None,
    train: bool = False,
    call: Callable[..., Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """`(y, {path: output})`: `model(x, *more)` and the outputs of the layers at `paths`, such as "blocks/4" or "blocks/*".

    A second call of the layer at "norm" is at "norm#2". `replace` puts a value in place of an output, to differentiate `y` by the
    value: `fd.grad(lambda a: nn.capture(model, x, replace={path: a})[0][0, 3])(a)`. A function in `replace` gets the output, such as
    `lambda a: a + noise`. `call(model, x, *more)` runs in place of `model(...)`.

    Raises StructureError for a path without a layer, with the paths that are near, and for a layer that is not called. Raises
    TraceError for a layer that runs within `fd.scan`, `fd.vmap`, ... inside the model.
    """
    replace = dict(replace or {})
    wanted = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]
    layers = [place for place in places(model) if is_layer(place.value)]
    recorders: dict[int, _Outputs] = {}
    outputs: dict[str, Any] = {}
    chosen = {place.path: place for place in matching(map(_without_call, wanted), layers, "nn.capture")}
    for path in replace:
        hits = matching([_without_call(path)], layers, "nn.capture: replace")
        if len(hits) > 1:
            several = ", ".join(place.path or "the root" for place in hits)
            raise StructureError(f"nn.capture: replace has a value for each path, but {path!r} stands for {several}.")
        chosen[hits[0].path] = hits[0]
    for place in chosen.values():
        recorders.setdefault(id(place.value), _Outputs(place, replace, outputs)).names.append(place.path)

    def stand_in(copy: Any, node: standing.Node) -> Any:
        recorder = recorders.get(id(node.value))
        return copy if recorder is None else standing.stand_in(copy, recorder, recorder.place.path)

    y = called(standing.rebuilt(model, stand_in), x, more, key, train, call)
    return y, _found(outputs, wanted, replace, chosen)


def _without_call(path: Any) -> Any:
    """The path of a layer, without the number of a call, as in `norm#2`."""
    return path.partition("#")[0] if isinstance(path, str) else path


def is_layer(value: Any) -> bool:
    """Whether a node of a tree is a layer that can be called."""
    return hasattr(type(value), "__attrs_attrs__") and callable(value)


class _Outputs:
    """Notes the outputs of one layer, under every name that was asked for."""

    def __init__(self, place: Place, replace: dict[str, Any], outputs: dict[str, Any]) -> None:
        self.place, self.replace, self.outputs = place, replace, outputs
        self.outer = standing.recorder_of(place.value)
        self.names: list[str] = []
        self.calls = 0
        self.detached = _refuse

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The output of the layer, or what stands in its place."""
        self.calls += 1
        names = [path if self.calls == 1 else f"{path}#{self.calls}" for path in self.names]
        given = [self.replace[name] for name in names if name in self.replace]
        if given and not callable(given[0]):
            y = given[0]
        else:
            y = standing.through(self.outer, stand, args, options)
            for function in given:
                y = function(y)
        self.outputs.update(dict.fromkeys(names, y))
        return y


def _refuse(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    raise TraceError(
        f"nn.capture: {type(layer).__name__} at {path or 'the root'} is an argument of a transform inside the model (fd.scan, fd.vmap, "
        "fd.checkpoint, fd.compile), where its output belongs to one round or example. Capture what the model does with the result."
    )


def _found(
    outputs: dict[str, Any], wanted: list[str], replace: dict[str, Any], chosen: dict[str, Place]
) -> dict[str, Any]:
    """The outputs that were asked for. Raises for those that are missing, or that belong to a transform which has returned."""
    missing = [path for path in [*wanted, *replace] if path not in outputs and not is_pattern(path)]
    if missing:
        raise StructureError(f"nn.capture: the model did not call the layers at {', '.join(map(repr, missing))}.")
    every_call = [path for path in wanted if "#" not in path]
    asked = {place.path for place in matching(every_call, list(chosen.values()), "nn.capture")}
    found = {name: y for name, y in outputs.items() if _without_call(name) in asked or name in wanted}
    for name, y in found.items():
        for leaf in trees.leaves(y):
            for tracer in tracers_of(leaf):
                if not tracer.level.alive:
                    raise TraceError(
                        f"nn.capture: the layer at {name!r} ran within {tracer.level.name}, inside the model, so its output belongs to "
                        "one round or example. Capture what the model does with the result."
                    )
    return found
