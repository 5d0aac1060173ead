"""Random programs with reductions, as small data: what softmax, norms and losses are made of, over lines of any axes and layout."""

from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st

from fdezero import functions as F
from fdezero import numpy as fnp

from .programs import LAYOUTS, laid_out

SHAPES = (
    (5, 7),
    (7, 5),
    (70, 3),
    (3, 70),
    (2, 3, 4),
    (4, 1, 6),
    (1, 5),
    (6, 1),
    (2, 3, 2, 5),
    (3, 33, 17),
    (130,),
    (2, 1100),
)
ENTRY = ("add", "subtract", "multiply", "tanh", "exp", "where", "divide", "square")
REDUCE = ("sum", "max", "min", "mean", "var")
WHOLE = ("softmax", "log_softmax", "layer_norm", "rms_norm")


@attrs.frozen
class LineProgram:
    """Steps on values of one full shape and on what lines along `axes` share. `steps` are names and numbers that choose operands."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    dtype: str
    layouts: tuple[str, ...]
    steps: tuple[tuple[str, int, int, bool], ...]

    def arguments(self, seed: int) -> list[Any]:
        """Two arrays of the full shape, one number for each line, one line for all, and a mask."""
        rng = np.random.default_rng(seed)
        kept = tuple([1 if i in self.axes else n for i, n in enumerate(self.shape)])
        crosswise = tuple([n if i in self.axes else 1 for i, n in enumerate(self.shape)])
        shapes = (self.shape, self.shape, kept, crosswise)
        arrays = [
            laid_out(rng.standard_normal(s).astype(self.dtype), layout)
            for s, layout in zip(shapes, self.layouts, strict=True)
        ]
        return [*arrays, rng.random(self.shape) < 0.5]

    def run(self, x: Any, y: Any, line: Any, cross: Any, mask: Any) -> list[Any]:
        """The last values of each kind, and all sums over columns and over everything."""
        entries, lines, ends = [x, y], [line], []
        others = tuple([i for i in range(len(self.shape)) if i not in self.axes])
        for name, first, second, keepdims in self.steps:
            a = entries[first % len(entries)]
            b = [*entries, *lines, cross][second % (len(entries) + len(lines) + 1)]
            r = lines[second % len(lines)]
            if name in ENTRY:
                entries.append(_entry(name, a, b, mask))
            elif name in REDUCE:
                z = getattr(fnp, name)(a, axis=self.axes, keepdims=keepdims)
                lines.append(z if keepdims else fnp.expand_dims(z, self.axes))
            elif name in WHOLE:
                axis = self.axes[0] if name.endswith("softmax") else self.axes
                entries.append(getattr(F, name)(a, axis=axis))
            elif name == "line":
                lines.append(fnp.tanh(lines[first % len(lines)] * r + 1))
            elif name == "columns" and others:
                ends.append(fnp.sum(a, axis=others, keepdims=keepdims))
            elif name == "total":
                ends.append(fnp.mean(entries[-1]))
        return [entries[-1], entries[len(entries) // 2] * 1, lines[-1] * 1, *ends]


def _entry(name: str, a: Any, b: Any, mask: Any) -> Any:
    """A value of moderate size, so that long programs neither overflow nor vanish."""
    if name == "where":
        return fnp.where(mask, a, b)
    if name == "divide":
        return a / (1 + b * b)
    if name == "multiply":
        return fnp.tanh(a) * b * 0.5
    if name == "exp":
        return fnp.exp(-a * a) + b * 0.1
    if name == "square":
        return fnp.square(a) / (1 + fnp.abs(a))
    if name == "tanh":
        return fnp.tanh(a + b)
    return a + b * 0.5 if name == "add" else (a - b) * 0.5


@st.composite
def line_programs(draw: Any, dtype: str) -> LineProgram:
    shape = draw(st.sampled_from(SHAPES))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    names = st.sampled_from((*ENTRY, *REDUCE, *REDUCE, *REDUCE, *WHOLE, "line", "line", "columns", "total"))
    step = st.tuples(names, st.integers(0, 30), st.integers(0, 30), st.booleans())
    layouts = st.sampled_from(("C",) * 6 + tuple(x for x in LAYOUTS if x != "broadcast"))
    return LineProgram(
        shape,
        tuple(sorted(axes)),
        dtype,
        tuple(draw(st.lists(layouts, min_size=4, max_size=4))),
        tuple(draw(st.lists(step, min_size=2, max_size=14))),
    )
