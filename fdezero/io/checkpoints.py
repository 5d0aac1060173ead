"""`Checkpoints`: the states of a run in a folder, written by a thread, checked when they are read."""

import contextlib
import datetime
import os
import time
import traceback
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..core import Tracer
from ..errors import CheckpointError, CheckpointWarning, DTypeError, FileError, RangeError
from ..messages import describe
from . import background, index
from .files import PathLike, write_whole
from .formats import Format
from .index import Checkpoint
from .snapshots import Snapshot
from .trees import Rename, checked, load, whole_of

__all__ = ["Checkpoints"]

SUFFIXES = (".npz", ".safetensors")
DIRECTIONS = ("max", "min")
UNSURE = ("loss", "error", "perplexity")  # names of metrics whose best value is probably not the highest


class Checkpoints:
    """The checkpoints of a run, in a folder that is made when the first one is saved.

        with fd.io.Checkpoints("runs/a", keep=3, every=500, best="accuracy") as checkpoints:
            if checkpoints.latest():
                state = checkpoints.restore(like=state)
            ...
                checkpoints.save(state, state.step, metrics)

    The last `keep` stay (None: all), and the one with the best metric. `every` is a number of steps or a `datetime.timedelta`:
    `save` does nothing in between. `mode="min"` says that a low metric is good. A thread writes a snapshot while training goes
    on; `in_flight` snapshots may wait at once, and 0 writes in the caller's thread. With a `world` of several ranks, all call each
    method: the first rank writes the whole state, and errors reach all.

    Raises RangeError or TypeError for settings that make no sense.
    """

    def __new__(cls, *_: Any, world: Any = None, **settings: Any) -> Any:
        if cls is Checkpoints and world is not None:
            from .together import kind_for

            cls = kind_for(world)
        return object.__new__(cls)

    def __init__(
        self,
        folder: PathLike,
        *,
        keep: int | None = 3,
        every: int | datetime.timedelta | None = None,
        best: str | None = None,
        mode: str | None = None,
        in_flight: int = 1,
        suffix: str = ".npz",
        world: Any = None,
    ) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"Checkpoints: the folder comes first, Checkpoints('runs/a'); got {describe(folder)}.")
        _refuse(
            keep is not None and not _whole(keep, 1), f"keep is how many stay, 1 or more, or None for all; got {keep!r}"
        )
        in_time = isinstance(every, datetime.timedelta) and every > datetime.timedelta(0)
        is_every = every is None or in_time or _whole(every, 1)
        _refuse(not is_every, f"every is a number of steps, 1 or more, or a datetime.timedelta; got {every!r}")
        _refuse(not _whole(in_flight, 0), f"in_flight is how many snapshots may wait, 0 or more; got {in_flight!r}")
        _refuse(suffix not in SUFFIXES, f"suffix is '.npz' or '.safetensors'; got {suffix!r}")
        _refuse(best is not None and not isinstance(best, str), f"best is the name of a metric; got {describe(best)}")
        _refuse(mode is not None and best is None, f"mode={mode!r} says what is best, so best= must name a metric")
        _refuse(mode not in (None, *DIRECTIONS), f"mode is 'max' or 'min'; got {mode!r}")
        unsure = best is not None and mode is None and any(word in best.lower() for word in UNSURE)
        _refuse(unsure, f"is the best {best} the highest or the lowest? Say mode='min' or mode='max'")
        self._named = Path(os.path.expanduser(folder))
        self._place = Path(os.path.abspath(self._named))
        self.keep, self.every, self.metric, self.mode = keep, every, best, mode or "max"
        self.in_flight, self.suffix, self.world = in_flight, suffix, world
        self._run = os.urandom(4).hex()
        self._runs: frozenset[str] | None = None  # whose checkpoints may be removed; None before the first `save`
        self._last_step, self._last_time = 0, time.monotonic()
        self._restored = False
        self._tasks: list[background.Task] = []
        self._process = os.getpid()
        weakref.finalize(self, background.report, self._tasks)

    @property
    def folder(self) -> Path:
        """The folder as you named it; from its root, if the program has changed its working directory since."""
        return self._named if os.path.abspath(self._named) == os.fspath(self._place) else self._place

    def __repr__(self) -> str:
        names = {"keep": self.keep, "every": self.every, "best": self.metric}
        said = "".join(f", {name}={value!r}" for name, value in names.items() if value is not None)
        return f"Checkpoints({str(self.folder)!r}{said})"

    def __reduce__(self) -> Any:
        raise TypeError("Checkpoints belong to one process: make them anew in the other one, Checkpoints(folder).")

    def due(self, step: Any) -> bool:
        """Whether `save` would write at this step. Use it to compute metrics only when they are needed."""
        if self.every is None:
            return True
        if isinstance(self.every, datetime.timedelta):
            return time.monotonic() - self._last_time >= self.every.total_seconds()
        # So `due` may be asked at some steps only, and a run that begins again, in a cell of a notebook, is saved.
        return int(step) // self.every != self._last_step // self.every

    def save(self, state: Any, step: Any, metrics: Mapping[str, Any] | None = None, *, force: bool = False) -> bool:
        """Take a snapshot of a tree, which a thread writes; True if it did, because a checkpoint was due, or by `force`.

        It waits only for an earlier snapshot that is still being written. The metrics are scalars or small arrays.

        Raises CheckpointError (an OSError) that names the file, if an earlier one could not be written. Raises FileError for
        leaves that no file can keep, and in a folder with checkpoints of an earlier run that was not restored. Raises DTypeError
        or RangeError for metrics and steps that are no numbers, or do not have the metric that `best` names.
        """
        self._raise_errors()
        number = whole_step(step)
        if self._runs is not None and not (force or self.due(number)):
            return False
        form, found = self.ready(state, metrics)
        if not (force or self.due(number)):
            return False
        self._wait_for(self.in_flight - 1)
        snapshot = Snapshot(whole_of(state))
        task = background.Task(
            lambda: self._write(form, snapshot, number, found), self._tasks[-1] if self._tasks else None
        )
        self._tasks.append(task)
        background.ends_well(self)
        task.start()
        self._last_step, self._last_time = number, time.monotonic()
        if not self.in_flight:
            self.wait()
        return True

    def ready(self, state: Any, metrics: Mapping[str, Any] | None) -> tuple[Format, dict[str, Any]]:
        """The format, and the metrics as numbers. Raises what `save` raises, an earlier error first."""
        self._raise_errors()
        form = checked(self.suffix, state)[0]
        found = self._numbers(metrics)
        self._begin()
        return form, found

    @property
    def last_step(self) -> int:
        """The step that was saved or restored last; 0 before."""
        return self._last_step

    def _begin(self) -> None:
        """What the first call of `save` does, also if nothing is due: mistakes show before hours of training are spent."""
        if self._process != os.getpid():
            raise FileError(
                f"{self!r} was made in another process: make Checkpoints after the fork, in one of the processes."
            )
        if self._runs is not None:
            return
        found = index.read(self.folder)
        if found and not self._restored:
            raise FileError(
                f"{self.folder} holds {_listing(found)} of an earlier run, which this run would replace. Go on from them, "
                "`state = checkpoints.restore(like=state)`, or choose another folder, or remove this one."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.folder} must not be written, so no checkpoint can be saved there.")
        self._runs = frozenset({self._run, *(checkpoint.run for checkpoint in found)})

    def _numbers(self, metrics: Any) -> dict[str, Any]:
        if metrics is not None and not isinstance(metrics, Mapping):
            raise DTypeError(
                f"the metrics are a dict of numbers, such as {{'accuracy': 0.9}}; got {describe(metrics)}."
            )
        found = index.plain(metrics)
        if self.metric is not None and found and not isinstance(found.get(self.metric), int | float):
            raise RangeError(
                f"best={self.metric!r} names no number of these metrics: {', '.join(found)}. Where it is not known yet, save "
                "without metrics: checkpoints.save(state, step)."
            )
        return found

    def _write(self, form: Format, snapshot: Snapshot, step: int, metrics: Mapping[str, Any]) -> None:
        """Write a snapshot, its line in the list, and remove what need not stay. Runs on the thread."""
        name, folder = f"step-{step}{self.suffix}", self._place
        new: list[Checkpoint] = []
        try:
            with contextlib.ExitStack() as stack:

                def fill(file: Any) -> None:
                    form.write(file, snapshot.leaves, "auto")
                    snapshot.release()
                    file.flush()
                    os.fsync(file.fileno())  # before the lock, which is held for milliseconds
                    size, number = index.checksum(file.fileno())
                    stack.enter_context(index.locked(folder))
                    found = index.read(folder)
                    before = [checkpoint for checkpoint in found if checkpoint.path.name == name]
                    known = metrics
                    if before:  # the line goes first, so that at no moment it belongs to another file
                        index.write(folder, [checkpoint for checkpoint in found if checkpoint not in before])
                        known = metrics or before[0].metrics  # such as those of the epoch that ended with this step
                    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    new.append(Checkpoint(step, known, folder / name, when, index.version(), size, number, self._run))

                write_whole(folder / name, fill)
                found = [checkpoint for checkpoint in index.read(folder) if checkpoint.path.name != name]
                kept = self._kept([*found, *new])
                index.write(folder, kept)
                for checkpoint in found:
                    if checkpoint not in kept:
                        with contextlib.suppress(FileNotFoundError):
                            checkpoint.path.unlink()
        except BaseException as error:
            snapshot.release()
            others = "nothing"
            with contextlib.suppress(Exception):  # of the folder, which may be gone; the first error is the one to tell
                others = _listing(index.read(folder)) or others
            reason = (str(error) or type(error).__name__).removesuffix(".")
            traceback.clear_frames(error.__traceback__)  # which hold leaves
            raise CheckpointError(
                f"{self.folder / name} could not be written: {reason}. The folder holds {others}."
            ) from error

    def _kept(self, found: list[Checkpoint]) -> list[Checkpoint]:
        """Those that stay: the last ones and the best of this run and of those that it continues, and all of other runs."""
        found = [checkpoint for checkpoint in found if checkpoint.step != found[-1].step or checkpoint is found[-1]]
        ours = [checkpoint for checkpoint in found if checkpoint.run in (self._runs or ())]
        staying = ours if self.keep is None else [*ours[-self.keep :], self._best(ours)]
        return [checkpoint for checkpoint in found if checkpoint not in ours or checkpoint in staying]

    def _best(self, found: list[Checkpoint]) -> Checkpoint | None:
        sign = 1 if self.mode == "max" else -1
        scores = [(checkpoint.metrics.get(self.metric), checkpoint) for checkpoint in found if self.metric is not None]
        numbers = [
            (sign * score, checkpoint)
            for score, checkpoint in scores
            if isinstance(score, int | float) and score == score
        ]
        return max(numbers, key=lambda pair: pair[0], default=(0, None))[1]

    def all(self) -> list[Checkpoint]:
        """The checkpoints in the folder, the last one written last. Snapshots in flight are written first."""
        self.wait()
        return index.read(self.folder)

    def latest(self) -> Checkpoint | None:
        """The checkpoint that was written last; None if there is none."""
        found = self.all()
        return found[-1] if found else None

    def best(self) -> Checkpoint | None:
        """The checkpoint with the best metric, the first of several equal ones; None if no checkpoint has the metric."""
        if self.metric is None:
            raise RangeError("the best checkpoint by which metric? Checkpoints(folder, best='accuracy').")
        return self._best(self.all())

    def restore(
        self, *, like: Any = None, step: int | str | None = None, strict: bool = True, rename: Rename = None
    ) -> Any:
        """The tree of the last checkpoint, or of that of a `step`, a number or "best", with the structure and devices of `like`.

        `like`, `strict` and `rename` are those of `fd.load`. If the last checkpoint is damaged, you get the one before, and a
        CheckpointWarning that says why.

        Raises FileError if there is none, if all are damaged, if the one that you asked for is, or if the tree does not fit `like`.
        """
        refused: dict[Path, str] = {}
        while True:
            found = [checkpoint for checkpoint in self._candidates(step) if checkpoint.path not in refused]
            if not found:
                raise FileError(self._why_none(step, refused))
            chosen = found[-1]
            try:
                tree = _loaded(chosen, like, strict, rename)
                break
            except FileNotFoundError:  # another process has removed it: look again
                continue
            except _DamagedError as error:
                refused[chosen.path] = str(error)
        for path, trouble in refused.items():
            message = f"{path} is damaged: {trouble.removesuffix('.')}. Step {chosen.step} is restored in its place."
            warnings.warn(CheckpointWarning(message), stacklevel=2)
        self._last_step, self._last_time, self._restored = chosen.step, time.monotonic(), True
        return tree

    def _candidates(self, step: int | str | None) -> list[Checkpoint]:
        if isinstance(step, str) and step == "best":
            best = self.best()
            return [best] if best else []
        number = (
            None
            if step is None
            else whole_step(step, "a whole number, or 'best': checkpoints.restore(like=state, step=500)")
        )
        return [checkpoint for checkpoint in self.all() if number in (None, checkpoint.step)]

    def _why_none(self, step: int | str | None, refused: dict[Path, str]) -> str:
        found = _listing(self.all())
        if refused:
            lines = [f"  {path.name}: {trouble}" for path, trouble in refused.items()]
            return "\n".join([f"no checkpoint in {self.folder} can be restored:", *lines])
        if not found:
            hint = "Before the first one is saved, write `if checkpoints.latest(): state = checkpoints.restore(like=state)`."
            return f"there is no checkpoint in {self.folder}. {hint}"
        return f"there is no checkpoint of step {step} in {self.folder}, which holds {found}."

    def wait(self) -> None:
        """Wait until all snapshots are written. Raises CheckpointError if one could not be."""
        self._wait_for(0)
        self._raise_errors()

    def close(self) -> None:
        """Wait for the last snapshot, and leave SIGTERM as it was."""
        try:
            self.wait()
        finally:
            background.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self.close()
        except CheckpointError as failed:
            if error is None:
                raise
            error.add_note(str(failed))  # the error of the block is the one to be seen first

    def _wait_for(self, most: int) -> None:
        """Wait until at most so many snapshots are in flight."""
        for task in list(self._tasks[: max(0, len(self._tasks) - max(0, most))]):
            task.wait()
        self._raise_errors()

    def _raise_errors(self) -> None:
        """Forget the tasks that are over, and raise the error of one of them."""
        while self._tasks and self._tasks[0].is_over:
            task = self._tasks.pop(0)
            if task.error is not None:
                raise task.error


class _DamagedError(Exception):
    """A file that cannot be read."""


def _loaded(chosen: Checkpoint, like: Any, strict: bool, rename: Rename) -> Any:
    """The tree of a checkpoint. Raises _DamagedError if its bytes are not those that were written."""
    # An npz file has a checksum for each array, which `load` compares, and a damaged name is missing.
    checks_itself = chosen.path.suffix == ".npz" and like is not None and strict
    if not checks_itself and (trouble := index.damage(chosen)):
        raise _DamagedError(trouble)
    try:
        return load(chosen.path, like=like, strict=strict, rename=rename)
    except FileError as error:
        # Without a checksum the reader alone can say whether a file is damaged or another model's.
        if trouble := str(error) if chosen.crc32 is None else index.damage(chosen):
            raise _DamagedError(trouble) from error
        raise


def _whole(number: Any, least: int) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number >= least)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise RangeError(f"Checkpoints: {message}.")


def whole_step(step: Any, how: str = "a whole number: checkpoints.save(state, state.step, metrics)") -> int:
    is_array = getattr(step, "shape", None) == () and getattr(getattr(step, "dtype", None), "kind", "") in "iu"
    if isinstance(step, bool | Tracer) or not (isinstance(step, int) or is_array):
        got = repr(step) if isinstance(step, str) else describe(step)
        raise DTypeError(f"the step of a checkpoint is {how}; got {got} for the step.")
    if int(step) < 0:
        raise RangeError(f"the step of a checkpoint is 0 or more, got {int(step)}.")
    return int(step)


def _listing(found: list[Checkpoint]) -> str:
    """The steps of checkpoints in words; empty for none."""
    steps = [str(checkpoint.step) for checkpoint in found]
    shown = steps if len(steps) < 7 else [*steps[:3], "...", *steps[-3:]]
    return (
        f"{'the checkpoint' if len(steps) == 1 else 'checkpoints'} of step{'s' * (len(steps) > 1)} {', '.join(shown)}"
        if steps
        else ""
    )
