"""Value and gradient with the same bits on any number of processes: the global batch is a fixed number of shards, summed in one tree.

What is computed for a shard depends on its examples and its number alone, and the sums are taken in one binary tree over all shards.
So neither the number of processes nor their places change a bit.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from .. import numpy as fnp
from .. import random
from .. import tree as trees
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..nn.standing import children
from ..numpy.arguments import beside
from ..numpy.elementwise import cast
from ..numpy.precision import widened
from ..ops import collectives
from ..ops.talking import apart
from ..transforms import value_and_grad as of_these
from ..transforms.arguments import check_scalar, numbers_of, split_aux
from ..tree import Module
from ..tree.marks import mark
from ..values import dtype_of, is_differentiable, is_half, shape_of
from .tree_sums import halved, tree_sum
from .worlds import World

__all__: list[str] = []

FEWEST = 8  # shards, if nothing else is said


def check_shards(name: str, world: World, shards: Any) -> int:
    """The number of shards. Raises RangeError unless it is a power of two that the number of ranks divides."""
    number = FEWEST if shards is None else shards
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1 or number & (number - 1):
        raise RangeError(f"{name}: shards is a power of two, such as {FEWEST}; got {shards!r}.")
    if number % world.size:
        hint = (
            f"With {world.size} ranks, say shards={1 << (world.size - 1).bit_length()}, in all runs whose bits are to agree."
            if not world.size & (world.size - 1)
            else "Start 1, 2, 4, ... processes."
        )
        raise RangeError(f"{name}: {number} shards cannot be divided among {world.size} ranks. {hint}")
    return int(number)


class SumOfShards(collectives.AllReduce):
    """The sum over ranks in the same binary tree as over the shards of each, on whose number ranks must agree."""

    name, setting = "sum_of_shards", "shards"

    def __init__(self, world: World, shards: int) -> None:
        super().__init__(world, "tree")
        self.shards = shards


def summed_over_ranks(tree: Any, world: World, shards: int) -> Any:
    """The sum of the leaves over ranks."""
    leaves, treedef = trees.flatten(tree)
    if world.size == 1 or not leaves:
        return tree
    over_ranks = SumOfShards(world, shards)
    over_ranks.tree = treedef
    return trees.unflatten(treedef, over_ranks(*leaves))


def value_and_grad_of_shards(
    name: str, function: Callable[..., Any], world: World, shards: int, argnums: int | Sequence[int], *,
    has_aux: bool, reduction: str, weight: Callable[..., Any] | None,
) -> Callable[..., Any]:  # fmt: skip
    """`distributed.value_and_grad` with `reproducible=True`; its arguments are checked already."""
    parts = shards // world.size
    first = world.rank * parts

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        given = Arguments(name, function, args, kwargs, argnums)
        bounds = halved(given.count, parts)
        counts = np.diff(bounds).astype(np.float64)
        total = np.float64(given.count) if world.size == 1 else world.all_reduce(np.float64(given.count))
        items = {
            "keys": [random.fold_in(key, beside(list(range(first, first + parts)), key)) for key in given.keys],
            "share": counts / fnp.where(total == 0, 1.0, total),
        }
        notes = _Notes()

        def summed(of_shard: Callable[[Any, Any, Any], Any], total: Any = None) -> Any:
            whole = (given.whole, total)
            with apart(world, f"{name} with reproducible=True"):
                if given.count:
                    local = tree_sum(of_shard, given.rows, items, whole, bounds, "shards")
                else:  # this rank has no examples: what one would give has the right structure, and counts nothing
                    one = [fnp.zeros_like(x, shape=(1, *shape_of(x)[1:])) for x in given.rows]
                    local = trees.map(_nothing, of_shard(one, trees.map(lambda x: x[0], items), whole))
            return summed_over_ranks(local, world, shards)

        def weight_of(rows: Any, item: Any, whole: Any) -> Any:
            args, kwargs = given.of_shard(rows, item["keys"], whole[0])
            return number_of(name, weight(*args, **kwargs))  # type: ignore[misc]  # called only if there is a weight

        def gradient_of(rows: Any, item: Any, whole: Any) -> Any:
            (whole, total), keys = whole, item["keys"]
            args, kwargs = given.of_shard(rows, keys, whole)
            share = Share(item["share"], False)
            if weight is not None:
                count = number_of(name, weight(*args, **kwargs))
                share = Share(count / fnp.where(total == 0, 1.0, total), True)

            def term(*args: Any, **kwargs: Any) -> Any:
                """This shard's term of the global value, and those of the aux."""
                result = function(*args, **kwargs)
                value, aux = split_aux(name, result) if has_aux else (result, None)
                check_scalar(name, value, False)
                notes.value = getattr(value, "dtype", None)
                parts = notes.terms(name, aux, (args, kwargs), rows, share, reduction) if has_aux else []
                return (share.term(value) if reduction == "mean" else widened(value)), parts

            (value, aux), gradients = of_these(term, argnums, has_aux=True)(*args, **kwargs)
            notes.gradients = [dtype_of(g) for g in trees.leaves(gradients)]
            return value, aux, trees.map(widened, gradients)

        value, terms, gradients = summed(gradient_of, None if weight is None else summed(weight_of))
        leaves, treedef = trees.flatten(gradients)
        gradients = trees.unflatten(treedef, list(map(_as, leaves, notes.gradients)))
        mark(gradients)
        value = _as(value, notes.value)
        return ((value, notes.aux(terms, (args, kwargs))) if has_aux else value), gradients

    return differentiated


@attrs.frozen
class Share:
    """What a shard counts in a mean over all examples. With `weight=` it may be 0, and then counts nothing, even if it is no number."""

    of: Any
    may_be_nothing: bool

    def term(self, x: Any) -> Any:
        """x as a term of the mean, at least in float32."""
        x = widened(x)
        if self.may_be_nothing:
            x = fnp.where(self.of > 0, x, 0)
        return x * (cast(self.of, x.dtype) if hasattr(x, "dtype") else self.of)


def number_of(name: str, weight: Any) -> Any:
    """What `weight=` returned, in float64."""
    if shape_of(weight) or dtype_of(weight).kind not in "biufV":
        raise ShapeError(f"{name}: weight returns one real number, such as the sum of a mask; got {describe(weight)}.")
    return cast(weight, np.float64) if hasattr(weight, "dtype") else np.float64(weight)


def _nothing(y: Any) -> Any:
    """What changes no sum: -0 + y is y, also for y = -0."""
    zeros = fnp.zeros_like(y)
    return -zeros if is_differentiable(zeros) else zeros


def _as(x: Any, dtype: Any) -> Any:
    """A sum in the dtype of its terms, which were widened."""
    return cast(x, dtype) if dtype is not None and is_half(dtype) else x


class Arguments:
    """The arguments of one call: rows of arrays with an example each, keys, and all that every shard gets as it is."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        argnums: int | Sequence[int],
    ) -> None:
        self.numbers = sorted({n % len(args) for n in numbers_of(name, argnums, args)})
        self.args = args
        self.cut = [n for n in range(len(args)) if n not in self.numbers]
        parts = [[args[n] for n in self.cut], dict(kwargs)]
        self.leaves, self.treedef = trees.flatten(parts)
        self.count = -1
        self.of_rows: list[int] = []
        self.of_keys: list[int] = []
        for i, (path, leaf) in enumerate(trees.flatten_with_path(parts)):
            shape = shape_of(leaf) if hasattr(leaf, "shape") else ()
            if shape == (2,) and dtype_of(leaf) == np.uint64:
                self.of_keys.append(i)
            elif shape:
                if len(shape) == 1 and dtype_of(leaf) == np.uint64:
                    raise DTypeError(
                        f"{name} with reproducible=True: {self._named(function, path)} is {describe(leaf)}, but two numbers of uint64 are a"
                        " key, so the last batch might be taken for one. Pass it in int64."
                    )
                if self.count not in (-1, shape[0]):
                    raise ShapeError(
                        f"{name} with reproducible=True cuts every array among the arguments into shards, example by example. "
                        f"{self._named(function, path)} is {describe(leaf)}, but the batch has {self.count} examples. What belongs to "
                        "all examples goes through the closure: lambda model, x, t: loss(model, x, t, weights)."
                    )
                self.count = shape[0]
                self.of_rows.append(i)
        if self.count < 0:
            raise StructureError(
                f"{name} with reproducible=True cuts the batch into shards, but no argument beside those that are differentiated is an "
                "array. Pass the batch as an argument, not through the closure."
            )

    def _named(self, function: Callable[..., Any], path: str) -> str:
        """The path of a leaf, with the name of the argument in front."""
        kind, number, *rest = path.split("/")
        if kind == "1":
            return "/".join([number, *rest])
        place = self.cut[int(number)]
        try:
            names = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # some functions written in C do not say
            names = []
        return "/".join([names[place] if place < len(names) else f"argument {place}", *rest])

    @property
    def rows(self) -> list[Any]:
        """The arrays that are cut."""
        return [self.leaves[i] for i in self.of_rows]

    @property
    def keys(self) -> list[Any]:
        """The keys. Each shard gets one of its own, made of these."""
        return [self.leaves[i] for i in self.of_keys]

    @property
    def whole(self) -> tuple[Any, list[Any]]:
        """What every shard gets: the arguments that are differentiated, and the other leaves."""
        cut = {*self.of_rows, *self.of_keys}
        return [self.args[n] for n in self.numbers], [x for i, x in enumerate(self.leaves) if i not in cut]

    def of_shard(self, rows: Sequence[Any], keys: Sequence[Any], whole: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments for one shard."""
        others = iter(whole[1])
        cut = dict(zip((*self.of_rows, *self.of_keys), (*rows, *keys), strict=True))
        leaves = [cut[i] if i in cut else next(others) for i in range(len(self.leaves))]
        rest, kwargs = trees.unflatten(self.treedef, leaves)
        args = list(self.args)
        for n, arg in (*zip(self.numbers, whole[0], strict=True), *zip(self.cut, rest, strict=True)):
            args[n] = arg
        return args, kwargs


@attrs.define
class _Notes:
    """What the function said for one shard, which holds for all: dtypes, and what its aux consists of."""

    value: Any = None
    gradients: Sequence[Any] = ()
    kept: Sequence[int | None] = ()  # of each leaf of the aux, the leaf of the arguments that it is
    constants: Sequence[Any] = ()
    dtypes: Sequence[Any] = ()
    treedef: Any = None

    def terms(
        self, name: str, aux: Any, arguments: Any, rows: Sequence[Any], share: Share, reduction: str
    ) -> list[Any]:
        """The leaves of the aux as terms of sums over shards; those that are leaves of the arguments, but no rows, are left out."""
        leaves, self.treedef = trees.flatten(aux)
        cut = set(map(id, rows))
        places = {id(leaf): i for i, leaf in enumerate(trees.leaves(arguments)) if id(leaf) not in cut}
        self.kept = [places.get(id(leaf)) if hasattr(leaf, "dtype") else None for leaf in leaves]
        self.constants = [leaf if _is_constant(leaf) else None for leaf in leaves]
        rules, terms, self.dtypes = _rules(aux), [], []
        for i, (leaf, rule) in enumerate(zip(leaves, rules, strict=True)):
            if self.kept[i] is not None or _is_constant(leaf):
                continue
            self.dtypes.append(getattr(leaf, "dtype", None))
            if rule in ("", "mean") and is_differentiable(leaf) and (rule == "mean" or not shape_of(leaf)):
                terms.append(share.term(leaf) if reduction == "mean" or rule == "mean" else widened(leaf))
            elif rule == "sum" or (rule == "" and not shape_of(leaf) and dtype_of(leaf).kind in "iu"):
                terms.append(widened(leaf))
            else:
                if rule == "merge":
                    raise StructureError(
                        f"{name} with reproducible=True: the aux {trees.paths(aux)[i] or 'itself'} belongs to a metric with a merge of its"
                        " own, but shards add up metrics leaf by leaf. Use a training.Metric without a merge, whose leaves are sums."
                    )
                raise StructureError(
                    f"{name} with reproducible=True: the aux {trees.paths(aux)[i] or 'itself'} is {describe(leaf)}, of one shard. "
                    "Shards add up to numbers of the whole batch: the means of floating numbers, the sums of integers, metrics, and "
                    "layers with new statistics. Compute anything else from the model and the batch, outside."
                )
        return terms

    def aux(self, sums: Sequence[Any], arguments: Any) -> Any:
        """The aux of the whole batch."""
        given, found = trees.leaves(arguments), iter(zip(sums, self.dtypes, strict=True))
        leaves = [
            given[place] if place is not None else constant if constant is not None else _as(*next(found))
            for place, constant in zip(self.kept, self.constants, strict=True)
        ]
        return trees.unflatten(self.treedef, leaves)


def _is_constant(leaf: Any) -> bool:
    return not hasattr(leaf, "dtype") and (isinstance(leaf, bool) or not isinstance(leaf, int | float | complex))


def _rules(value: Any, rule: str = "") -> list[str]:
    """For each leaf, "sum" within a metric, "merge" if it has one of its own, "mean" within another module, and else nothing."""
    if value is None:
        return []
    if callable(getattr(value, "merge", None)) and callable(getattr(value, "result", None)):
        rule = "sum" if getattr(value.merge, "adds_leaves", False) else "merge"
    elif isinstance(value, Module) and rule not in ("sum", "merge"):
        rule = "mean"
    parts = children(value)
    return [found for _, part in parts for found in _rules(part, rule)] if parts or _is_empty(value) else [rule]


def _is_empty(value: Any) -> bool:
    return not trees.leaves(value)
