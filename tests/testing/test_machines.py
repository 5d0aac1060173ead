"""The state machines: right trees and checkpoints pass, and planted faults are found."""

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import FileError
from fdezero.io import checkpoints as io_checkpoints
from fdezero.io import index
from fdezero.testing import CheckpointMachine, TreeMachine, arrays, checkpoint_machine, layers, tree_machine

few = hypothesis.settings(max_examples=8, stateful_step_count=6, database=None, derandomize=True, deadline=None, phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
SMALL = arrays(shape=(2,))


def states() -> Any:
    def state(seed: int) -> Any:
        model = nn.MLP.init(fd.random.key(seed), (2, 3, 1))
        return fd.training.State.init(model, optim.adam(0.1), fd.random.key(seed))

    return st.integers(0, 3).map(state)


def found(machine: Any) -> str:
    """The message of a machine that finds a fault."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine, settings=hypothesis.settings(few, max_examples=40, report_multiple_bugs=False))
    return str(caught.value)


class Layers(TreeMachine):
    trees = layers(["Linear", "LayerNorm", "LSTM"]).map(lambda pair: pair[0])


class TestTrees(TreeMachine.TestCase):
    settings = few


class TestLayers(Layers.TestCase):
    settings = few


class TestCheckpoints(CheckpointMachine.TestCase):
    settings = few


class TestStates(checkpoint_machine(states(), formats=[".npz"]).TestCase):
    settings = few


class Clipped(fd.Module):
    """A module whose constructor changes what it gets, so that `replace` and files disagree."""

    w: Any

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "w", np.clip(self.w, 0, 1))


def test_a_module_that_changes_its_fields_is_found() -> None:
    assert "Clipped.w after replace(w=...) differ" in found(tree_machine(SMALL.map(Clipped), formats=()))


def test_a_tree_that_another_one_writes_into_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(tree: Any, changes: Any) -> Any:
        flat = fd.tree.flatten_to_dict(tree)
        for path, leaf in changes.items():
            flat[path][...] = leaf
        return tree

    monkeypatch.setattr("fdezero.tree.update", update)
    assert "update of tree replaced tree" in found(tree_machine(SMALL, formats=()))


def test_what_a_file_loses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    save = fd.io.save
    monkeypatch.setattr("fdezero.io.save", lambda path, tree: save(path, fd.tree.map(np.abs, tree)))
    assert "trees from tree.npz differ at tree" in found(tree_machine(SMALL, formats=[".npz"]))


def last_of_equals(self: Any, listed: Any) -> Any:
    scored = [one for one in listed if isinstance(one.metrics.get(self.metric), float)]
    return max(reversed(scored), key=lambda one: one.metrics[self.metric] * (1 if self.mode == "max" else -1), default=None)


@pytest.mark.parametrize(
    ("where", "name", "fault", "message"),
    [
        (io_checkpoints.Checkpoints, "_best", last_of_equals, "(as the best|are listed)"),
        (io_checkpoints.Checkpoints, "_kept", lambda self, listed: listed[-2:], "are listed"),
        (index, "damage", lambda found: "", r"found nothing, but step \d+ is whole|none is whole"),
    ],
    ids=["best", "kept", "damaged"],
)
def test_faults_of_checkpoints_are_found(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, fault: Callable[..., Any], message: str) -> None:
    monkeypatch.setattr(where, name, fault)
    machine = checkpoint_machine(st.just(np.arange(3.0)), formats=[".npz"])()
    try:
        with pytest.raises((AssertionError, FileError), match=message):
            steps(machine)
    finally:
        machine.teardown()


def steps(machine: CheckpointMachine) -> None:
    """The rules in an order that meets each fault."""
    machine.begin(np.arange(3.0), 3, "max", 0, 0)
    for seed, score in enumerate((0.5, 0.5, None)):
        machine.save(seed, 1, score)
        machine.folder_and_list_agree()
    machine.restore(0, "best", 0)
    machine.start_again(0, "a file", 0.5)
    machine.folder_and_list_agree()
    machine.start_again(0, "the list", 0.0)
    machine.folder_and_list_agree()


def test_the_steps_without_a_fault_pass() -> None:
    machine = checkpoint_machine(st.just(np.arange(3.0)))()
    steps(machine)
    assert machine.step == 2  # the last whole checkpoint
    machine.teardown()
    assert not machine.folder.exists()
