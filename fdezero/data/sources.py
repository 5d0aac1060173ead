"""The forms that data sets have, under one protocol: a size, batches by their index, and single examples.

No other library is imported. A form is known by what it has: `column_names` and `with_format` (data sets of Hugging Face),
`column_names` and `take` (Arrow), `columns` and `dtypes` (pandas, Polars), `shape` and `dtype` (arrays of any library).
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import optree

from .. import tree as trees
from ..devices import CPU, backend_of, device_of, to_device
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..tree.structure import ALL
from .stacking import at, is_list_of_numbers, stack

__all__: list[str] = []

Index = np.ndarray
FORMS = (
    "an array with the examples along its first axis, a tuple or dict of data sets, a list of examples, a table, or an object with "
    "len(dataset) and dataset[i]"
)


class Source:
    """A data set in one of its forms: `size` examples."""

    size: int

    def gather(self, index: Index) -> Any:
        """The batch of these examples, with index (n,): a tree of arrays (n, ...)."""
        raise NotImplementedError

    def examples(self, index: Index) -> list[Any]:
        """These examples one by one."""
        leaves, treedef = trees.flatten(self.gather(index))
        return [trees.unflatten(treedef, [leaf[i] for leaf in leaves]) for i in range(len(index))]

    def __str__(self) -> str:
        """What the data set is, for its users' eyes."""
        raise NotImplementedError


@attrs.frozen(eq=False)
class Column(Source):
    """One array with the examples along its first axis."""

    array: Any

    @property
    def size(self) -> int:  # type: ignore[override]  # an attribute of the base
        return int(self.array.shape[0])

    def gather(self, index: Index) -> Any:
        return self.array[index]

    def __str__(self) -> str:
        return describe(self.array)


class StoredColumn(Column):
    """An array in a file of another library (h5py, zarr), which reads sorted positions alone, and each of them once."""

    def gather(self, index: Index) -> Any:
        if isinstance(index, np.ndarray) and index.ndim:
            positions, back = np.unique(index, return_inverse=True)
            return np.asarray(self.array[positions])[back]
        return np.asarray(self.array[index])


class SparseColumn(Column):
    """The rows of a sparse matrix of SciPy. Batches are dense."""

    def gather(self, index: Index) -> Any:
        return self.array[index].toarray()


@attrs.frozen(eq=False)
class Table(Source):
    """Columns by name that are gathered from the whole table at once: `read(index)` gives the mapping of columns."""

    dataset: Any
    names: Sequence[str]
    size: int

    def gather(self, index: Index) -> Any:
        rows = self.read(index)
        return {name: _column_of(rows[name], name, index) for name in self.names}

    def read(self, index: Index) -> Any:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self.dataset).__name__} of {self.size} rows with {', '.join(map(str, self.names))}"


class ArrowTable(Table):
    """pyarrow.Table."""

    def read(self, index: Index) -> Any:
        return self.dataset.take(index)


class HuggingFaceTable(Table):
    """datasets.Dataset, whose rows become NumPy arrays unless its user has chosen a format."""

    def read(self, index: Index) -> Any:
        return self.dataset[index.tolist()]


@attrs.frozen(eq=False)
class Examples(Source):
    """An object with `len` and `[i]`, or `__getitems__(indices)`, which is asked for a whole batch where it exists."""

    dataset: Any
    size: int
    path: str = ""

    def gather(self, index: Index) -> Any:
        examples = self.examples(index)
        try:
            return stack(examples, index)
        except ShapeError as error:
            if self.path:
                error.add_note(f"in the data set{at(self.path)}")
            raise

    def examples(self, index: Index) -> list[Any]:
        wanted = index.tolist()
        dataset = self.dataset
        if hasattr(dataset, "__getitems__"):
            return self._whole(wanted)
        i = -1
        try:
            return [dataset[i := number] for number in wanted]
        except StopIteration as error:  # the loop over an epoch would end without a word
            raise RuntimeError(
                f"the data set raised StopIteration in example {i} of the data set{at(self.path)}."
            ) from error
        except Exception as error:
            error.add_note(f"in example {i} of the data set{at(self.path)}")
            raise

    def _whole(self, wanted: list[int]) -> list[Any]:
        try:
            found = list(self.dataset.__getitems__(wanted))
        except Exception as error:
            error.add_note(f"in examples {listed(wanted)} of the data set{at(self.path)}")
            raise
        if len(found) != len(wanted):
            raise ShapeError(
                f"{type(self.dataset).__name__}.__getitems__ returned {len(found)} examples{at(self.path)}, "
                f"but {len(wanted)} were asked for."
            )
        return found

    def __str__(self) -> str:
        return f"{type(self.dataset).__name__} of {self.size} examples"


@attrs.frozen(eq=False)
class Tree(Source):
    """A tree whose leaves are data sets of one size: `{"x": images, "t": labels}`."""

    treedef: Any
    columns: Sequence[Source]

    @property
    def size(self) -> int:  # type: ignore[override]  # an attribute of the base
        return self.columns[0].size

    def gather(self, index: Index) -> Any:
        return trees.unflatten(self.treedef, [column.gather(index) for column in self.columns])

    def examples(self, index: Index) -> list[Any]:
        rows = zip(*[column.examples(index) for column in self.columns], strict=True)
        return [trees.unflatten(self.treedef, row) for row in rows]

    def __str__(self) -> str:
        return str(trees.unflatten(self.treedef, map(str, self.columns)))


@attrs.frozen(eq=False)
class Subset:
    """Some examples of a data set, which are read when they are asked for."""

    dataset: Any = attrs.field(repr=lambda dataset: type(dataset).__name__)
    index: Index = attrs.field(repr=describe)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[int(self.index[i])]


@attrs.frozen(eq=False)
class Part(Source):
    """The source of a Subset."""

    whole: Source
    index: Index

    @property
    def size(self) -> int:  # type: ignore[override]  # an attribute of the base
        return len(self.index)

    def gather(self, index: Index) -> Any:
        return self.whole.gather(self.index[index])

    def examples(self, index: Index) -> list[Any]:
        return self.whole.examples(self.index[index])

    def __str__(self) -> str:
        return f"{self.size} examples of {self.whole}"


def source_of(dataset: Any, what: str = "DataLoader") -> Source:
    """The data set in its form. Raises StructureError or ShapeError, which name the path, if it has none, or no example."""
    found: Source
    if hasattr(type(dataset), "epochs"):
        raise StructureError(
            f"{what}: got a {type(dataset).__name__}, which makes batches, in place of the data set that it has."
        )
    if not _is_container(dataset):
        found = _source_of_leaf(dataset, "", what)
    else:
        dataset = dict(dataset) if isinstance(dataset, Mapping) and not isinstance(dataset, dict) else dataset
        trees.flatten(dataset)  # registers classes that are new
        paths, leaves, treedef = optree.tree_flatten_with_path(dataset, is_leaf=is_column, namespace=ALL)
        if not leaves:
            raise StructureError(f"{what}: the data set holds no array.")
        names = ["/".join(map(str, path)) for path in paths]
        columns = [_source_of_leaf(leaf, path, what) for path, leaf in zip(names, leaves, strict=True)]
        for path, column in zip(names, columns, strict=True):
            if column.size != columns[0].size:
                either = isinstance(leaves[0], list) or isinstance(leaves[names.index(path)], list)
                hint = (
                    " A list holds examples: for arrays with examples along their first axes, write a tuple."
                    if either
                    else ""
                )
                raise ShapeError(
                    f"{what}: {names[0]} has {columns[0].size} examples ({columns[0]}) but {path} has {column.size} examples "
                    f"({column}).{hint}"
                )
        found = Tree(treedef, columns)
    if not found.size:
        raise ShapeError(f"{what}: the data set has no examples ({found}).")
    return found


def is_in_memory(value: Any) -> bool:
    """Whether a value is an array of NumPy or CuPy."""
    return isinstance(value, np.ndarray) or backend_of(value) is not CPU


def _is_container(dataset: Any) -> bool:
    """Whether a data set is a tree of columns."""
    if isinstance(dataset, tuple | Mapping):
        return True
    return hasattr(type(dataset), "__attrs_attrs__") and not hasattr(type(dataset), "__getitem__")


def is_column(value: Any) -> bool:
    """Whether a value within a tree is a column."""
    return not (_is_container(value) or value is None)


def _source_of_leaf(dataset: Any, path: str, what: str) -> Source:
    name = path or "the data set"
    if is_in_memory(dataset) and dataset.shape:
        return Column(dataset)
    if path and is_list_of_numbers(dataset):
        try:
            return Column(np.asarray(dataset))
        except ValueError:  # lists of different lengths
            return Examples(dataset, len(dataset), path)
    kind = type(dataset)
    if is_in_memory(dataset):
        raise StructureError(f"{what}: {name} is {describe(dataset)}, not an array of examples along its first axis.")
    if kind is Subset:
        return Part(_source_of_leaf(dataset.dataset, path, what), dataset.index)
    if hasattr(dataset, "column_names") and hasattr(dataset, "with_format") and hasattr(kind, "__len__"):
        chosen = dataset if (getattr(dataset, "format", None) or {}).get("type") else dataset.with_format("numpy")
        return HuggingFaceTable(chosen, list(dataset.column_names), len(dataset))
    if hasattr(dataset, "column_names") and hasattr(dataset, "take"):
        return ArrowTable(dataset, list(dataset.column_names), len(dataset))
    if hasattr(dataset, "columns") and hasattr(dataset, "dtypes"):
        return _source_of_frame(dataset, name, what)
    if hasattr(kind, "__array__") and (hasattr(kind, "__dlpack__") or hasattr(dataset, "to_numpy")):
        return Column(np.asarray(dataset))
    if hasattr(dataset, "tocsr") and hasattr(dataset, "toarray"):
        return SparseColumn(dataset.tocsr())
    if getattr(dataset, "shape", None) and hasattr(dataset, "dtype") and hasattr(kind, "__getitem__"):
        return StoredColumn(dataset)
    if hasattr(kind, "__getitem__") and hasattr(kind, "__len__") and not isinstance(dataset, str | bytes | dict):
        return Examples(dataset, len(dataset), path)
    if hasattr(dataset, "shape") and hasattr(dataset, "dtype"):
        raise StructureError(f"{what}: {name} is {describe(dataset)}, not an array of examples along its first axis.")
    hint = (
        " Make a list of it: list(dataset)."
        if hasattr(kind, "__iter__") and not isinstance(dataset, str | bytes)
        else ""
    )
    raise StructureError(f"{what}: a data set is {FORMS}, got {describe(dataset)}{at(path)}.{hint}")


def _source_of_frame(frame: Any, name: str, what: str) -> Source:
    """The columns of a table of pandas or Polars, as they lie in memory."""
    names = list(frame.columns)
    if len(set(names)) < len(names):
        double = next(label for label in names if names.count(label) > 1)
        raise StructureError(f"{what}: {name} has two columns of the name {double!r}.")
    if not names:
        raise StructureError(f"{what}: {name} has no columns.")
    columns = {label: frame[label].to_numpy() for label in names}
    leaves, treedef = trees.flatten(columns)
    return Tree(treedef, [Column(leaf) for leaf in leaves])


def _column_of(values: Any, name: str, index: Index) -> Any:
    """A column of gathered rows as an array. Rows that are arrays or lists of equal shapes become one array."""
    array = values if isinstance(values, list) else np.asarray(values)
    if isinstance(array, list) or (array.dtype == object and len(array) and isinstance(array[0], np.ndarray | list)):
        return stack([{name: value} for value in array], index)[name]
    return np.require(array, requirements="W")  # Arrow's are not to be written to, but a batch is its user's own


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


_sources: weakref.WeakKeyDictionary[Any, Source] = weakref.WeakKeyDictionary()


def source_for(owner: Any, dataset: Any, what: str = "DataLoader") -> Source:
    """The source of a data set, which is made once for its owner."""
    found = _sources.get(owner)
    if found is None:
        found = _sources[owner] = source_of(dataset, what)
    return found


def place_of(source: Source) -> str:
    """The device of the arrays of a source; "cpu" for what is not an array. Raises DeviceError for several devices."""
    columns = source.columns if isinstance(source, Tree) else [source]
    arrays = [column.array for column in columns if isinstance(column, Column)]
    others = any(not isinstance(column, Column) for column in columns)
    place = device_of(arrays_by_path(source)) if arrays else CPU.name
    if place != CPU.name and others:
        raise StructureError(f"some columns of the data set lie on {place}, but others are read one by one: {source}.")
    return place


def arrays_by_path(source: Source) -> Any:
    """The tree of the arrays in memory of a source, with None in place of others."""
    if isinstance(source, Tree):
        return trees.unflatten(
            source.treedef, [column.array if type(column) is Column else None for column in source.columns]
        )
    return source.array if type(source) is Column else None


def moved(source: Source, device: str) -> Source:
    """The same source with its arrays on a device."""
    if isinstance(source, Tree):
        return Tree(source.treedef, [Column(to_device(column.array, device)) for column in source.columns])  # type: ignore[attr-defined]  # asked by is_of_arrays
    return Column(to_device(source.array, device))  # type: ignore[attr-defined]  # the same


def is_of_arrays(source: Source) -> bool:
    """Whether a source consists of arrays in memory."""
    return all(type(column) is Column for column in (source.columns if isinstance(source, Tree) else [source]))
