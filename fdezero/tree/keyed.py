"""Converts trees to flat dicts with keys such as "layers/0/W", the form of files, and back."""

from collections.abc import Mapping
from typing import Any

from ..errors import StructureError
from .structure import Tree, flatten, flatten_with_path, unflatten


def flatten_to_dict(tree: Tree) -> dict[str, Any]:
    """`{"layers/0/W": leaf, ...}` in the order of the leaves.

    Raises StructureError if two leaves would have the same key, as in `{"a/b": x, "a": {"b": y}}` or `{1: x, "1": y}`, or if `tree`
    is a single leaf, which does not have a key, or has the key "".
    """
    flat: dict[str, Any] = {}
    for path, leaf in flatten_with_path(tree):
        if path in flat:
            raise StructureError(
                f"two leaves have the key {path!r}. Rename a field or a dict key. Does one contain a slash?"
            )
        if not path and leaf is not tree:
            raise StructureError("a leaf has the key '', which is no name: rename the field or dict key.")
        if not path:
            raise StructureError("a single leaf does not have a key. Put it into a dict: {'x': leaf}")
        flat[path] = leaf
    return flat


def unflatten_from_dict(flat: Mapping[str, Any], like: Tree = None) -> Tree:
    """The inverse of `flatten_to_dict`: a tree with the structure of `like`, or nested dicts if `like` is None.

    Raises StructureError, with the missing and the unexpected keys, if the keys are not those of `like`.
    """
    if like is None:
        return _nested(flat)
    wanted = flatten_to_dict(like)
    missing, extra = [k for k in wanted if k not in flat], [k for k in flat if k not in wanted]
    if missing or extra:
        lines = [f"  missing:    {key}" for key in missing] + [f"  unexpected: {key}" for key in extra]
        raise StructureError("\n".join(["the keys are not those of the tree:", *lines]))
    _, treedef = flatten(like)
    return unflatten(treedef, [flat[key] for key in wanted])


def update(tree: Tree, changes: Mapping[str, Any]) -> Tree:
    """A copy of `tree` with the leaves at some paths replaced: `update(model, {"layers/0/b": zeros})`."""
    flat = flatten_to_dict(tree)
    if unknown := [key for key in changes if key not in flat]:
        raise StructureError(f"no leaf at {', '.join(map(repr, unknown))}; the tree has {', '.join(map(repr, flat))}")
    return unflatten_from_dict(flat | dict(changes), like=tree)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, leaf in flat.items():
        *parents, name = key.split("/")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise StructureError(f"the key {key!r} passes through {parent!r}, which is a leaf")
        if name in node:
            raise StructureError(f"the key {key!r} is both a leaf and a branch")
        node[name] = leaf
    return nested
