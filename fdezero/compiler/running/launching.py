"""The launch of one kernel that runs several programs, each over arrays of its own shape."""

from collections.abc import Sequence
from typing import Any

# Of a result: shape, dtype, the position of the operand that it is written over (or None), those of the operands of its shape,
# and its place in one of the larger arrays (or None): which one, and where.
Made = tuple[tuple[int, ...], Any, int | None, tuple[int, ...], tuple[int, Any] | None]


class Joint:
    """A call launches `kernel` for `size` entries in all. Arrays in C order are passed as lines, which are the shortest arguments.

    Results with a place lie in the arrays `wholes`, which come last among the results.
    """

    __slots__ = ("kernel", "made", "module", "size", "wholes")

    def __init__(
        self, module: Any, kernel: Any, size: int, made: Sequence[Made], wholes: Sequence[tuple[Any, Any]]
    ) -> None:
        self.module, self.kernel, self.size, self.made, self.wholes = module, kernel, size, made, wholes

    def __call__(self, *operands: Any) -> list[Any]:
        lines = [x.reshape(-1) if getattr(x, "ndim", 0) > 1 and x.flags.c_contiguous else x for x in operands]
        results, written = [], []
        wholes = [self.module.empty(shape, dtype) for shape, dtype in self.wholes]
        for shape, dtype, over, alike, place in self.made:
            if place is not None:
                written.append(wholes[place[0]][place[1]])
                continue
            if over is not None:
                y, line = operands[over], lines[over]
            else:
                # The order of axes that all operands of the shape have, or C order.
                turned = bool(alike) and all(not operands[i].flags.c_contiguous for i in alike)
                y = self.module.empty_like(operands[alike[0]], dtype) if turned else self.module.empty(shape, dtype)
                line = y.reshape(-1) if len(shape) > 1 and not turned else y
            results.append(y)
            written.append(line)
        if self.size:
            self.kernel(*lines, *written, size=self.size)
        return results + wholes
