"""Averages of parameters against their definitions, PyTorch and optax; dtypes, frozen leaves, files; and the rate on a plateau."""

import pickle
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(0)
MODELS = [{"w": RNG.normal(size=(2, 3)), "b": [RNG.normal(size=3)]} for _ in range(12)]


def weighted(weights: list[float], models: list[Any] = MODELS) -> Any:
    total = sum(weights)
    return fd.tree.map(lambda *leaves: sum(w / total * leaf for w, leaf in zip(weights, leaves, strict=True)), *models[: len(weights)])


def swa_weights(n: int, start: int, every: int) -> list[float]:
    counted = [float(k >= start and (k - start) % every == 0) for k in range(n)]
    return counted if any(counted) else [0.0] * (n - 1) + [1.0]


AVERAGES: dict[str, tuple[Any, Any]] = {  # an average, and the weights of the models after n updates
    "ema": (optim.ema(0.9), lambda n: [0.9 ** (n - 1 - k) for k in range(n)]),
    "ema without debias": (optim.ema(0.9, debias=False), None),
    "polyak": (optim.polyak(), lambda n: [1.0] * n),
    "polyak from 3 on": (optim.polyak(3), lambda n: swa_weights(n, 3, 1)),
    "swa": (optim.swa(2), lambda n: swa_weights(n, 2, 1)),
    "swa every 3": (optim.swa(2, 3), lambda n: swa_weights(n, 2, 3)),
}
law = pytest.mark.parametrize("name", AVERAGES)


def test_the_table_has_every_average() -> None:
    made = {name for name in optim.__all__ if isinstance(member := getattr(optim, name), type) and issubclass(member, optim.Averages)}
    assert {name.split()[0] for name in AVERAGES} == made - {"Averages"}


@law
def test_averages_are_their_definitions(name: str) -> None:
    average, weights = AVERAGES[name]
    state, slow = average.init(MODELS[0]), MODELS[0]
    assert_trees_equal(average.read(state, MODELS[0]), MODELS[0])
    for n, model in enumerate(MODELS, 1):
        state = average.update(state, model)
        slow = fd.tree.map(lambda s, p: 0.9 * s + 0.1 * p, slow, model)
        assert_trees_close(average.read(state, model), weighted(weights(n)) if weights else slow, 1e-12)
        assert state["step"] == n


@law
def test_compiled_averages_have_the_bits_of_eager_ones_and_are_recorded_once(name: str) -> None:
    average = AVERAGES[name][0]
    update = fd.compile(average.update, max_recordings=1)
    eager = compiled = average.init(MODELS[0])
    for model in MODELS:
        eager, compiled = average.update(eager, model), update(compiled, model)
        assert_trees_equal(compiled, eager, bits=True)


@law
def test_an_average_is_a_model_in_its_own_dtypes_and_memory(name: str, tmp_path: Any) -> None:
    average = AVERAGES[name][0]
    kinds = {
        "layer": nn.Linear.init(fd.random.key(0), 3, 2), "half": np.float16([1, 2]), "z": np.array([1 + 2j]), "n": 3, "none": None,
        "number": 0.5, "frozen": fd.Frozen({"w": np.ones(2)}), "norm": nn.BatchNorm.init(fd.random.key(0), 3),
    }  # fmt: skip
    state = average.init(kinds)
    for _ in range(4):
        state = average.update(state, kinds)
    model = average.read(state, kinds)
    assert_trees_close(model, kinds, 1e-6)
    assert [getattr(leaf, "dtype", type(leaf)) for leaf in fd.tree.leaves(model)] == [getattr(leaf, "dtype", type(leaf)) for leaf in fd.tree.leaves(kinds)]
    assert state["mean"]["half"].dtype == np.float32
    assert model["layer"](np.ones(3, np.float32)).shape == (2,)
    owned = [leaf for leaf in fd.tree.leaves(fd.tree.trainable(model)) if isinstance(leaf, np.ndarray)]
    for leaf in owned:
        assert not any(np.shares_memory(leaf, other) for other in fd.tree.leaves((state, kinds)) if isinstance(other, np.ndarray))
    assert not any(np.shares_memory(a, b) for a in fd.tree.leaves(average.init(kinds)) for b in fd.tree.leaves(kinds) if isinstance(b, np.ndarray))
    fd.save(tmp_path / "average.npz", {"averages": state})
    assert_trees_equal(fd.load(tmp_path / "average.npz", like={"averages": state})["averages"], state, bits=True)
    assert repr(pickle.loads(pickle.dumps(average))) == repr(average)


def test_averages_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    for ours, options in ((optim.polyak(), {}), (optim.ema(0.9, debias=False), {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)})):
        network = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)
        averaged = swa.AveragedModel(network, **options)
        state = None
        for model in MODELS:
            with torch.no_grad():
                network.weight.copy_(torch.tensor(model["w"]))
            averaged.update_parameters(network)
            state = ours.update(ours.init(model) if state is None else state, model)
            np.testing.assert_allclose(ours.read(state, model)["w"], averaged.module.weight.detach().numpy(), rtol=1e-12)


def test_the_exponential_average_is_optaxs() -> None:
    optax = pytest.importorskip("optax")
    theirs, ours = optax.ema(0.9, debias=True), optim.ema(0.9)
    state, own = theirs.init(np.float32(MODELS[0]["w"])), ours.init(MODELS[0])
    for model in MODELS:
        mean, state = theirs.update(np.float32(model["w"]), state)
        own = ours.update(own, model)
        np.testing.assert_allclose(own["mean"]["w"], mean, rtol=1e-5)


def test_averages_of_another_model_are_named() -> None:
    state = optim.ema().init({"w": np.ones(3)})
    with pytest.raises(ShapeError, match=r"the average of w is float64\[3\], the model has float64\[2,3\] there; shapes must agree\.$"):
        optim.ema().update(state, {"w": np.ones((2, 3))})
    with pytest.raises(StructureError, match="the model and the average differ at 'v'"):
        optim.ema().update(state, {"v": np.ones(3)})
    with pytest.raises(StructureError, match="the model and the average differ at 'v'"):
        optim.ema().read(state, {"v": np.ones(3)})
    with pytest.raises(StructureError, match="ema: the state has mean, step; got dict. The state comes first, and the first one from init"):
        optim.ema().update({}, state)
    with pytest.raises(StructureError, match="ema: the state has mean, step; got w"):
        optim.ema().read({"w": np.ones(3)}, state)
    for make in (lambda: optim.ema(1.0), lambda: optim.ema(-0.1), lambda: optim.swa(0, 0), lambda: optim.swa(1.5), lambda: optim.polyak(-1)):
        with pytest.raises(RangeError, match=r"(ema|swa|polyak): \w+ is a"):
            make()


# The rate on a plateau


MEASURES = [1.0, 0.9, 0.9, 0.95, 0.9, 0.89995, 0.5, 0.5, 0.5, 0.6, 0.7, 0.5, np.nan, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]


def rates(plateau: Any, update: Any = None) -> list[float]:
    state, found = plateau.init(), []
    for value in MEASURES:
        state = (update or plateau.update)(state, value)
        found.append(float(state["rate"]))
    return found


def plain(mode: str, patience: int, cooldown: int, relative: bool) -> list[float]:
    rate, best, bad, wait, found = 0.1, np.inf if mode == "min" else -np.inf, 0, 0, []
    for value in MEASURES:
        bound = {("min", True): best * 0.99, ("max", True): best * 1.01, ("min", False): best - 0.01, ("max", False): best + 0.01}[mode, relative]
        if value < bound if mode == "min" else value > bound:
            best, bad = value, 0
        else:
            bad += 1
        if wait > 0:
            wait, bad = wait - 1, 0
        if bad > patience:
            rate, wait, bad = max(rate * 0.5, 0.01), cooldown, 0
        found.append(rate)
    return found


@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (1, 0), (2, 2), (0, 3)])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [True, False])
def test_the_rate_falls_by_the_rules(mode: str, patience: int, cooldown: int, relative: bool) -> None:
    plateau = optim.reduce_on_plateau(0.1, 0.5, patience, 0.01, cooldown, 0.01, mode, relative)
    expected = plain(mode, patience, cooldown, relative)
    assert rates(plateau) == expected
    assert len(set(expected)) > 1
    assert rates(plateau, fd.compile(plateau.update, max_recordings=1)) == expected
    assert rates(pickle.loads(pickle.dumps(plateau))) == expected


def test_the_rate_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for mode, relative in (("min", True), ("max", False)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        options = {"factor": 0.5, "patience": 1, "threshold": 0.01, "threshold_mode": "rel" if relative else "abs", "cooldown": 2, "min_lr": 0.01}
        scheduler, found = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, **options), []
        for value in MEASURES:
            scheduler.step(value)
            found.append(optimizer.param_groups[0]["lr"])
        np.testing.assert_allclose(rates(optim.reduce_on_plateau(0.1, 0.5, 1, 0.01, 2, 0.01, mode, relative)), found, rtol=1e-12)


def test_a_compiled_step_uses_the_rate_of_a_plateau_and_is_recorded_once() -> None:
    plateau = optim.reduce_on_plateau(0.1, patience=0)

    def step(p: Any, state: Any, plateau_state: Any) -> Any:
        p, state = optim.momentum(plateau_state["rate"]).step(p, p, state)
        return p, state, plateau.update(plateau_state, np.sum(p * p))

    p = np.ones(3)
    eager = compiled = (p, optim.momentum(0.1).init(p), plateau.init())
    recorded = fd.compile(step, max_recordings=1)
    for _ in range(8):
        eager, compiled = step(*eager), recorded(*compiled)
        assert_trees_equal(compiled, eager, bits=True)
    assert eager[2]["rate"] < 0.1


def test_plateaus_that_make_no_sense_are_named() -> None:
    with pytest.raises(RangeError, match="mode is 'min', for a loss, or 'max', for an accuracy; got 'least'"):
        optim.reduce_on_plateau(0.1, mode="least")
    with pytest.raises(RangeError, match="reduce_on_plateau: factor is a number > 0 and < 1; got 1"):
        optim.reduce_on_plateau(0.1, 1)
    with pytest.raises(StructureError, match="reduce_on_plateau: the state has rate, best, bad, wait; got dict"):
        optim.reduce_on_plateau(0.1).update({}, 1.0)
    for value in (np.ones(3), "0.1", None):
        with pytest.raises(RangeError, match="reduce_on_plateau: a measure is one number"):
            optim.reduce_on_plateau(0.1).update(optim.reduce_on_plateau(0.1).init(), value)
