"""Gradients over all ranks: `value_and_grad`, with the value and the gradient of the global batch, and `mean` for chains of `optim`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..core.wrapping import with_recipe
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import called, describe
from ..numpy.elementwise import cast
from ..optim.transformation import Stateless
from ..transforms import value_and_grad as of_this_rank
from ..transforms.arguments import check_scalar, numbers_of, split_aux
from ..tree import static
from ..tree.marks import mark
from ..values import dtype_of, kind_of, shape_of
from .equality import check_world
from .shards import check_shards, value_and_grad_of_shards
from .tensor import over_ranks, refuse_cut_layers
from .worlds import World

__all__ = ["mean", "value_and_grad"]

REDUCTIONS = ("mean", "sum")


def value_and_grad(
    function: Callable[..., Any], world: World, argnums: int | Sequence[int] = 0, *, has_aux: bool = False,
    reduction: str = "mean", weight: Callable[..., Any] | None = None, reproducible: bool = False, shards: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """`fd.value_and_grad` over the batch of all ranks. Each rank passes its part, and all get the same value and the same gradient.

        loss, grads = fd.distributed.value_and_grad(loss_fn, world)(model, x, t)

    The function returns the mean over its examples. A rank counts by how many it has: the length of the first array among the
    arguments that are not differentiated. So a last batch that does not divide evenly, and a rank without examples, give the
    gradient of the whole batch. `weight`, a function of the same arguments, returns another number, such as the sum of a mask. A
    function that returns a sum has `reduction="sum"`. The aux of `has_aux` is that of this rank.

    With `reproducible=True` the bits do not depend on the number of ranks. The batch is cut into `shards`, a power of two (8) that the
    number of ranks divides, each with a key and statistics of its own. Then the aux is that of the whole batch.

    Raises StructureError for what is no world, and if no array has a length to count; RangeError for another reduction, or shards.
    """
    if not callable(function):
        raise TypeError(
            f"distributed.value_and_grad takes a function and a world, got {describe(function)} for the function."
        )
    name = f"distributed.value_and_grad({called(function)})"
    check_world(name, world)
    if reduction not in REDUCTIONS:
        raise RangeError(
            f"{name}: reduction says what the function does with its examples, 'mean' or 'sum'; got {reduction!r}."
        )
    if weight is not None and not callable(weight):
        raise TypeError(f"{name}: weight is a function of the same arguments, got {describe(weight)}.")
    if weight is not None and reduction == "sum":
        raise RangeError(
            f"{name}: weight= is the weight of a rank's mean, but with reduction='sum' sums are added as they are."
        )

    options = {
        "has_aux": has_aux,
        "reduction": reduction,
        "weight": weight,
        "reproducible": reproducible,
        "shards": shards,
    }
    if reproducible:
        number = check_shards(name, world, shards)
        run = value_and_grad_of_shards(
            name, function, world, number, argnums, has_aux=has_aux, reduction=reduction, weight=weight
        )

        @functools.wraps(function)
        def of_shards(*args: Any, **kwargs: Any) -> Any:
            refuse_cut_layers(name, args)
            return run(*args, **kwargs)

        return with_recipe(of_shards, value_and_grad, world, argnums, **options)
    if shards is not None:
        raise RangeError(f"{name}: shards={shards!r} belongs to reproducible=True, which was not given.")

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        count: Any = None
        if reduction == "mean":
            count = (
                examples_in(name, args, kwargs, argnums) if weight is None else _number(name, weight(*args, **kwargs))
            )
        if world.size == 1:
            return of_this_rank(function, argnums, has_aux=has_aux)(*args, **kwargs)
        total = None if count is None else world.all_reduce(count)

        @functools.wraps(function)
        def part(*args: Any, **kwargs: Any) -> Any:
            """This rank's term of the global value. It is weighed here, because collectives in the function mix cotangents of ranks."""
            result = function(*args, **kwargs)
            value, aux = split_aux(name, result) if has_aux else (result, None)
            check_scalar(name, value, False)
            return (value if count is None else weighed(value, count, total)), aux

        # A mean over no examples is 0 / 0. It does not count, and what follows from it has no entries.
        with np.errstate(all="ignore" if isinstance(count, float) and not count else None):
            (value, aux), gradients = of_this_rank(part, argnums, has_aux=True)(*args, **kwargs)
        value, gradients = over_ranks((value, gradients), world)
        mark(gradients)
        return ((value, aux) if has_aux else value), gradients

    return with_recipe(functools.wraps(function)(differentiated), value_and_grad, world, argnums, **options)


def weighed(value: Any, count: Any, total: Any) -> Any:
    """The mean of `count` examples as a term of the mean of all `total` examples. The mean of none is no number, and counts nothing."""
    if not isinstance(count, float) or not count:
        value = fnp.where(count > 0, value, 0)
    share = count / fnp.where(total == 0, 1.0, total)
    return value * (cast(share, value.dtype) if hasattr(value, "dtype") else share)


def examples_in(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], argnums: int | Sequence[int]) -> float:
    """The length of the first array that is not differentiated, and that is no key. Raises StructureError if there is none."""
    numbers = {n % len(args) for n in numbers_of(name, argnums, args)}
    rest = [arg for n, arg in enumerate(args) if n not in numbers], list(kwargs.values())
    for leaf in trees.leaves(rest):
        shape = shape_of(leaf)
        if shape and not (shape == (2,) and dtype_of(leaf) == np.uint64):
            return float(shape[0])
    raise StructureError(
        f"{name} weighs each rank by its number of examples, but no argument beside those that are differentiated is an array. Pass the "
        "batch as an argument, or say how many there are: weight=lambda model: len(x)."
    )


def _number(name: str, weight: Any) -> Any:
    """What `weight=` returned, as a number in float64."""
    if shape_of(weight) or kind_of(dtype_of(weight)) not in "biuf":
        error = ShapeError if shape_of(weight) else DTypeError
        raise error(f"{name}: weight returns one real number, such as the sum of a mask; got {describe(weight)}.")
    return cast(weight, np.float64) if hasattr(weight, "dtype") else float(weight)


class mean(Stateless):
    """The mean of the gradients of all ranks: `optim.chain(distributed.mean(world), optim.adam(1e-3))`.

    All ranks count the same. Where parts of a batch differ in size, or the loss has operations over ranks within (BatchNorm), the mean
    of means is not the gradient of the batch: use `value_and_grad`, or batches that divide evenly (`drop_last=True`).
    """

    world: World = static()

    def __attrs_post_init__(self) -> None:
        check_world("distributed.mean", self.world)

    def init(self, params: Any) -> Any:
        """No state. Layers may be cut over ranks."""
        return {}

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The mean over ranks."""
        return over_ranks(grads, self.world, "mean"), state
