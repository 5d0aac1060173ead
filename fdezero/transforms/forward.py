"""Forward mode for users: jvp."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core.forward import Forward, ForwardTracer
from ..core.kinds import zeros_like
from ..errors import ShapeError, describe
from .reverse import _as_dtype, _same_shape, _split_aux, name_of


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """`(function(*primals), its derivative in the direction of tangents)`; with `has_aux`, aux is third.

    `tangents` has the structure, shapes and dtypes of `primals`; None (or anything) stands where a primal is no floating
    array. Raises StructureError or ShapeError naming the path where they differ.
    """
    level = Forward(name_of("jvp", function))
    primals, tangents = tuple(primals), tuple(tangents)
    leaves, treedef = trees.flatten_trainable(primals)
    directions, other = trees.flatten_trainable(tangents)
    if other != treedef:
        raise trees.structure_error(primals, tangents, "primals", "tangents")
    traced = list(leaves)
    for i, (leaf, t) in enumerate(zip(leaves, directions, strict=True)):
        if t is not None and trees.is_differentiable(leaf):
            if not _same_shape(leaf, t):
                path = trees.flatten_with_path(primals, none_is_leaf=True, namespace=trees.TRAINABLE)[i][0]
                raise ShapeError(f"{level.name}: the tangent of {path} is {describe(t)}, its primal {describe(leaf)}; shapes must agree.")
            dtype = np.dtype(complex) if isinstance(leaf, complex) else getattr(leaf, "dtype", None)
            traced[i] = ForwardTracer(level, leaf, _as_dtype(t, dtype))
    try:
        result = function(*trees.unflatten(treedef, traced))
    finally:
        level.alive = False

    def mine(leaf: Any) -> bool:
        return isinstance(leaf, ForwardTracer) and leaf.level is level

    output, aux = _split_aux(level.name, result) if has_aux else (result, None)
    value = trees.map(lambda leaf: leaf.value if mine(leaf) else leaf, output)
    derivative = trees.map(lambda leaf: leaf.tangent if mine(leaf) else zeros_like(leaf), output)
    if has_aux:
        return value, derivative, trees.map(lambda leaf: leaf.value if mine(leaf) else leaf, aux)
    return value, derivative
