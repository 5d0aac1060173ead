"""Gives memory back that the programs of loops, branches and derivatives keep for their next run."""

from collections.abc import Iterator
from typing import Any

from ..core import Region
from .graph import Graph
from .program import Program
from .running.store import Recent


def rest(*programs: Program) -> None:
    """Give large memory back at the end of a loop. A program may have many loops, which run one after the other."""
    for program in _programs_of(programs):
        for executable in program.executables:
            executable.rest()


def _programs_of(part: Any) -> Iterator[Program]:
    """The programs in nested tuples and lists, such as those of a derivative, and all that are derived from them."""
    if isinstance(part, Program):
        yield part
        yield from _programs_of(part.kept)
    elif isinstance(part, tuple | list):
        for each in part:
            yield from _programs_of(each)


def release(graph: Graph) -> None:
    """Give back the memory that loops and branches of a graph keep for their next run."""
    for instruction in graph.instructions:
        for part in vars(instruction.operation).values() if isinstance(instruction.operation, Region) else ():
            _release(part)


def _release(part: Any) -> None:
    if isinstance(part, Program):
        for executable in part.executables:
            executable.release()
            release(executable.graph)
        release(part.graph)
        _release(part.kept)
    elif isinstance(part, Recent):
        _release(list(part.values()))
    elif isinstance(part, tuple | list):
        for each in part:
            _release(each)
    elif isinstance(part, Region):
        for each in vars(part).values():
            _release(each)
