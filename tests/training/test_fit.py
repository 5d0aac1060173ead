"""`training.fit` against a loop by hand: the same bits, also after interruptions; what it saves, logs and says; early stopping."""

import inspect
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.errors import RangeError, StructureError
from fdezero.testing import assert_trees_equal

X, T = fd.data.spiral(fd.random.key(0), points=20, classes=3)
LOADER = fd.data.DataLoader((X, T), 16, key=fd.random.key(2))  # steps of 16, 16, 16, 12
OPT = optim.adam(0.02)


def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
    y = model(x, key=key, train=True)
    return F.softmax_cross_entropy(y, t), y


def plain_step(state: training.State, batch: Any) -> Any:
    key = fd.random.fold_in(state.key, state.step)
    (loss, y), grads = fd.value_and_grad(loss_fn, has_aux=True)(state.model, *batch, key)
    model, optimiser = OPT.step(state.model, grads, state.optimiser)
    metrics = {"loss": loss, "accuracy": training.Accuracy().update(y, batch[1])}
    return state.replace(model=model, optimiser=optimiser, step=state.step + 1), metrics


step = fd.compile(plain_step)


def begin(**more: Any) -> training.State:
    model = nn.MLP.init(fd.random.key(1), (2, 8, 3), activation=F.relu, dropout=0.2)
    return training.State.init(model, OPT, fd.random.key(3), **more)


def by_hand(epochs: int) -> tuple[training.State, list[float]]:
    state, means = begin(), []
    for epoch in range(epochs):
        total = 0.0
        for batch in LOADER.epoch(epoch):
            state, metrics = step(state, batch)
            total += float(metrics["loss"]) * len(batch[0])
        means.append(total / len(X))
        state = state.replace(epoch=epoch + 1)
    return state, means


def evaluate(state: training.State) -> dict[str, Any]:
    return {"val_accuracy": F.accuracy(state.model(X), T)}


def fit(state: training.State, loader: Any = LOADER, **options: Any) -> Any:
    return training.fit(step, state, loader, **{"epochs": 3, "progress": "none", **options})


def test_it_is_the_loop_by_hand() -> None:
    state, history = fit(begin(), evaluate=evaluate)
    expected, means = by_hand(3)
    assert_trees_equal(state, expected, bits=True)
    assert (state.epoch, state.step) == (3, 12)
    assert [row["loss"] for row in history] == pytest.approx(means, rel=1e-12)
    assert [(row["step"], row["epoch"]) for row in history] == [(4, 1), (8, 2), (12, 3)]
    assert history[-1]["val_accuracy"] == float(evaluate(state)["val_accuracy"])
    assert list(history[0]) == ["step", "epoch", "loss", "accuracy", "seconds", "val_accuracy"]


@pytest.mark.parametrize("stopped_at", [0, 3, 4, 6, 12])
def test_it_goes_on_where_the_state_is_also_within_an_epoch(stopped_at: int) -> None:
    state = begin()
    batches = itertools.chain.from_iterable(LOADER.epoch(epoch) for epoch in range(3))
    for batch in itertools.islice(batches, stopped_at):
        state, _ = step(state, batch)
    state, history = fit(state.replace(epoch=stopped_at // 4))
    assert_trees_equal(state, by_hand(3)[0], bits=True)
    assert len(history) == 3 - stopped_at // 4
    again, nothing = fit(state)
    assert again is state
    assert nothing == []
    assert_trees_equal(fit(state, epochs=4)[0], by_hand(4)[0], bits=True)


def test_a_run_of_one_epoch_more_is_the_longer_run(tmp_path: Path) -> None:
    fit(begin(), epochs=1, checkpoints=Folder(tmp_path))
    fit(begin(), epochs=2, checkpoints=Folder(tmp_path), log=str(tmp_path / "run.csv"))
    state, _ = fit(begin(), epochs=3, checkpoints=Folder(tmp_path), log=tmp_path / "run.csv")
    assert_trees_equal(state, by_hand(3)[0], bits=True)
    assert [row["epoch"] for row in training.read_log(tmp_path / "run.csv")] == [2, 3]


class Folder:
    """Checkpoints in a folder, as simple as they can be."""

    def __init__(self, path: Path, every: int | None = None) -> None:
        self.path, self.every, self.saved, self.restored = path, every, list[Any](), 0

    def due(self, step: int) -> bool:
        return self.every is not None and step % self.every == 0

    def save(self, state: Any, step: Any, metrics: Any = None, *, force: bool = False) -> None:
        if force or self.due(step):
            fd.save(self.path / "latest.npz", state)
            self.saved.append((int(step), metrics and metrics["epoch"]))

    def latest(self) -> Any:
        path = self.path / "latest.npz"
        return path if path.exists() else None

    def restore(self, *, like: Any) -> Any:
        self.restored += 1
        return fd.load(self.path / "latest.npz", like=like)

    def wait(self) -> None:
        self.waited = True


def test_checkpoints_are_saved_after_each_epoch_and_within_if_they_say_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    state, _ = fit(begin(), checkpoints=folder)
    assert folder.saved == [(4, 1), (8, 2), (12, 3)]
    assert folder.waited
    assert_trees_equal(folder.restore(like=begin()), state, bits=True)
    often = Folder(tmp_path / "often", 3)
    (tmp_path / "often").mkdir()
    fit(begin(), checkpoints=often)
    assert often.saved == [(3, None), (4, 1), (6, None), (8, 2), (9, None), (12, 3)]
    folder.restored = 0
    fit(state, epochs=4, checkpoints=folder)
    assert folder.restored == 0, "a state that has taken steps is not replaced"


def test_a_folder_is_a_place_for_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(begin(), epochs=1, checkpoints=str(tmp_path / "run"))
    state, _ = fit(begin(), epochs=2, checkpoints=tmp_path / "run", progress="lines")
    assert_trees_equal(state, by_hand(2)[0], bits=True)
    assert capsys.readouterr().out.startswith(f"goes on after epoch 1, step 4: {tmp_path / 'run' / 'step-4.npz'}\n")
    assert [checkpoint.metrics["epoch"] for checkpoint in fd.io.Checkpoints(tmp_path / "run").all()] == [1, 2]


def test_it_runs_on_a_gpu(gpu: Any) -> None:
    on_gpu = fd.data.DataLoader((X, T), 30, key=fd.random.key(2), device="gpu")
    state, history = training.fit(fd.compile(plain_step), fd.to_device(begin(), "gpu"), on_gpu, epochs=1, progress="none")
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves((state.model, state.optimiser))} == {"gpu:0"}
    on_cpu = fd.data.DataLoader((X, T), 30, key=fd.random.key(2))
    _, expected = training.fit(step, begin(), on_cpu, epochs=1, progress="none")
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in expected], rel=1e-5)


@pytest.mark.parametrize("broken_at", [1, 2, 6, 8, 11])
def test_an_interrupt_returns_the_state_and_says_where_it_was_saved(broken_at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = itertools.count()

    def breaking(state: Any, batch: Any) -> Any:
        if next(calls) == broken_at:
            raise KeyboardInterrupt
        return step(state, batch)

    state, history = training.fit(breaking, begin(), LOADER, epochs=3, checkpoints=Folder(tmp_path), progress="none")
    assert (state.step, len(history)) == (broken_at, broken_at // 4)
    said = f"interrupted in epoch {broken_at // 4 + 1}, after step {broken_at}: saved to {tmp_path / 'latest.npz'}\n"
    assert capsys.readouterr().out == said
    state, history = training.fit(step, begin(), LOADER, epochs=3, checkpoints=Folder(tmp_path), progress="lines")
    assert_trees_equal(state, by_hand(3)[0], bits=True)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"goes on after epoch {broken_at // 4}, step {broken_at}: {tmp_path / 'latest.npz'}"
    assert [line.partition(",")[0] for line in lines] == [f"epoch {n} of 3" for n in range(broken_at // 4 + 1, 4)]


def test_an_interrupt_without_checkpoints_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def breaking(state: Any) -> Any:
        raise KeyboardInterrupt

    state, history = fit(begin(), evaluate=breaking)
    assert (state.epoch, state.step, history) == (0, 4, [])
    assert capsys.readouterr().out == "interrupted in epoch 1, after step 4: nothing was saved\n"
    assert_trees_equal(fit(state)[0], by_hand(3)[0], bits=True)


def test_an_error_closes_the_log_and_is_raised(tmp_path: Path) -> None:
    def failing(state: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(begin(), evaluate=failing, log=tmp_path / "run.csv")


def test_each_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    _, history = fit(begin(), epochs=1, evaluate=evaluate, progress="lines")
    row = history[0]
    line = f"epoch 1 of 1, loss: {row['loss']:.4f}, accuracy: {row['accuracy']:.4f}, val_accuracy: {row['val_accuracy']:.4f}, {row['seconds']:.1f} s\n"
    assert capsys.readouterr().out == line


def test_logs_are_functions_or_files(tmp_path: Path) -> None:
    rows: list[Any] = []
    fit(begin(), evaluate=evaluate, log=[tmp_path / "run.csv", str(tmp_path / "run.jsonl"), lambda step, values: rows.append((step, values))])
    for name in ("run.csv", "run.jsonl"):
        assert [(row.pop("step"), row) for row in training.read_log(tmp_path / name)] == rows
    single: list[Any] = []
    fit(begin(), log=lambda step, values: single.append(step))
    assert single == [4, 8, 12]


class FakeTracker:
    """What W&B and MLflow have of a run."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def log(self, values: dict[str, Any], step: int) -> None:
        self.calls.append((step, values))

    log_metrics = log


def test_trackers_are_one_line_each() -> None:
    wandb, mlflow = FakeTracker(), FakeTracker()
    fit(begin(), log=[lambda step, values: wandb.log(values, step=step), lambda step, values: mlflow.log_metrics(values, step=step)])
    assert [step for step, _ in wandb.calls] == [4, 8, 12]
    assert wandb.calls == mlflow.calls


# Early stopping


def updates(stop: Any, values: list[float]) -> list[bool]:
    said = []
    for value in values:
        done, stop = stop.update(value)
        assert done == stop.stopped
        said.append(done)
    return said


def test_early_stopping_counts_updates_without_a_gain() -> None:
    early = training.early_stopping
    assert updates(early("loss", patience=2), [3, 2, 2, 1, 1, 1]) == [False, False, False, False, False, True]
    assert updates(early("val_accuracy", patience=1), [0.1, 0.2, 0.2]) == [False, False, True]
    assert updates(early("loss", patience=1, min_delta=0.5), [3, 2.4, 2.0]) == [False, False, True]
    assert updates(early("loss", patience=2), [math.nan, math.nan]) == [False, True]
    assert updates(early("loss", patience=2), [math.nan, 1, math.nan, 2]) == [False, False, False, True]
    assert updates(early("score", patience=1, mode="max"), [1, math.inf, math.inf]) == [False, False, True]
    assert updates(early("loss", patience=1), [0, -math.inf, math.inf]) == [False, False, True]
    stop = early("loss")
    assert (stop.patience, stop.min_delta, stop.mode, early("macro_f1").mode) == (5, 0.0, "min", "max")
    assert stop.update({"loss": 3.0, "other": 1})[1].best == 3.0
    assert math.isnan(stop.best)


def test_fit_stops_early_and_counts_on_after_a_restart(tmp_path: Path) -> None:
    losses = iter([5.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    stop = training.early_stopping("val_loss", patience=3)
    options = {"evaluate": lambda state: {"val_loss": next(losses)}, "stop": stop, "epochs": 10}
    state, history = fit(begin(extra={"mine": 1}), checkpoints=Folder(tmp_path), **{**options, "epochs": 3})
    assert (len(history), state.extra["mine"], state.extra["stop"].waited, state.extra["stop"].best) == (3, 1, 1, 4.0)
    state, history = fit(begin(extra={"mine": 0}), checkpoints=Folder(tmp_path), **options)
    assert (len(history), state.epoch, state.extra["mine"]) == (2, 5, 1)
    again, nothing = fit(begin(extra={"mine": 0}), checkpoints=Folder(tmp_path), **options)
    assert (again.epoch, nothing) == (5, []), "a run that has stopped stays so"


def test_the_counters_of_early_stopping_need_no_further_recording() -> None:
    counted = fd.compile(plain_step, max_recordings=2)  # for batches of 16 and of 12
    training.fit(counted, begin(), LOADER, epochs=4, stop=training.early_stopping("loss", patience=1, mode="max"), progress="none")


def returning(**metrics: Any) -> Any:
    """Train with a step that returns these metrics."""
    return training.fit(lambda state, batch: (state.replace(step=state.step + 1), metrics), begin(), LOADER, epochs=1, progress="none")


# Mistakes


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        (lambda: fit(begin().model), StructureError, r"fit\(step, state, loader, epochs=5\), with a training.State; got MLP"),
        (lambda: training.fit(begin(), step, LOADER, epochs=1), StructureError, "got Compiled for the state"),  # type: ignore[arg-type]  # swapped
        (lambda: training.fit(None, begin(), LOADER, epochs=1), StructureError, r"a function \(state, batch\)"),  # type: ignore[arg-type]  # on purpose
        (lambda: fit(begin(), [(X, T)]), StructureError, r"the loader is a fd.data.DataLoader.*got list"),
        (lambda: fit(begin(), epochs=2.5), RangeError, "0 or more; got 2.5"),
        (lambda: fit(begin(), stop="val_loss"), StructureError, r"training.early_stopping\('val_loss'\), got str"),
        (lambda: fit(begin(extra=3), stop=training.early_stopping("loss")), StructureError, "the extra of the state is a dict.* got int 3"),
        (lambda: fit(begin(), stop=training.early_stopping("val_loss")), RangeError, "watches 'val_loss', but the metrics of an epoch are epoch, loss, accuracy, seconds"),
        (lambda: fit(begin().replace(step=30)), RangeError, r"step 30, which is not in epoch 0 .* of 4 steps.*state.replace\(step=0\)"),
        (lambda: fit(begin().replace(epoch=1)), RangeError, "step 0, which is not in epoch 1"),
        (lambda: fit(begin(), log=3), StructureError, r"a log is a file such as 'run.csv'.* got int 3"),
        (lambda: fit(begin(), evaluate={"loss": 1}), StructureError, "evaluate is a function of the state that returns metrics; got dict"),
        (lambda: training.early_stopping("loss").update(None), RangeError, "loss is a number, got NoneType"),
        (lambda: training.early_stopping("loss").update({"loss": [1.0, 2.0]}), RangeError, "loss is a number, got list"),
        (lambda: fit(begin(), evaluate=lambda state: 0.5), StructureError, r'\{"val_loss": loss\}; got float 0.5'),
        (lambda: fit(begin(), evaluate=lambda state: {"loss": 0.5}), StructureError, "returns 'loss', which .* call it 'val_loss'"),
        (lambda: fit(begin(), evaluate=lambda state: {"v": {"note": "good"}}), StructureError, "the metric 'v/note' is str, not a number"),
        (lambda: fit(begin(), evaluate=lambda state: {"v": None}), StructureError, "the metric 'v' is NoneType, not a number"),
        (lambda: fit(begin(), evaluate=lambda state: {"step": 0.5}), StructureError, "returns 'step', which .* call it 'val_step'"),
        (lambda: returning(step=1), StructureError, r"the metric 'step', but epoch, seconds, step .* becomes 'optimiser/step'"),
        (lambda: returning(epoch=1, seconds=2.0), StructureError, "the metric 'epoch', but"),
        (lambda: returning(z=np.complex64(1)), StructureError, "the metric 'z' is complex64.*, not a number"),
        (lambda: training.fit(lambda state, batch: state, begin(), LOADER, epochs=1), StructureError, r"the step returns \(state, metrics\).*; got State"),  # type: ignore[arg-type, return-value]  # on purpose
        (lambda: training.fit(lambda state, batch: (state.model, 0.5), begin(), LOADER, epochs=1), StructureError, r"got \(MLP, float 0.5\)"),  # type: ignore[arg-type, return-value]  # on purpose
        (lambda: training.fit(lambda state, batch: (state, {}), begin(), LOADER, epochs=1), StructureError, "A step counts itself"),
        (lambda: training.fit(lambda state, batch: (state.replace(step=state.step + 1), 0.5), begin(), LOADER, epochs=1), StructureError, "metrics as a dict by name"),  # type: ignore[arg-type, return-value]  # on purpose
        (lambda: training.early_stopping("reward"), RangeError, "is the best reward the highest or the lowest"),
        (lambda: training.early_stopping("loss", mode="low"), RangeError, "mode is 'min' or 'max'; got 'low'"),
        (lambda: training.early_stopping("loss", patience=0), RangeError, "patience is a number of epochs, 1 or more; got 0"),
        (lambda: training.early_stopping("loss", min_delta=-1), RangeError, "min_delta is 0 or more; got -1"),
        (lambda: training.early_stopping(3), RangeError, "by its name, such as 'val_loss'; got 3"),  # type: ignore[arg-type]  # on purpose
    ],
)  # fmt: skip
def test_mistakes_are_explained(do: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        do()


def test_the_loop_itself_is_short_enough_to_read() -> None:
    assert len(inspect.getsource(training.fit).splitlines()) <= 60


# Interrupts between any two lines


def interrupted_at(line: int, run: Any) -> bool:
    """Run with a KeyboardInterrupt before so many lines of `fit`; False if there are fewer."""
    left = [line]

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is not training.fit.__code__:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return left[0] <= 0


def test_an_interrupt_between_any_two_lines_loses_and_doubles_nothing(tmp_path: Path) -> None:
    loader = fd.data.DataLoader((X, T), 32, key=fd.random.key(2))
    stop = training.early_stopping("val_loss", patience=9)
    options: dict[str, Any] = {"epochs": 2, "stop": stop, "evaluate": lambda state: {"val_loss": float(state.step)}}
    whole, _ = fit(begin(), loader, **options)
    places = itertools.count(1)
    for line in places:
        state, path = begin(), tmp_path / f"{line}.csv"

        def run() -> None:
            nonlocal state
            state, _ = fit(state, loader, log=path, **options)

        try:
            if not interrupted_at(line, run):
                break
        except KeyboardInterrupt:  # outside the loop of epochs, where it goes to the caller
            assert state.step == 0
        state, _ = fit(state, loader, log=path, **options)
        assert_trees_equal(state, whole, bits=True)
        assert [row["epoch"] for row in training.read_log(path)] == [1, 2]
    assert line > 40
