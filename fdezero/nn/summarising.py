"""`summary`: a table of a model's layers with output shapes, parameters, bytes and multiply-adds, from one run on shapes."""

import html
import math
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from ..core import Tracer
from ..core.tracer import Level
from ..messages import called as called_name
from ..messages import describe
from ..tree import structure as trees
from ..tree.display import sizes
from ..values import is_differentiable, shape_of
from . import standing
from .abstract import called, run_on_shapes
from .capturing import is_layer
from .function import Function
from .places import places
from .state import statistics_in

__all__ = ["Summary", "summary"]

HEADS = ("layer", "output", "parameters", "bytes", "multiply-adds")


@attrs.frozen(eq=False)
class Row:
    """A layer of a summary. Parameters, bytes and multiply-adds are those of the layer with all that it holds."""

    path: str
    layer: str  # the name of its class, or of a function
    depth: int
    name: str  # the end of its path, below the layer that holds it
    output: str  # of its first call; empty if it is not called
    calls: int
    parameters: int
    nbytes: int
    multiply_adds: int


class Summary:
    """The table of a model: `print(nn.summary(model, x))`, or HTML in a notebook. `rows` has the layers, the model first.

    `parameters` counts frozen ones as well, but no statistics; `nbytes` counts all arrays, each once; `multiply_adds` one call of the
    model.
    """

    def __init__(self, rows: list[Row], sizes: str, depth: int | None) -> None:
        self.rows, self.sizes, self.depth = rows, sizes, depth
        self.parameters, self.nbytes, self.multiply_adds = rows[0].parameters, rows[0].nbytes, rows[0].multiply_adds

    def __repr__(self) -> str:
        table = [HEADS, *self._cells()]
        widths = [max(len(line[i]) for line in table) for i in range(len(HEADS))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([line.rstrip() for line in (lines[0], rule, *lines[1:], rule, self._total())])

    def _repr_html_(self) -> str:
        def line(cells: tuple[str, ...], kind: str) -> str:
            texts = (html.escape(cell).replace("  ", "&nbsp;&nbsp;") for cell in cells)
            sides = ("left", "left", "right", "right", "right")
            return "".join(
                f'<{kind} style="text-align: {side}">{text}</{kind}>' for text, side in zip(texts, sides, strict=True)
            )

        body = "".join(f"<tr>{line(cells, 'td')}</tr>" for cells in self._cells())
        return f"<table><tr>{line(HEADS, 'th')}</tr>{body}</table><p>{html.escape(self._total())}</p>"

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows:
            if self.depth is not None and row.depth > self.depth:
                continue
            name = f"{row.name}: " if row.name else ""
            times = f" x{row.calls}" if row.calls > 1 else ""
            yield (
                "  " * row.depth + name + row.layer,
                (row.output or "not called") + times,
                f"{row.parameters:,}" if row.parameters else "",
                in_units(row.nbytes) if row.nbytes else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
            )

    def _total(self) -> str:
        return f"{self.sizes or 'no parameters'}; {in_units(self.nbytes)}; {self.multiply_adds:,} multiply-adds"


def summary(
    model: Any, x: Any, *more: Any, depth: int | None = None, call: Callable[..., Any] | None = None
) -> Summary:
    """The table of the layers of `model`: output shapes, parameters, bytes and multiply-adds of `model(x, *more)` in inference.

    x: an array or `nn.Shape((32, 784), np.float32)`; nothing is computed on it. Multiply-adds are counted from the matrix products,
    `einsum` and convolutions that run, with zeros of a padding. `depth` is how many levels of layers are shown.
    `call(model, x, *more)` runs in place of `model(...)`.
    """
    counter = _Counter()
    recorders: dict[int, _Calls] = {}

    def replace(copy: Any, node: standing.Node) -> Any:
        if not is_layer(node.value):
            return copy
        recorder = recorders[id(node.value)] = _Calls(node, counter)
        return standing.stand_in(copy, recorder, node.path)

    running = standing.rebuilt(model, replace, lambda leaf: Counted(counter, leaf) if is_array(leaf) else leaf)
    root = _Calls(standing.Node(model, "", False), counter)

    def run(x: Any, *more: Any) -> None:
        for recorder in (root, *recorders.values()):  # a second run begins again
            recorder.calls, recorder.multiply_adds, recorder.output = 0, 0, ""
        root.note(lambda: called(running, x, more, call=call))

    run_on_shapes(run, x, more, model, lambda leaf: Counted(counter, leaf))
    return Summary(list(_rows(model, recorders, root)), sizes(model), depth)


class Counted(Tracer):
    """A value of a run whose multiply-adds are counted."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return bool(self.value)

    def __index__(self) -> int:
        return int(self.value.__index__())


class _Counter(Level):
    """Counts the multiply-adds of all operations on its values."""

    sees_all = True
    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__("nn.summary")
        self.count = 0

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        y = primitive(*map(self.below, args), **params)
        count = MULTIPLY_ADDS.get(primitive.name)
        if count is not None:
            self.count += count([shape_of(arg) for arg in args], shape_of(y), params)
        return y if isinstance(y, bool | int) else Counted(self, y)

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        outputs = region.steps(*leaves)
        if outputs is None:  # a region that cannot be opened
            outputs = [Counted(self, y) for y in region(*map(self.below, leaves))]
        return tuple(outputs)


Shapes = list[tuple[int, ...]]


def _of_matmul(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    return math.prod(y) * shapes[0][-1]


def _of_einsum(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    """One for each choice of all indices, times the number of products in it."""
    sizes: dict[str, int] = {}
    for letters, shape in zip(params["inputs"], shapes, strict=True):
        sizes.update(zip(letters, shape[len(shape) - len(letters) :], strict=True))
    loops = y[: len(y) - len(params["output"])]
    return math.prod((*sizes.values(), *loops)) * max(1, len(shapes) - 1)


def _of_conv(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    """Every entry of the result takes a kernel's window over the channels of its group."""
    rank = len(params["strides"])
    return math.prod(y) * math.prod(shapes[1][len(shapes[1]) - rank - 1 :])


def _of_conv_input(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    rank = len(params["strides"])
    return math.prod(shapes[1]) * math.prod(shapes[0][len(shapes[0]) - rank - 1 :])


def _of_correlate(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    return math.prod(y) * math.prod(shapes[1][len(shapes[1]) - len(params["around"]) :])


def _of_attention(shapes: Shapes, y: tuple[int, ...], params: dict[str, Any]) -> int:
    """The scores and the sums weighted by them; a causal mask leaves out nothing here."""
    q, k, v = shapes[:3]
    *loops, _ = y
    return math.prod((*loops, q[-2], k[-2], q[-1] + v[-1]))


# By the name of the operation: from the shapes of its operands and of its result, and its parameters
MULTIPLY_ADDS: dict[str, Callable[[Shapes, tuple[int, ...], dict[str, Any]], int]] = {
    "matmul": _of_matmul,
    "einsum": _of_einsum,
    "conv": _of_conv,
    "conv_input": _of_conv_input,
    "correlate": _of_correlate,
    "attention": _of_attention,
}


class _Calls:
    """Notes the calls of one layer."""

    def __init__(self, node: standing.Node, counter: _Counter) -> None:
        self.node, self.counter = node, counter
        self.outer = standing.recorder_of(node.value)
        self.calls, self.multiply_adds, self.output = 0, 0, ""
        self.detached = _run

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The layer's result; its shape and multiply-adds are noted."""
        return self.note(lambda: standing.through(self.outer, stand, args, options))

    def note(self, run: Callable[[], Any]) -> Any:
        """The result of `run`, a call of the layer."""
        before = self.counter.count
        y = run()
        self.output = self.output or ", ".join(map(describe, trees.leaves(y))) or "nothing"
        self.calls += 1
        self.multiply_adds += self.counter.count - before
        return y


def _run(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return layer(*args, **options)


def _rows(model: Any, recorders: dict[int, _Calls], root: _Calls) -> Iterator[Row]:
    """The rows in the order of the tree. A layer that stands at several paths has a row at the first."""
    held: list[str] = []  # the paths of the layers around the place
    for place in places(model):
        calls = recorders.pop(id(place.value), None) if place.path else root
        if calls is None:
            continue
        while held and held[-1] and not place.path.startswith(held[-1] + "/"):
            held.pop()
        name = place.path.removeprefix(held[-1]).lstrip("/") if held else ""
        numbers = counted(place.value)
        yield Row(
            place.path,
            name_of(place.value),
            len(held),
            name,
            calls.output,
            calls.calls,
            *numbers,
            calls.multiply_adds,
        )
        held.append(place.path)


def name_of(layer: Any) -> str:
    """The name of a layer's class; of a function as a layer, the function's name."""
    return called_name(layer.function) if isinstance(layer, Function) else type(layer).__name__


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array, or stands for one."""
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def counted(tree: Any) -> tuple[int, int]:
    """The entries of all parameters in a tree, and the bytes of all arrays, each array once."""
    arrays = {id(leaf): leaf for leaf in trees.leaves(tree) if is_array(leaf)}
    layers = [node.value for node in standing.layers_of(tree)]
    kept = [statistics_in(layer) for layer in layers]
    statistics = {id(leaf) for leaf in trees.leaves(kept)}
    entries = {name: math.prod(leaf.shape) for name, leaf in arrays.items()}
    parameters = sum(n for name, n in entries.items() if name not in statistics and is_differentiable(arrays[name]))
    return parameters, sum(n * arrays[name].dtype.itemsize for name, n in entries.items())


def in_units(nbytes: int) -> str:
    """A number of bytes for people: 1,234 B, 12.3 KB, 4.5 MB."""
    size = float(nbytes)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError
