"""`nn.freeze` and `nn.thaw`: which leaves get gradients, and that nothing else of the model changes."""

import copy
import pickle
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import DTypeError, StructureError
from fdezero.testing import assert_trees_equal

from .test_state import Center, Model

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 3))


def network() -> nn.Sequential:
    keys = fd.random.split(KEY, 3)
    linear = [nn.Linear.init(k, 3, 3, dtype=np.float64) for k in keys]
    return nn.Sequential([linear[0], F.tanh, nn.Sequential([linear[1], Center.of()]), linear[2]])


def trained(model: Any) -> set[str]:
    """The paths of the leaves that get a gradient."""
    gradients = fd.grad(lambda model: model(X).sum())(model)
    return set(fd.tree.paths(gradients))


ALL = trained(network())


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        (["layers/0"], {"layers/0/W", "layers/0/b"}),
        (["layers/2"], {"layers/2/layers/0/W", "layers/2/layers/0/b", "layers/2/layers/1/scale"}),
        (["layers/2/layers"], {"layers/2/layers/0/W", "layers/2/layers/0/b", "layers/2/layers/1/scale"}),
        (["**/b", "layers/2/*/0"], {"layers/0/b", "layers/3/b", "layers/2/layers/0/b", "layers/2/layers/0/W"}),
        (["layers/3/W"], {"layers/3/W"}),
    ],
)
def test_frozen_leaves_have_no_gradient(patterns: list[str], frozen: set[str]) -> None:
    model = network()
    before = copy.deepcopy(model)
    changed = nn.freeze(model, *patterns)
    assert trained(changed) == ALL - frozen
    assert_trees_equal(model, before)
    assert fd.tree.paths(changed) == fd.tree.paths(model)
    assert all(a is b for a, b in zip(fd.tree.leaves(changed), fd.tree.leaves(model), strict=True))
    assert_trees_equal(changed(X), model(X), bits=True)
    assert "frozen" in repr(changed)
    assert "frozen" not in repr(nn.thaw(changed))
    assert isinstance(changed.layers[0], nn.Linear)
    assert trained(nn.thaw(changed)) == ALL
    assert fd.tree.flatten(nn.thaw(changed))[1] == fd.tree.flatten(model)[1]
    assert trained(nn.thaw(changed, *patterns)) == ALL
    assert trained(nn.freeze(nn.freeze(model, *patterns), "layers/0/W")) == ALL - frozen - {"layers/0/W"}


def test_a_part_may_be_thawed() -> None:
    model = nn.thaw(nn.freeze(network(), "layers"), "layers/2/layers/0")
    assert trained(model) == {"layers/2/layers/0/W", "layers/2/layers/0/b"}
    assert trained(nn.thaw(network().replace(layers=[fd.Frozen(network()), F.tanh, network()]))) == {
        *[f"layers/0/{path}" for path in ALL],
        *[f"layers/2/{path}" for path in ALL],
    }


def test_everything_may_be_frozen() -> None:
    model = nn.freeze(network())
    with pytest.raises(DTypeError, match="frozen"):
        trained(model)
    assert trained(nn.thaw(model)) == ALL


def test_optimisers_and_files_take_frozen_models(tmp_path: Path) -> None:
    model = nn.freeze(network(), "layers/2", "**/b")
    optimiser = optim.adam(0.1)

    def step(model: Any, state: Any) -> Any:
        return optimiser.step(model, fd.grad(lambda model: model(X).sum())(model), state)

    for run in (step, fd.compile(step)):
        moved, _ = run(model, optimiser.init(model))
        changed = {path for (path, a), b in zip(fd.tree.flatten_with_path(model), fd.tree.leaves(moved), strict=True) if not np.array_equal(a, b)}
        assert changed == {"layers/0/W", "layers/3/W"}
        assert trained(moved) == trained(model)
    fd.save(tmp_path / "model.npz", model)
    assert_trees_equal(fd.load(tmp_path / "model.npz", like=network()), network())
    assert trained(fd.load(tmp_path / "model.npz", like=model)) == trained(model)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_frozen_layers_are_copied_and_pickled(copied: Any) -> None:
    model = nn.freeze(network(), "layers/0", "**/scale")
    other = copied(model)
    assert fd.tree.flatten(other)[1] == fd.tree.flatten(model)[1]
    assert trained(other) == trained(model)
    assert_trees_equal(other(X), model(X))


def test_frozen_statistics_are_used_in_training() -> None:
    norm = Center.of().replace(mean=np.ones(3))
    for frozen in (nn.freeze(norm), nn.freeze(Model([norm], lambda layers, x: layers[0](x, train=True)))):
        y, successor = nn.step(frozen, X)
        assert successor is frozen
        assert_trees_equal(y, norm(X))
        assert_trees_equal(frozen(X, train=True), norm(X))
    scale_alone = nn.freeze(norm, "scale")
    _, successor = nn.step(scale_alone, X)
    assert_trees_equal(successor.mean, nn.step(norm, X)[1].mean)
    assert fd.tree.flatten(successor)[1] == fd.tree.flatten(scale_alone)[1]


def test_layers_of_other_attrs_classes() -> None:
    @attrs.frozen
    class Scale:
        factor: Any

        def __call__(self, x: Any) -> Any:
            return x * self.factor

    model = nn.Sequential([Scale(np.ones(3)), F.tanh, Scale(np.ones(3))])
    assert trained(nn.freeze(model, "layers/0")) == {"layers/2/factor"}
    assert trained(pickle.loads(pickle.dumps(nn.freeze(nn.Sequential([nn.Linear.init(KEY, 3, 2, dtype=np.float64)]), "**/W")))) == {"layers/0/b"}
    assert list(nn.capture(model, X, paths="layers/2")[1]) == ["layers/2"]


def test_empty_places_are_frozen_with_the_rest() -> None:
    model = {"none": None, "empty": [], "layer": nn.Linear.init(KEY, 3, 2, dtype=np.float64)}
    assert fd.tree.leaves(fd.tree.trainable(nn.freeze(model))) == []


def test_what_cannot_be_frozen_is_an_error() -> None:
    with pytest.raises(StructureError, match=r"nn\.freeze: nothing matches 'layer/0'\. Paths like it: layers/0"):
        nn.freeze(network(), "layer/0")
    with pytest.raises(StructureError, match=r"nn\.freeze: float64\[3\] at a is no field of a layer\. Wrap it: fd\.Frozen"):
        nn.freeze({"a": np.ones(3), "b": np.ones(3)}, "a")
