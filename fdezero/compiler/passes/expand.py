"""Expansion: composite operations are replaced by the operations of their implementation."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from ...core import Primitive, Region
from ...core.lines import LINE
from ..graph import Atom, Constant, Graph, Instruction, Rewritten, Variable, renamed, rewritten
from ..recording.examples import ones_like
from ..recording.record import record


def expand(graph: Graph, native: bool = False, opens: Callable[[Instruction], bool] | None = None) -> Graph:
    """Replace composite operations by the operations of their implementation, which is recorded like a user's function.

    With `native`, also those whose parts join native loops. `opens` may decide in place of what the operations say.
    """

    def opened(instruction: Instruction) -> Rewritten:
        operation, variables = (
            instruction.operation,
            [atom for atom in instruction.inputs if isinstance(atom, Variable)],
        )
        if isinstance(operation, Region):
            return None
        if opens is not None:
            if not opens(instruction):
                return None
        elif not any(v.kind == "array" for v in variables) or not (
            operation.expand is True or (operation.expand == "native" and native)
        ):
            return None
        body = expand(_implementation(operation, instruction), native, opens)  # which may contain others
        names: dict[Atom, Atom] = dict(zip(body.inputs, variables, strict=True))
        steps, y = [renamed(step, names) for step in body.instructions], names.get(body.outputs[0], body.outputs[0])
        if steps and steps[-1].elementwise and steps[-1].output is y:
            # The result keeps the layout of eager code, which may come from operands before broadcasting. Views depend on the layout.
            y = attrs.evolve(steps[-1].output, strides=instruction.output.strides)
            steps[-1] = attrs.evolve(steps[-1], outputs=(y,))
        return steps, [y]

    return rewritten(graph, opened)


def _implementation(primitive: Primitive, instruction: Instruction) -> Graph:
    """The program of an implementation, recorded on ones."""
    variables = [atom for atom in instruction.inputs if isinstance(atom, Variable)]

    def run(*traced: Any) -> tuple[Any]:
        rest = iter(traced)
        args = [atom.value if isinstance(atom, Constant) else next(rest) for atom in instruction.inputs]
        return (primitive.impl(*args, **instruction.params),)

    LINE.now, before = instruction.line, LINE.now
    try:
        with np.errstate(all="ignore"):
            return record(run, [ones_like(variable) for variable in variables], instruction.name).graph
    finally:
        LINE.now = before
