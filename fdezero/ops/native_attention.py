"""Native code of attention: the passes between its products, which stay NumPy's."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import native
from ..values import C_TYPES
from .attention_blocks import Block

SHARE = 1 << 16  # scores that are worth a thread


class Passes:
    """`attention_blocks.Passes` from `sources/attention.cpp`."""

    def __init__(self, dtype: Any, threads: int) -> None:
        self.limits, self.threads = np.finfo(dtype), threads
        library = native.library(f"typedef {C_TYPES[dtype.name]} T;\n{native.source('attention')}", "-ffp-contract=fast")
        arrays = {"softmax": 3, "weights": 2, "slopes": 3}
        numbers = {"softmax": ["f", "f"] + ["i"] * 5, "weights": ["i"] * 6, "slopes": ["i"] * 3}
        self.functions = {name: native.function_of(library, name, ["array"] * arrays[name] + numbers[name]) for name in arrays}

    def run(self, name: str, size: int, lines: int, *args: Any) -> None:
        native.in_parts(self.functions[name], lines, self.threads if size >= 2 * SHARE else 1)(*args)

    def softmax(self, block: Block, s: Any) -> tuple[Any, Any]:
        sums, most = np.empty((2, *s.shape[:-1], 1), s.dtype)
        limits = float(self.limits.min), float(self.limits.tiny)
        self.run("softmax", s.size, sums.size, s, most, sums, *limits, *s.shape[-2:], block.hidden)
        return sums, most

    def weights(self, block: Block, s: Any, total: Any) -> None:
        outer = total.strides[0] // total.itemsize  # a block has one entry, or else its first axis is that of the entries
        self.run("weights", s.size, s.size // s.shape[-1], s, total, *s.shape[-2:], block.hidden, outer)

    def slopes(self, d: Any, p: Any, shift: Any) -> None:
        self.run("slopes", d.size, shift.size, d, p, shift, d.shape[-1])


def of(write: Callable[..., None]) -> Callable[..., Any]:
    """The native code of an operation that `write(out, *arrays, passes=, **params)` computes."""

    def serve(inputs: Sequence[Any], out: Any, params: dict[str, Any], how: Any) -> Callable[[], Callable[..., None]] | None:
        if out.dtype.name not in ("float32", "float64"):
            return None

        def make() -> Callable[..., None]:
            passes = Passes(out.dtype, how.threads)
            return lambda out, *arrays: write(out, *arrays, passes=passes, **params)

        return make

    return serve
