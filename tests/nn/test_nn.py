"""Layers: formulas, names of parameters, immutability, keys, errors that name the layer, frozen layers."""

import copy
import pickle
from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import ImmutableError, KeyMissingError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


def sequential(*layers: Any) -> nn.Sequential:
    return nn.Sequential(layers)


def test_linear_is_its_formula() -> None:
    layer = nn.Linear.init(KEY, 4, 3)
    assert layer.W.shape == (4, 3)
    assert layer.W.dtype == layer.b.dtype == layer(X).dtype == np.float32
    np.testing.assert_array_equal(layer.b, np.zeros(3, np.float32))
    moved = layer.replace(b=np.ones(3, np.float32))
    np.testing.assert_allclose(moved(X), X @ layer.W + 1, rtol=1e-6)


def test_linear_weights_have_the_variance_of_lecun() -> None:
    W = nn.Linear.init(KEY, 400, 500).W
    assert abs(W.std() * 20 - 1) < 0.01
    assert abs(W.mean()) < 0.001
    assert_trees_equal(nn.Linear.init(KEY, 400, 500).W, W)
    assert (nn.Linear.init(fd.random.key(1), 400, 500).W != W).mean() > 0.99


def test_linear_without_bias_and_in_other_dtypes() -> None:
    layer = nn.Linear.init(KEY, 4, 3, bias=False, dtype=np.float64)
    assert layer.b is None
    assert fd.tree.paths(layer) == ["W"]
    assert layer(X.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1), (2.5, 3)])
def test_linear_refuses_sizes(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="an integer of at least 1"):
        nn.Linear.init(KEY, *sizes)


def test_a_seed_is_no_key() -> None:
    with pytest.raises(KeyMissingError, match=r"fd\.random\.key\(0\)"):
        nn.Linear.init(0, 4, 3)


def test_names_of_parameters() -> None:
    assert fd.tree.paths(nn.MLP.init(KEY, (4, 3, 2))) == ["layers/0/W", "layers/0/b", "layers/1/W", "layers/1/b"]
    model = sequential(nn.Linear.init(KEY, 4, 3), F.relu, nn.Dropout(0.5), nn.Linear.init(KEY, 3, 2))
    assert fd.tree.paths(model) == ["layers/0/W", "layers/0/b", "layers/3/W", "layers/3/b"]


def test_layers_are_immutable() -> None:
    model = nn.MLP.init(KEY, (4, 3, 2))
    with pytest.raises(ImmutableError, match="Linear is immutable: W cannot be assigned"):
        model.layers[0].W = X
    with pytest.raises(ImmutableError, match="MLP is immutable and has no field momentum"):
        model.momentum = 1
    with pytest.raises(AttributeError):
        del model.layers


def test_layers_are_copied_and_pickled() -> None:
    model = nn.MLP.init(KEY, (4, 3, 2), dropout=0.25)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_trees_equal(other, model)
        assert other.dropout.rate == 0.25
        assert_trees_equal(other(X), model(X))


def test_mlp_is_its_formula() -> None:
    model = nn.MLP.init(KEY, (4, 6, 5, 2), activation=F.relu)
    first, second, third = model.layers
    hidden = np.maximum(np.maximum(X @ first.W + first.b, 0) @ second.W + second.b, 0)
    np.testing.assert_allclose(model(X), hidden @ third.W + third.b, rtol=1e-5)
    assert model(X).dtype == np.float32
    assert len({layer.W.ravel()[0] for layer in model.layers}) == 3


@pytest.mark.parametrize("sizes", [(4,), (), 4])
def test_mlp_refuses_sizes(sizes: Any) -> None:
    with pytest.raises(ValueError, match="at least the sizes of its input and output"):
        nn.MLP.init(KEY, sizes)


def test_dropout_layer() -> None:
    layer = nn.Dropout(0.5)
    assert fd.tree.paths(layer) == []
    assert layer(X) is X
    assert_trees_equal(layer(X, key=KEY, train=True), F.dropout(X, 0.5, key=KEY, train=True))
    assert nn.Dropout(np.float32(0.25)).rate == 0.25
    for rate in (1.0, -0.5, "half", "0.5", np.ones(1), None):
        with pytest.raises(ValueError, match="Dropout: the rate is the probability to drop, from 0 up to but not including 1"):
            nn.Dropout(rate)


def test_sequential_runs_layers_and_functions_in_order() -> None:
    first, last = nn.Linear.init(KEY, 4, 3), nn.Linear.init(fd.random.key(1), 3, 2)
    model = sequential(first, F.relu, lambda x: x * 2, last)
    np.testing.assert_allclose(model(X), last(2 * np.maximum(first(X), 0)))
    check_grads(lambda x: sequential(F.tanh, lambda x: x * x)(x), (X.astype(np.float64),))


def test_sequential_without_layers_is_the_identity() -> None:
    assert sequential()(X, key=KEY, train=True) is X


@pytest.mark.parametrize("wrong", [3, nn.Linear, np.ones(2)])
def test_sequential_refuses_objects_that_are_not_layers(wrong: Any) -> None:
    with pytest.raises(StructureError, match=r"Sequential takes layers and functions, got .*"):
        sequential(F.relu, wrong)


def test_every_layer_draws_with_a_key_of_its_own() -> None:
    ones = np.ones((1, 200))
    model = sequential(*[lambda x: np.ones((1, 200)), nn.Dropout(0.5)] * 2)
    twice = sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    kept = (twice(ones, key=KEY, train=True) != 0).mean()
    assert 0.1 < kept < 0.4
    assert (model(ones, key=KEY, train=True) != nn.Dropout(0.5)(ones, key=KEY, train=True)).any()


def test_dropout_of_an_mlp() -> None:
    model = nn.MLP.init(KEY, (4, 50, 50, 2), dropout=0.5)
    trained = [model(X, key=key, train=True) for key in fd.random.split(KEY)]
    assert (trained[0] != trained[1]).all()
    assert_trees_equal(model(X, key=KEY), nn.MLP(model.layers, model.activation)(X))
    mean = np.mean([model(X, key=key, train=True) for key in fd.random.split(KEY, 2000)], axis=0)
    assert np.abs(mean - model(X)).max() < 0.2


def test_every_layer_of_an_mlp_drops_with_a_key_of_its_own() -> None:
    one = np.ones((1, 2000))
    model = nn.MLP([lambda x: x] * 3, lambda x: x, nn.Dropout(0.5))  # Only its two dropouts act: a quarter of the entries pass both.
    passed = (model(one, key=KEY, train=True) != 0).mean()
    assert abs(passed - 0.25) < 0.05


def test_errors_name_the_layer() -> None:
    inner = sequential(F.relu, nn.Linear.init(KEY, 9, 2))
    with pytest.raises(ShapeError, match=r"last axis of 9, got x float32\[5,3\].*\(at layers/1/layers/1\)"):
        sequential(nn.Linear.init(KEY, 4, 3), inner)(X)
    with pytest.raises(ShapeError, match=r"\(at layers/0\)"):
        nn.MLP.init(KEY, (3, 2))(X)
    with pytest.raises(KeyMissingError, match=r"\(at layers/1\)"):
        sequential(F.relu, nn.Dropout(0.5))(X, train=True)
    with pytest.raises(KeyMissingError, match=r"\(at layers/0\)"):
        nn.MLP.init(KEY, (4, 3, 2), dropout=0.5)(X, train=True)


@pytest.mark.parametrize("opt", [optim.sgd(0.1), optim.adam(0.1)], ids=["sgd", "adam"])
def test_a_frozen_layer_has_no_gradient_and_is_not_trained(opt: optim.GradientTransformation) -> None:
    layers = nn.MLP.init(KEY, (4, 3, 2)).layers
    params = {"first": fd.Frozen(layers[0]), "last": layers[1]}

    def loss(params: Any) -> Any:
        return F.softmax_cross_entropy(params["last"](F.relu(params["first"].value(X))), np.array([0, 1, 0, 1, 1]))

    gradient = fd.grad(loss)(params)
    assert gradient["first"] is None
    trained, state = params, opt.init(params)
    for _ in range(3):
        trained, state = opt.step(trained, fd.grad(loss)(trained), state)
    assert_trees_equal(trained["first"], params["first"])
    assert loss(trained) < loss(params)


@pytest.mark.parametrize("opt", [optim.sgd(0.1), optim.adam(0.1)], ids=["sgd", "adam"])
def test_frozen_layers_run_inside_models(opt: optim.GradientTransformation) -> None:
    mlp = nn.MLP.init(KEY, (4, 3, 2))
    frozen = mlp.replace(layers=(fd.Frozen(mlp.layers[0]), mlp.layers[1]))
    assert_trees_equal(frozen(X), mlp(X))
    model = sequential(fd.Frozen(mlp.layers[0]), F.sigmoid, mlp.layers[1])
    assert_trees_equal(model(X), mlp(X))
    trained, _ = opt.step(model, fd.grad(lambda model: fd.numpy.sum(model(X)))(model), opt.init(model))
    assert trained.layers[0].value.W is mlp.layers[0].W
    assert (trained.layers[2].W != mlp.layers[1].W).all()
    with pytest.raises(ShapeError, match=r"\(at layers/0/value\)"):
        model(X[:, :2])


def test_a_users_attrs_class_is_a_layer() -> None:
    @attrs.frozen
    class Scale:
        by: Any

        def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return x * self.by

    model = sequential(Scale(np.float32(3)), F.relu)
    assert fd.tree.paths(model) == ["layers/0/by"]
    gradient = fd.grad(lambda model: fd.numpy.sum(model(X)))(model).layers[0].by
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, np.maximum(X, 0).sum(), rtol=1e-6)


class Noisy(fd.Module):
    """A layer as users may write it: its signature names its options."""

    def __call__(self, x: Any, *, key: Any) -> Any:
        return x + fd.random.normal(key, x.shape, x.dtype)


class Inference(fd.Module):
    def __call__(self, x: Any, train: bool = True) -> Any:
        return -x if train else x


class Passing(fd.Module):
    inner: Any

    def __call__(self, x: Any, **options: Any) -> Any:
        return nn.apply(self.inner, x, **options)


@pytest.mark.parametrize("wrap", [lambda layer: layer, fd.Frozen, Passing, lambda layer: fd.Frozen(Passing(layer))], ids=["plain", "frozen", "passing", "both"])
def test_a_layer_is_given_the_options_that_it_takes(wrap: Any) -> None:
    assert_trees_equal(nn.apply(wrap(Inference()), X, key=KEY, train=True), -X)
    assert_trees_equal(nn.apply(wrap(Inference()), X), X)
    assert_trees_equal(nn.apply(wrap(Noisy()), X, key=KEY, train=True), Noisy()(X, key=KEY))
    assert_trees_equal(nn.apply(wrap(nn.Dropout(0.5)), X, key=KEY, train=True), F.dropout(X, 0.5, key=KEY, train=True))
    assert_trees_equal(nn.apply(wrap(nn.Function(F.relu)), X, key=KEY, train=True), F.relu(X))
    linear = nn.Linear.init(KEY, 4, 3)
    assert_trees_equal(nn.apply(wrap(linear), X, key=KEY, train=True), linear(X))
    assert_trees_equal(nn.apply(F.relu, X, key=KEY, train=True), F.relu(X))
    assert_trees_equal(sequential(wrap(linear), wrap(Inference()))(X, key=KEY, train=True), -linear(X))


def test_a_function_is_given_no_options() -> None:
    assert_trees_equal(sequential(lambda x, key=3, train=False: x * key)(X, key=KEY, train=True), 3 * X)


def test_layers_are_made_where_the_key_is(gpu: Any) -> None:
    model = nn.MLP.init(fd.to_device(KEY, "gpu"), (4, 3, 2))
    assert fd.device_of(model) == "gpu:0"
    assert_trees_close(fd.to_numpy(model), nn.MLP.init(KEY, (4, 3, 2)))
