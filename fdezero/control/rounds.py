"""How a loop runs: each round writes its results where they are to lie, and what all rounds share is done once."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..compiler.graph import Constant, Variable
from ..compiler.program import Executable, Program
from ..compiler.recording.examples import layout_of
from ..compiler.recording.record import owned
from ..compiler.running.errors import run_quietly
from ..devices import backend_of
from ..messages import describe
from ..ops import joining_kernels
from ..values import with_shape


def empty_rows(y: Any, length: int) -> Any:
    """Memory in C order for `length` values like y: an array, or the variable of one on the CPU."""
    return (
        np.empty((length, *y.shape), y.dtype)
        if isinstance(y, Variable)
        else np.empty_like(y, shape=(length, *y.shape), order="C")
    )


class Rounds:
    """One run of a loop: `length` rounds of `body(*carry, *xs[i], *constants) -> (*carry, *ys[i])`.

    `into` has an array, or None, for each result: for the last carry, and for the columns, which hold the ys of all rounds.
    """

    def __init__(
        self, body: Program, carry: Sequence[Any], xs: Sequence[Any], constants: Sequence[Any],
        length: int, reverse: bool, into: Sequence[Any] | None,
    ) -> None:  # fmt: skip
        self.body, self.constants = body, constants
        self.carry: Sequence[Any] = list(carry)
        self.count, self.length, self.reverse = len(carry), length, reverse
        self.xs = [self._in_order(x) for x in xs]
        outputs, inputs = body.graph.outputs, body.graph.inputs
        self.into: Sequence[Any] = [None] * len(outputs) if into is None else into
        self.columns: list[Any] = list(self.into[self.count :])
        self.done = 0
        # Of each carry, the column that holds it before every round, if there is one.
        ys = outputs[self.count :]
        self.before = [ys.index(x) if x.kind == "array" and x.shape and x in ys else None for x in inputs[: self.count]]
        self.waiting: dict[int, list[Any]] = {}  # ys that are not in their columns yet
        self.last: dict[int, Any] = {}  # the memory of the last carry, by its position, where a round has written it

    def run(self) -> tuple[list[Any], list[Any]]:
        """The last carry, with memory of its own, and the columns."""
        used: dict[Executable, None] = {}
        leaves = (*self.carry, *self.xs, *self.constants)
        while self.done < self.length:
            now = [*self.carry, *[x[self.done] for x in self.xs], *self.constants]
            program = self.body.planned_for(now)
            used[program.rows] = None
            if run_quietly(self._many, (program,)) is None:  # the caller wants floating-point errors as exceptions
                self._keep(program.rows.as_recorded(now))
        for q in [*self.waiting]:
            self._write_rows(q, self.done)
        for executable in used:
            executable.rest()
        last = list(self.carry)
        others = [p for p in range(self.count) if last[p] is not self.last.get(p)]
        own = owned([last[p] for p in others], (*leaves, *self.columns))
        for p, value in zip(others, own, strict=True):
            last[p] = value
            if self.into[p] is not None:
                self._check(self.into[p].shape, self.into[p], value)
                self.into[p][...] = value
        return last, self.columns

    def _many(self, program: Program) -> bool:
        """Run the rounds that are left if a round keeps the memory layout of the carry; otherwise one round."""
        executable, outputs, n = program.rows, program.graph.outputs, self.count
        layouts = [layout_of(y.value if isinstance(y, Constant) else y) for y in outputs[:n]]
        start = self.done
        stop = self.length if layouts == list(program.layouts[:n]) else start + 1
        watched = [p for p in range(n) if not any(p in positions for positions in executable.given)]
        given, placed = [], set()
        for positions in executable.given:
            p, into = self._memory_for(positions, outputs, start, stop, in_turn=not watched)
            given.append(into)
            placed.add(p)
        kept = [q for q in range(len(outputs) - n) if n + q not in placed]
        rows = [itertools.islice(x, start, stop) for x in self.xs]
        width, constants, carry = 1 + len(rows), self.constants, self.carry
        free, instance = executable.taken()
        now: tuple[Any, ...] = ()
        try:
            for now in zip(range(start, stop), *rows, *given, strict=True):
                results = instance(*carry, *now[1:width], *constants, *now[width:])
                if kept:
                    self._keep_rows(kept, results, now[0])
                carry = results[:n]
                if watched and any(layout_of(carry[p]) != layouts[p] for p in watched):
                    break
        except Exception as error:  # the instance is dropped, because the traceback may hold its arrays
            self.carry, self.done = carry, now[0]
            self._keep(executable.after(error, [*carry, *now[1:width], *constants], instance))
            return True
        free.append(instance)
        self.carry, self.done = carry, now[0] + 1
        return True

    def _memory_for(
        self, positions: Sequence[int], outputs: Sequence[Any], start: int, stop: int, *, in_turn: bool
    ) -> tuple[int, Iterable[Any]]:
        """The memory of an output in each round, and the position where the output then need not be copied to.

        `positions` are all where the output stands. A carry that a column holds before every round is written into the row of the
        next round. A carry that no column holds has two places in turn, or a new one in each round, if another carry may keep it.
        """
        n, y = self.count, outputs[positions[0]]
        for p in positions:
            if p < n and (q := self.before[p]) is not None:
                column = self._in_order(self._column(q, y))
                column[start] = self.carry[p]
                return n + q, itertools.chain(column[start + 1 : stop + 1], self._last(p, y, stop))
        for p in positions:
            if p >= n:
                return p, itertools.islice(self._in_order(self._column(p - n, y)), start, stop)
        p = positions[0]
        new = (np.empty(y.shape, y.dtype) for _ in range(stop - start - 1))
        between = itertools.islice(itertools.cycle(itertools.islice(new, 2)), stop - start - 1) if in_turn else new
        return p, itertools.chain(between, self._last(p, y, stop) or [np.empty(y.shape, y.dtype)])

    def _last(self, p: int, y: Any, stop: int) -> list[Any]:
        """The memory of the last carry, if the rounds up to `stop` compute it."""
        if stop < self.length:
            return []
        self.last[p] = np.empty(y.shape, y.dtype) if self.into[p] is None else self.into[p]
        self._check(self.last[p].shape, self.last[p], y)
        return [self.last[p]]

    def _column(self, q: int, y: Any) -> Any:
        """The column for values like y: a new one in C order, or the one that is given."""
        column = self.columns[q]
        if column is None:
            column = self.columns[q] = empty_rows(y, self.length)
        self._check(column.shape[1:], column, y)
        return column

    def _check(self, shape: tuple[int, ...], given: Any, y: Any) -> None:
        """TypeError if y does not fit, as no recording said."""
        if shape != np.shape(y) or given.dtype != with_shape(y).dtype:
            raise TypeError(f"a round of a loop gives {describe(y)}, where {describe(given)} was to hold it")

    def _keep_rows(self, kept: Iterable[int], results: Sequence[Any], number: int) -> None:
        """Copy the ys number `kept` into their columns."""
        for q in kept:
            y = results[self.count + q]
            column = self._column(q, with_shape(y))
            if backend_of(y).reads_at_once:
                self._in_order(column)[number] = y
                continue
            self.waiting.setdefault(q, []).append(y)
            if len(self.waiting[q]) == joining_kernels.MOST:
                self._write_rows(q, number + 1)

    def _write_rows(self, q: int, stop: int) -> None:
        """Copy the ys that wait into column q, up to round `stop`: on a GPU by one launch, not by one for each round."""
        ys, column = self.waiting.pop(q), self.columns[q]
        start = stop - len(ys)
        if self.reverse:
            ys, start, stop = ys[::-1], self.length - stop, self.length - start
        place = column[start:stop]
        if not joining_kernels.joined(place, [y[None] for y in ys], -place.ndim):
            for k, y in enumerate(ys):
                place[k] = y

    def _keep(self, results: Sequence[Any]) -> None:
        """The results of one round that has run by itself."""
        self._keep_rows(range(len(self.columns)), results, self.done)
        self.carry, self.done = results[: self.count], self.done + 1

    def _in_order(self, column: Any) -> Any:
        """The rows in the order of the rounds."""
        return column[::-1] if self.reverse else column
