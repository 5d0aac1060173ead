"""`training.State`: a tree that steps take and return, that is saved whole, and that compiles once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import StructureError
from fdezero.training import State

OPT = optim.adam(0.01)
X, T = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), np.arange(8) % 2


def model() -> Any:
    return nn.MLP.init(fd.random.key(1), (3, 4, 2), dropout=0.5)


def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


def step(state: State, batch: Any) -> tuple[State, Any]:
    loss, grads = fd.value_and_grad(loss_fn)(state.model, *batch, fd.random.fold_in(state.key, state.step))
    model, optimiser = OPT.step(state.model, grads, state.optimiser)
    return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {"loss": loss}


def bits(tree: Any) -> dict[str, Any]:
    return {path: (type(leaf), np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for path, leaf in fd.tree.flatten_to_dict(tree).items()}


def test_a_state_begins_with_the_optimisers_own_state_and_counters_at_zero() -> None:
    state = State.init(model(), OPT, fd.random.key(2), extra={"best": 0.5})
    assert bits({"state": state.optimiser}) == bits({"state": OPT.init(model())})
    assert (state.epoch, state.step, state.averages, state.loss_scale, state.extra) == (0, 0, None, None, {"best": 0.5})
    assert {"model/layers/0/W", "key", "epoch", "step", "extra/best"} < set(fd.tree.paths(state))


def test_a_compiled_step_is_recorded_once_and_has_the_bits_of_the_eager_one() -> None:
    compiled = fd.compile(step, max_recordings=1)
    fast = slow = State.init(model(), OPT, fd.random.key(2))
    for number in range(1, 4):
        (fast, found), (slow, wanted) = compiled(fast, (X, T)), step(slow, (X, T))
        assert bits(fast) == bits(slow)
        assert bits(found) == bits(wanted)
        assert fast.step == number
        assert type(fast.step) is int


def test_a_saved_state_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    compiled = fd.compile(step, max_recordings=1)
    state, _ = compiled(State.init(model(), OPT, fd.random.key(2)), (X, T))
    fd.save(tmp_path / "run.npz", state)
    loaded = fd.load(tmp_path / "run.npz", like=State.init(model(), OPT, fd.random.key(3)))
    assert bits(loaded) == bits(state)
    assert bits(compiled(loaded, (X, T))[0]) == bits(compiled(state, (X, T))[0])


@pytest.mark.parametrize("swapped", [lambda: State.init(OPT, model()), lambda: State.init(model(), OPT.init(model()))])
def test_something_else_in_place_of_the_optimiser_is_an_error_that_shows_the_call(swapped: Any) -> None:
    with pytest.raises(StructureError, match=r"State\.init\(model, fd\.optim\.adam\(0\.001\), key\); got (MLP|tuple|dict|.*State)"):
        swapped()
    with pytest.raises(StructureError, match=r"State\.init takes an optimiser, got the class adam: write adam\(0\.001\)"):
        State.init(model(), type(OPT))  # type: ignore[arg-type]  # on purpose
