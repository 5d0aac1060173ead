"""Freezing by path: layers and fields that `grad` and optimisers pass over, in a model that is otherwise the same."""

import threading
from collections.abc import Callable
from typing import Any

from ..errors import StructureError
from ..messages import describe
from ..tree import Frozen
from ..tree import structure as trees
from . import standing
from .places import Place, matching, places

__all__ = ["freeze", "thaw"]

Change = Callable[[frozenset[str], frozenset[str]], frozenset[str]]

_classes: dict[tuple[type, frozenset[str]], type] = {}
_lock = threading.Lock()  # two threads must not make a class twice, because a class is registered once


def freeze(model: Any, *patterns: str) -> Any:
    """`model` with the layers and fields at paths like `"features/*"` or `"**/b"` frozen; with everything frozen if there is no pattern.

    `grad` returns None for them and optimisers leave them alone. Layers keep their class, fields and paths, so files fit as before.
    Frozen layers with statistics use them also in training. `*` is one part of a path, `**` any number of parts.

    Raises StructureError for a pattern that matches nothing, with the paths that are near, and for an array in a list or a dict.
    """
    return _changed(model, patterns, "nn.freeze", lambda fields, chosen: fields | chosen)


def thaw(model: Any, *patterns: str) -> Any:
    """`model` with the layers and fields at these paths trained again, or all of them: the inverse of `freeze`, also of `Frozen`.

    Raises as `freeze` does.
    """
    return _changed(model, patterns, "nn.thaw", lambda fields, chosen: fields - chosen)


def _changed(model: Any, patterns: tuple[str, ...], what: str, change: Change) -> Any:
    known = places(model)
    marks: dict[int, set[str]] = {}  # the fields to change, by the layer that has them
    opened: set[int] = set()

    def mark(place: Place) -> None:
        layer = has_fields(place.value)
        if layer and what == "nn.thaw" and type(place.value) is Frozen:
            opened.add(id(place.value))
        below = [
            Place(f"{place.path}/{name}", child, place.value, name) for name, child in standing.children(place.value)
        ]
        if not layer and has_fields(place.holder) and not holds_layers(place.value):
            marks.setdefault(id(place.holder), set()).add(place.name)
        elif not layer and not below and trees.leaves(place.value):
            raise StructureError(
                f"{what}: {describe(place.value)} at {place.path or 'the root'} is no field of a layer. Wrap it: fd.Frozen(x)."
            )
        else:
            for child in below:
                mark(child)

    for place in matching(patterns, known, what) if patterns else known[:1]:
        mark(place)

    def replaced(copy: Any, node: standing.Node) -> Any:
        if id(node.value) in opened:
            return copy.value
        kind = type(node.value)
        now = change(trees.frozen_in(kind), frozenset(marks.get(id(node.value), ())))
        return copy if now == trees.frozen_in(kind) else standing.copied(copy, frozen_class(kind, now))

    return standing.rebuilt(model, replaced)


def has_fields(value: Any) -> bool:
    """Whether a node of a tree is an object with fields, as layers are."""
    return hasattr(type(value), "__attrs_attrs__")


def holds_layers(value: Any) -> bool:
    """Whether there is an object with fields in a tree."""
    return has_fields(value) or any(holds_layers(child) for _, child in standing.children(value))


def frozen_class(kind: Any, fields: frozenset[str]) -> type:
    """The subclass of a layer's class in which these fields are frozen; the class itself for no fields. It is made once."""
    kind = standing.plain_class(kind)
    kind = vars(kind).get("_fdezero_thawed", kind)
    if not fields:
        plain: type = kind
        return plain
    with _lock:
        made = _classes.get((kind, fields))
        if made is None:
            names = {"__reduce__": _reduced, "_fdezero_thawed": kind, "_fdezero_frozen": fields}
            made = standing.undeclared(kind, names)
            trees.register(made)
            _classes[kind, fields] = made
    return made


def _reduced(layer: Any) -> Any:
    """How a frozen layer is pickled and copied: by its own class, and by the names of its frozen fields."""
    kind: Any = type(layer)
    return _restored, (kind._fdezero_thawed, kind._fdezero_frozen), layer.__getstate__()


def _restored(kind: type, fields: frozenset[str]) -> Any:
    return object.__new__(frozen_class(kind, fields))
