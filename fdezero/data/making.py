"""How one batch is made of a data set, as a pure function of its index and keys: gather, transform, stack, check."""

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
    rank: int  # which shard of each batch; 0 also if there is one

    def __call__(self, step: int, index: Index, numbers: Index, kept: int) -> Any:
        """The batch of the examples `index` (n,) or (n, length). `numbers` are those of the examples' keys; `kept` examples remain."""
        try:
            return self._made(step, index, numbers, kept)
        except StopIteration as error:  # the loop over an epoch would end without a word
            raise RuntimeError(f"a transform or collate raised StopIteration in step {step}.") from error

    def _made(self, step: int, index: Index, numbers: Index, kept: int) -> Any:
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
        if kept < len(index):
            batch = trees.map(lambda leaf: leaf[:kept], batch)
        if self.classes:
            self.check_labels(batch, index)
        if self.transform is None:
            return batch
        if self.key is None:
            return self.transform(batch)
        key = random.fold_in(self.key, step)
        return self.transform(batch, key=random.fold_in(key, self.rank) if self.rank else key)

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

    def check_labels(self, batch: Any, index: Index) -> None:
        leaves = dict(trees.flatten_with_path(batch))
        for path, classes in self.classes.items():
            if path not in leaves:
                raise StructureError(
                    f"DataLoader: classes= names {path or 'the root'}, but a batch has {', '.join(leaves) or 'no name'}."
                )
            labels = np.asarray(to_numpy(leaves[path]))
            if labels.dtype.kind not in "iu":
                raise DTypeError(f"DataLoader: labels are whole numbers, got {describe(labels)}{at(path)}.")
            wrong = np.argwhere((labels < 0) | (labels >= classes))
            if wrong.size:
                place = tuple(wrong[0].tolist())
                number = index[place[0]] if index.ndim == 1 else index[place[:2]]
                raise RangeError(
                    f"DataLoader: example {number} has the label {labels[place]}{at(path)}, but classes are 0 to {classes - 1}."
                )


def takes_key(transform: Any) -> bool:
    """Whether a transform has a parameter `key`."""
    if transform is None:
        return False
    try:
        parameters = inspect.signature(transform).parameters
    except (TypeError, ValueError):  # a builtin
        return False
    return "key" in parameters


def check_transform(transform: Any, name: str, key: Any) -> None:
    """Raise unless a transform is None or a function that this loader can call."""
    if transform is None:
        return
    if not callable(transform):
        raise DTypeError(f"DataLoader: {name} is a function, got {describe(transform)}.")
    if (
        key is None
        and takes_key(transform)
        and inspect.signature(transform).parameters.get("key", EMPTY).default is inspect.Parameter.empty
    ):
        raise KeyMissingError(
            f"DataLoader: {name}={called(transform)} draws random numbers: pass key=fd.random.key(0)."
        )


EMPTY = inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None)


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
