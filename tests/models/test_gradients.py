"""Gradients and statistics of whole networks beside DeZero's own, in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn
from fdezero.models import resnet, vgg

from ..nn.dezero_reference import dezero
from . import dezero_networks

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((3, 3, 64, 64)), np.array([2, 0, 6])


def theirs_of(network: Any, field: str) -> dict[str, np.ndarray]:
    found: dict[str, Any] = {}
    network._flatten_params(found)
    arrays = {name: getattr(parameter, field) for name, parameter in found.items()}
    return {name: np.asarray(getattr(array, "data", array)) for name, array in arrays.items() if array is not None}


def close(ours: Any, theirs: dict[str, np.ndarray]) -> None:
    for key, array in theirs.items():
        np.testing.assert_allclose(ours[key], array, rtol=0, atol=1e-8 * float(np.abs(array).max()) + 1e-12, err_msg=key)


def test_gradients_of_vgg16_are_dezeros(tmp_path: Path) -> None:
    network = dezero_networks.randomised(dezero_networks.vgg16(4, 24, 7), X)
    network.save_weights(str(tmp_path / "x.npz"))
    with dezero.test_mode():  # nothing is dropped
        loss = dezero.functions.softmax_cross_entropy(network(X), T)
    loss.backward()
    model = models.VGG16.load(tmp_path / "x.npz", dtype=np.float64)
    found, grads = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(X), T))(model)
    assert found == pytest.approx(float(loss.data), rel=1e-10)
    theirs = theirs_of(network, "grad")
    keys = vgg._of_dezero(theirs)
    ours = fd.io.flatten_to_dict(grads)
    assert set(keys.values()) == set(ours)
    close(ours, {keys[name]: array for name, array in theirs.items()})


def test_gradients_and_statistics_of_resnet50_in_training_are_dezeros(tmp_path: Path) -> None:
    network = dezero_networks.randomised(dezero_networks.resnet(50, 4, 7), X)
    network.save_weights(str(tmp_path / "x.npz"))
    loss = dezero.functions.softmax_cross_entropy(network(X), T)
    loss.backward()
    model = models.ResNet50.load(tmp_path / "x.npz", dtype=np.float64)

    def loss_fn(model: Any) -> Any:
        y, successor = nn.step(model, X, train=True)
        return F.softmax_cross_entropy(y, T), successor

    (found, successor), grads = fd.value_and_grad(loss_fn, has_aux=True)(model)
    assert found == pytest.approx(float(loss.data), rel=1e-10)
    theirs = theirs_of(network, "grad")
    keys = resnet._of_dezero(theirs)
    close(fd.io.flatten_to_dict(grads), {keys[name]: array for name, array in theirs.items()})
    statistics = {name: array for name, array in theirs_of(network, "data").items() if "avg" in name}
    keys = resnet._of_dezero(statistics)
    assert len(statistics) == 2 * 53
    close(fd.io.flatten_to_dict(successor), {keys[name]: array for name, array in statistics.items()})
