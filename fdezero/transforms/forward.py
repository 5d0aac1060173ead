"""Forward mode for users: jvp."""

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..core.cotangents import zeros_like
from ..core.forward import Forward, ForwardTracer
from ..core.owners import own
from ..errors import ShapeError
from ..foreign import accepted
from ..messages import describe
from ..values import own_dtype, shape_of
from .arguments import as_arguments, name_of, split_aux
from .reverse import as_dtype


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """`(function(*primals), its derivative in the direction of tangents)`; with `has_aux`, aux is third.

    `tangents` has the structure, shapes and dtypes of `primals`. For a primal that is not a floating array, the tangent is
    None (or anything). Raises StructureError or ShapeError, naming the path, if a tangent does not match, and DTypeError for a
    complex tangent of a real primal.
    """
    return pushed_forward(name_of("jvp", function), function, primals, tangents, has_aux=has_aux)


def pushed_forward(
    name: str, function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False
) -> Any:
    """`jvp`; messages use the name of the transform that the user called."""
    level = Forward(name)
    primals, tangents = as_arguments(level.name, "primals", primals), as_arguments(level.name, "tangents", tangents)
    leaves, treedef = trees.flatten_trainable(primals)
    directions, other = trees.flatten_trainable(tangents)
    if other != treedef:
        raise trees.structure_error(primals, tangents, f"the primal tree of {level.name}", "the tangent tree")
    leaves, directions = list(map(accepted, leaves)), list(map(accepted, directions))
    traced = list(leaves)
    for i, (leaf, t) in enumerate(zip(leaves, directions, strict=True)):
        if t is not None and trees.is_differentiable(leaf):
            if shape_of(leaf) != shape_of(t):
                path = trees.flatten_with_path(primals, none_is_leaf=True, namespace=trees.TRAINABLE)[i][0]
                raise ShapeError(
                    f"{level.name}: the tangent of primal {path} is {describe(t)}, but the primal is {describe(leaf)}."
                )
            traced[i] = ForwardTracer(level, leaf, as_dtype(level.name, t, own_dtype(leaf)))
    try:
        result = function(*trees.unflatten(treedef, traced))
    finally:
        level.alive = False

    output, aux = split_aux(level.name, result) if has_aux else (result, None)
    leaves, output_def = trees.flatten(output)
    extras, extras_def = trees.flatten(aux)
    n = len(leaves)
    plain, mask = level.plain([*leaves, *extras])
    plain += [leaf.tangent if level.owns(leaf) else zeros_like(leaf) for leaf in leaves]
    del result, output, aux, leaves, extras, traced
    own(plain, [*mask, *[True] * n])
    value, derivative = trees.unflatten(output_def, plain[:n]), trees.unflatten(output_def, plain[len(plain) - n :])
    if has_aux:
        return value, derivative, trees.unflatten(extras_def, plain[n : len(plain) - n])
    return value, derivative
