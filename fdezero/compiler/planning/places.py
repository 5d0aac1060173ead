"""Places for the values of a group that runs in blocks: over an operand, in an output's memory until that is written, or in a temporary."""

import heapq
import itertools
from typing import Any

import numpy as np

from ...core import Region
from ..graph import Atom, Instruction, Variable
from .fuse import Fused

MOST_TRIED = 8  # outputs that a value may wait in: a group may have thousands


def read_twice(step: Instruction) -> Atom | None:
    """The operand that the step still reads after its first write, if any."""
    position = None if isinstance(step.operation, Region) else step.operation.reads_twice
    return None if position is None else step.inputs[position]


class Places:
    """Where the values of a group live while one block is computed. Steps ask for their places in order."""

    def __init__(self, fused: Fused, plan: Any, names: dict[Atom, str]) -> None:
        """`names` are the names of the group's operands and outputs."""
        self.steps = fused.body.instructions
        self.last = {atom: i for i, step in enumerate(self.steps) for atom in step.inputs}
        if fused.total is not None:
            self.last[fused.total.inputs[0]] = len(self.steps)
        self.temporaries: list[np.dtype[Any]] = []
        self.place_of: dict[Atom, str] = {}
        self.holders: dict[str, Variable] = {}  # the last variable stored in each place
        # The outputs that are not yet written: of each the dtype, its first and its last step as a place for other values.
        self.outputs: dict[str, tuple[np.dtype[Any], int, int]] = {}
        self.busy: list[tuple[int, int]] = []  # a heap: the step from which a temporary is free, and its number
        self.free: dict[np.dtype[Any], list[int]] = {}  # heaps of temporaries; numbers that are not in `idle` are taken
        self.idle: set[int] = set()
        under: dict[Any, list[Atom]] = {}
        for x in fused.body.inputs:
            if (storage := plan.storage_of(x)) is not None:
                under.setdefault(storage, []).append(x)
        outputs = set(fused.body.outputs)
        for i, step in enumerate(self.steps):
            if (y := step.output) in outputs:
                begin = max([self._done(x) for x in under.get(plan.storages[y], ())], default=0)
                self.outputs[names[y]] = y.dtype, begin, i - 1 if read_twice(step) is not None else i

    def _done(self, x: Atom | None) -> int:
        """The first step that may write over x: the step that reads it last, or the one after if that step reads it twice."""
        last = self.last.get(x, 0) if x is not None else 0
        is_read_twice = x is not None and last < len(self.steps) and read_twice(self.steps[last]) is x
        return last + 1 if is_read_twice else last

    def take(self, number: int) -> str:
        """The place for the result of a step: over an operand that is no longer needed, in an output, or in a temporary."""
        step = self.steps[number]
        y, end = step.output, self.last.get(step.output, number)
        while self.busy and self.busy[0][0] <= number:
            _, temporary = heapq.heappop(self.busy)
            self.idle.add(temporary)
            heapq.heappush(self.free.setdefault(self.temporaries[temporary], []), temporary)
        for place in [place for place, (_, _, last) in self._tried() if last < number]:
            del self.outputs[place]
        free = [
            place
            for place, (dtype, first, last) in self._tried()
            if dtype == y.dtype and first <= number and end <= last and self._done(self.holders.get(place)) <= number
        ]
        held = [place for x in step.inputs if self.holders.get(place := self.place_of.get(x, "")) is x]
        dying = [place for place in free if place in held]
        dying += sorted(
            [p for p in held if p[0] == "t" and int(p[1:]) in self.idle and self.temporaries[int(p[1:])] == y.dtype],
            key=lambda p: int(p[1:]),
        )
        place = next(iter(dying or free), None) or self._temporary(y.dtype)
        if place[0] == "t":
            self.idle.discard(int(place[1:]))
            heapq.heappush(self.busy, (self._done(y), int(place[1:])))
        self.holders[place], self.place_of[y] = y, place
        return place

    def _tried(self) -> list[tuple[str, tuple[np.dtype[Any], int, int]]]:
        return list(itertools.islice(self.outputs.items(), MOST_TRIED))

    def _temporary(self, dtype: np.dtype[Any]) -> str:
        """The first idle temporary of a dtype, or a new one."""
        heap = self.free.setdefault(dtype, [])
        while heap:
            if (number := heapq.heappop(heap)) in self.idle:
                return f"t{number}"
        self.temporaries.append(dtype)
        return f"t{len(self.temporaries) - 1}"
