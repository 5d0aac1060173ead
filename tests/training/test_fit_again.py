"""Runs that go on with `training.fit` under other conditions: after the last step of an epoch, with or without early stopping."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, training
from fdezero.errors import FileError

from .test_fit import OPT, begin, fit


@pytest.mark.parametrize("given", [fd.io.Checkpoints, None])
def test_a_run_that_was_interrupted_after_the_last_step_of_an_epoch_goes_on(given: Any, tmp_path: Path) -> None:
    def broken(state: training.State) -> Any:
        if state.step == 8:
            raise KeyboardInterrupt
        return {"val_loss": 1.0}

    stop = training.early_stopping("loss", patience=3)
    kept = given and given(tmp_path, best="loss", mode="min")
    state, history = fit(begin(), epochs=3, stop=stop, evaluate=broken, checkpoints=kept)
    assert (state.step, state.epoch, len(history)) == (8, 1, 1)
    state, more = fit(state, epochs=3, stop=stop, evaluate=lambda state: {"val_loss": 1.0}, checkpoints=kept)
    assert [sorted(row) for row in more] == [
        ["epoch", "seconds", "step", "val_loss"],
        ["accuracy", "epoch", "loss", "seconds", "step", "val_loss"],
    ]
    assert (state.step, state.epoch) == (12, 3)


@pytest.mark.parametrize("extra", [None, {"mine": 1}])
def test_early_stopping_may_begin_or_end_in_a_later_run(extra: Any, tmp_path: Path) -> None:
    stop = training.early_stopping("loss", patience=1, mode="max")
    fit(begin(extra=extra), epochs=1, checkpoints=tmp_path)
    state, more = fit(begin(extra=extra), epochs=9, checkpoints=tmp_path, stop=stop)
    assert (len(more), state.epoch, state.extra["stop"].waited) == (2, 3, 1)
    state, more = fit(begin(extra=extra), epochs=4, checkpoints=tmp_path)
    assert (len(more), state.epoch, state.extra) == (1, 4, extra)
    other = training.State.init(nn.MLP.init(fd.random.key(1), (2, 9, 3)), OPT, fd.random.key(3), extra=extra)
    with pytest.raises(FileError, match=r"different:  model/layers/0/W"):
        fit(other, epochs=9, checkpoints=tmp_path, stop=stop)


def test_the_number_of_epochs_may_be_one_of_numpy() -> None:
    assert fit(begin(), epochs=np.int64(1))[0].epoch == 1


def test_early_stopping_by_another_metric_counts_anew() -> None:
    state, _ = fit(begin(), epochs=1, stop=training.early_stopping("loss"))
    state, _ = fit(state, epochs=2, stop=training.early_stopping("accuracy", patience=9))
    assert (state.extra["stop"].waited, state.extra["stop"].best <= 1) == (0, True)
