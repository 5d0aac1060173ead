"""Paths in a model: all places of its tree, and those that match a pattern such as `blocks/*/norm`."""

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import StructureError
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
        hits = [place for place in known if _regex(pattern).fullmatch(place.path)]
        if not hits:
            paths = list(dict.fromkeys(place.path for place in known if place.path))
            near = difflib.get_close_matches(pattern, paths, 5, 0.4) or paths[:5]
            raise StructureError(f"{what}: nothing matches {pattern!r}. Paths like it: {', '.join(near) or 'none'}.")
        found.update((place.path, place) for place in hits)
    return list(found.values())


def is_pattern(path: str) -> bool:
    """Whether a path stands for several."""
    return "*" in path or "?" in path


@functools.lru_cache(256)
def _regex(pattern: str) -> re.Pattern[str]:
    *parts, last = pattern.split("/")
    front = ["(?:.*/)?" if part == "**" else "".join(map(_letter, part)) + "/" for part in parts]
    return re.compile("".join(front) + (".*" if last == "**" else "".join(map(_letter, last))))


def _letter(letter: str) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
