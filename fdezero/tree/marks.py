"""A mark on trees of gradients, by which an optimiser tells them from parameters if you swap both.

A gradient has the class and the structure of its model, so nothing else tells them apart. The mark lies on the object itself: what
`tree.map` or a file makes of it does not have the mark. Dicts, lists and tuples carry no mark, but models in them do.
"""

from typing import Any

MARK = "_fdezero_is_gradient"


def mark(tree: Any) -> None:
    """Note that a tree was made by `grad`."""
    if type(tree) in _CONTAINERS:
        for part in tree.values() if type(tree) is dict else tree:
            if hasattr(type(part), "__attrs_attrs__"):
                _put(part)
    elif hasattr(type(tree), "__attrs_attrs__"):
        _put(tree)


def is_marked(tree: Any) -> bool:
    """Whether a tree, or a model in it, was made by `grad`."""
    if type(tree) in _CONTAINERS:
        return any(MARK in getattr(part, "__dict__", ()) for part in (tree.values() if type(tree) is dict else tree))
    return MARK in getattr(tree, "__dict__", ())


_CONTAINERS = (dict, list, tuple)


def _put(part: Any) -> None:
    names = getattr(part, "__dict__", None)
    if names is not None:  # a class with slots has no place for it
        names[MARK] = True
