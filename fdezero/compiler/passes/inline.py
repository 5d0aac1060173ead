"""Inlining: regions that have a program are replaced by it."""

import attrs

from ..graph import Atom, Graph, Instruction, Rewritten, renamed, rewritten


def inline(graph: Graph) -> Graph:
    """Replace regions that have a program (`graph`) by that program."""
    if not any(hasattr(instruction.operation, "graph") for instruction in graph.instructions):
        return graph

    def opened(instruction: Instruction) -> Rewritten:
        body = getattr(instruction.operation, "graph", None)
        if body is None:
            return None
        body = inline(body)
        inner: dict[Atom, Atom] = dict(zip(body.inputs, instruction.inputs, strict=True))
        steps = []
        for step in body.instructions:
            fresh = tuple(attrs.evolve(v) for v in step.outputs)
            step_here = renamed(step, inner)
            if step.alias is not None and step_here.inputs[step.alias].kind != "array":
                step_here = attrs.evolve(step_here, alias=None)  # a row of a loop may be a number, which has no views
            steps.append(attrs.evolve(step_here, outputs=fresh))
            inner.update(zip(step.outputs, fresh, strict=True))
        return steps, [inner.get(atom, atom) for atom in body.outputs]

    return rewritten(graph, opened)
