"""Says what a wrong derivative looks like: a wrong sign or factor, a transposed matrix, a missing conjugate, zeros."""

import numpy as np

from .differences import Leaves

SAME = 1e-4  # Two values this close, relative to the largest one, count as equal here.


def hint(pairs: list[tuple[Leaves, Leaves]], outputs: list[tuple[int, ...]], inputs: Leaves) -> str:
    """What all entries have in common, as a sentence; empty if nothing is striking.

    `pairs` has the given and the right derivative along each entry of the argument, in their order.
    """
    got, right = (
        np.concatenate([leaf.ravel() for pair in pairs for leaf in pair[side]] or [np.zeros(0)]) for side in (0, 1)
    )
    if not got.size or not np.isfinite(got).all() or not np.isfinite(right).all() or _same(got, right):
        return ""
    if not got.any():
        return "Every given entry is 0."
    if _same(-got, right):
        return "The sign is wrong: every entry is minus the right one."
    turned = np.tile([1, -1], got.size // 2)  # real gradients of complex numbers come as pairs, along 1 and along i
    paired = all(np.iscomplexobj(leaf) for leaf in inputs) and len(pairs) == got.size
    if (np.iscomplexobj(got) and _same(np.conj(got), right)) or (paired and _same(got * turned, right)):
        return "Every entry is the complex conjugate of the right one."
    norm = np.vdot(right, right).real
    if got.size > 1 and norm:
        factor = np.vdot(right, got).real / norm
        if factor and _same(got, factor * right):
            return f"Every entry is {factor:.6g} times the right one."
    is_matrix = len(outputs) == 1 and len(inputs) == 1 and outputs[0] == inputs[0].shape
    if is_matrix and got.size == inputs[0].size ** 2:
        size = inputs[0].size
        if size > 1 and _same(got.reshape(size, size).T.ravel(), right):
            return "It is the transpose of the right one: the output's axes come first, then those of x."
    return ""


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) <= SAME * np.abs(b).max(initial=0.0)).all())
