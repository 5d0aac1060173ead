"""`split`: a data set in parts, such as one to train on and one to validate with."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optree

from .. import random
from .. import tree as trees
from ..devices import to_numpy
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..tree.structure import ALL
from .sources import Subset, is_column, is_in_memory, source_of

__all__ = ["split"]


def split(
    dataset: Any, fractions: float | Sequence[float], key: Any = None, *, stratify: Any = None
) -> tuple[Any, ...]:
    """Parts of a data set, in its own form: `split((x, t), 0.8, key)` gives `(x, t)` of 80 % of the examples, and of the others.

    A number is the fraction of the first part, or, if it is a whole one, how many examples it has. A sequence has the fractions of
    all parts, which add up to 1, or their numbers of examples. With a key the parts are drawn at random; without, they follow one
    another. Each part keeps the order of the data set. `stratify`, the class of each example or its path in the data set, gives
    every part each class in proportion, up to one example. Arrays in memory and tables are copied; other data sets are read when
    an example is asked for.

    Raises RangeError for fractions that do not add up, and for a part without examples.
    """
    source = source_of(dataset, "data.split")
    counts = _counts(fractions, source.size)
    order = np.arange(source.size)
    if key is not None:
        order = np.asarray(to_numpy(random.permutation(key, source.size)))
    if stratify is None:
        parts = np.split(order, np.cumsum(counts)[:-1])
    else:
        parts = _stratified(order, counts, _labels(dataset, stratify, source.size))
    return tuple(taken(dataset, np.sort(part)) for part in parts)


def _counts(fractions: Any, size: int) -> list[int]:
    """How many examples each part has."""
    several = isinstance(fractions, Sequence | np.ndarray) and not isinstance(fractions, str)
    shares = list(fractions) if several else [fractions]
    if not shares or any(isinstance(share, bool) or not isinstance(share, int | float | np.number) for share in shares):
        raise DTypeError(f"data.split: fractions are numbers, such as 0.8 or (0.8, 0.1, 0.1), got {fractions!r}.")
    whole = all(isinstance(share, int | np.integer) for share in shares)
    total = size if whole else 1.0
    if not several:
        shares.append(total - shares[0])
    if not all(share > 0 for share in shares) or abs(sum(shares) - total) > 1e-6 * total:
        what = f"whole numbers add up to the {size} examples" if whole else "fractions are positive and add up to 1"
        raise RangeError(f"data.split: {what}, got {fractions!r}.")
    if whole:
        return list(map(operator.index, shares))
    ends = np.floor(np.cumsum(shares) * size + 0.5).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    if 0 in counts:
        raise RangeError(f"data.split: part {counts.index(0)} of {size} examples would be empty with {fractions!r}.")
    return counts


def _stratified(order: np.ndarray, counts: list[int], labels: np.ndarray) -> list[np.ndarray]:
    """Parts of these sizes, where each class is spread in proportion: the parts are cut off one after the other."""
    rest = order[np.argsort(labels[order], kind="stable")]  # classes one after the other, each in random order
    parts = []
    for count in counts[:-1]:
        # Of the first p examples of the rest, round(p * share) belong to the part.
        ends = np.floor(np.arange(len(rest) + 1) * (count / len(rest)) + 0.5)
        chosen = np.diff(ends) > 0
        parts.append(rest[chosen])
        rest = rest[~chosen]
    return [*parts, rest]


def _labels(dataset: Any, stratify: Any, size: int) -> np.ndarray:
    if isinstance(stratify, str):
        columns = dict(trees.flatten_with_path(dataset)) if not isinstance(dataset, list) else {}
        if stratify not in columns:
            raise StructureError(
                f"data.split: stratify={stratify!r} is no path of an array in the data set, which has {', '.join(columns) or 'none'}."
            )
        stratify = columns[stratify]
    labels = np.asarray(to_numpy(stratify))
    if labels.shape != (size,):
        raise ShapeError(
            f"data.split: stratify has the class of each of {size} examples, so its shape is ({size},), got {describe(labels)}."
        )
    return labels


def taken(dataset: Any, index: np.ndarray) -> Any:
    """The data set of these examples, in the same form."""
    if is_column(dataset):
        return _taken(dataset, index)
    dataset = dict(dataset) if isinstance(dataset, Mapping) and not isinstance(dataset, dict) else dataset
    leaves, treedef = optree.tree_flatten(dataset, is_leaf=is_column, namespace=ALL)
    return trees.unflatten(treedef, [_taken(leaf, index) for leaf in leaves])


def _taken(dataset: Any, index: np.ndarray) -> Any:
    follow_on = len(index) and index[-1] - index[0] + 1 == len(index)  # sorted, each once
    if isinstance(dataset, list):
        return [dataset[i] for i in index.tolist()]
    if is_in_memory(dataset) and follow_on:
        return dataset[index[0] : index[-1] + 1]
    if is_in_memory(dataset) and not isinstance(dataset, np.memmap):
        return dataset[index]
    if hasattr(dataset, "column_names") and hasattr(dataset, "with_format"):  # Hugging Face
        return dataset.select(index)
    if hasattr(dataset, "take") and (hasattr(dataset, "column_names") or hasattr(dataset, "iloc")):  # Arrow, pandas
        return dataset.take(index)
    if hasattr(dataset, "columns") and hasattr(dataset, "dtypes"):  # Polars
        return dataset[index]
    return Subset(dataset, index)
