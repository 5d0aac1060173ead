"""How one batch is made of a data set, as a pure function of its index and keys: gather, transform, stack, check."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np

from .. import random
from .. import tree as trees
from ..devices import to_numpy
from ..errors import DTypeError, KeyMissingError, RangeError, StructureError
from ..messages import called, describe
from .sources import Index, Source, listed
from .stacking import at, stack

__all__: list[str] = []


@attrs.frozen(eq=False)
class Maker:
    """Makes the batches of one epoch. It holds no state, so threads and processes may call it in any order."""

    source: Source
    transform: Callable[..., Any] | None
    transform_example: Callable[..., Any] | None
    collate: Callable[..., Any] | None
    classes: Mapping[str, int]
    key: Any  # for transform in this epoch; None if it does not draw
    example_key: Any  # for transform_example

    def __call__(self, step: int, index: Index, numbers: Index, kept: tuple[int, int]) -> Any:
        """The batch of the examples `index` (n,) or (n, length), from `kept[0]` up to `kept[1]`. `numbers` are those of their keys."""
        try:
            return self._made(index, numbers, kept)
        except StopIteration as error:  # the loop over an epoch would end without a word
            raise RuntimeError(f"a function of the loader raised StopIteration in step {step}.") from error

    def _made(self, index: Index, numbers: Index, kept: tuple[int, int]) -> Any:
        flat = index.reshape(-1)
        if self.transform_example is None and self.collate is None:
            batch = self.source.gather(flat)
        else:
            examples = self.source.examples(flat)
            if self.transform_example is not None:
                examples = self._transformed(self.transform_example, examples, flat, numbers.reshape(-1))
            batch = stack(examples, flat) if self.collate is None else self._collated(self.collate, examples, flat)
        if index.ndim > 1:
            batch = trees.map(lambda leaf: leaf.reshape(*index.shape, *leaf.shape[1:]), batch)
        check_labels(batch, self.classes, index)
        if self.transform is not None:
            batch = self._changed(self.transform, batch, index, numbers.reshape(len(index), -1)[:, 0])
        if kept == (0, len(index)):
            return batch
        return trees.map(lambda leaf: leaf[slice(*kept)] if np.ndim(leaf) else leaf, batch)

    def _changed(self, transform: Callable[..., Any], batch: Any, index: Index, numbers: Index) -> Any:
        keys = None if self.key is None else random.fold_in(self.key, numbers)
        try:
            return transform(batch) if keys is None else transform(batch, key=keys)
        except Exception as error:
            error.add_note(
                f"in transform of the batch of examples {listed(index.reshape(-1).tolist())} of the data set"
            )
            raise

    def _transformed(
        self, transform: Callable[..., Any], examples: list[Any], index: Index, numbers: Index
    ) -> list[Any]:
        keys = None if self.example_key is None else random.fold_in(self.example_key, numbers)
        found = []
        for place, example in enumerate(examples):
            try:
                found.append(transform(example) if keys is None else transform(example, key=keys[place]))
            except Exception as error:
                error.add_note(f"in transform_example of example {index[place]} of the data set")
                raise
        return found

    def _collated(self, collate: Callable[..., Any], examples: list[Any], index: Index) -> Any:
        try:
            return collate(examples)
        except Exception as error:
            error.add_note(f"in collate of the examples {listed(index.tolist())} of the data set")
            raise


def check_labels(batch: Any, classes: Mapping[str, int], index: Index) -> None:
    """Raise, with the example and the path, for a label outside its classes."""
    if not classes:
        return
    leaves = dict(trees.flatten_with_path(batch))
    for path, count in classes.items():
        if path not in leaves:
            raise StructureError(
                f"DataLoader: classes= names {path or 'the root'}, but a batch has {', '.join(leaves) or 'no name'}."
            )
        labels = np.asarray(to_numpy(leaves[path]))
        if labels.dtype.kind not in "iu":
            raise DTypeError(f"DataLoader: labels are whole numbers, got {describe(labels)}{at(path)}.")
        wrong = np.argwhere((labels < 0) | (labels >= count))
        if wrong.size:
            place = tuple(wrong[0].tolist())
            raise RangeError(
                f"DataLoader: example {index[place[: index.ndim]]} has the label {labels[place]}{at(path)}, "
                f"but classes are 0 to {count - 1}."
            )


def takes_key(transform: Any) -> bool:
    """Whether a transform takes a key: those of `data.transforms` say so, a function of one's own has a parameter of that name."""
    if isinstance(draws := getattr(transform, "draws", None), bool):
        return draws
    return _key_parameter(transform) is not None


def mixes(transform: Any) -> bool:
    """Whether a function looks at other examples of the batch, as functions of this library say in `mixes`."""
    while isinstance(transform, functools.partial):
        transform = transform.func
    return bool(getattr(transform, "mixes", False))


def check_transform(transform: Any, name: str, key: Any) -> None:
    """Raise unless a transform is None or a function that this loader can call."""
    if transform is None:
        return
    if not callable(transform) or isinstance(transform, type):
        made = " Make one of it: " + transform.__name__ + "(...)." if isinstance(transform, type) else ""
        raise DTypeError(f"DataLoader: {name} is a function, got {describe(transform)}.{made}")
    if key is None and takes_key(transform):
        parameter = _key_parameter(transform)
        if getattr(transform, "draws", False) or parameter is None or parameter.default is parameter.empty:
            shown = called(transform) if inspect.isfunction(transform) else repr(transform)
            raise KeyMissingError(f"DataLoader: {name}={shown} draws random numbers: pass key=fd.random.key(0).")


def _key_parameter(transform: Any) -> inspect.Parameter | None:
    try:
        return None if transform is None else inspect.signature(transform).parameters.get("key")
    except (TypeError, ValueError):  # some built-in functions do not say
        return None


def classes_by_path(classes: Any) -> dict[str, int]:
    """`classes` of a loader as a mapping of paths. A number is that of the second column, as in (x, t)."""
    if classes is None:
        return {}
    found = dict(classes) if isinstance(classes, Mapping) else {"1": classes}
    for path, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise RangeError(
                f"DataLoader: classes{at(path)} is a number of classes, 1 or more, got {describe(number)}."
            )
    return found
