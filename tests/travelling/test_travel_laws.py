"""The law of travel over all tables: what goes through pickle to a process that was started anew gives the same bits there."""

import importlib
import pickle
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import data, nn, optim, training
from fdezero.testing import assert_trees_equal

from ..data.data_forms import FORMS
from ..laws.datasets import DATASETS
from ..laws.image_transforms import TRANSFORMS
from ..laws.layer_row import KEY, OTHER, stepped
from ..laws.layers import LAYERS
from ..laws.metrics import METRICS
from ..laws.models import MODELS
from ..laws.optimisers import OPTIMISERS
from ..optim.test_averages import AVERAGES
from ..optim.test_schedules import ROWS as SCHEDULES
from .elsewhere import Elsewhere, elsewhere

__all__ = ["elsewhere"]


def there_and_here(elsewhere: Elsewhere, function: Any, *args: Any) -> Any:
    """What a function gives here, which is what it gives elsewhere."""
    here = fd.to_numpy(function(*args))
    assert_trees_equal(elsewhere(function, *args), here, bits=True)
    return here


# Names: an object that has one is found by it, and stays one object
MODULES = "errors data functions io models nn numpy numpy.linalg numpy.fft optim optim.schedules random signal special stats testing training tree data.transforms"
STATELESS = {"numpy.c_", "numpy.r_", "stats.categorical", "stats.dirichlet", "stats.multivariate_normal"}  # their copies do the same


@pytest.mark.parametrize("module", ["", *MODULES.split()])
def test_what_has_a_name_travels_by_its_name(module: str) -> None:
    place = importlib.import_module(f"fdezero.{module}".rstrip("."))
    names = [name for name in getattr(place, "__all__", dir(place)) if not name.startswith("_")]
    values = {f"{module}.{name}": getattr(place, name) for name in names}
    checked = {name: value for name, value in values.items() if callable(value) and name not in STATELESS}
    wrong = [name for name, value in checked.items() if pickle.loads(pickle.dumps(value)) is not value]
    assert not wrong
    assert checked


# Layers, models, and functions within them
def _called(train: bool, layer: Any, *xs: Any) -> Any:
    return stepped(train)(layer, *xs)


@pytest.mark.parametrize("row", [*LAYERS, *MODELS], ids=str)
def test_layers_travel(row: Any, elsewhere: Elsewhere) -> None:
    layer = row.layer(KEY, np.float32)
    here = there_and_here(elsewhere, _called, True, layer, *row.xs(np.float32))
    assert fd.tree.leaves(here)
    again = pickle.loads(pickle.dumps(layer)) if "function" not in repr(layer) else layer
    assert fd.tree.paths(again) == fd.tree.paths(layer)


@pytest.mark.parametrize("function", [fd.numpy.tanh, fd.numpy.sin, fd.special.erf, fd.functions.relu, nn.initial.normal(0.1)], ids=["tanh", "sin", "erf", "relu", "normal"])
def test_functions_in_a_model_stay_what_they_are(function: Any) -> None:
    model = nn.Sequential([nn.Linear.init(KEY, 3, 2), nn.Function(function)])
    again = pickle.loads(pickle.dumps(model))
    assert fd.tree.flatten(again)[1] == fd.tree.flatten(model)[1]  # so that a compiled step need not be recorded again


# Optimisers and all that stands around them
def _steps(opt: Any, params: Any, state: Any) -> Any:
    for _ in range(2):
        params, state = opt.step(params, fd.tree.map(lambda p: p * (1 + abs(p)), params), state)
    return params, state


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_and_their_states_travel(name: str, elsewhere: Elsewhere) -> None:
    opt, params = OPTIMISERS[name](0.1), {"w": np.linspace(-2, 3, 6, dtype=np.float32).reshape(2, 3), "half": np.float16([0.5, -2])}
    params, state = _steps(opt, params, opt.init(params))
    there_and_here(elsewhere, _steps, opt, params, state)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_travel(name: str, elsewhere: Elsewhere) -> None:
    schedule = SCHEDULES[name].schedule
    assert there_and_here(elsewhere, _values, schedule)


def _values(schedule: Any) -> list[Any]:
    return [schedule(np.int64(step)) for step in range(12)]


def _averaged(average: Any, state: Any, params: Any) -> Any:
    state = average.update(state, params)
    return average.read(state, params)


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_travel(name: str, elsewhere: Elsewhere) -> None:
    average, params = AVERAGES[name][0], {"w": np.linspace(0, 1, 4)}
    there_and_here(elsewhere, _averaged, average, average.update(average.init(params), params), params)


def _scaled(model: Any, scale: Any, x: Any) -> Any:
    value, grads = scale.value_and_grad(_mean_square)(model, x)
    return value, grads, scale.adjust(grads)


def _mean_square(model: Any, x: Any) -> Any:
    return fd.numpy.mean(model(x) ** 2)


def test_policies_scales_and_states_travel(elsewhere: Elsewhere) -> None:
    policy, scale = optim.precision.Policy(compute="float16"), optim.precision.LossScale.init(8.0)
    model, x = nn.Linear.init(KEY, 3, 2), np.ones((4, 3), np.float32)
    there_and_here(elsewhere, _scaled, policy(model), scale, x)
    there_and_here(elsewhere, fd.compile(scale.value_and_grad(_mean_square)), policy(model), x)
    there_and_here(elsewhere, policy, model)
    opt = optim.adam(1e-2)
    there_and_here(elsewhere, _next, opt, training.State.init(model, opt, OTHER), x)
    there_and_here(elsewhere, _stopped, training.early_stopping("loss", patience=1))


def _stopped(stopping: Any) -> Any:
    for value in (1.0, 2.0):
        _, stopping = stopping.update({"loss": value})
    return stopping, stopping.stopped


def _next(opt: Any, state: Any, x: Any) -> Any:
    grads = fd.grad(_mean_square)(state.model, x)
    model, optimiser = opt.step(state.model, grads, state.optimiser)
    return state.replace(model=model, optimiser=optimiser, step=state.step + 1)


# Data
def _batches(loader: Any) -> list[Any]:
    return [batch for batch, _ in zip(loader.epoch(1), range(2), strict=False)]


@pytest.mark.parametrize("row", [row for row in DATASETS if row.shape[0] < 60_000 or row.name != "mnist"], ids=str)  # it takes a second to read
def test_data_sets_travel_in_loaders(row: Any, elsewhere: Elsewhere) -> None:
    x, t = row.load()
    loader = data.DataLoader((x[:50].copy(), t[:50].copy()), 10, key=KEY)
    there_and_here(elsewhere, _batches, loader)


@pytest.mark.parametrize("form", [form for form in FORMS if "pandas" not in form])  # whose import takes two seconds
def test_data_sets_of_every_form_travel_in_loaders(form: str, elsewhere: Elsewhere, tmp_path: Any) -> None:
    there_and_here(elsewhere, _batches, data.DataLoader(FORMS[form](9, tmp_path), 4, key=KEY))


@pytest.mark.parametrize("row", TRANSFORMS, ids=str)
def test_transforms_travel(row: Any, elsewhere: Elsewhere) -> None:
    there_and_here(elsewhere, row.transform, row.batch(row.takes[0]), *([KEY] if row.transform.draws else []))


# Metrics
def _measured(metric: Any, *given: Any) -> Any:
    metric = metric.update(*given)
    return metric, metric.result()


@pytest.mark.parametrize("row", METRICS, ids=str)
def test_metrics_travel(row: Any, elsewhere: Elsewhere) -> None:
    given = row.examples(np.random.default_rng(7), 20)
    there_and_here(elsewhere, _measured, row.make().update(*given), *given)


# What a search sends back
def test_checkpoints_of_a_list_travel(tmp_path: Any, elsewhere: Elsewhere) -> None:
    with fd.io.Checkpoints(tmp_path, best="accuracy") as checkpoints:
        checkpoints.save({"w": np.ones(2)}, 3, {"accuracy": 0.5})
    found = fd.io.Checkpoints(tmp_path).all()
    assert pickle.loads(pickle.dumps(found)) == found
    there_and_here(elsewhere, _restored, tmp_path, found)


def _restored(folder: Any, found: Any) -> Any:
    assert fd.io.Checkpoints(folder).all() == found
    return fd.load(found[-1].path)


def test_vectors_of_trees_travel_with_their_way_back(elsewhere: Elsewhere) -> None:
    vector, unravel = fd.ravel({"w": np.arange(4.0).reshape(2, 2), "b": np.float32([1, 2]), "n": np.arange(2)})
    there_and_here(elsewhere, unravel, vector)


def test_errors_travel_with_their_words() -> None:
    for name in fd.errors.__dict__:
        kind = getattr(fd.errors, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            error = pickle.loads(pickle.dumps(kind("the words")))
            assert type(error) is kind
            assert "the words" in str(error)


# A law that cannot fail proves nothing
class _Forgetful:
    def __init__(self) -> None:
        self.scale = 2.0

    def __getstate__(self) -> dict[str, Any]:
        return {"scale": 1.0}

    def __call__(self, x: Any) -> Any:
        return x * self.scale


def test_what_changes_on_its_way_is_caught(elsewhere: Elsewhere) -> None:
    with pytest.raises(AssertionError):
        there_and_here(elsewhere, _Forgetful(), np.ones(2))
    with pytest.raises(TypeError, match="belong to one process"):
        there_and_here(elsewhere, lambda x: x, fd.io.Checkpoints("x"))
