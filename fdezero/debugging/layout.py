"""Draws a graph in layers as SVG, without Graphviz."""

from html import escape

import attrs

from ..compiler.graph import Graph, Variable, namer

ROW, GAP, LETTER, HEIGHT = 64, 24, 7.2, 36
SWEEPS = 6


@attrs.define(eq=False)
class Box:
    """A value or an operation in the drawing; `x` and `y` are its centre."""

    lines: tuple[str, ...]
    tooltip: str
    colour: str  # of a value; operations have corners instead of a colour
    above: list["Box"] = attrs.field(factory=list)
    below: list["Box"] = attrs.field(factory=list)
    rank: int = 0
    x: float = 0.0

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * LETTER + 20

    @property
    def y(self) -> float:
        return self.rank * ROW + ROW / 2


def boxes_of(graph: Graph, verbose: bool) -> list[Box]:
    """The values and operations of a graph with the edges between them; each box comes after those above it."""
    name, values, boxes = namer(graph), {}, []

    def value(variable: Variable) -> Box:
        colour = "#ffcc80" if variable in graph.outputs else "#bbdefb" if variable in graph.inputs else "#ffffff"
        lines = (name(variable), str(variable)) if verbose else (name(variable),)
        values[variable] = box = Box(lines, str(variable), colour)
        boxes.append(box)
        return box

    for variable in graph.inputs:
        value(variable)
    for instruction in graph.instructions:
        box = Box((instruction.name,), str(instruction.line or ""), "")
        boxes.append(box)
        for atom in dict.fromkeys(instruction.inputs):
            if isinstance(atom, Variable):
                _join(values[atom], box)
        for variable in instruction.outputs:
            _join(box, value(variable))
    return boxes


def _join(above: Box, below: Box) -> None:
    above.below.append(below)
    below.above.append(above)


def arrange(boxes: list[Box]) -> None:
    """Rank each box by its longest path from above, sort each rank by the places of the neighbours, and set positions."""
    for box in boxes:
        box.rank = max((other.rank + 1 for other in box.above), default=0)
    for box in reversed(boxes):  # A box without boxes above it goes right above its first use.
        if not box.above and box.below:
            box.rank = min(other.rank for other in box.below) - 1
    rows: dict[int, list[Box]] = {}
    for box in boxes:
        rows.setdefault(box.rank, []).append(box)
    for row in rows.values():
        _spread(row)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for rank in sorted(rows, reverse=not down):
            row = rows[rank]
            wished = {id(box): _middle(box, box.above if down else box.below) for box in row}
            row.sort(key=lambda box: wished[id(box)])
            _spread(row)
            shift = sum(wished[id(box)] - box.x for box in row) / len(row)
            for box in row:
                box.x += shift
    left = min((box.x - box.width / 2 for box in boxes), default=0.0)
    for box in boxes:
        box.x += GAP - left


def _middle(box: Box, neighbours: list[Box]) -> float:
    return sum(other.x for other in neighbours) / len(neighbours) if neighbours else box.x


def _spread(row: list[Box]) -> None:
    """Place boxes side by side in their order."""
    x = 0.0
    for box in row:
        box.x = x + box.width / 2
        x += box.width + GAP


def to_svg(graph: Graph, verbose: bool = True) -> str:
    """The graph as a self-contained SVG: values have round corners, operations are boxes, tooltips show the user's lines."""
    boxes = boxes_of(graph, verbose)
    arrange(boxes)
    width = max((box.x + box.width / 2 for box in boxes), default=0.0) + GAP
    height = max((box.y for box in boxes), default=0.0) + ROW / 2 + 4
    size = f"{width:.0f} {height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {size}" '
        'font-family="monospace" font-size="12" text-anchor="middle">',
        f"<title>{escape(graph.name)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for box in boxes:
        for other in box.below:
            top, bottom = box.y + HEIGHT / 2, other.y - HEIGHT / 2
            points = (box.x, top, box.x, (top + bottom) / 2, other.x, (top + bottom) / 2, other.x, bottom)
            start, curve = points[:2], points[2:]
            path = f"M{' '.join(f'{p:.1f}' for p in start)}C{' '.join(f'{p:.1f}' for p in curve)}"
            parts.append(f'<path d="{path}" fill="none" stroke="#757575" marker-end="url(#tip)"/>')
    parts += map(_drawn, boxes)
    return "\n".join([*parts, "</svg>", ""])


def _drawn(box: Box) -> str:
    corner = HEIGHT / 2 if box.colour else 2
    fill = box.colour or "#eeeeee"
    first = box.y + 4 - 7 * (len(box.lines) - 1)
    texts = "".join(
        f'<text x="{box.x:.1f}" y="{first + 14 * i:.1f}">{escape(line)}</text>' for i, line in enumerate(box.lines)
    )
    left, top = f"{box.x - box.width / 2:.1f}", f"{box.y - HEIGHT / 2:.1f}"
    return (
        f'<g><title>{escape(box.tooltip)}</title><rect x="{left}" y="{top}" width="{box.width:.1f}" height="{HEIGHT}" rx="{corner}" '
        f'fill="{fill}" stroke="#424242"/>{texts}</g>'
    )


def to_html(graph: Graph, verbose: bool = True) -> str:
    """The same drawing as an HTML page, with the program below."""
    name = escape(graph.name)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{name}</title></head>\n<body>\n'
        f"{to_svg(graph, verbose)}<pre>{escape(str(graph))}</pre>\n</body>\n</html>\n"
    )
