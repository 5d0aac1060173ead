"""Chains: transformations one after the other, whose states lie side by side under their names."""

from collections import Counter
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import StructureError
from ..messages import describe
from .leaves import side_by_side
from .settings import shown
from .transformation import GradientTransformation, Params, State, Tree

__all__ = ["chain"]

STEP = "step"


class Place(NamedTuple):
    """Where the state of a part lies in that of its chain: in a folder of its own, or its names among those of the others."""

    folder: str | None
    names: tuple[str, ...]


class Composite(GradientTransformation):
    """Base of transformations that are made of `parts`, one after the other: chains, and methods with a direction and a rate."""

    @property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """The transformations that follow one another."""
        raise NotImplementedError

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where the states of the parts lie."""
        return arranged(self.parts)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The names in the state: those of the parts, which share one `step`."""
        names = [(place.folder,) if place.folder else place.names for place in self.places]
        return tuple(dict.fromkeys(name for some in names for name in some))

    @cached_property
    def counts(self) -> bool:
        """Whether `step` is the number of updates."""
        return all(part.counts for part, place in zip(self.parts, self.places, strict=True) if STEP in place.names)

    @cached_property
    def elementwise(self) -> bool:
        """Whether all parts are."""
        return all(part.elementwise for part in self.parts)

    def for_params(self, params: Tree) -> GradientTransformation:
        """The parts as they are for these parameters."""
        parts = tuple([part.for_params(params) for part in self.parts])
        return self if all(new is old for new, old in zip(parts, self.parts, strict=True)) else Chain(parts)

    def init(self, params: Tree) -> State:
        """The states of all parts."""
        state: dict[str, Any] = {}
        for part, place in zip(self.parts, self.places, strict=True):
            _put(state, place, part.init(params))
        return state

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates that come out of the last part, and the new states."""
        states, after = self._states(state), dict[str, Any]()
        for part, place, own in zip(self.parts, self.places, states, strict=True):
            grads, own = part.update(grads, own, params)
            _put(after, place, own)
        return grads, after

    def _states(self, state: State) -> list[State]:
        """The states of the parts."""
        try:
            return [state[p.folder] if p.folder else {name: state[name] for name in p.names} for p in self.places]
        except (KeyError, IndexError, TypeError):
            self.check(state)
            raise

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the new state. Raises as the step of every transformation does."""
        if len(self.parts) == 1 and not self.places[0].folder:
            return self.parts[0].step(params, grads, state)
        if self.parts and self.parts[-1].finishes:
            return self._finished(params, grads, state)
        return super().step(params, grads, state)

    def _finished(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """The step whose last part moves the parameters itself."""
        side_by_side(params, grads, "grads")
        self.check(state)
        states, after = self._states(state), dict[str, Any]()
        for part, place, own in zip(self.parts[:-1], self.places, states, strict=False):
            grads, own = part.update(grads, own, params)
            _put(after, place, own)
        params, own = self.parts[-1].step(params, grads, states[-1])
        _put(after, self.places[-1], own)
        return params, after


def _put(state: dict[str, Any], place: Place, part: State) -> None:
    if place.folder:
        state[place.folder] = part
    elif place.names:
        state.update(part)


def arranged(parts: tuple[GradientTransformation, ...]) -> tuple[Place, ...]:
    """Where the states of `parts` lie in one dict.

    All parts share one `step`, the number of updates. A part that would share another name gets a folder, as does one whose
    state is no dict of known names.
    """
    known = [part.entries for part in parts]
    shared = Counter(name for names in known for name in set(names or ()))
    if all(part.counts for part, names in zip(parts, known, strict=True) if names and STEP in names):
        shared[STEP] = 1
    apart = [names is None or any(shared[name] > 1 for name in names) for names in known]
    taken = {name for names, is_apart in zip(known, apart, strict=True) if not is_apart for name in names or ()}
    places = []
    for part, names, is_apart in zip(parts, known, apart, strict=True):
        folder = unused(part.name, taken) if is_apart else None
        places.append(Place(folder, () if is_apart else names or ()))
    return tuple(places)


def unused(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken already. It is taken from then on."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


class Chain(Composite):
    """Transformations one after the other."""

    parts: tuple[GradientTransformation, ...]

    name = "chain"

    def __repr__(self) -> str:
        return f"chain({', '.join(map(shown, self.parts))})"


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """Transformations one after the other: `chain(clip_by_global_norm(1.0), adam(1e-3))`.

    The state is a dict with the names of all parts' states. The parts share one `step`. Two parts with another name in common
    have dicts of their own in it, under the names of the parts: `chain(velocity(0.9), velocity(0.5), descend(0.1))` keeps
    `velocity/velocity` and `velocity_2/velocity`.

    Raises StructureError for anything that is not a transformation.
    """
    for i, part in enumerate(transformations):
        if not isinstance(part, GradientTransformation):
            listed = isinstance(part, list | tuple)
            mend = "Write chain(*parts)" if listed else "Give a call such as optim.adam(1e-3)"
            raise StructureError(f"chain: part {i} is {describe(part)}, not a transformation of gradients. {mend}.")
    return Chain(tuple(transformations))
