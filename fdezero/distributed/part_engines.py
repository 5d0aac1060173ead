"""Engines of the parts of a world, kept for the next world of the same ranks: MPI and the operating system have few of them."""

import weakref
from typing import Any

__all__ = ["PartEngines"]


class PartEngines:
    """The engines that one world was split into, by the ranks that they connect, each with the world that has it.

    MPI gives communicators and shared memory back only if all ranks ask together, but worlds end at another time on each rank. So
    an engine whose world has ended on all of its ranks, without an error, serves the next one.
    """

    def __init__(self) -> None:
        self.made: dict[tuple[int, ...], list[tuple[Any, weakref.ref[Any]]]] = {}

    def find(self, engine: Any, colour: int) -> tuple[tuple[int, ...], Any]:
        """The ranks of this one's part, and an engine for them; None if some part has none. All ranks of `engine` ask together."""
        colours = engine.colours(colour)
        own = tuple([rank for rank, other in enumerate(colours) if other == colour])
        kept = self.made.get(own, [])
        free = sum([1 << i for i, (of, world) in enumerate(kept[:MOST]) if world() is None and not of.watch.is_broken])
        common: dict[int, int] = {}
        for other, mask in zip(colours, engine.gathered(free), strict=True):
            common[other] = common.get(other, mask) & mask
        if not all(common.values()):
            return own, None
        number = (common[colour] & -common[colour]).bit_length() - 1
        found = kept.pop(number)[0]
        found.watch.renew()
        return own, found

    def keep(self, own: tuple[int, ...], engine: Any, world: Any) -> None:
        """`world` has the engine from now on."""
        self.made.setdefault(own, []).append((engine, weakref.ref(world)))


MOST = 60  # engines of the same ranks that are looked through: as many bits travel
