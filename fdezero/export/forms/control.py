"""Forms of loops and branches: a scan is a Scan, or a Loop where there are no rows to go over; cond is an If, while_loop a Loop."""

from typing import Any

import numpy as np

from ...compiler.graph import Graph
from ..sizes import is_sized
from .table import form

BOOL = np.dtype(bool)


def _named(w: Any, graph: Graph, stem: str) -> list[str]:
    return [w.fresh(f"{stem}_{name}") for name in graph.names or ["x"] * len(graph.inputs)]


def _bind(w: Any, graph: Graph, names: list[str]) -> None:
    w.names.update(zip(graph.inputs, names, strict=True))


@form("scan")
def _scan(w: Any, step: Any) -> list[str]:
    loop: Any = step.operation
    graph, c, n = loop.body.graph, loop.carries, loop.columns
    start = [w.read(atom, v.dtype) for atom, v in zip(step.inputs, graph.inputs, strict=True)]
    ys = len(graph.outputs) - c
    if not loop.length:
        return [
            *start[:c],
            *[w.emit("Expand", w.constant(np.zeros((), y.dtype)), w.ints(y.shape)) for y in step.outputs[c:]],
        ]
    names = _named(w, graph, "round")
    given = [*names[: c + n], *start[c + n :]]  # the constants of the loop are those of the graph around it
    inputs = [(name, v.dtype, v.shape) for name, v in zip(names[: c + n], graph.inputs, strict=False)]
    if n:
        body = w.subgraph(graph, inputs, lambda: _bind(w, graph, given), stem="round")
        direction = int(loop.reverse)
        return _listed(
            w.emit(
                "Scan", *start[: c + n], count=len(step.outputs), body=body, num_scan_inputs=n,
                scan_input_directions=[direction] * n, **({"scan_output_directions": [direction] * ys} if ys else {}),
            ),
            len(step.outputs),
        )  # fmt: skip
    number, going = w.fresh("number"), w.fresh("going")
    head = [(number, np.int64, ()), (going, BOOL, ())]
    body = w.subgraph(
        graph,
        [*head, *inputs],
        lambda: _bind(w, graph, given),
        lambda outputs: [(going, (BOOL, ())), *outputs],
        "round",
    )
    count = w.emit("Squeeze", w.size(loop.length)) if is_sized(loop.length) else w.constant(np.int64(loop.length))
    made = _listed(
        w.emit("Loop", count, w.constant(np.bool_(True)), *start[:c], count=len(step.outputs), body=body),
        len(step.outputs),
    )
    return [*made[:c], *[_reversed(w, y) if loop.reverse else y for y in made[c:]]]


def _listed(names: Any, count: int) -> list[str]:
    return [names] if count == 1 else list(names)


def _reversed(w: Any, name: str) -> str:
    far = np.iinfo(np.int64).max
    return str(w.emit("Slice", name, w.ints([-1]), w.ints([-far]), w.ints([0]), w.ints([-1])))


@form("cond")
def _cond(w: Any, step: Any) -> list[str]:
    choice: Any = step.operation
    branches = {}
    for key, program in (("then_branch", choice.yes), ("else_branch", choice.no)):
        graph = program.graph
        names = [w.read(atom, v.dtype) for atom, v in zip(step.inputs[1:], graph.inputs, strict=True)]
        branches[key] = w.subgraph(graph, [], lambda graph=graph, names=names: _bind(w, graph, names), stem=key)
    return _listed(w.emit("If", w.read(step.inputs[0], BOOL), count=len(step.outputs), **branches), len(step.outputs))


@form("while_loop")
def _while(w: Any, step: Any) -> list[str]:
    loop: Any = step.operation
    body, condition, c = loop.body.graph, loop.condition.graph, loop.carries
    start = [w.read(atom, v.dtype) for atom, v in zip(step.inputs, body.inputs, strict=True)]
    _bind(w, condition, start)
    going = w.cast(w.write(condition)[0], condition.outputs[0].dtype, BOOL)
    w.step = step
    names = _named(w, body, "round")
    inputs = [(name, v.dtype, v.shape) for name, v in zip(names[:c], body.inputs, strict=False)]
    number, before = w.fresh("number"), w.fresh("going")

    def asked(outputs: list[Any]) -> list[Any]:
        _bind(w, condition, [*[name for name, _ in outputs], *start[c:]])
        again = w.cast(w.write(condition)[0], condition.outputs[0].dtype, BOOL)
        return [(again, (BOOL, ())), *outputs]

    inner = w.subgraph(
        body,
        [(number, np.int64, ()), (before, BOOL, ()), *inputs],
        lambda: _bind(w, body, [*names[:c], *start[c:]]),
        asked,
        "round",
    )
    return _listed(w.emit("Loop", "", going, *start[:c], count=c, body=inner), c)
