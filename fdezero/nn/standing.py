"""Stand-ins: for the time of one call, copies of chosen layers that tell a recorder of each call of theirs.

A stand-in is an instance of a subclass of its layer's class, so fields, methods and `isinstance` are those of the layer. The
recorder is an attribute, not a field: a tree that is flattened and built again contains stand-ins without a recorder, which
refuse what a recorder would have to see. So nothing is lost in silence, and no global knows which call is running.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import attrs
import optree

from ..tree import Frozen
from ..tree import structure as trees

__all__: list[str] = []

RECORDER, DETACHED, STANDS_FOR = "_fdezero_recorder", "_fdezero_detached", "_fdezero_stands_for"
NOTHING: Mapping[str, Any] = MappingProxyType({})
_classes: dict[type, type] = {}
_lock = threading.Lock()  # two threads must not make a class twice, because a class is registered once


class Node(NamedTuple):
    """A layer in a tree, its path, and whether it lies within a `Frozen`."""

    value: Any
    path: str
    frozen: bool


class Recorder(Protocol):
    """What a stand-in calls. `detached(layer, path, args, options)` answers for one whose tree was built again: it may refuse."""

    detached: Callable[..., Any]

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The result of the layer that `stand` stands for."""


def rebuilt(tree: Any, change: Callable[[Any, Node], Any], leaf: Callable[[Any], Any] | None = None) -> Any:
    """`tree` with `change(copy, node)` in place of every layer, the inner layers first.

    `copy` is the layer with its inner layers changed already; it is the layer itself if nothing within has changed. A layer that
    stands at several paths is changed once, at the first of them. `leaf(x)` takes the place of every leaf.
    """
    known: dict[tuple[int, bool], Any] = {}

    def visit(value: Any, path: str, frozen: bool) -> Any:
        kind = type(value)
        is_layer = hasattr(kind, "__attrs_attrs__")
        if is_layer and (id(value), frozen) in known:
            return known[id(value), frozen]
        frozen = frozen or bool(trees.frozen_in(kind) & set(trees.statistics_of(kind))) if is_layer else frozen
        below = frozen or plain_class(kind) is Frozen
        still = trees.frozen_in(kind) if is_layer else ()
        pairs = children(value)
        parts = [visit(child, f"{path}/{name}" if path else str(name), below or name in still) for name, child in pairs]
        copy = value
        if any(part is not child for part, (_, child) in zip(parts, pairs, strict=True)):
            copy = with_children(value, parts)
        elif leaf is not None and not pairs and not is_layer and value is not None:
            copy = leaf(value)
        if is_layer:
            copy = known[id(value), frozen] = change(copy, Node(value, path, frozen))
        return copy

    return visit(tree, "", False)


def layers_of(tree: Any) -> list[Node]:
    """Every layer in `tree`, inner layers first, each once."""
    found: list[Node] = []

    def note(copy: Any, node: Node) -> Any:
        found.append(node)
        return copy

    rebuilt(tree, note)
    return found


def children(value: Any) -> list[tuple[Any, Any]]:
    """The children of a container with their names in a path; none for a leaf."""
    kind = type(value)
    if hasattr(kind, "__attrs_attrs__"):
        return [(name, getattr(value, name)) for name in trees.children_of(kind)]
    if kind is tuple or kind is list:
        return list(enumerate(value))
    if hasattr(value, "shape") or optree.tree_is_leaf(value, none_is_leaf=True, namespace=trees.ALL):
        return []
    parts, _, entries, _ = optree.tree_flatten_one_level(value, namespace=trees.ALL)
    return list(zip(entries, parts, strict=True))


def with_children(value: Any, parts: list[Any]) -> Any:
    """A copy of the container `value` with other children."""
    kind = type(value)
    if hasattr(kind, "__attrs_attrs__"):
        return copied(value, kind, dict(zip(trees.children_of(kind), parts, strict=True)))
    if kind is tuple or kind is list:
        return kind(parts)
    _, constants, _, unflatten = optree.tree_flatten_one_level(value, namespace=trees.ALL)
    return unflatten(constants, parts)


def copied(layer: Any, kind: Any, changes: Mapping[str, Any] = NOTHING) -> Any:
    """A copy of `layer` as an instance of `kind`, with some fields replaced. As in `tree.map`, no converter or validator runs."""
    new = object.__new__(kind)
    for field in attrs.fields(kind):
        name = field.name
        object.__setattr__(new, name, changes[name] if name in changes else getattr(layer, name))
    if STANDS_FOR in vars(kind) and STANDS_FOR in vars(type(layer)):
        for name in (RECORDER, DETACHED):
            object.__setattr__(new, name, getattr(layer, name))
    return new


def stand_in(layer: Any, recorder: Recorder, path: str) -> Any:
    """A copy of `layer` whose calls go to `recorder.call(stand_in, args, options)`."""
    new = copied(layer, class_of_stand_ins(type(layer)))
    object.__setattr__(new, RECORDER, recorder)
    object.__setattr__(new, DETACHED, (path, recorder.detached))
    return new


def through(recorder: Any, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The result of the layer that `stand` stands for, seen by the `recorder` of a run around this one, if there is one."""
    return original(stand)(*args, **options) if recorder is None else recorder.call(stand, args, options)


def recorder_of(layer: Any) -> Any:
    """The recorder that a stand-in calls; None for a layer and for a stand-in in a tree that was built again."""
    return getattr(layer, RECORDER, None) if STANDS_FOR in vars(type(layer)) else None


def is_stand_in(layer: Any) -> bool:
    """Whether `layer` is a stand-in, with a recorder or without."""
    return STANDS_FOR in vars(type(layer))


def policy_of(layer: Any) -> Any:
    """The function that answers for a stand-in without a recorder; None for a layer."""
    found = getattr(layer, DETACHED, None) if is_stand_in(layer) else None
    return found and found[1]


def original(stand: Any, changes: Mapping[str, Any] = NOTHING) -> Any:
    """The layer that a stand-in stands for, with some fields replaced. Its inner layers may be stand-ins."""
    return copied(stand, plain_class(type(stand)), changes)


def plain_class(kind: type) -> type:
    """The class that a class of stand-ins was made of; any other class itself."""
    found: type = vars(kind).get(STANDS_FOR, kind)
    return found


def class_of_stand_ins(kind: type) -> type:
    """The subclass of a layer's class for its stand-ins. It is made once."""
    kind = plain_class(kind)
    with _lock:
        made = _classes.get(kind)
        if made is None:
            made = _classes[kind] = _made(kind)
    return made


class Undeclared:
    """A base in front of the layer's class, so that no `__init_subclass__` declares the subclass anew."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


def undeclared(kind: Any, names: dict[str, Any]) -> Any:
    """A subclass of a layer's class that is not declared anew: it has the fields, the name and the place of `kind`."""
    described = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    bases = (kind,) if issubclass(kind, Undeclared) else (Undeclared, kind)
    return type(kind.__name__, bases, described | names)


def _made(kind: Any) -> type:
    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        recorder = getattr(self, RECORDER, None)
        if recorder is not None:
            return recorder.call(self, args, options)
        layer = original(self)
        if getattr(self, DETACHED) is None:  # a changed copy, which `replace` made
            return layer(*args, **options)
        path, detached = getattr(self, DETACHED)
        return detached(layer, path, args, options)

    names = {
        "__call__": call,
        STANDS_FOR: kind,
        RECORDER: None,
        DETACHED: None,
    }
    made: Any = undeclared(kind, names)
    fields = attrs.fields(kind)
    constants = [field.name for field in fields if field.metadata.get("static")]
    below = trees.children_of(kind)

    def flatten(stand: Any) -> Any:
        kept = (*[getattr(stand, name) for name in constants], getattr(stand, DETACHED, None))
        return [getattr(stand, name) for name in below], kept, below

    def unflatten(kept: Any, parts: Any) -> Any:
        new = object.__new__(made)
        for name, value in zip((*constants, DETACHED, *below), (*kept, *parts), strict=True):
            object.__setattr__(new, name, value)
        return new

    trees.register_as(made, flatten, unflatten)
    return made
