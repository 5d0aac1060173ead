"""`DataLoader`: batches whose order is a function of key and epoch, so that a run can resume anywhere."""

import operator
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import attrs
import numpy as np

from .. import random
from .. import tree as trees
from ..devices import CPU, backend_named, parse_device, to_device, to_numpy
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..random.source import check_key
from .batches import Batches, Here, Moved, Results, Threads
from .making import Maker, check_labels, check_transform, classes_by_path, mixes, takes_key
from .prefetching import prefetch as prefetched
from .samplers import STATIC, Sampler, checked_order, cut, missing_key, needs_key, whole
from .sources import Source, arrays_by_path, is_of_arrays, moved, place_of, source_for

__all__ = ["DataLoader"]

COPIES: weakref.WeakKeyDictionary[Any, Source] = weakref.WeakKeyDictionary()  # of data sets on a GPU, by their loaders


@attrs.frozen(eq=False)
class DataLoader:
    """The batches of a data set: arrays, a tree of them, a list of examples, a table, or an object with `len` and `[i]`.

    `loader.epoch(e)` iterates over the batches of epoch `e`, `loader.epoch(e, start=s)` over exactly those from step s on, and
    `len(loader)` is the number of steps. With `shuffle` the order is a permutation drawn from `fold_in(key, epoch)`; `sampler`
    is another function `order(key, epoch)`. `drop_last` leaves out a smaller last batch. `transform` changes whole batches,
    `transform_example` examples before `collate` stacks them; those with a parameter `key` get one. `workers` threads, or
    processes, make batches ahead, with the same bits. `prefetch` more batches wait on `device`. `shard=(rank, size)`, such as
    `world.share`, is one part of every batch. With `whole_batches` it is cut out at the end, for functions that look at other
    examples; `mixup`, `cutmix` and `pad` do not need to be told. `classes` checks labels: `classes=10` those of (x, t),
    `classes={"t": 10}` those at a path.

    Raises StructureError, ShapeError, DTypeError, RangeError, KeyMissingError or DeviceError for what cannot work.
    """

    dataset: Any = attrs.field(repr=False)
    batch_size: int = attrs.field(metadata=STATIC)
    key: Any = attrs.field(default=None, kw_only=True)
    shuffle: bool = attrs.field(default=True, kw_only=True, metadata=STATIC)
    drop_last: bool = attrs.field(default=False, kw_only=True, metadata=STATIC)
    device: str | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    transform: Callable[..., Any] | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    transform_example: Callable[..., Any] | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    collate: Callable[[list[Any]], Any] | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    sampler: Any = attrs.field(default=None, kw_only=True)
    shard_of: tuple[int, int] = attrs.field(default=(0, 1), kw_only=True, metadata=STATIC, alias="shard")
    whole_batches: bool = attrs.field(default=False, kw_only=True, metadata=STATIC)
    workers: int = attrs.field(default=0, kw_only=True, metadata=STATIC)
    processes: bool | str = attrs.field(default=False, kw_only=True, metadata=STATIC)
    prefetch: int = attrs.field(default=0, kw_only=True, metadata=STATIC)
    classes: int | Mapping[str, int] | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    size: int = attrs.field(init=False, repr=False, metadata=STATIC)

    @size.default
    def _size(self) -> int:
        return source_for(self, self.dataset).size

    def __new__(cls, *args: Any, **settings: Any) -> "DataLoader":
        if len(args) > 2:
            raise TypeError(
                "DataLoader takes the data set and the batch size by position, and all else by name. Put several arrays into a tuple: "
                "DataLoader((x, t), 100, key=key)."
            )
        return super().__new__(cls)

    def __attrs_post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0), ("prefetch", 0)):
            whole(getattr(self, name), f"DataLoader: the {name.replace('_', ' ')}", least)
        if self.key is not None:
            check_key(self.key, "DataLoader")
        elif what := needs_key(self.sampler, self.shuffle):
            raise missing_key(what, ", or shuffle=False" if self.sampler is None else "")
        if self.sampler is not None and not callable(self.sampler):
            raise DTypeError(f"DataLoader: a sampler is a function order(key, epoch), got {describe(self.sampler)}.")
        known = getattr(self.sampler, "examples", None) if isinstance(self.sampler, Sampler) else None
        if known not in (None, self.size):
            raise ShapeError(
                f"DataLoader: the sampler {type(self.sampler).__name__} is made for {known} examples, but the data set has {self.size}."
            )
        check_transform(self.transform, "transform", self.key)
        check_transform(self.transform_example, "transform_example", self.key)
        check_transform(self.collate, "collate", ())
        _check_shard(self.shard_of)
        if not isinstance(self.whole_batches, bool):
            raise DTypeError(f"DataLoader: whole_batches is True or False, got {describe(self.whole_batches)}.")
        if self.processes not in (True, False, "fork", "spawn", "forkserver"):
            raise RangeError(f"DataLoader: processes is True, 'fork', 'spawn' or 'forkserver', got {self.processes!r}.")
        if self.processes and not self.workers:
            raise RangeError("DataLoader: processes=True needs their number: workers=2.")
        if self.device is not None:
            to_device((), self.device)
        if not len(self):
            raise RangeError(
                f"DataLoader: {self.size} examples do not fill a batch of {self.batch_size}, and drop_last=True leaves them out."
            )
        source = source_for(self, self.dataset)
        if self._labels_are_known(source):
            check_labels(arrays_by_path(source), classes_by_path(self.classes), np.arange(self.size))

    def __len__(self) -> int:
        if hasattr(self.sampler, "steps"):
            return int(self.sampler.steps(self.batch_size, self.drop_last))
        count = self._count()
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def shard(self, rank: int, size: int) -> Self:
        """The loader of one part of each batch, for process `rank` of `size`: the global batches stay as they are.

        Parts differ by one example at most; `loader.counts(epoch, step)` has the numbers. Where the number of ranks doubles, each part
        becomes two.
        """
        return attrs.evolve(self, shard=(rank, size))

    def counts(self, epoch: int, step: int) -> tuple[int, ...]:
        """How many examples of one batch each rank has: its weight in a mean over ranks, and 0 for a rank without any."""
        self._check_step(step, len(self))
        n, size = len(self._batches(self.order(epoch))[step]), self.shard_of[1]
        return tuple(_bound(n, rank + 1, size) - _bound(n, rank, size) for rank in range(size))

    def order(self, epoch: int) -> np.ndarray:
        """The order of the examples in an epoch, of all shards: (size,) int64, on the CPU."""
        if self.sampler is not None:
            return checked_order(self.sampler(self.key, epoch), self._count(), self.size, epoch)
        if not self.shuffle:
            return np.arange(self.size)
        order: np.ndarray = to_numpy(random.permutation(random.fold_in(self.key, epoch), self.size))
        return order

    def batch(self, epoch: int, step: int) -> Any:
        """Return one batch. Each call draws the order of the whole epoch; `epoch(...)` draws it once.

        Raises RangeError unless 0 <= step < len(loader).
        """
        self._check_step(step, len(self))
        loader = attrs.evolve(self, workers=0, processes=False, prefetch=0) if self.workers or self.prefetch else self
        return next(loader.epoch(epoch, step))

    def epoch(self, epoch: int, start: int = 0) -> Batches:
        """The batches of an epoch, from step `start` on; there are none if `start` is len(loader).

        Raises RangeError unless 0 <= start <= len(loader).
        """
        epoch, start = _number(epoch, "epoch"), _number(start, "step")
        if not 0 <= start <= len(self):
            raise RangeError(f"an epoch of {len(self)} steps cannot start at step {start}.")
        source = self._placed()
        place = place_of(source)
        on_host = self._batches(self.order(epoch))
        numbers = self._numbers(on_host)
        batches = _on_device(on_host, place)
        numbers = batches if numbers is on_host else _on_device(numbers, place)
        known = self._labels_are_known(source)
        make = self._maker(source, epoch, place, {} if known else classes_by_path(self.classes))
        backend, index = backend_named(place), parse_device(place) or 0

        def task(step: int) -> Any:
            with backend.using(index):
                return make(step, *self._part(batches[step], numbers[step]))

        steps = range(start, len(self))
        results: Results
        if not self.workers or place != CPU.name or not steps:
            results = Here(task, steps)
        elif self.processes:
            from .processes import Processes  # on use: it loads multiprocessing

            arguments = [(step, *self._part(batches[step], numbers[step])) for step in steps]
            results = Processes(make, arguments, self.workers, self.processes)
        else:
            results = Threads(task, steps, self.workers, 2 * self.workers)
        if self.prefetch and place == CPU.name:  # on a GPU the host only launches kernels, and does not wait
            return prefetched(Batches(epoch, start, len(self), results), self.prefetch, device=self.device)
        if (device := self.device) is not None:
            results = Moved(results, lambda batch: to_device(batch, device))
        return Batches(epoch, start, len(self), results)

    def epochs(self, stop: int, start: int | tuple[int, int] = 0) -> Iterator[Batches]:
        """The epochs up to `stop`, each an iterator over its batches: `for batches in loader.epochs(5): for x, t in batches: ...`.

        `start` is the first epoch, or an epoch with a step: a run that stopped after step s of epoch e goes on from (e, s + 1).
        """
        epoch, step = (_number(number, "epoch") for number in (start if isinstance(start, tuple) else (start, 0)))
        return (self.epoch(number, step if number == epoch else 0) for number in range(epoch, stop))

    def __iter__(self) -> Iterator[Any]:
        if (self.shuffle if self.sampler is None else getattr(self.sampler, "draws", True)) or self._draws():
            raise TypeError(
                "a shuffled DataLoader has a new order every epoch: iterate over loader.epoch(0), loader.epoch(1), ... or write "
                "`for batches in loader.epochs(5):` and `for x, t in batches:` within."
            )
        return self.epoch(0)

    def __repr__(self) -> str:
        shown = [f"DataLoader({source_for(self, self.dataset)}, {self.batch_size}"]
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if field.kw_only and value is not None and (field.name == "key" or value != field.default):
                shown.append(f"{field.alias}={describe(value) if field.name == 'key' else repr(value)}")
        return ", ".join(shown) + ")"

    def _draws(self) -> bool:
        """Whether a transform draws from the key, so that epochs differ."""
        return self.key is not None and (takes_key(self.transform) or takes_key(self.transform_example))

    def _maker(self, source: Source, epoch: int, place: str, classes: Mapping[str, int]) -> Maker:
        keys: list[Any] = [None, None]
        if self._draws():
            keys = list(to_device(random.split(random.fold_in(to_numpy(self.key), epoch)), place))
        key, example_key = (
            key if takes_key(transform) else None
            for key, transform in zip(keys, (self.transform, self.transform_example), strict=True)
        )
        changes = (self.transform, self.transform_example, self.collate)
        return Maker(source, *changes, classes, key, example_key)

    def _labels_are_known(self, source: Source) -> bool:
        return is_of_arrays(source) and self.transform_example is None and self.collate is None

    def _count(self) -> int:
        """The number of examples in an epoch."""
        return len(self.sampler) if hasattr(type(self.sampler), "__len__") else self.size

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        """The global batches of an epoch by the numbers of their examples."""
        if hasattr(self.sampler, "batches"):
            found: list[np.ndarray] = self.sampler.batches(order, self.batch_size, self.drop_last)
            return found
        return cut(order, self.batch_size, self.drop_last)

    def _numbers(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """The number of the key of each example: its own, or one of its own for each further time that a sampler draws it."""
        if self.sampler is None or not self._draws():
            return batches
        order = np.concatenate([batch.reshape(-1) for batch in batches])
        by_example = np.argsort(order, kind="stable")
        ordered = order[by_example]
        first = np.searchsorted(ordered, ordered)
        numbers = np.empty_like(order)
        numbers[by_example] = ordered + self.size * (np.arange(len(order)) - first)
        ends = np.cumsum([batch.size for batch in batches])[:-1]
        return [part.reshape(batch.shape) for part, batch in zip(np.split(numbers, ends), batches, strict=True)]

    def _part(self, batch: Any, numbers: Any) -> tuple[Any, Any, tuple[int, int]]:
        """The examples to make, and which of them are those of this shard. A shard without any makes one and keeps none."""
        rank, size = self.shard_of
        start, stop = (_bound(len(batch), bound, size) for bound in (rank, rank + 1))
        if self.whole_batches or mixes(self.transform) or mixes(self.collate):
            return batch, numbers, (start, stop)
        if start == stop:
            return batch[:1], numbers[:1], (0, 0)
        return batch[start:stop], numbers[start:stop], (0, stop - start)

    def _placed(self) -> Source:
        """The source of the data set, or its one copy on the device if it fits there."""
        source = source_for(self, self.dataset)
        if self.device is None or (backend := backend_named(self.device)) is CPU or place_of(source) != CPU.name:
            return source
        if not self._labels_are_known(source):  # examples are made on the CPU
            return source
        if self not in COPIES:
            free = backend.free_bytes(parse_device(self.device) or 0)
            fits = 2 * sum(leaf.nbytes for leaf in trees.leaves(arrays_by_path(source))) <= free
            COPIES[self] = moved(source, self.device) if fits else source
        return COPIES[self]

    def _check_step(self, step: int, steps: int) -> None:
        if not 0 <= step < steps:
            raise RangeError(f"there is no step {step}: an epoch has {steps} steps, counted from 0.")


def _number(number: Any, what: str) -> int:
    """An epoch or a step, which may come from the state of a run as an array."""
    try:
        found = operator.index(to_numpy(number))
    except TypeError:
        raise DTypeError(f"DataLoader: the {what} is a whole number, got {describe(number)}.") from None
    if found < 0:
        raise RangeError(f"DataLoader: there is no {what} {found}.")
    return found


def _on_device(batches: list[np.ndarray], place: str) -> list[Any]:
    """The same index arrays on a device, by one transfer."""
    if place == CPU.name or not batches:
        return batches
    flat = to_device(np.concatenate([batch.reshape(-1) for batch in batches]), place)
    found, start = [], 0
    for batch in batches:
        found.append(flat[start : start + batch.size].reshape(batch.shape))
        start += batch.size
    return found


def _bound(n: int, rank: int, size: int) -> int:
    """Where the part of a rank begins in a batch of n examples. Twice as many ranks have halves of these parts, the odd example first.

    So the bounds of an odd number of parts are plain, and other numbers halve them.
    """
    if size % 2:
        return rank * (n // size) + min(rank, n % size)
    start = _bound(n, rank // 2, size // 2)
    return start + (_bound(n, rank // 2 + 1, size // 2) - start + 1) // 2 if rank % 2 else start


def _check_shard(shard: Any) -> None:
    try:
        rank, size = map(operator.index, shard)
    except (TypeError, ValueError):
        hint = " Write shard=world.share." if hasattr(shard, "share") else ""
        raise DTypeError(f"DataLoader: a shard is two whole numbers, (rank, size), got {shard!r}.{hint}") from None
    if not 0 <= rank < size:
        raise RangeError(f"DataLoader: there is no rank {rank} of {size}: ranks count from 0 to size - 1.")
