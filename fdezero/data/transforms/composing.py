"""Transforms made of transforms: `compose` in turn, `on` a part of a batch, `sometimes` for some examples."""

from collections.abc import Callable
from typing import Any

import attrs

from ... import numpy as fnp
from ...errors import ShapeError, StructureError
from ...messages import called, describe
from ..making import mixes, takes_key
from .batches import column, folded, in_blocks, keys_of, name_of, size_of, uniform, with_part
from .settings import probability, setting
from .transform import Transform

__all__ = ["compose", "on", "sometimes"]


def _shown(part: Any) -> str:
    """The text of a part: a function of one's own has its name."""
    return repr(part) if hasattr(part, "__attrs_attrs__") else called(part)


def _draw(part: Any, keys: Any) -> Any:
    """What a part draws with its keys; a function of one's own gets the keys themselves."""
    return part.draw(keys) if isinstance(part, Transform) else keys


def _run(part: Any, batch: Any, drawn: Any) -> Any:
    if isinstance(part, Transform):
        return part.run(batch, drawn)
    return part(batch) if drawn is None else part(batch, key=drawn)


def _parts(value: Any, what: str) -> tuple[Any, ...]:
    """The parts, each a function; the parts of a `compose` among them take its place."""
    found: list[Any] = []
    for part in value:
        if not callable(part) or isinstance(part, type):
            made = (
                f"Make one: {part.__name__}(...)." if isinstance(part, type) else "Write compose(a, b), without a list."
            )
            raise StructureError(f"compose takes transforms or functions of a batch, got {describe(part)}. {made}")
        found += part.parts if isinstance(part, compose) else [part]
    return tuple(found)


@attrs.frozen(init=False, repr=False)
class compose(Transform):
    """The transforms in turn: `compose(to_float(), normalise(0.5, 0.5))`.

    A part may be any function of a batch; if it has a parameter `key`, it gets the keys of the examples. The j-th part that draws
    gets `fd.random.fold_in(key, j)` of each example's key. So parts that draw nothing may come and go, and the draws stay.
    A `compose` in a `compose` is the same as its parts. Examples are done in blocks that fit the cache.
    """

    parts: tuple[Any, ...] = setting(_parts)

    def __init__(self, *parts: Any) -> None:
        self.__attrs_init__(parts)

    def __repr__(self) -> str:
        return f"compose({', '.join(map(_shown, self.parts))})"

    @property
    def draws(self) -> bool:  # type: ignore[override]  # a property here
        return any(map(takes_key, self.parts))

    @property
    def by_example(self) -> bool:  # type: ignore[override]  # a property here
        return all(isinstance(part, Transform) and part.by_example for part in self.parts)

    @property
    def mixes(self) -> bool:  # type: ignore[override]  # a property here
        return any(map(mixes, self.parts))

    def draw(self, keys: Any) -> Any:
        drawn, number = list[Any](), 0
        for part in self.parts:
            draws = takes_key(part)
            drawn.append(_draw(part, folded(keys, number)) if draws else None)
            number += draws
        return tuple(drawn)

    def whole(self, batch: Any, drawn: Any) -> Any:
        """Parts that work by example go through the cache together; a part that needs all examples stands alone."""
        drawn = drawn or (None,) * len(self.parts)
        pending: list[tuple[Any, Any]] = []
        for part, its in zip((*self.parts, None), (*drawn, None), strict=True):
            if isinstance(part, Transform) and part.by_example:
                pending.append((part, its))
                continue
            if pending:
                parts, theirs = zip(*pending, strict=True)
                batch, pending = in_blocks(_chain(parts), batch, theirs), []
            batch = batch if part is None else _run(part, batch, its)
        return batch

    def run(self, batch: Any, drawn: Any) -> Any:
        return _chain(self.parts)(batch, drawn or (None,) * len(self.parts))


def _chain(parts: Any) -> Callable[[Any, Any], Any]:
    """The function of parts in turn."""

    def run(batch: Any, drawn: Any) -> Any:
        for part, its in zip(parts, drawn, strict=True):
            batch = _run(part, batch, its)
        return batch

    return run


def _transform(value: Any, what: str) -> Any:
    if not callable(value) or isinstance(value, type):
        raise StructureError(f"{what} is a transform or a function of a batch, got {describe(value)}.")
    return value


@attrs.frozen
class _Around(Transform):
    """A transform around another one, whose needs are its own."""

    transform: Any = setting(_transform, repr=_shown)

    @property
    def draws(self) -> bool:  # type: ignore[override]  # a property here
        return takes_key(self.transform)

    @property
    def by_example(self) -> bool:  # type: ignore[override]  # a property here
        return isinstance(self.transform, Transform) and self.transform.by_example

    @property
    def mixes(self) -> bool:  # type: ignore[override]  # a property here
        return mixes(self.transform)


@attrs.frozen
class on(_Around):
    """A transform of one part of a batch: `on("image", resize(64))` for dicts, `on(1, one_hot(10))` for tuples."""

    place: Any = setting(lambda value, what: value)
    transform: Any = setting(_transform, repr=_shown)  # behind the place

    def keys(self, batch: Any, key: Any) -> Any:
        return keys_of(key, size_of(self._part(batch), self), self)

    def draw(self, keys: Any) -> Any:
        return _draw(self.transform, keys)

    def run(self, batch: Any, drawn: Any) -> Any:
        part = _run(self.transform, self._part(batch), drawn)
        return {**batch, self.place: part} if isinstance(batch, dict) else with_part(batch, self.place, part)

    def _part(self, batch: Any) -> Any:
        try:
            return batch[self.place]
        except (KeyError, IndexError, TypeError):
            has = ", ".join(map(repr, batch)) if isinstance(batch, dict) else describe(batch)
            raise StructureError(f"on({self.place!r}, ...): the batch has no such part; it has {has}.") from None


@attrs.frozen
class sometimes(_Around):
    """A transform of some examples, each with probability `p`; the others stay as they are. Shapes and dtypes must not change."""

    p: float = setting(probability, default=0.5)

    draws = True

    def draw(self, keys: Any) -> Any:
        chosen = uniform(folded(keys, 0), 1)[:, 0] < self.p
        return chosen, _draw(self.transform, folded(keys, 1)) if takes_key(self.transform) else None

    def run(self, batch: Any, drawn: Any) -> Any:
        chosen, its = drawn
        new = _run(self.transform, batch, its)
        if not isinstance(batch, tuple):
            return self._choice(chosen, new, batch)
        parts = [self._choice(chosen, y, x) for y, x in zip(new, batch, strict=True)]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)

    def _choice(self, chosen: Any, y: Any, x: Any) -> Any:
        if y is x:
            return x
        if tuple(y.shape) != tuple(x.shape) or y.dtype != x.dtype:
            raise ShapeError(
                f"sometimes: {name_of(self.transform)} made {describe(y)} of {describe(x)}; both must have one shape and one dtype."
            )
        return fnp.where(column(chosen, bool, x.ndim), y, x)
