"""Trees with parts of arrays, where each rank holds its own part: how wholes take their place, and how wholes are cut.

A node that holds a part says so by its class, `holds_part`: see `parts.py`.
"""

from typing import Any

import optree

from .structure import ALL, Tree, first_where, flatten, unflatten

__all__: list[str] = []  # for optimisers, layers of several ranks, and files


def is_parted(node: Any) -> bool:
    """Whether a node holds a part."""
    return hasattr(type(node), "holds_part")


def has_parts(tree: Tree) -> str | None:
    """The path of the first part in a tree; None if there is none."""
    found = first_where(tree, is_parted)
    return None if found is None else found[0] or "the root"


def lone(tree: Tree) -> bool:
    """Whether all parts of a tree are wholes, because their worlds have one rank."""
    flatten(tree)  # which registers classes that are new
    nodes = optree.tree_leaves(tree, is_leaf=is_parted, namespace=ALL)
    return all(node.world.size == 1 for node in nodes if is_parted(node))


def gathered(tree: Tree, *, keep: bool = True) -> Tree:
    """The tree with wholes in place of all parts, one after the other. All ranks call it, in the same order.

    A rank that does not `keep` wholes has None in their places, and at no time more than one of them.
    """

    def whole(part: Any) -> Any:
        found = part.gathered()
        return found if keep else None

    return _mapped(whole, tree)


def outlined(tree: Tree) -> Tree:
    """The tree with stand-ins in place of all parts, which take no memory."""
    return _mapped(lambda part: part.outline(), tree)


def _mapped(function: Any, tree: Tree) -> Tree:
    flatten(tree)  # which registers classes that are new
    return optree.tree_map(
        lambda node: function(node) if is_parted(node) else node, tree, is_leaf=is_parted, namespace=ALL
    )


def cut(tree: Tree, like: Tree, stand_ins: Tree = None) -> Tree:
    """A tree of wholes with the parts of this rank, where `like` has parts. What is one of the `stand_ins` stays as it is in `like`."""
    nodes, treedef = optree.tree_flatten(like, is_leaf=is_parted, namespace=ALL)
    wholes = treedef.flatten_up_to(tree)
    missing = set() if stand_ins is None else {id(leaf) for leaf in flatten(stand_ins)[0]}
    return unflatten(treedef, [_cut(n, w, missing) if is_parted(n) else w for n, w in zip(nodes, wholes, strict=True)])


def _cut(node: Any, whole: Any, missing: set[int]) -> Any:
    part = node.cut(whole)
    if not missing:
        return part
    leaves, treedef = flatten(part)
    rows = zip(leaves, flatten(whole)[0], flatten(node)[0], strict=True)
    return unflatten(treedef, [before if id(of_whole) in missing else leaf for leaf, of_whole, before in rows])
