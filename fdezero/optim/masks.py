"""Parts of a model with rules of their own: masks by path, an optimiser for each group of paths, frozen paths."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import tree as trees
from ..errors import StructureError
from ..messages import describe
from ..tree import static
from ..tree.patterns import covers, no_match
from .chains import unused
from .leaves import times
from .settings import Number, number, shown
from .transformation import GradientTransformation, State, Stateless, Tree

__all__ = ["by_path", "freeze", "weight_decay"]

Mask: TypeAlias = Any  # None | str | Sequence[str] | Callable[[path, leaf], bool] | a tree of truth values


class Chosen(NamedTuple):
    """A tree of truth values as the paths of its leaves, which can be compared and hashed."""

    values: tuple[tuple[str, bool], ...]

    def __repr__(self) -> str:
        return f"a tree of {len(self.values)} truth values, {sum(value for _, value in self.values)} of them True"


def as_mask(value: Mask) -> Any:
    """A mask in a form that can be hashed: None, patterns, a function or `Chosen`."""
    if isinstance(value, str):
        return (value,)
    if value is None or isinstance(value, Chosen) or (callable(value) and trees.leaves(value) == [value]):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(pattern, str) for pattern in value):
        return tuple(value)
    flat = trees.flatten_with_path(value)
    if flat and all(isinstance(leaf, bool | np.bool) for _, leaf in flat):
        return Chosen(tuple((path, bool(leaf)) for path, leaf in flat))
    raise StructureError(
        "weight_decay: a mask is a pattern such as '**/W', several of them, a function of path and leaf, or a tree of truth "
        f"values; got {describe(value)}."
    )


class weight_decay(Stateless):
    """Add rate * params to the gradients of all leaves, or of those that `mask` chooses.

    Before a method this is L2 regularisation, `chain(weight_decay(1e-4), sgd(0.1))`; between a method's direction
    and `descend` it is decoupled weight decay, as in AdamW.

    A mask is a pattern of paths or several, `mask="**/W"`; a function, `mask=lambda path, leaf: leaf.ndim > 1`, which leaves
    biases and norms alone; or a tree of truth values. `*` is one part of a path, `**` any number of parts, and `layers/0` also
    chooses what lies below it. Raises StructureError for a pattern that matches nothing, and for a tree that lacks a leaf.
    """

    rate: Number = number()
    mask: Mask = static(default=None, converter=as_mask)

    elementwise = True

    def for_params(self, params: Tree) -> GradientTransformation:
        """With the answers of a mask that is a function."""
        if isinstance(self.mask, Chosen) or not callable(self.mask):
            return self
        params = trees.trainable(params)
        answers = map(bool, _chosen(self.mask, params, *trees.flatten(params)))
        return self.replace(mask=Chosen(tuple(zip(trees.paths(params), answers, strict=True))))

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients plus the decay."""
        rate, mask = self.rate, self.mask
        params = trees.trainable(params)
        if mask is None:
            return trees.map(lambda g, p: g + times(p, rate), grads, params, names=("grads", "params")), state
        leaves, treedef = trees.flatten(params)
        chosen = iter(_chosen(mask, params, leaves, treedef))

        def decayed(g: Any, p: Any) -> Any:
            return g + times(p, rate) if next(chosen) else g

        return trees.map(decayed, grads, params, names=("grads", "params")), state


def _chosen(mask: Any, params: Any, leaves: list[Any], treedef: Any) -> Sequence[bool]:
    """Which leaves a mask chooses."""
    if isinstance(mask, Chosen) or not callable(mask):
        return _chosen_by_path(mask, treedef)
    found = [mask(path, leaf) for path, leaf in trees.flatten_with_path(params)]
    if wrong := [value for value in found if not isinstance(value, bool | np.bool)]:
        raise StructureError(
            f"weight_decay: the mask {shown(mask)} returns {describe(wrong[0])}; it must return True or False."
        )
    return found


@lru_cache(256)
def _chosen_by_path(mask: Any, treedef: Any) -> tuple[bool, ...]:
    paths = _paths_of(treedef)
    if isinstance(mask, tuple) and not isinstance(mask, Chosen):
        return tuple(
            pattern is not None for pattern in _assigned([(p,) for p in mask], paths, "weight_decay", several=True)
        )
    known = dict(mask.values)
    found = []
    for path in paths:
        above = ["/".join(path.split("/")[:n]) for n in range(path.count("/") + 1, -1, -1)]
        value = next((known[place] for place in above if place in known), None)
        if value is None:
            raise StructureError(f"weight_decay: the mask has no truth value for {path}.")
        found.append(value)
    return tuple(found)


def _paths_of(treedef: Any) -> list[str]:
    return ["/".join(map(str, path)) for path in treedef.paths()]


def _assigned(
    groups: Sequence[tuple[str, ...]], paths: Sequence[str], what: str, *, several: bool = False
) -> list[int | None]:
    """The group whose patterns cover each path; None if there is none. Raises for a pattern without paths, and a path in two groups."""
    found: list[int | None] = [None] * len(paths)
    by: dict[int, str] = {}
    for number_of_group, patterns in enumerate(groups):
        for pattern in patterns:
            hits = [i for i, path in enumerate(paths) if covers(pattern, path)]
            if not hits:
                error = no_match(what, pattern, paths)
                raise (
                    error
                    if pattern != "..."
                    else StructureError(f"{error} For all other leaves write ..., without quotes.")
                )
            for i in hits:
                if not several and found[i] not in (None, number_of_group):
                    raise StructureError(
                        f"{what}: {paths[i]} matches both {by[i]!r} and {pattern!r}. Each leaf has one optimiser."
                    )
                found[i], by[i] = number_of_group, pattern
    return found


# Transformations of some leaves


@lru_cache(256)
def _groups_of(what: str, groups: tuple[Any, ...], treedef: Any, trained: tuple[bool, ...]) -> list[int | None]:
    """The group of each leaf of a tree that was flattened with None as a leaf; None for leaves that are not trained."""
    places = [i for i, is_trained in enumerate(trained) if is_trained]
    every = _paths_of(treedef)
    paths = [every[i] for i in places]
    rest = groups.index(...) if ... in groups else None
    assigned = _assigned([() if group is ... else group for group in groups], paths, what)
    found: list[int | None] = [None] * len(trained)
    for i, group in zip(places, assigned, strict=True):
        found[i] = rest if group is None else group
    if missing := [every[i] for i in places if found[i] is None]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StructureError(
            f"{what}: no pattern matches {missing[0]}{more}. Add one; `...: optim.adam(1e-3)` is for all other leaves, "
            "and `...: None` leaves them as they are."
        )
    return found


def _only(leaves: Sequence[Any], treedef: Any, groups: Sequence[int | None], group: int) -> Tree:
    """The tree with the leaves of one group, and None in the other places."""
    return trees.unflatten(treedef, [leaf if own == group else None for leaf, own in zip(leaves, groups, strict=True)])


def _split(groups: Mapping[Any, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Patterns and optimisers of groups, checked."""
    if not isinstance(groups, Mapping) or not groups:
        raise StructureError(
            f'by_path takes a dict from patterns to optimisers, {{"features/*": sgd(0.01), "head/*": adam(1e-3)}}; got {shown(groups)}.'
        )
    patterns: list[Any] = []
    for key, part in groups.items():
        is_several = isinstance(key, tuple) and key and all(isinstance(pattern, str) for pattern in key)
        if key is not ... and not isinstance(key, str) and not is_several:
            raise StructureError(
                f"by_path: a key is a pattern such as 'features/*', several in a tuple, or `...` for all other leaves; got {key!r}."
            )
        if part is not None and not isinstance(part, GradientTransformation):
            raise StructureError(
                f"by_path: {key!r} has {describe(part)}, not an optimiser. Give a call such as optim.adam(1e-3), or None for frozen leaves."
            )
        patterns.append((key,) if isinstance(key, str) else key)
    return tuple(patterns), tuple(groups.values())


class _ByPath(GradientTransformation):
    """An optimiser for each group of paths."""

    patterns: tuple[Any, ...] = static()
    parts: tuple[GradientTransformation | None, ...]

    name = "by_path"

    @property
    def counts(self) -> bool:
        """A group might be called `step`."""
        return False

    @property
    def elementwise(self) -> bool:
        """Whether all groups are."""
        return all(part.elementwise for part in self.parts if part is not None)

    def for_params(self, params: Tree) -> GradientTransformation:
        """The groups as they are for these parameters."""
        return self.replace(parts=tuple([part and part.for_params(params) for part in self.parts]))

    @property
    def names(self) -> tuple[str, ...]:
        """What groups are called in the state: the pattern without its stars."""
        names: list[str] = []
        taken: set[str] = set()
        for key in self.patterns:
            pattern = "rest" if key is ... else key[0]
            name = ".".join(part for part in pattern.split("/") if part.strip("*")) or "all"
            names.append(unused(name, taken))
        return tuple(names)

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the groups with an optimiser."""
        return tuple(name for name, part in zip(self.names, self.parts, strict=True) if part is not None)

    def _groups(self, leaves: list[Any], treedef: Any) -> list[int | None]:
        return _groups_of(self.name, self.patterns, treedef, tuple(map(trees.is_differentiable, leaves)))

    def init(self, params: Tree) -> State:
        """The states of all groups, each of its leaves alone."""
        leaves, treedef = trees.flatten_trainable(params)
        groups, state = self._groups(leaves, treedef), {}
        for i, (name, part) in enumerate(zip(self.names, self.parts, strict=True)):
            if part is not None:
                state[name] = part.init(_only(leaves, treedef, groups, i))
        return state

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of all groups together, and their new states. Leaves without an optimiser have None."""
        self.check(state)
        (leaves, treedef), found = trees.flatten_trainable(params), trees.flatten_trainable(grads)[0]
        groups, after = self._groups(leaves, treedef), {}
        updates: list[Any] = [None] * len(leaves)
        for i, (name, part) in enumerate(zip(self.names, self.parts, strict=True)):
            if part is None:
                continue
            part.check(state[name])
            own = _only(found, treedef, groups, i)
            moved, after[name] = part.update(own, state[name], _only(leaves, treedef, groups, i))
            for j, update in enumerate(trees.flatten_trainable(moved)[0]):
                if groups[j] == i:
                    updates[j] = update
        return trees.unflatten(treedef, updates), after

    def __repr__(self) -> str:
        keys = ["..." if key is ... else repr(key[0] if len(key) == 1 else key) for key in self.patterns]
        return f"by_path({{{', '.join(f'{key}: {shown(part)}' for key, part in zip(keys, self.parts, strict=True))}}})"


def by_path(groups: Mapping[Any, GradientTransformation | None]) -> GradientTransformation:
    """An optimiser for each group of paths: `by_path({"features/*": sgd(0.01), "head/*": adam(1e-3)})`.

    A key is a pattern, several in a tuple, or `...` for all other leaves. `*` is one part of a path, `**` any number of parts, and a
    pattern also takes what lies below what it matches. None in place of an optimiser leaves its leaves as they are. Each optimiser
    sees its own leaves alone: so a norm that it clips by is that of its group. The state has a dict for each group.

    Raises StructureError for a leaf that no pattern or two patterns match, and for a pattern that matches nothing.
    """
    return _ByPath(*_split(groups))


class _OfFreeze(_ByPath):
    """Two groups; the optimiser of one is None."""

    name = "freeze"


class _Freeze(GradientTransformation):
    """An optimiser that passes over some paths."""

    optimiser: GradientTransformation
    patterns: tuple[str, ...] = static()

    name = "freeze"

    @property
    def entries(self) -> tuple[str, ...] | None:
        """Those of the optimiser."""
        return self.optimiser.entries

    @property
    def counts(self) -> bool:
        """As the optimiser."""
        return self.optimiser.counts

    @property
    def elementwise(self) -> bool:
        """As the optimiser."""
        return self.optimiser.elementwise

    def for_params(self, params: Tree) -> GradientTransformation:
        """The optimiser as it is for these parameters."""
        return self.replace(optimiser=self.optimiser.for_params(params))

    @property
    def _groups(self) -> _ByPath:
        return _OfFreeze((self.patterns, ...), (None, self.optimiser))

    def init(self, params: Tree) -> State:
        """The state of the optimiser, without the frozen leaves."""
        return self._groups.init(params)["rest"]

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of the other leaves; None for frozen ones."""
        updates, after = self._groups.update(grads, {"rest": state}, params)
        return updates, after["rest"]

    def __repr__(self) -> str:
        return f"freeze({', '.join([shown(self.optimiser), *map(repr, self.patterns)])})"


def freeze(optimiser: GradientTransformation, *patterns: str) -> GradientTransformation:
    """The optimiser, but leaves at these paths stay as they are, and the state has nothing for them: `freeze(adam(1e-3), "features")`.

    Patterns are those of `by_path`. `nn.freeze(model, "features")` freezes layers in the model itself, so that their gradients
    are not computed either. Raises StructureError for a pattern that matches nothing.
    """
    if not isinstance(optimiser, GradientTransformation) or not all(isinstance(pattern, str) for pattern in patterns):
        raise StructureError(
            'freeze takes an optimiser and patterns of paths, freeze(adam(1e-3), "features/*"); '
            f"got {', '.join(map(shown, (optimiser, *patterns)))}."
        )
    if not patterns:
        raise StructureError('freeze needs the paths to freeze: freeze(adam(1e-3), "features/*").')
    return _Freeze(optimiser, tuple(patterns))
