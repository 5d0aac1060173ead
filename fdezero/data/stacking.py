"""Examples become a batch: each leaf of their trees is stacked along a new first axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optree

from .. import tree as trees
from ..devices import CPU, backend_of
from ..errors import DTypeError, ShapeError, StructureError
from ..messages import describe
from ..tree.structure import ALL

__all__ = ["stack"]

LEAVES = {np.ndarray, bool, int, float, complex, str, np.float32, np.float64, np.int64}
NUMBERS = (bool, int, float, complex, str, bytes, np.generic)


def stack(examples: Sequence[Any], index: Any = None) -> Any:
    """One tree of arrays for a list of trees: the leaf of each example stands along a new first axis.

    Arrays, numbers, text, lists of numbers, images of PIL and tensors become arrays. `index` has the numbers of the examples
    in their data set, for messages.

    Raises StructureError for examples with other structures than the first one, ShapeError for arrays of unequal shapes,
    DTypeError for objects that no array holds. Each names two examples.
    """
    names = range(len(examples)) if index is None else index
    if not examples:
        raise ShapeError("data.stack: there is no example to stack.")
    if (columns := _columns_of_tuples(examples)) is not None:
        return tuple(_stacked(values, names, place, examples[0]) for place, values in enumerate(columns))
    rows, structures = zip(*map(flatten_example, examples), strict=True)
    for number, structure in enumerate(structures):
        if structure != structures[0]:
            raise _misfit(examples[0], examples[number], names[0], names[number])
    return trees.unflatten(
        structures[0],
        [_stacked(values, names, place, examples[0]) for place, values in enumerate(zip(*rows, strict=True))],
    )


def _columns_of_tuples(examples: Sequence[Any]) -> list[tuple[Any, ...]] | None:
    """The columns of examples such as (x, t), which need no look at their trees; None for others."""
    if set(map(type, examples)) != {tuple} or len(set(map(len, examples))) > 1:
        return None
    columns = list(zip(*examples, strict=True))
    return columns if all(set(map(type, column)) <= LEAVES for column in columns) else None


def flatten_example(example: Any) -> tuple[list[Any], Any]:
    """The leaves of an example, where a list of numbers is one leaf, and the structure."""
    if isinstance(example, np.ndarray):
        return [example], LEAF
    trees.flatten(example)  # registers classes that are new
    return optree.tree_flatten(example, is_leaf=is_list_of_numbers, namespace=ALL)


def is_list_of_numbers(value: Any) -> bool:
    """Whether a list consists of numbers or text, or of such lists: then it is an array, not a tree."""
    return type(value) is list and (not value or isinstance(value[0], NUMBERS) or is_list_of_numbers(value[0]))


LEAF = trees.flatten(0)[1]


def path_of(example: Any, place: int) -> str:
    """The path of a leaf by its number in an example."""
    paths = optree.tree_paths(example, is_leaf=is_list_of_numbers, namespace=ALL)
    return "/".join(map(str, paths[place]))


def at(path: str) -> str:
    return f" at {path}" if path else ""


def _stacked(values: Sequence[Any], names: Sequence[int], place: int, example: Any) -> Any:
    first = values[0]
    kinds = set(map(type, values))
    if kinds == {np.ndarray}:
        _check_shapes(values, names, place, example)
        return np.array(values)
    if backend_of(first) is not CPU:
        _check_shapes(values, names, place, example)
        return backend_of(first).module.stack(values)
    if isinstance(first, NUMBERS) and all(isinstance(value, NUMBERS) for value in values):
        return np.array(values)
    arrays = [
        value if type(value) is np.ndarray else _array(value, names, i, place, example)
        for i, value in enumerate(values)
    ]
    _check_shapes(arrays, names, place, example)
    return np.array(arrays)


def _array(value: Any, names: Sequence[int], number: int, place: int, example: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # a ragged list, or whatever another library raises
        error.add_note(f"in example {names[number]}{at(path_of(example, place))}")
        raise
    if array.dtype == object and not isinstance(value, np.ndarray):
        raise DTypeError(
            f"example {names[number]} has {describe(value)}{at(path_of(example, place))}, which is no array of numbers. "
            "Turn it into one with transform_example=, or make batches with a function of your own: collate=."
        )
    return array


def _check_shapes(arrays: Sequence[Any], names: Sequence[int], place: int, example: Any) -> None:
    shape = arrays[0].shape
    if len({array.shape for array in arrays}) == 1:
        return
    for number, array in enumerate(arrays):
        if array.shape != shape:
            columns = ""
            if not path_of(example, place) and len(arrays) == 2 and shape[:1] == array.shape[:1]:
                columns = (
                    " A list holds examples: for two arrays with examples along their first axes, write a tuple (x, t)."
                )
            raise ShapeError(
                f"examples {names[0]} and {names[number]} cannot be stacked{at(path_of(example, place))}: {describe(arrays[0])} and "
                f"{describe(array)}. Pad them with collate=fd.data.pad, or give a function of your own as collate=.{columns}"
            )


def _misfit(first: Any, other: Any, first_name: int, other_name: int) -> StructureError:
    left, right = (f"example {name}" for name in (first_name, other_name))
    error = trees.structure_error(first, other, left, right)
    error.add_note("Examples of one structure can be stacked. For others, give a function of your own as collate=.")
    return error
