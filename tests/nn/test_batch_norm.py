"""The layer BatchNorm: statistics after several steps, training in models, files, freezing, and its errors; sizes of other layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(3)
KEY = fd.random.key(0)
BATCHES = [RNG.normal(k, 1 + k, (5, 3, 4, 2)) for k in range(4)]


def trained(layer: Any, batches: Any = BATCHES) -> Any:
    for x in batches:
        _, layer = nn.step(layer, x)
    return layer


def test_statistics_after_steps_are_those_of_numpy() -> None:
    layer = nn.BatchNorm.init(KEY, 3, momentum=0.25, dtype=np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for x in BATCHES:
        mean = 0.75 * mean + 0.25 * x.mean((0, 2, 3))
        variance = 0.75 * variance + 0.25 * x.var((0, 2, 3), ddof=1)
    after = trained(layer)
    assert_trees_close((after.mean, after.variance), (mean, variance), 1e-13)
    x = BATCHES[0]
    shape = (1, 3, 1, 1)
    assert_trees_close(after(x), (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5), 1e-12)
    assert_trees_equal((layer.mean, layer.variance), (np.zeros(3), np.ones(3)))  # the first layer is as it was
    compiled = fd.compile(lambda layer, x: nn.step(layer, x))
    other = layer
    for x in BATCHES:
        _, other = compiled(other, x)
    assert_trees_equal(other, after, bits=True)


def test_statistics_after_steps_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(3, momentum=0.1, dtype=torch.float64)
    ours = nn.BatchNorm.init(KEY, 3, dtype=np.float64)
    for x in BATCHES:
        y, ours = nn.step(ours, x)
        assert_trees_close(y, theirs(torch.tensor(x)).detach().numpy(), 1e-12)
    assert_trees_close((ours.mean, ours.variance), (theirs.running_mean.numpy(), theirs.running_var.numpy()), 1e-12)
    theirs.eval()
    assert_trees_close(ours(BATCHES[0]), theirs(torch.tensor(BATCHES[0])).detach().numpy(), 1e-12)


def test_statistics_after_steps_are_dezeros(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")  # which DeZero imports
    monkeypatch.setattr(np, "int", int, raising=False)  # which NumPy 2 dropped
    dezero = pytest.importorskip("dezero")
    theirs, ours = dezero.layers.BatchNorm(), nn.BatchNorm.init(KEY, 3, eps=2e-5, dtype=np.float64)
    for x in BATCHES:
        y, ours = nn.step(ours, x)
        assert_trees_close(y, theirs(x).data, 1e-12)
    assert_trees_close((ours.mean, ours.variance), (theirs.avg_mean.data, theirs.avg_var.data), 1e-12)
    with dezero.test_mode():
        assert_trees_close(ours(BATCHES[0]), theirs(BATCHES[0]).data, 1e-12)


class Block(fd.Module):
    """A model of a user's own, with statistics inside."""

    conv: nn.Conv2d
    norm: nn.BatchNorm
    out: nn.Linear

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.out(F.global_max_pool(F.relu(self.norm(self.conv(x), train=train))))


def test_a_model_with_statistics_learns_in_a_compiled_step() -> None:
    keys = fd.random.split(KEY, 2)
    model = Block(nn.Conv2d.init(keys[0], 1, 4, 3), nn.BatchNorm.init(KEY, 4), nn.Linear.init(keys[1], 4, 2))
    labels = RNG.integers(0, 2, 64)
    x = (RNG.standard_normal((64, 1, 6, 6)) + 1).astype(np.float32)
    x[labels == 1, :, 2:4, 2:4] += 2
    optimiser = optim.adam(1e-2)
    state = optimiser.init(model)

    @fd.compile
    def step(model: Any, state: Any, x: Any, labels: Any) -> Any:
        def loss(model: Any) -> Any:
            logits, model = nn.step(model, x, train=True)
            return F.softmax_cross_entropy(logits, labels), model

        (value, model), gradients = fd.value_and_grad(loss, has_aux=True)(model)
        return *optimiser.step(model, gradients, state), value

    losses = []
    for _ in range(60):
        model, state, value = step(model, state, x, labels)
        losses.append(float(value))
    assert losses[-1] < 0.2 * losses[0]
    assert F.accuracy(model(x), labels) > 0.9  # by running statistics
    assert abs(model.norm.mean).max() > 0.1


def test_statistics_are_saved_and_frozen_layers_use_theirs(tmp_path: Path) -> None:
    layer = trained(nn.BatchNorm.init(KEY, 3))
    fd.save(tmp_path / "model.npz", nn.Sequential([layer]))
    assert set(np.load(tmp_path / "model.npz")) == {f"layers/0/{name}" for name in ("scale", "shift", "mean", "variance")}
    loaded = fd.load(tmp_path / "model.npz", like=nn.Sequential([nn.BatchNorm.init(KEY, 3)]))
    assert_trees_equal(loaded.layers[0].variance, layer.variance)
    y, same = nn.step(fd.Frozen(layer), BATCHES[3])
    assert_trees_equal(y, layer(BATCHES[3]))
    assert_trees_equal(same, fd.Frozen(layer))


def test_statistics_of_float16_are_float32() -> None:
    layer = trained(nn.BatchNorm.init(KEY, 3, dtype=np.float16), [x.astype(np.float16) for x in BATCHES])
    assert layer.scale.dtype == np.float16
    assert layer.mean.dtype == layer.variance.dtype == np.float32
    assert_trees_close(layer.variance, trained(nn.BatchNorm.init(KEY, 3, dtype=np.float64)).variance, 1e-2)


def test_examples_of_a_vmap_share_statistics_by_the_name_of_its_axis() -> None:
    layer = nn.BatchNorm.init(KEY, 3, axis=0, axis_name="batch", dtype=np.float64)
    whole = nn.BatchNorm.init(KEY, 3, dtype=np.float64)

    def step(layer: Any, x: Any) -> Any:
        return fd.vmap(lambda x: nn.step(layer, x), out_axes=(0, None), axis_name="batch")(x)

    for run in (step, fd.compile(step)):
        ours, theirs = layer, whole
        for x in BATCHES:
            (y, ours), (expected, theirs) = run(ours, x), nn.step(theirs, x)
            assert_trees_close(y, expected, 1e-12)
        assert_trees_close((ours.mean, ours.variance), (theirs.mean, theirs.variance), 1e-12)


@pytest.mark.parametrize(("wrap", "path"), [(lambda model: model, "norm"), (lambda model: nn.Sequential([F.tanh, nn.Sequential([model])]), "layers/1/layers/0/norm")])
def test_an_error_in_training_has_the_whole_path_also_in_a_model_of_a_users_own(wrap: Any, path: str) -> None:
    model = wrap(Block(nn.Conv2d.init(KEY, 1, 4, 3), nn.BatchNorm.init(KEY, 4), nn.Linear.init(KEY, 4, 2)))
    with pytest.raises(ShapeError, match="one number for each of 4 channels") as found:
        nn.step(model, np.ones((1, 1, 3, 3), np.float32))
    assert found.value.path == path


def test_sizes_come_from_the_first_input() -> None:
    x = BATCHES[0].astype(np.float32)
    model = nn.Sequential([nn.BatchNorm.lazy(momentum=0.5), nn.GroupNorm.lazy(3), nn.InstanceNorm.lazy(shift=False), nn.MaxPool2d(2), nn.LayerNorm.lazy(), nn.RMSNorm.lazy()])
    model = nn.init(model, KEY, x)
    assert [layer.scale.shape for i, layer in enumerate(model.layers) if i != 3] == [(3,), (3,), (3,), (1,), (1,)]
    assert model.layers[0].momentum == 0.5
    assert model.layers[2].shift is None
    assert model(x).shape == (5, 3, 2, 1)
    last = nn.init(nn.Sequential([nn.BatchNorm.lazy(axis=-1)]), KEY, x)
    assert last.layers[0].mean.shape == (2,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.step(nn.Sequential([nn.Flatten(), nn.BatchNorm.init(KEY, 4)]), np.ones((1, 4))), ShapeError, r"one number for each of 4 channels.*Use a larger batch, or the statistics of training: train=False.*at layers/1"),
        (lambda: nn.BatchNorm.init(KEY, 4)(np.ones((2, 4)), train=True), StructureError, "BatchNorm with train=True changes its statistics.*nn.step"),
        (lambda: nn.BatchNorm.init(KEY, 4)(np.ones((2, 3))), ShapeError, r"batch_norm: scale must have shape \(3,\) for this x and axis, got float32\[4\]"),
        (lambda: nn.BatchNorm.init(KEY, 0), RangeError, "BatchNorm: channels must be an integer of at least 1"),
        (lambda: nn.BatchNorm.init(KEY, 4, momentum=1.5), RangeError, "momentum is the weight of a batch, from 0 to 1; got 1.5"),
        (lambda: nn.GroupNorm.init(KEY, 4, 3), RangeError, "num_groups must divide channels, got 3 for 4"),
        (lambda: nn.LayerNorm.init(KEY, (2, 0)), RangeError, "LayerNorm: size must be an integer of at least 1"),
        (lambda: nn.LayerNorm.init(KEY, ()), RangeError, "size must have the length of one axis or more"),
        (lambda: nn.LayerNorm.init(KEY, 5)(np.ones((2, 4))), ShapeError, r"layer_norm: scale must have shape \(4,\) for this x and axis, got float32\[5\]"),
        (lambda: nn.MaxPool2d(0), RangeError, "MaxPool2d: kernel_size must be an integer of at least 1"),
        (lambda: nn.AvgPool1d(2, stride=0), RangeError, "AvgPool1d: stride"),
        (lambda: nn.MaxPool2d((2, 2, 2)), RangeError, "MaxPool2d: kernel_size must be a number, or one number for each of 2 axes"),
        (lambda: nn.init(nn.Sequential([nn.BatchNorm.lazy()]), KEY, np.ones(3)), ShapeError, "has no axis 1 of channels"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_with_the_way_out(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
