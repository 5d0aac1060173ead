"""Flattens, maps, partitions and combines pytrees.

Containers are dicts (in the order of their sorted keys), lists, tuples, named tuples, and attrs classes, both fdezero's modules and
your own. An attrs class is registered when a tree first contains it. `None` is an empty container.

A tree can be read in two ways, each a namespace of optree. In `ALL` a `Frozen` is a container of its content. In `TRAINABLE` it is
a leaf, which `grad` and optimisers pass over, and so is the content of a field that is declared a `statistic`.
"""

import operator
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import optree

from ..errors import StructureError
from ..messages import describe
from ..values import is_differentiable

Tree: TypeAlias = Any
TreeDef: TypeAlias = optree.PyTreeSpec

ALL, TRAINABLE = "fdezero", "fdezero.trainable"
MOST_CLASSES = 10_000  # of leaves that are remembered; a program that makes classes in a loop forgets them
_NONE: frozenset[str] = frozenset()
_lock = threading.Lock()
_registered: set[type] = set()
# The types of leaves that have been met, and of containers that one of the namespaces passes over
_known: set[type] = {np.ndarray, np.float64, np.float32, np.int64, float, int, bool, str, type(None)}


class Constant:
    """The content of a field that `nn.freeze` has frozen, as a leaf in the namespace TRAINABLE."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Statistic(Constant):
    """The content of a field that is declared a `statistic`, as a leaf in the namespace TRAINABLE."""

    __slots__ = ()


def children_of(cls: type) -> tuple[str, ...]:
    """The names of the fields of an attrs class that are children in a tree."""
    fields = cls.__attrs_attrs__  # type: ignore[attr-defined]  # what attrs.fields returns
    return tuple(field.name for field in fields if not field.metadata.get("static"))


def statistics_of(cls: type) -> tuple[str, ...]:
    """The names of the fields of an attrs class that are declared statistics."""
    fields = cls.__attrs_attrs__  # type: ignore[attr-defined]  # what attrs.fields returns
    return tuple(field.name for field in fields if field.metadata.get("statistic"))


def frozen_in(cls: type) -> frozenset[str]:
    """The names of the fields that `nn.freeze` has frozen."""
    found: frozenset[str] = getattr(cls, "_fdezero_frozen", _NONE)
    return found


def register(cls: type) -> None:
    """Make the attrs class `cls` a container. Its children are the fields that are not declared `static`."""
    fields = cls.__attrs_attrs__  # type: ignore[attr-defined]  # what attrs.fields returns
    children = children_of(cls)
    constants = tuple(field.name for field in fields if field.metadata.get("static"))
    read, constant = _reader(children), _reader(constants)

    def flatten_module(module: Any) -> tuple[Any, Any, tuple[str, ...]]:
        return read(module), constant(module), children

    register_as(cls, flatten_module, _maker(cls, children, constants))


def register_as(cls: type, flatten_module: Callable[[Any], Any], unflatten_module: Callable[[Any, Any], Any]) -> None:
    """Make the attrs class `cls` a container by two functions: `module -> (parts, constants, names)`, `(constants, parts) -> module`."""
    children = children_of(cls)
    statistics = statistics_of(cls)
    constants = {**dict.fromkeys(frozen_in(cls), Constant), **dict.fromkeys(statistics, Statistic)}
    for namespace in (ALL,) if getattr(cls, "passed_over", False) else (ALL, TRAINABLE):
        ways = flatten_module, unflatten_module
        if constants and namespace == TRAINABLE:
            ways = _around_constants(*ways, [constants.get(name) for name in children])
        optree.register_pytree_node(cls, *ways, path_entry_type=optree.GetAttrEntry, namespace=namespace)
    _registered.add(cls)
    if getattr(cls, "passed_over", False):
        _known.add(cls)


def _around_constants(
    flatten_module: Any, unflatten_module: Any, kinds: list[type[Constant] | None]
) -> tuple[Any, Any]:
    """Both ways between a module and its children, where each statistic and each frozen child is a leaf."""

    def flatten_trainable(module: Any) -> tuple[Any, Any, tuple[str, ...]]:
        parts, constants, names = flatten_module(module)
        return (
            [kind(x) if kind and x is not None else x for x, kind in zip(parts, kinds, strict=True)],
            constants,
            names,
        )

    def unflatten_trainable(constants: Any, parts: Any) -> Any:
        return unflatten_module(constants, [x.value if isinstance(x, Constant) else x for x in parts])

    return flatten_trainable, unflatten_trainable


def is_attrs(cls: type) -> bool:
    """What `attrs.has` says of a class, without loading attrs for a program that has no attrs class."""
    return hasattr(cls, "__attrs_attrs__")


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The function that reads these attributes of a module into a tuple."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    if names:
        get = operator.attrgetter(*names)
        return lambda module: (get(module),)
    return lambda module: ()


def _maker(cls: type, children: tuple[str, ...], constants: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    """The function that makes an instance of the values of its `constants` and `children`.

    It skips __init__: while a tree is mapped, its leaves may be tracers, masks or None, which validators refuse.
    """
    parts, values = (
        [f"{letter}{i}" for i in range(len(names))] for letter, names in (("x", children), ("c", constants))
    )
    source = [
        "def make(constants, children):",  # one line per field: loops over them take twice the time
        f"[{', '.join(values)}] = constants",
        f"[{', '.join(parts)}] = children",
        "instance = new(cls)",
        *[
            f"put(instance, {name!r}, {value})"
            for name, value in zip(children + constants, parts + values, strict=True)
        ],
        "return instance",
    ]
    namespace: dict[str, Any] = {"new": object.__new__, "put": object.__setattr__, "cls": cls}
    exec("\n    ".join(source), namespace)
    return namespace["make"]


def _meets_new_classes(leaves: Iterable[Any]) -> bool:
    """Register new attrs classes among `leaves`. True if there were any: the tree must be flattened again.

    A container is never known as a leaf. So a thread that flattened while another one registered the class finds its mistake.
    """
    new = {type(leaf) for leaf in leaves} - _known
    if not new:
        return False
    containers = [cls for cls in new if is_attrs(cls)]
    for cls in containers:
        with _lock:
            if cls not in _registered:
                register(cls)
    _known.update(new.difference(containers))
    if len(_known) > MOST_CLASSES:
        _known.difference_update([cls for cls in list(_known) if not is_attrs(cls)])
    return bool(containers)


def flatten(tree: Tree, *, none_is_leaf: bool = False, namespace: str = ALL) -> tuple[list[Any], TreeDef]:
    """The leaves of `tree`, and its structure, from which `unflatten` builds a tree again."""
    leaves, treedef = optree.tree_flatten(tree, none_is_leaf=none_is_leaf, namespace=namespace)
    if _meets_new_classes(leaves):
        return flatten(tree, none_is_leaf=none_is_leaf, namespace=namespace)
    return leaves, treedef


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Tree:
    """The inverse of `flatten`."""
    return optree.tree_unflatten(treedef, leaves)


def leaves(tree: Tree) -> list[Any]:
    """The leaves of `tree`, in its fixed order."""
    return flatten(tree)[0]


def flatten_with_path(tree: Tree, *, none_is_leaf: bool = False, namespace: str = ALL) -> list[tuple[str, Any]]:
    """`[("layers/0/W", leaf), ...]`. The path of the root is `""`."""
    leaves, _ = flatten(tree, none_is_leaf=none_is_leaf, namespace=namespace)
    paths = optree.tree_paths(tree, none_is_leaf=none_is_leaf, namespace=namespace)
    return [("/".join([str(entry) for entry in path]), leaf) for path, leaf in zip(paths, leaves, strict=True)]


def first_where(tree: Tree, predicate: Callable[[Any], bool]) -> tuple[str, Any] | None:
    """Path and value of the first node, container or leaf, that satisfies `predicate`; None if there is none."""
    flatten(tree)  # which registers classes that are new
    if not any(predicate(node) for node in optree.tree_leaves(tree, is_leaf=predicate, namespace=ALL)):
        return None
    paths, nodes, _ = optree.tree_flatten_with_path(tree, is_leaf=predicate, namespace=ALL)
    return next(("/".join(map(str, path)), node) for path, node in zip(paths, nodes, strict=True) if predicate(node))


def paths(tree: Tree) -> list[str]:
    """The slash-joined path of every leaf, in the order of `leaves`."""
    return [path for path, _ in flatten_with_path(tree)]


def map(function: Callable[..., Any], tree: Tree, *rest: Tree, names: tuple[str, ...] = ()) -> Tree:
    """The tree of `function(leaf, *leaves_of_rest)`. All trees must have the same structure.

    `names` are the names of the trees in an error, such as `("params", "grads")`.
    Raises StructureError with the first path at which the structures differ.
    """
    first, treedef = flatten(tree)
    columns = [first]
    for index, other in enumerate(rest, start=1):
        column, other_def = flatten(other)
        if other_def != treedef:
            raise structure_error(
                tree, other, *(names[0], names[index]) if names else ("first tree", f"tree {index + 1}")
            )
        columns.append(column)
    return unflatten(treedef, [function(*row) for row in zip(*columns, strict=True)])


def structure_error(left: Tree, right: Tree, left_name: str, right_name: str, namespace: str = ALL) -> StructureError:
    """The error for two trees that differ. It names the first such path."""
    first, second = (dict(flatten_with_path(tree, namespace=namespace)) for tree in (left, right))
    names = (left_name, right_name)
    for tree, other_tree, here, there in ((first, second, *names), (second, first, *names[::-1])):
        for path, leaf in tree.items():
            if path not in other_tree:
                below = [other for other in other_tree if other.startswith(path + "/") or not path]
                instead = f"continues to {below[0]!r}" if below else "has nothing"
                return StructureError(
                    f"the structures of {names[0]} and {names[1]} differ at {repr(path) if path else 'the root'}: "
                    f"{here} has {describe(leaf)} there, {there} {instead}."
                )
    kinds = [type(tree).__name__ for tree in (left, right)]
    return StructureError(
        f"{names[0]} and {names[1]} have the same paths, but their containers differ "
        f"({kinds[0]} and {kinds[1]} at the root; or types or static fields further in)."
    )


def flatten_trainable(tree: Tree) -> tuple[list[Any], TreeDef]:
    """Like `flatten`, with `None` and each `Frozen` subtree as a leaf, as `grad` and optimisers read a tree."""
    return flatten(tree, none_is_leaf=True, namespace=TRAINABLE)


def trainable(tree: Tree) -> Tree:
    """`tree` with None in place of every leaf without a gradient. Gradients have this structure."""
    leaves, treedef = flatten_trainable(tree)
    return unflatten(treedef, [leaf if is_differentiable(leaf) else None for leaf in leaves])


def partition(tree: Tree, predicate: Callable[[Any], bool]) -> tuple[Tree, Tree]:
    """Two trees like `tree`: one with the leaves that satisfy `predicate`, one with the rest. None stands in the gaps."""
    leaves, treedef = flatten(tree)
    chosen = [predicate(leaf) for leaf in leaves]
    return (
        unflatten(treedef, [leaf if yes else None for leaf, yes in zip(leaves, chosen, strict=True)]),
        unflatten(treedef, [None if yes else leaf for leaf, yes in zip(leaves, chosen, strict=True)]),
    )


def combine(first: Tree, *rest: Tree) -> Tree:
    """The inverse of `partition`: at each place, the first leaf that is not None."""
    column, treedef = flatten(first, none_is_leaf=True)
    columns = [column]
    for tree in rest:
        column, other = flatten(tree, none_is_leaf=True)
        if other != treedef:
            raise structure_error(first, tree, "first tree", f"tree {len(columns) + 1}")
        columns.append(column)
    return unflatten(
        treedef, [next((leaf for leaf in row if leaf is not None), None) for row in zip(*columns, strict=True)]
    )
