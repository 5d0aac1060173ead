"""The laws that every layer obeys, in training and in inference, over the table of layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import DeviceError, KeyMissingError, KeyReuseError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
from fdezero.testing.properties import compiled_is_eager, keeps_dtype, leaves_inputs_alone, vmap_is_a_loop

from .layers import KEY, LAYERS, OTHER, Row

TRAIN = [False, True]


def law(test: Any) -> Any:
    """A test of every layer, in training and in inference."""
    return pytest.mark.parametrize("train", TRAIN, ids=["inference", "training"])(pytest.mark.parametrize("row", LAYERS, ids=str)(test))


def called(train: bool, key: Any = KEY) -> Any:
    return lambda layer, x: nn.apply(layer, x, key=key, train=train)


def draws(row: Row) -> bool:
    """Whether the layer draws from its key in training."""
    layer, x = row.layer(), row.x()
    return not np.array_equal(called(True)(layer, x), called(True, OTHER)(layer, x))


@law
def test_derivatives_are_differences(row: Row, train: bool) -> None:
    check_grads(called(train), (row.layer(), row.x()), order=2)


@law
def test_vmap_is_a_loop_over_layers_and_over_examples(row: Row, train: bool) -> None:
    vmap_is_a_loop(called(train), (row.layer(), row.x()))


@law
def test_an_ensemble_is_made_and_called_by_vmap(row: Row, train: bool) -> None:
    keys, x = fd.random.split(OTHER, 3), row.x()
    ensemble = fd.vmap(row.layer)(keys)
    together = fd.vmap(lambda layer, key: called(train, key)(layer, x))(ensemble, keys)
    assert_trees_close(together, np.stack([called(train, key)(row.layer(key), x) for key in keys]), 1e-12)


@law
def test_compiled_has_the_bits_of_eager(row: Row, train: bool) -> None:
    compiled_is_eager(called(train), (row.layer(), row.x()))


@law
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_dtypes_are_kept(row: Row, train: bool, dtype: Any) -> None:
    keeps_dtype(called(train), (row.layer(dtype=dtype), row.x(dtype)))


@law
def test_inputs_are_left_alone(row: Row, train: bool) -> None:
    leaves_inputs_alone(called(train), (row.layer(), row.x()))


@law
def test_a_saved_layer_is_loaded_into_one_of_another_key(row: Row, train: bool, tmp_path: Path) -> None:
    layer, x = row.layer(), row.x()
    fd.save(tmp_path / "layer.npz", layer)
    loaded = fd.load(tmp_path / "layer.npz", like=row.layer(OTHER))
    assert type(loaded) is type(layer)
    assert_trees_equal(loaded, layer)
    assert_trees_equal(called(train)(loaded, x), called(train)(layer, x), bits=True)


@law
def test_every_key_is_used_once(row: Row, train: bool) -> None:
    run = fd.debug(lambda layer, x, key: called(train, key)(layer, x), keys=True)
    assert_trees_equal(run(row.layer(), row.x(), KEY), called(train)(row.layer(), row.x()))


@law
def test_layers_run_on_the_device_of_their_arrays(row: Row, train: bool, gpu: Any) -> None:
    layer, x, key = row.layer(), row.x(), KEY
    expected, pullback = fd.vjp(called(train), layer, x)
    layer, x, key, weights = fd.to_device((layer, x, key, np.cos(expected)), "gpu")
    there, pullback_there = fd.vjp(called(train, key), layer, x)
    gradients = pullback_there(weights)
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves((there, gradients))} == {"gpu:0"}
    assert_trees_close(fd.to_numpy((there, gradients)), (expected, pullback(np.cos(expected))), 1e-10)


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_inference_needs_no_key_and_ignores_one(row: Row) -> None:
    layer, x = row.layer(), row.x()
    assert_trees_equal(called(False)(layer, x), called(False, None)(layer, x), bits=True)
    assert_trees_equal(called(False)(layer, x), called(False, OTHER)(layer, x), bits=True)
    assert_trees_equal(nn.apply(layer, x), called(False)(layer, x), bits=True)


@pytest.mark.parametrize("row", [row for row in LAYERS if draws(row)], ids=str)
def test_draws_are_a_function_of_the_key(row: Row) -> None:
    layer, x = row.layer(), row.x()
    assert_trees_equal(called(True)(layer, x), called(True)(layer, x), bits=True)
    with pytest.raises(KeyMissingError, match="needs a random key"):
        called(True, None)(layer, x)


def test_the_table_has_every_layer() -> None:
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert {row.name for row in LAYERS} == layers
    assert all(type(row.layer()) is getattr(nn, row.name) for row in LAYERS)
    assert {row.name for row in LAYERS if draws(row)} == {"Dropout", "Sequential", "MLP"}


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
    names = test.__code__.co_varnames[: test.__code__.co_argcount]
    given = {"train": True, "dtype": np.float32}
    options = {name: given[name] if name in given else request.getfixturevalue("strict_cupy") for name in names if name != "row"}
    right, wrong = (Row("Wrong", "", lambda key, dtype, m=m: Wrong(fd.random.normal(key, (4, 3), dtype), m)) for m in (lambda y, key, train: y, mistake))
    test(right, **options)
    with pytest.raises(error):
        test(wrong, **options)
