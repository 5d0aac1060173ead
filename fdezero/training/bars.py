"""`progress`: how far an epoch is, and the running means of its metrics, on a terminal, in a notebook or in a log."""

import functools
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np

from .. import tree as trees
from ..errors import MissingExtraError, RangeError, StructureError
from ..messages import describe
from ..values import kind_of
from .metrics.base import is_metric, merge, results
from .metrics.means import Mean

__all__ = ["Progress", "progress"]

ON_HOST = (float, int, np.generic, np.ndarray)
STYLES = ("auto", "bar", "lines", "none")


def progress(
    batches: Iterable[Any],
    description: str = "",
    *,
    total: int | None = None,
    start: int | None = None,
    style: str = "auto",
    interval: float | None = None,
    leave: bool = True,
    file: Any = None,
    world: Any = None,
    merge_metrics: bool = True,
) -> "Progress":
    """Batches, as they come, with a display of how far they are; `show(metrics)` adds the running means of metrics to it.

        for batch in (bar := training.progress(loader.epoch(0), "epoch 1")):
            state, metrics = step(state, batch)
            bar.show(metrics)

    On a terminal and in notebooks it is a bar of tqdm; a line that is rewritten where tqdm is not installed; elsewhere a new line every
    ten seconds. `style` is "auto", "bar", "lines" or "none", `interval` the seconds between two looks, `leave` whether the bar stays at
    the end, `file` where it goes (stderr). `start` is the number of the first batch, and `total` that of all: those of a loader know
    both. With `world` rank 0 alone draws, from its own metrics; after the last batch `results()` are those of all ranks.
    `merge_metrics=False` says that metrics of a step are already those of all ranks.
    """
    return Progress(batches, description, total, start, style, interval, leave, file, world, merge_metrics)


class Progress:
    """What `progress` returns: iterate over it once. `results()` are the means of what `show` got, as floats."""

    def __init__(
        self,
        batches: Iterable[Any],
        description: str,
        total: int | None,
        start: int | None,
        style: str,
        interval: float | None,
        leave: bool,
        file: Any,
        world: Any = None,
        merge_metrics: bool = True,
    ) -> None:
        if style not in STYLES:
            raise RangeError(f"progress: style is one of {', '.join(map(repr, STYLES))}; got {style!r}.")
        if not hasattr(batches, "__iter__"):
            raise StructureError(
                f"progress: expects batches to iterate over, such as loader.epoch(0); got {describe(batches)}."
            )
        if interval is not None and not interval >= 0:
            raise RangeError(f"progress: interval is a number of seconds, 0 or more; got {interval!r}.")
        start = getattr(batches, "step", 0) if start is None else start
        if total is None and isinstance(batches, Sized):
            total = start + len(batches)
        self.batches, self.total, self.start, self.count = batches, total, start, start
        self.sums = Sums()  # of everything that was shown
        self.seconds = 0.0  # since the first batch was asked for
        self._size: int | None = None  # of the batch that is at work
        self._stream = sys.stderr if file is None else file
        self._world, self._merges = world, merge_metrics
        if world is not None and world.rank:
            style = "none"
        self._begin = _display(style, self._stream, description, start, total, interval, leave)
        self._display: _Nothing = _Nothing()

    def __len__(self) -> int:
        if self.total is None:
            raise TypeError("progress: the number of batches is not known. Pass total=len(loader).")
        return self.total - self.start

    def __iter__(self) -> Iterator[Any]:
        display, self.count, self.sums = self._begin(), self.start, Sums()
        self._display = display
        display.draw(self.start, "")
        began = time.monotonic()
        due = began + display.interval
        try:
            for batch in self.batches:
                self._size = _size(batch)
                yield batch
                self.count += 1
                if time.monotonic() >= due:  # the only place that waits for a device
                    display.draw(self.count, self._text())
                    due = time.monotonic() + display.interval
            if self._world is not None:
                self.sums = self.sums.over(self._world, self._merges)
            text = self._text()  # waits for the device
            self.seconds = time.monotonic() - began
            display.draw(self.count, text, last=True)
        finally:
            display.close()

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of a batch: numbers, which are means over the batch, or metrics of `fdezero.training`, in a dict.

        Nothing is read from a device until a line is due. Raises StructureError for other names than before.
        """
        self.sums.add(metrics, self._size)

    def write(self, text: str) -> None:
        """Print a line of your own where the display is, above it."""
        self._display.write(text, self._stream)

    def results(self) -> dict[str, Any]:
        """The mean of every number and the result of every metric so far."""
        return self.sums.results()

    def _text(self) -> str:
        return ", ".join(f"{name}: {shown(value)}" for name, value in self.results().items() if not np.ndim(value))


class Sums:
    """The metrics of several batches, added up. Numbers of the host are added as Python's, which takes no time."""

    def __init__(self) -> None:
        # [sum, number of examples] for a number of the host, otherwise a metric or a dict
        self.found: dict[str, Any] = {}
        self.numbers: set[str] = set()  # names of means over the examples of a rank, which weigh as many as it has

    def add(self, metrics: Mapping[str, Any], size: int | None) -> None:
        if not isinstance(metrics, Mapping):
            raise StructureError(
                f'a step returns metrics as a dict by name, such as {{"loss": loss}}; got {describe(metrics)}.'
            )
        if self.found and metrics.keys() != self.found.keys():
            raise StructureError(
                f"each step returns metrics of the same names: first {', '.join(self.found)}; now {', '.join(metrics)}."
            )
        weight = 1 if size is None else size
        for name, value in metrics.items():
            before = self.found.get(name)
            if (before is None or before.__class__ is list) and _is_real(value):
                self.numbers.add(name)
                total, count = before or (0.0, 0)
                # The loss of a batch without examples is NaN, and counts nothing.
                self.found[name] = [total + float(value) * weight if weight else total, count + weight]
            else:
                new = self._summed(name, value, weight)
                self.found[name] = new if before is None else merge(_metric(before), new)

    def results(self) -> dict[str, Any]:
        return results({name: _metric(value) for name, value in self.found.items()})

    def over(self, world: Any, merges: bool) -> "Sums":
        """The sums of all ranks, which all ranks ask for. Metrics stay as they are unless `merges`, but each rank weighs numbers."""

        def merged(name: str, value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: merged(f"{name}/{key}", part) for key, part in value.items()}
            return merge(_metric(value), world=world) if merges or name in self.numbers else value

        total = Sums()
        total.found = {name: merged(name, value) for name, value in self.found.items()}
        return total

    def _summed(self, name: str, value: Any, weight: int) -> Any:
        """A metric, or a number as the mean over a batch, or a dict of both, as what adds up."""
        if is_metric(value):
            return value
        if isinstance(value, Mapping):
            return {key: self._summed(f"{name}/{key}", part, weight) for key, part in value.items()}
        if np.ndim(value) or not (
            isinstance(value, int | float) or (hasattr(value, "dtype") and kind_of(value.dtype) in "biuf")
        ):
            raise StructureError(
                f"the metric {name!r} is {describe(value)}, not a number. Take its mean, or return training.Mean().update(values)."
            )
        self.numbers.add(name)
        return Mean().update(value, weight=weight) if weight else Mean()


def _metric(value: Any) -> Any:
    return Mean(total=np.float64(value[0]), count=np.float64(value[1])) if value.__class__ is list else value


def _is_real(value: Any) -> bool:
    """Whether a value is a real number of the host."""
    return isinstance(value, float) or (isinstance(value, ON_HOST) and not np.ndim(value) and np.isrealobj(value))


def shown(value: float) -> str:
    """A number in few digits: 0.0312, 12.5, 3.1e-05, 1200."""
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 else f"{value:.4g}"


def _size(batch: Any) -> int | None:
    """The number of examples in a batch: the length of its first array."""
    first = next((leaf for leaf in trees.leaves(batch) if np.ndim(leaf)), None)
    return None if first is None else int(np.shape(first)[0])


# Displays


class _Nothing:
    interval = float("inf")

    def draw(self, count: int, text: str, last: bool = False) -> None:
        pass

    def write(self, text: str, stream: Any) -> None:
        print(text, file=stream, flush=True)

    def close(self) -> None:
        pass


class _Bar(_Nothing):
    """A bar of tqdm. It is drawn when we say so, because its numbers are read from the device only then."""

    def __init__(
        self, kind: Any, stream: Any, description: str, start: int, total: int | None, interval: float, leave: bool
    ) -> None:
        self.interval = interval
        columns, rows = shutil.get_terminal_size()
        known = in_notebook() or _has_size(stream)
        size = {"dynamic_ncols": True} if known else {"ncols": columns, "nrows": rows}
        options = {"desc": description or None, "initial": start, "total": total, "leave": leave, "file": stream}
        self.bar = kind(**options, **size, mininterval=0, miniters=1)

    def draw(self, count: int, text: str, last: bool = False) -> None:
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(count - self.bar.n)
        if last:
            self.bar.refresh()

    def write(self, text: str, stream: Any) -> None:
        self.bar.write(text, file=stream)

    def close(self) -> None:
        self.bar.close()


class _Lines(_Nothing):
    """Lines of text: new ones, or one that is written over on a terminal."""

    def __init__(
        self, in_place: bool, stream: Any, description: str, start: int, total: int | None, interval: float, leave: bool
    ) -> None:
        self.in_place, self.stream, self.description, self.total = in_place, stream, description, total
        self.interval, self.leave, self.width, self.drawn = interval, leave, 0, start
        self.started = time.monotonic()

    def draw(self, count: int, text: str, last: bool = False) -> None:
        if not self.in_place and (count == self.drawn or (last and not self.leave)):
            return
        self.drawn = count
        seconds = time.monotonic() - self.started
        of = f" of {self.total}" if self.total is not None else ""
        parts = [f"step {count}{of}", *filter(None, [text]), f"{seconds:.0f} s"]
        line = ", ".join([*filter(None, [self.description]), *parts])
        if not self.in_place:
            print(line, file=self.stream, flush=True)
            return
        line = line[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be written over
        print("\r" + line.ljust(self.width), end="", file=self.stream, flush=True)
        self.width = len(line)

    def write(self, text: str, stream: Any) -> None:
        print(("\r" if self.width else "") + text.ljust(self.width), file=stream, flush=True)
        self.width = 0

    def close(self) -> None:
        if self.width:  # of a line that was written over
            end = "\n" if self.leave else "\r" + " " * self.width + "\r"
            print(end, end="", file=self.stream, flush=True)
            self.width = 0


def _has_size(stream: Any) -> bool:
    """Whether the terminal of a stream says how large it is. Where it says 0 x 0, as under `script`, tqdm would draw nothing."""
    try:
        return all(os.get_terminal_size(stream.fileno()))
    except (AttributeError, OSError, ValueError):
        return False


def _display(
    style: str, stream: Any, description: str, start: int, total: int | None, interval: float | None, leave: bool
) -> Callable[[], _Nothing]:
    """The call that makes the display when the first batch is asked for. What is missing is an error before that."""
    on_terminal = bool(getattr(stream, "isatty", lambda: False)())
    if style == "none":
        return _Nothing
    bar = _tqdm() if style == "bar" or (style == "auto" and (on_terminal or in_notebook())) else None
    if style == "bar" and bar is None:
        raise MissingExtraError('progress: style="bar" needs tqdm: pip install "fdezero[progress]".')
    often = 0.1 if on_terminal or bar is not None else 10.0
    interval = often if interval is None else interval
    if bar is not None:
        return functools.partial(_Bar, bar, stream, description, start, total, interval, leave)
    return functools.partial(_Lines, on_terminal, stream, description, start, total, interval, leave)


def in_notebook() -> bool:
    """Whether this program runs in a notebook, whose output shows widgets."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _tqdm() -> Any:
    """The bar of tqdm for this place; None if tqdm is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm says that it guesses where it runs
            if in_notebook():
                from tqdm.auto import tqdm
            else:
                from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
