"""Paths in a model: all places of its tree, and those that match a pattern such as `blocks/*/norm`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import StructureError
from ..tree.patterns import matches, no_match
from .standing import children

__all__: list[str] = []


class Place(NamedTuple):
    """What stands at a path of a tree, what holds it, and under which name."""

    path: str
    value: Any
    holder: Any
    name: Any


def places(tree: Any) -> list[Place]:
    """Every place of `tree`, the root first. An object that stands at several paths has a place at each."""
    return list(_below(Place("", tree, None, None)))


def _below(place: Place) -> Iterator[Place]:
    yield place
    for name, child in children(place.value):
        yield from _below(Place(f"{place.path}/{name}" if place.path else str(name), child, place.value, name))


def matching(patterns: Iterable[str], known: Sequence[Place], what: str) -> list[Place]:
    """The places among `known` whose path matches one of the patterns. `*` is one part of a path, or some of its letters; `**` is any
    number of parts.

    Raises StructureError, with the paths that are near, for a pattern that matches nothing.
    """
    found: dict[str, Place] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str):
            several = " Pass several one by one: *paths." if isinstance(pattern, tuple | list) else ""
            raise StructureError(f"{what}: a path is a text such as 'layers/0', got {pattern!r}.{several}")
        hits = [place for place in known if matches(pattern, place.path)]
        if not hits:
            raise no_match(what, pattern, [place.path for place in known])
        found.update((place.path, place) for place in hits)
    return list(found.values())
