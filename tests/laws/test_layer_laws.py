"""The laws that every layer obeys, in training and in inference, over the table of layers."""

import functools
import inspect
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import DeviceError, KeyMissingError, KeyReuseError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
from fdezero.testing.properties import compiled_is_eager, keeps_dtype, leaves_inputs_alone, vmap_is_a_loop
from fdezero.testing.structures import is_layer

from ..profiles import NIGHTLY
from .folding import all_of
from .layer_row import KEY, OTHER, PROPERTIES, Row, called, is_stateful, stepped
from .layers import LAYERS

TRAIN = [False, True]


def law(*properties: str) -> Any:
    """A test of every layer in training, and in inference if that differs, at night always; if it passes, the properties are proved."""

    def marked(test: Any) -> Any:
        @functools.wraps(test)
        def run(row: Row, train: bool, *others: Any, **named: Any) -> None:
            if train or NIGHTLY or differs(row):
                test(row, train, *others, **named)

        each = pytest.mark.parametrize("row", LAYERS, ids=str)(all_of("train", TRAIN)(run))
        return pytest.mark.proves(*properties)(each) if properties else each

    return marked


def draws(row: Row) -> bool:
    """Whether the layer draws from its key in training."""
    layer, xs = row.layer(), row.xs()
    ours, theirs = (fd.tree.leaves(called(True, key)(layer, *xs)) for key in (KEY, OTHER))
    return not all(map(np.array_equal, ours, theirs))


@functools.cache
def differs(row: Row) -> bool:
    """Whether the layer does something else in training."""
    return is_stateful(row.layer()) or draws(row)


@law("derivatives")
def test_derivatives_are_differences(row: Row, train: bool) -> None:
    """To first order in inference, but for the night: second derivatives are those of training, of fewer operations."""
    check_grads(called(train), (row.layer(), *row.xs()), order=row.order if train or NIGHTLY else 1)


@law("vmap")
def test_vmap_is_a_loop_over_layers_and_over_examples(row: Row, train: bool) -> None:
    vmap_is_a_loop(stepped(train), (row.layer(), *row.xs()))


@law("vmap")
def test_an_ensemble_is_made_and_called_by_vmap(row: Row, train: bool) -> None:
    keys, xs = fd.random.split(OTHER, 3), row.xs()
    ensemble = fd.vmap(row.layer)(keys)
    together = fd.vmap(lambda layer, key: called(train, key)(layer, *xs))(ensemble, keys)
    loop = [called(train, key)(row.layer(key), *xs) for key in keys]
    assert_trees_close(together, fd.tree.map(lambda *ys: np.stack(ys), *loop), 1e-12)


@law("compiled")
def test_compiled_has_the_bits_of_eager(row: Row, train: bool) -> None:
    compiled_is_eager(stepped(train), (row.layer(), *row.xs()))


@law("float16")
@all_of("dtype", [np.float32, np.float16, np.dtype(ml_dtypes.bfloat16)])
def test_narrow_dtypes_are_kept(row: Row, train: bool, dtype: Any) -> None:
    layer, xs = row.layer(dtype=dtype), row.xs(dtype)
    keeps_dtype(called(train), (layer, *xs))
    if is_stateful(layer):  # statistics may be wider than weights, and stay so
        kept, moved = ([leaf.dtype for leaf in fd.tree.leaves(stepped(training)(layer, *xs)[1])] for training in TRAIN)
        assert kept == moved


@law("CPU")
def test_inputs_are_left_alone(row: Row, train: bool) -> None:
    leaves_inputs_alone(stepped(train), (row.layer(), *row.xs()))


@law("saved")
def test_a_saved_layer_is_loaded_into_one_of_another_key(row: Row, train: bool, tmp_path: Path) -> None:
    layer, xs = row.layer(), row.xs()
    fd.save(tmp_path / "layer.npz", layer)
    loaded = fd.load(tmp_path / "layer.npz", like=row.layer(OTHER))
    assert type(loaded) is type(layer)
    assert_trees_equal(loaded, layer)
    assert_trees_equal(stepped(train)(loaded, *xs), stepped(train)(layer, *xs), bits=True)


@law("keys")
def test_every_key_is_used_once(row: Row, train: bool) -> None:
    run = fd.debug(lambda key, layer, *xs: called(train, key)(layer, *xs), keys=True)
    assert_trees_equal(run(KEY, row.layer(), *row.xs()), called(train)(row.layer(), *row.xs()))


@law("stand-in")
def test_layers_run_on_the_device_of_their_arrays(row: Row, train: bool, gpu: Any) -> None:
    layer, xs, key = row.layer(), row.xs(), KEY
    expected, pullback = fd.vjp(called(train), layer, *xs)
    weights = fd.tree.map(np.cos, expected)
    layer, xs, key, weights_there = fd.to_device((layer, xs, key, weights), "gpu")
    there, pullback_there = fd.vjp(called(train, key), layer, *xs)
    gradients = pullback_there(weights_there)
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves((there, gradients))} == {"gpu:0"}
    assert_trees_close(fd.to_numpy((there, gradients)), (expected, pullback(weights)), 1e-10)


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_a_run_on_an_empty_batch_has_the_shapes(row: Row) -> None:
    """So `nn.init` and `nn.summary` compute nothing on the input."""
    layer, xs = row.layer(), row.xs()
    empty = fd.tree.map(lambda x: np.zeros((0, *x.shape), x.dtype), xs)
    shapes = fd.tree.map(lambda y: (y.shape, y.dtype), called(False)(layer, *xs))
    assert fd.tree.map(lambda y: (y.shape[1:], y.dtype), fd.vmap(lambda *xs: called(False)(layer, *xs))(*empty)) == shapes


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_a_frozen_layer_is_the_layer_without_gradients(row: Row) -> None:
    layer, xs = row.layer(), row.xs()
    frozen = nn.freeze(layer)
    assert fd.tree.leaves(fd.tree.trainable(frozen)) == []
    assert_trees_equal(called(False)(frozen, *xs), called(False)(layer, *xs), bits=True)
    assert fd.tree.flatten(nn.thaw(frozen))[1] == fd.tree.flatten(nn.thaw(layer))[1]
    y, successor = nn.step(frozen, *xs, key=KEY)
    assert successor is frozen
    assert not is_stateful(layer) or fd.tree.paths(y) == fd.tree.paths(called(False)(layer, *xs))


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_inference_needs_no_key_and_ignores_one(row: Row) -> None:
    layer, xs = row.layer(), row.xs()
    assert_trees_equal(called(False)(layer, *xs), called(False, None)(layer, *xs), bits=True)
    assert_trees_equal(called(False)(layer, *xs), called(False, OTHER)(layer, *xs), bits=True)
    assert_trees_equal(nn.apply(layer, *xs), called(False)(layer, *xs), bits=True)


@pytest.mark.parametrize("row", [row for row in LAYERS if draws(row)], ids=str)
def test_draws_are_a_function_of_the_key(row: Row) -> None:
    layer, xs = row.layer(), row.xs()
    assert_trees_equal(called(True)(layer, *xs), called(True)(layer, *xs), bits=True)
    with pytest.raises(KeyMissingError, match="needs a random key"):
        called(True, None)(layer, *xs)


@pytest.mark.parametrize("row", [row for row in LAYERS if is_stateful(row.layer())], ids=str)
def test_statistics_change_in_training_alone_and_have_no_gradient(row: Row) -> None:
    layer, xs = row.layer(), row.xs()
    (_, before), (_, after) = stepped(False)(layer, *xs), stepped(True)(layer, *xs)
    assert nn.step(layer, *xs, train=False)[1] is layer
    assert not all(map(np.array_equal, fd.tree.leaves(before), fd.tree.leaves(after)))
    assert [leaf.dtype for leaf in fd.tree.leaves(before)] == [leaf.dtype for leaf in fd.tree.leaves(after)]
    with pytest.raises(StructureError, match=r"nn\.step"):
        nn.apply(layer, *xs, key=KEY, train=True)
    gradients = fd.tree.flatten_to_dict(fd.tree.trainable(layer))
    assert len(gradients) < len(fd.tree.flatten_to_dict(layer))


def test_the_table_has_every_layer() -> None:
    layers = {name for name in nn.__all__ if is_layer(getattr(nn, name))}
    assert {row.name for row in LAYERS} == layers
    assert all(type(row.layer()) is getattr(nn, row.name) for row in LAYERS)
    assert {row.name for row in LAYERS if draws(row)} >= {"Dropout", "Sequential", "MLP"}


def test_every_property_of_the_document_has_a_law() -> None:
    marks = [mark for test in globals().values() for mark in getattr(test, "pytestmark", ()) if mark.name == "proves"]
    assert {claim for mark in marks for claim in mark.args} == set(PROPERTIES)


# A law that cannot fail proves nothing


class Wrong(fd.Module):
    """y = x W, followed by the planted mistake."""

    W: Any
    mistake: Any = fd.static()

    def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        return self.mistake(x @ self.W, key, train)


calls: list[int] = []


def _each_time_another(y: Any, key: Any, train: bool) -> Any:
    calls.append(1)
    return y * float(len(calls))


def _same_key_twice(y: Any, key: Any, train: bool) -> Any:
    return y * fd.random.uniform(key, y.shape) + fd.random.uniform(key, y.shape)


PLANTED = {
    test_derivatives_are_differences: (lambda y, key, train: fd.stop_gradient(fd.numpy.sin(y) - y) + y, AssertionError),
    test_vmap_is_a_loop_over_layers_and_over_examples: (_each_time_another, AssertionError),
    test_compiled_has_the_bits_of_eager: (_each_time_another, AssertionError),
    test_narrow_dtypes_are_kept: (lambda y, key, train: y * np.float64(2), AssertionError),
    test_inputs_are_left_alone: (_each_time_another, AssertionError),
    test_every_key_is_used_once: (_same_key_twice, KeyReuseError),
    test_layers_run_on_the_device_of_their_arrays: (lambda y, key, train: y * np.ones(3), DeviceError),
    test_inference_needs_no_key_and_ignores_one: (lambda y, key, train: y if key is None else y + fd.random.uniform(key), AssertionError),
}


@pytest.mark.parametrize("test", PLANTED, ids=lambda test: test.__name__)
def test_a_planted_wrong_layer_is_caught(test: Any, request: pytest.FixtureRequest) -> None:
    mistake, error = PLANTED[test]
    names = list(inspect.signature(test).parameters)
    given = {"train": True, "dtype": np.float32}
    options = {name: given[name] if name in given else request.getfixturevalue("strict_cupy") for name in names if name != "row"}
    right, wrong = (Row("Wrong", "", lambda key, dtype, m=m: Wrong(fd.random.normal(key, (4, 3), dtype), m)) for m in (lambda y, key, train: y, mistake))
    test(right, **options)
    with pytest.raises(error):
        test(wrong, **options)
