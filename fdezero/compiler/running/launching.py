"""The launch of one kernel that runs several programs, each over arrays of its own shape."""

from collections.abc import Sequence
from typing import Any

# Of a result: shape, dtype, the position of the operand that it is written over (or None), those of the operands of its shape.
Made = tuple[tuple[int, ...], Any, int | None, tuple[int, ...]]


class Joint:
    """A call launches `kernel` for `size` entries in all. Arrays in C order are passed as lines, which are the shortest arguments."""

    __slots__ = ("kernel", "made", "module", "size")

    def __init__(self, module: Any, kernel: Any, size: int, made: Sequence[Made]) -> None:
        self.module, self.kernel, self.size, self.made = module, kernel, size, made

    def __call__(self, *operands: Any) -> list[Any]:
        lines = [x.reshape(-1) if getattr(x, "ndim", 0) > 1 and x.flags.c_contiguous else x for x in operands]
        results, places = [], []
        for shape, dtype, over, alike in self.made:
            if over is not None:
                y, place = operands[over], lines[over]
            else:
                # The order of axes that all operands of the shape have, or C order.
                turned = bool(alike) and all(not operands[i].flags.c_contiguous for i in alike)
                y = self.module.empty_like(operands[alike[0]], dtype) if turned else self.module.empty(shape, dtype)
                place = y.reshape(-1) if len(shape) > 1 and not turned else y
            results.append(y)
            places.append(place)
        if self.size:
            self.kernel(*lines, *places, size=self.size)
        return results
