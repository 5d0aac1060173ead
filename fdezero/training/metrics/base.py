"""What all metrics share: sums in float64, which add up over batches, processes and runs; and trees of metrics.

A metric is a frozen tree of sums. `update` returns the metric with further examples, `merge` the metric of the examples of several,
`result` its value so far. All three are pure, so they compile. Counts are exact up to 2**53, and add up the same way in any order.
"""

import functools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...core import Tracer
from ...devices import CPU, backend_of, to_numpy
from ...errors import DeviceError, DTypeError, RangeError, ShapeError, StructureError
from ...functions.reduction import mask_of
from ...messages import describe
from ...numpy.elementwise import cast
from ...tree import Module
from ...values import kind_of

__all__ = ["Metric", "merge", "results"]


class Metric(Module):
    """Base of metrics: a subclass declares its sums as fields, and writes `update` and `result`.

    Its leaves are sums, so `merge` adds them leaf by leaf, and so does an all-reduce over processes.
    """

    def update(self, *args: Any, **options: Any) -> Self:
        """The metric with the examples of a further batch."""
        raise NotImplementedError(f"{type(self).__name__} has no update: write `def update(self, ...)`.")

    def result(self) -> Any:
        """The value for all examples so far; NaN if there are none."""
        raise NotImplementedError(f"{type(self).__name__} has no result: write `def result(self)`.")

    def merge(self, *others: Self) -> Self:
        """The metric of the examples of all. Raises StructureError for a metric of another kind or other options."""
        return functools.reduce(_merged, others, self)

    merge.adds_leaves = True  # type: ignore[attr-defined]  # a merge of a subclass need not be an addition, so it does not say so


def _merged(one: Any, other: Any) -> Any:
    mine, treedef = trees.flatten(one)
    theirs, structure = trees.flatten(other)
    if structure != treedef:
        raise StructureError(f"merge: {_named(one)} and {_named(other)} are different metrics, which do not add up.")
    for x, y in zip(mine, theirs, strict=True):
        if np.shape(x) != np.shape(y):
            raise StructureError(
                f"merge: the sums of {type(one).__name__} are {describe(x)} and {describe(y)}; shapes must agree."
            )
    return trees.unflatten(treedef, list(map(plus, mine, theirs)))


def _named(metric: Any) -> str:
    """The call that makes a metric: its class and its options."""
    fields = getattr(type(metric), "__attrs_attrs__", ())
    options = [f"{f.name}={getattr(metric, f.name)!r}" for f in fields if f.metadata.get("static")]
    return f"{type(metric).__name__}({', '.join(options)})"


def plus(one: Any, other: Any) -> Any:
    """one + other. Sums that are still zero follow the other ones to their device."""
    for x, y in ((one, other), (other, one)):
        if isinstance(x, np.ndarray) and backend_of(y) is not CPU and not x.any():
            return y
        if isinstance(x, np.ndarray) and backend_of(y) is not CPU:
            raise DeviceError(
                f"merge: the sums {describe(one)} and {describe(other)} are on different devices. Bring them together first: "
                "fd.to_device(metric, 'gpu')."
            )
    return one + other


def summed(x: Any) -> Any:
    """The sum of all entries in float64."""
    return fnp.sum(cast(x, np.float64))


def ratio(x: Any, y: Any) -> Any:
    """x / y, and NaN for y = 0, without a warning."""
    return fnp.where(y == 0, np.nan, x / fnp.where(y == 0, 1.0, y))


def whole(value: Any, what: str, least: int) -> int:
    """A setting that is a whole number. Raises RangeError, which says `what` it is."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise RangeError(f"{what} is a whole number, {least} or more, got {value!r}.")
    return int(value)


def weights_of(name: str, examples: Any, weight: Any, mask: Any) -> Any:
    """How much each of the examples (...) counts: float64 (...), or None if all count 1. Raises DTypeError and ShapeError."""
    if weight is None and mask is None:
        return None
    shape = examples.shape
    if np.ndim(weight) == 0 and not isinstance(weight, Tracer):
        weights = fnp.full_like(examples, 1.0 if weight is None else weight, dtype=np.float64)  # on their device
    else:
        weights = fnp.asarray(weight)
        if kind_of(weights.dtype) not in "biuf":
            raise DTypeError(f"{name}: weights are real numbers, got {describe(weights)}.")
        fits = weights.ndim <= len(shape)
        if not fits or any(m not in (1, n) for m, n in zip(weights.shape[::-1], shape[::-1], strict=False)):
            raise ShapeError(
                f"{name}: the weights {describe(weights)} must have the shape of the examples, {shape}, or broadcast to it."
            )
        weights = cast(weights, np.float64)
    if mask is not None:
        weights = fnp.where(mask_of(name, mask, shape, "examples"), weights, 0.0)
    return fnp.broadcast_to(weights, shape)


# Trees of metrics


def is_metric(value: Any) -> bool:
    """Whether a value adds up by itself: a `Metric`, or anything else with `merge` and `result`."""
    return callable(getattr(value, "merge", None)) and callable(getattr(value, "result", None))


def merge(first: Any, *rest: Any, world: Any = None) -> Any:
    """Metrics of the same names, added up: dicts of metrics -> a dict of metrics. With `world`, also those of all ranks.

    All ranks call it then, and all get the same. Raises StructureError for other names, for metrics of different kinds, and for what
    is not a metric.
    """
    merged = functools.reduce(lambda one, other: _merged_at("", one, other), rest, first)
    return merged if world is None else _over_ranks("", merged, world)


def _over_ranks(path: str, metrics: Any, world: Any) -> Any:
    if isinstance(metrics, Mapping):
        return {
            name: _over_ranks(f"{path}/{name}" if path else str(name), value, world) for name, value in metrics.items()
        }
    if not is_metric(metrics):
        _merged_at(path, metrics, metrics)  # which raises
    if isinstance(metrics, Metric) and type(metrics).merge is Metric.merge:
        return world.all_reduce(metrics)
    leaves, treedef = trees.flatten(metrics)  # a merge of its own need not be an addition
    columns = world.all_gather([fnp.expand_dims(leaf, 0) for leaf in leaves])
    parts = [trees.unflatten(treedef, [column[rank] for column in columns]) for rank in range(world.size)]
    return parts[0].merge(*parts[1:])


def _merged_at(path: str, one: Any, other: Any) -> Any:
    if is_metric(one) and is_metric(other):
        return one.merge(other)
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        what = describe(other if is_metric(one) or isinstance(one, Mapping) else one)
        place = path or "the root"
        raise StructureError(
            f"merge: {place} is {what}, not a metric. A number of a batch becomes one by training.Mean().update(number, weight=len(x))."
        )
    if one.keys() != other.keys():
        missing = ", ".join(sorted(map(repr, one.keys() ^ other.keys())))
        raise StructureError(f"merge: both have the same metrics, but {missing} is in one of them alone.")
    return {name: _merged_at(f"{path}/{name}" if path else str(name), one[name], other[name]) for name in one}


def results(metrics: Any, prefix: str = "") -> dict[str, Any]:
    """The results of a dict of metrics and numbers: `{"loss": 0.31, "accuracy": 0.9}`, floats or NumPy arrays.

    A dict within has its name in front: `"heads/a/loss"`. This call waits for a GPU.
    """
    if not isinstance(metrics, Mapping):
        raise StructureError(f'metrics are a dict by name, such as {{"loss": loss}}; got {describe(metrics)}.')
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            new = results(value, f"{prefix}{name}/")
        else:
            number = to_numpy(value.result() if is_metric(value) else value)
            is_real = hasattr(number, "dtype") or isinstance(number, int | float)
            if not np.ndim(number) and (np.iscomplexobj(number) or not is_real):
                raise StructureError(f"the metric {prefix + name!r} is {describe(number)}, not a number.")
            new = {f"{prefix}{name}": number if np.ndim(number) else float(number)}
        if twice := found.keys() & new.keys():
            raise StructureError(f"two metrics have the name {min(twice)!r}: give one of them another.")
        found |= new
    return found
