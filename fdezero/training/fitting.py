"""`fit`: a training loop made of the public parts, for those who do not want to write one."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import FileError, RangeError, StructureError
from ..messages import describe
from . import together
from .bars import progress as bar_of
from .bars import shown
from .logs import open_log
from .metrics.base import results
from .state import State
from .stopping import EarlyStopping

__all__ = ["fit"]

OWN = frozenset({"epoch", "seconds", "step"})  # names in a row that are not those of metrics

Step = Callable[[Any, Any], tuple[Any, Mapping[str, Any]]]


def fit(
    step: Step, state: State, loader: Any, *, epochs: int, evaluate: Callable[[State], Mapping[str, Any]] | None = None,
    checkpoints: Any = None, log: Any = None, stop: EarlyStopping | None = None, progress: str = "auto", world: Any = None,
    merge_metrics: bool = True,
) -> tuple[State, list[dict[str, Any]]]:  # fmt: skip
    """Train until `epochs` epochs are complete: the last state, and a dict of numbers for each epoch, `(state, history)`.

    It goes on where the state is, also within an epoch. A new state is replaced by the latest of `checkpoints` (a `fd.io.Checkpoints`, or
    a folder) if there is one. They are saved at the end of each epoch, and within epochs if they have `every`. `evaluate(state)` returns
    further metrics. `log` is a file, a function of (step, values), or a list of these. `stop` is `early_stopping(...)`. `progress` is the
    style of the display. Ctrl-C saves, says where, and returns the state. With `world` all ranks call it, with loaders of their share, and
    rank 0 shows, logs and saves. Metrics become those of all ranks, unless `merge_metrics=False` says that those of the step already are.
    """
    _check(step, state, loader, epochs, evaluate)
    world, log, progress = together.checked(world, loader, checkpoints, log, progress)
    display = {"style": progress, "leave": False, "world": world, "merge_metrics": merge_metrics}
    history: list[dict[str, Any]] = []
    with contextlib.ExitStack() as opened:
        logs = _logs(log, opened)
        checkpoints = _opened(checkpoints, together.checkpoints_in(world), opened)
        state = _begun(state, checkpoints, stop, progress)
        stop = state.extra["stop"] if stop else None
        number, epoch = int(state.step), int(state.epoch)
        try:
            while epoch < epochs and not (stop and stop.stopped):
                start = _within(number, epoch, len(loader))
                text = f"epoch {epoch + 1} of {epochs}"
                bar = bar_of(loader.epoch(epoch, start), text, total=len(loader), start=start, **display)
                for batch in bar:
                    state, metrics = _stepped(step, state, batch, number)
                    number += 1
                    bar.show(metrics)
                    if checkpoints is not None and _is_due(checkpoints, number) and number % len(loader):
                        checkpoints.save(state, number)
                together.check_parameters(world, state, epoch)
                row = {"epoch": epoch + 1, **bar.results(), "seconds": together.of_first(world, bar.seconds)}
                if evaluate is not None:
                    row |= _evaluated(together.merged(evaluate(state), world), row)
                for write in logs:  # before the state: an epoch that is evaluated anew replaces its row
                    write(number, row)
                history.append({"step": number, **row})
                stop = _updated(stop, row, start < len(loader))
                extra = {**state.extra, "stop": stop} if stop else state.extra
                state, epoch = state.replace(epoch=state.epoch + 1, extra=extra), epoch + 1
                if checkpoints is not None:
                    checkpoints.save(state, number, _scored(checkpoints, row, start < len(loader)), force=True)
                if progress != "none":
                    print(f"{text}, {_described(row)}", flush=True)
        except KeyboardInterrupt:
            of_ranks = world or getattr(checkpoints, "world", None)
            if of_ranks is not None and of_ranks.size > 1:  # they are in different places, so they cannot save together
                raise
            number = int(state.step)  # an interrupt may come between a step and the line that counts it
            if checkpoints is not None:
                checkpoints.save(state, number, force=True)
            where = "nothing was saved" if checkpoints is None else f"saved to {_place(checkpoints)}"
            print(f"interrupted in epoch {int(state.epoch) + 1}, after step {number}: {where}", flush=True)
        if checkpoints is not None:
            checkpoints.wait()
    return state, history


def _check(step: Any, state: Any, loader: Any, epochs: Any, evaluate: Any) -> None:
    if not isinstance(state, State):
        raise StructureError(
            f"fit takes the step, the state and the loader: fit(step, state, loader, epochs=5), with a training.State; got "
            f"{describe(state)} for the state."
        )
    if not callable(step):
        raise StructureError(f"fit: the step is a function (state, batch) -> (state, metrics), got {describe(step)}.")
    if not (hasattr(loader, "epoch") and hasattr(loader, "__len__")):
        raise StructureError(
            f"fit: the loader is a fd.data.DataLoader, or has its epoch(epoch, start) and a length; got {describe(loader)}."
        )
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
        raise RangeError(f"fit: epochs is how many epochs are complete at the end, 0 or more; got {epochs!r}.")
    if evaluate is not None and not callable(evaluate):
        raise StructureError(
            f"fit: evaluate is a function of the state that returns metrics; got {describe(evaluate)}."
        )


def _begun(state: State, checkpoints: Any, stop: EarlyStopping | None, progress: str) -> State:
    """The state to begin with: with the counters of `stop`, and the latest one of the folder if `state` is new."""
    if stop is not None:
        if not isinstance(stop, EarlyStopping):
            raise StructureError(f"fit: stop is training.early_stopping('val_loss'), got {describe(stop)}.")
        extra = {} if state.extra is None else state.extra
        if not isinstance(extra, dict):
            raise StructureError(
                f"fit: with stop= the extra of the state is a dict, where its counters are saved; got {describe(extra)}."
            )
        before = extra.get("stop", stop)
        if (before.metric, before.mode) == (stop.metric, stop.mode):  # values of another metric say nothing
            stop = stop.replace(best=before.best, waited=before.waited)
        state = state.replace(extra={**extra, "stop": stop})
    if checkpoints is not None and not int(state.step) and checkpoints.latest():
        state, place = _restored(checkpoints, state), _place(checkpoints)
        if progress != "none":
            print(f"goes on after epoch {int(state.epoch)}, step {int(state.step)}: {place}", flush=True)
    return state


def _restored(checkpoints: Any, state: State) -> State:
    """The latest state, also if the run before was without early stopping and this one is with it, or the other way."""
    try:
        return checkpoints.restore(like=state)
    except FileError as error:
        extra = state.extra if isinstance(state.extra, dict) else {}
        other = {name: value for name, value in extra.items() if name != "stop"}
        like = other if "stop" in extra else {**extra, "stop": EarlyStopping("loss", 1, 0.0, "min")}
        try:
            found = checkpoints.restore(like=state.replace(extra=like))
        except FileError:
            raise error from None
    kept = {name: value for name, value in found.extra.items() if name != "stop"}
    return found.replace(extra={**kept, "stop": extra["stop"]} if "stop" in extra else kept or state.extra)


def _updated(stop: EarlyStopping | None, row: Mapping[str, Any], has_steps: bool) -> EarlyStopping | None:
    """The next counters. A run may go on after the last step of an epoch: then its row lacks the metrics of steps."""
    if stop is None or not (has_steps or stop.metric in row):
        return stop
    return stop.update(row)[1]


def _scored(checkpoints: Any, row: Mapping[str, Any], has_steps: bool) -> Mapping[str, Any] | None:
    """The metrics of a checkpoint: those of the row, unless it lacks the one that says which is the best, because it has no steps."""
    return row if has_steps or getattr(checkpoints, "metric", None) in (None, *row) else None


def _within(number: int, epoch: int, steps: int) -> int:
    """The step within an epoch at which the state is."""
    start = number - epoch * steps
    if not 0 <= start <= steps:
        raise RangeError(
            f"fit: the state is at step {number}, which is not in epoch {epoch} (counted from 0) of {steps} steps. It comes from a "
            f"loader of another length: to go on with this one, write state.replace(step={epoch * steps})."
        )
    return start


def _stepped(step: Step, state: State, batch: Any, number: int) -> tuple[State, Mapping[str, Any]]:
    """What the step returns, if it is what a step returns."""
    found: Any = step(state, batch)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], State)):
        raise StructureError(
            f"fit: the step returns (state, metrics), a training.State and a dict; got {_kinds(found)}. Write "
            'return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {"loss": loss}.'
        )
    if isinstance(found[0].step, int | np.integer) and found[0].step != number + 1:  # on a GPU, a look would wait
        raise StructureError(
            f"fit: the step got the state of step {number} and returned that of step {int(found[0].step)}. A step counts itself: "
            "state.replace(..., step=state.step + 1)."
        )
    if isinstance(found[1], Mapping) and (taken := OWN & found[1].keys()):
        name = min(taken)
        raise StructureError(
            f"fit: the step returns the metric {name!r}, but {', '.join(sorted(OWN))} are names that fit itself writes. Choose another "
            f"name, or a dict within: {{'loss': loss, 'optimiser': optim.inspect(state.optimiser)}} becomes 'optimiser/{name}'."
        )
    return found


def _kinds(value: Any) -> str:
    return f"({', '.join(map(describe, value))})" if isinstance(value, tuple) else describe(value)


def _is_due(checkpoints: Any, number: int) -> bool:
    """Whether a checkpoint is due within an epoch: only checkpoints that say how often."""
    return getattr(checkpoints, "every", None) is not None and bool(checkpoints.due(number))


def _evaluated(metrics: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    found = results(metrics)
    for name in found:
        if name in row or name in OWN:
            raise StructureError(
                f"fit: evaluate(state) returns {name!r}, which the row of the epoch has already: call it 'val_{name}'."
            )
    return found


def _described(row: Mapping[str, Any]) -> str:
    found = {name: value for name, value in row.items() if name not in ("epoch", "seconds") and not np.ndim(value)}
    return ", ".join([*[f"{name}: {shown(value)}" for name, value in found.items()], f"{row['seconds']:.1f} s"])


def _place(checkpoints: Any) -> Any:
    """The file of the latest checkpoint."""
    latest = checkpoints.latest()
    return getattr(latest, "path", latest)


def _opened(what: Any, make: Callable[[Any], Any], opened: contextlib.ExitStack) -> Any:
    """What has the name of a file or folder, opened until the end; anything else as it is."""
    if not isinstance(what, str | os.PathLike):
        return what
    return opened.enter_context(make(what))


def _logs(log: Any, opened: contextlib.ExitStack) -> list[Callable[[int, Mapping[str, Any]], Any]]:
    """The functions that take the rows."""
    given = [] if log is None else log if isinstance(log, list | tuple) else [log]
    logs = [_opened(one, open_log, opened) for one in given]
    for one in logs:
        if not callable(one):
            raise StructureError(
                f"fit: a log is a file such as 'run.csv', or a function of (step, values); got {describe(one)}."
            )
    return logs
