"""Stand-ins: for the time of one call, copies of chosen layers that tell a recorder of each call of theirs.

A stand-in is an instance of a subclass of its layer's class, so fields, methods and `isinstance` are those of the layer. The
recorder is an attribute, not a field: a tree that is flattened and built again contains stand-ins without a recorder, which
refuse what a recorder would have to see. So nothing is lost in silence, and no global knows which call is running.
"""

import functools
import threading
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import attrs
import numpy as np
import optree

from ..tree import Frozen, Module
from ..tree import structure as trees

__all__: list[str] = []

RECORDER, DETACHED, STANDS_FOR = "_fdezero_recorder", "_fdezero_detached", "_fdezero_stands_for"
NOTHING: Mapping[str, Any] = MappingProxyType({})
LEAVES = frozenset({np.ndarray, type(None), float, int, bool, str})  # the usual ones
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


class Facts(NamedTuple):
    """What walks over a tree must know about a class; `fields` are empty unless it is an attrs class."""

    is_layer: bool
    fields: tuple[str, ...]
    children: tuple[str, ...]
    statistics: tuple[str, ...]
    frozen: frozenset[str]  # the fields that `nn.freeze` has frozen
    holds_still: bool  # statistics of the layer do not change
    is_frozen: bool  # the class is `Frozen`


@functools.lru_cache(trees.MOST_CLASSES)
def facts_of(kind: Any) -> Facts:
    """The facts of a class."""
    if not hasattr(kind, "__attrs_attrs__"):
        return Facts(False, (), (), (), frozenset(), False, False)
    statistics, frozen = trees.statistics_of(kind), trees.frozen_in(kind)
    fields = tuple(field.name for field in attrs.fields(kind))
    still = not frozen.isdisjoint(statistics)
    return Facts(True, fields, trees.children_of(kind), statistics, frozen, still, plain_class(kind) is Frozen)


def rebuilt(
    tree: Any,
    change: Callable[[Any, Node], Any],
    leaf: Callable[[Any], Any] | None = None,
    *,
    within: Container[int] | None = None,
    changed: set[int] | None = None,
) -> Any:
    """`tree` with `change(copy, node)` in place of every layer, the inner layers first.

    `copy` is the layer with its inner layers changed already; it is the layer itself if nothing within has changed. A layer that
    stands at several paths is changed once, at the first of them. `leaf(x)` takes the place of every leaf. The identities
    of what has changed are added to `changed`, and a walk that has them as `within` enters nothing else.
    """
    return _Walk(change, leaf, within, changed).visit(tree, "", False)


class _Walk:
    """A walk of `rebuilt`. It is a class because a function that calls itself would keep all that it meets until a collection."""

    __slots__ = ("change", "changed", "known", "leaf", "passed", "within")

    def __init__(self, change: Any, leaf: Any, within: Container[int] | None, changed: set[int] | None) -> None:
        self.change, self.leaf, self.within, self.changed = change, leaf, within, changed
        self.known: dict[tuple[int, bool], Any] = {}
        self.passed = LEAVES if leaf is None else frozenset[type]()

    def visit(self, value: Any, path: str, frozen: bool) -> Any:
        """What stands in place of `value`."""
        if self.within is not None and id(value) not in self.within:
            return value
        facts = facts_of(value.__class__)
        if facts.is_layer:
            frozen = frozen or facts.holds_still
            if (id(value), frozen) in self.known:
                return self.known[id(value), frozen]
        below, pairs = frozen or facts.is_frozen, children(value)
        start = f"{path}/" if path else ""
        copy, parts = value, None
        for i, (name, child) in enumerate(pairs):
            if child.__class__ in self.passed:
                continue
            part = self.visit(child, f"{start}{name}", below or name in facts.frozen)
            if part is not child:
                parts = parts or [child for _, child in pairs]
                parts[i] = part
        if parts is not None:
            copy = with_children(value, parts)
        elif self.leaf is not None and not pairs and not facts.is_layer and value is not None:
            copy = self.leaf(value)
        if facts.is_layer:
            copy = self.known[id(value), frozen] = self.change(copy, Node(value, path, frozen))
        if self.changed is not None and copy is not value:
            self.changed.add(id(value))
        return copy


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
    kind = value.__class__
    if kind in LEAVES:
        return []
    if kind is tuple or kind is list:
        return list(enumerate(value))
    facts = facts_of(kind)
    if facts.is_layer:
        return [(name, getattr(value, name)) for name in facts.children]
    if hasattr(value, "shape") or optree.tree_is_leaf(value, none_is_leaf=True, namespace=trees.ALL):
        return []
    parts, _, entries, _ = optree.tree_flatten_one_level(value, namespace=trees.ALL)
    return list(zip(entries, parts, strict=True))


def with_children(value: Any, parts: list[Any]) -> Any:
    """A copy of the container `value` with other children."""
    kind = value.__class__
    if kind is tuple or kind is list:
        return kind(parts)
    facts = facts_of(kind)
    if facts.is_layer:
        return copied(value, kind, dict(zip(facts.children, parts, strict=True)))
    _, constants, _, unflatten = optree.tree_flatten_one_level(value, namespace=trees.ALL)
    return unflatten(constants, parts)


def copied(layer: Any, kind: Any, changes: Mapping[str, Any] = NOTHING) -> Any:
    """A copy of `layer` as an instance of `kind`, with some fields replaced. As in `tree.map`, no converter or validator runs."""
    new = object.__new__(kind)
    put = object.__setattr__
    for name in facts_of(kind).fields:
        put(new, name, changes[name] if name in changes else getattr(layer, name))
    if STANDS_FOR in vars(kind) and STANDS_FOR in vars(type(layer)):
        for name in (RECORDER, DETACHED):
            put(new, name, getattr(layer, name))
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
        if getattr(self, DETACHED) is None:  # a copy that attrs.evolve made
            return layer(*args, **options)
        path, detached = getattr(self, DETACHED)
        return detached(layer, path, args, options)

    def replace(self: Any, **changes: Any) -> Any:
        """A copy with some fields replaced. It stands for the layer as well, unless the recorder keeps one of these fields."""
        new = kind.replace(self, **changes)
        if changes.keys().isdisjoint(facts_of(kind).statistics):
            for name in (RECORDER, DETACHED):
                object.__setattr__(new, name, getattr(self, name))
        return new

    names = {
        "__call__": call,
        **({"replace": replace} if issubclass(kind, Module) else {}),
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
