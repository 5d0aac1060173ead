"""Mistakes in the use of `io.Checkpoints`: each is an error in the first call that can know of it."""

import datetime
import os
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import DTypeError, FileError, RangeError, StructureError
from fdezero.io import Checkpoints

from .test_checkpoints import TREE, filled

SETTINGS = {
    "no folder": (TypeError, "the folder comes first", lambda: Checkpoints({"a": 1})),  # type: ignore[arg-type]
    "keep": (RangeError, "keep is how many stay", lambda: Checkpoints("x", keep=0)),
    "keep as a truth value": (RangeError, "keep is how many stay", lambda: Checkpoints("x", keep=True)),
    "every": (RangeError, "every is a number of steps", lambda: Checkpoints("x", every=0)),
    "every as a fraction": (RangeError, "every is a number of steps", lambda: Checkpoints("x", every=0.5)),  # type: ignore[arg-type]
    "no time": (RangeError, "every is a number of steps", lambda: Checkpoints("x", every=datetime.timedelta(0))),
    "in flight": (RangeError, "in_flight", lambda: Checkpoints("x", in_flight=-1)),
    "suffix": (RangeError, "suffix is '.npz' or '.safetensors'; got 'npz'", lambda: Checkpoints("x", suffix="npz")),
    "best": (RangeError, "best is the name of a metric; got int 3", lambda: Checkpoints("x", best=3)),  # type: ignore[arg-type]
    "mode": (RangeError, "mode is 'max' or 'min'", lambda: Checkpoints("x", best="accuracy", mode="lowest")),
    "mode alone": (RangeError, "best= must name a metric", lambda: Checkpoints("x", mode="min")),
    "a loss without a mode": (RangeError, "the best loss the highest or the lowest", lambda: Checkpoints("x", best="loss")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_checked_when_checkpoints_are_made(name: str) -> None:
    kind, message, make = SETTINGS[name]
    with pytest.raises(kind, match=message):
        make()
    assert not Path("x").exists()


MISTAKES = {
    "text": (FileError, "a is str, which npz cannot keep", ({"a": "text"}, 1)),
    "a fraction": (DTypeError, r"whole number: checkpoints\.save\(state, state\.step, metrics\); got float 1\.5", ({"a": 1}, 1.5)),
    "swapped": (DTypeError, "got dict for the step", (3, {"a": 1})),
    "a number for the state": (StructureError, "a single leaf", (3, 4)),
    "a negative step": (RangeError, "0 or more, got -1", ({"a": 1}, -1)),
    "a metric alone": (DTypeError, "the metrics are a dict of numbers", ({"a": 1}, 1, 0.5)),
    "a metric of text": (DTypeError, "the metric val/name is str: the list", ({"a": 1}, 1, {"val": {"name": "good"}})),
    "a large metric": (DTypeError, r"the metric m is float64\[40,40\]", ({"a": 1}, 1, {"m": np.zeros((40, 40))})),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_show_in_the_first_call_before_anything_is_due(tmp_path: Path, name: str) -> None:
    kind, message, args = MISTAKES[name]
    with pytest.raises(kind, match=message):
        Checkpoints(tmp_path / "x", every=1000).save(*args)
    assert not (tmp_path / "x").exists()


def test_a_best_metric_that_no_metric_is_called_is_an_error_in_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(RangeError, match=r"best='acuracy' names no number of these metrics: accuracy, loss"):
        Checkpoints(tmp_path, every=1000, best="acuracy").save(TREE, 1, {"accuracy": 0.5, "loss": 1.0})


def test_a_call_while_the_state_is_traced_names_the_leaf(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(FileError, match=r"a is a traced value float64\[3\]"):
        fd.compile(lambda a: checkpoints.save({"a": a}, 1))(np.ones(3))


def test_an_empty_folder_says_how_a_run_begins(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.latest() is None
    with pytest.raises(FileError, match=r"there is no checkpoint in .*none\. .*if checkpoints\.latest\(\): state = checkpoints\.restore"):
        checkpoints.restore(like=TREE)
    assert not (tmp_path / "none").exists()
    filled(tmp_path, (1,))
    with pytest.raises(DTypeError, match=r"a whole number, or 'best': .*restore\(like=state, step=500\); got 'last' for the step"):
        checkpoints.restore(step="last")
    with pytest.raises(FileError, match=r"no checkpoint of step 5 in .*, which holds the checkpoint of step 1\."):
        Checkpoints(tmp_path).restore(step=5)


@pytest.mark.parametrize("place", ["runs", "runs/a"])
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "runs").write_text("mine")
    for call in (lambda: Checkpoints(tmp_path / place).latest(), lambda: Checkpoints(tmp_path / place).save(TREE, 1)):
        with pytest.raises(FileError, match=f"{place} is no folder for checkpoints: a file has this name, or that of a folder above"):
            call()


def test_a_folder_that_must_not_be_written_is_an_error_in_the_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"must not be written"):
        Checkpoints(tmp_path, every=1000).save(TREE, 1)
