"""F.linear, Flatten, channel dropout, Residual, Bilinear, PReLU, functions as layers, and the ways to index, slice and join a Sequential."""

import functools
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn
from fdezero.errors import KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.functions import activations, classification, ctc, distances, losses
from fdezero.testing import assert_trees_close, assert_trees_equal
from fdezero.testing.structures import is_layer

KEY, OTHER = fd.random.split(fd.random.key(0))
RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4)).astype(np.float32)
IMAGES = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)


def linear(n: int, m: int, key: Any = KEY) -> nn.Linear:
    return nn.Linear.init(key, n, m)


# F.linear


def test_linear_takes_matrices_alone() -> None:
    with pytest.raises(ShapeError, match=r"a matrix W \(n, m\), got float32\[4\]\. For one output write fd\.numpy\.matmul\(x, W\)"):
        F.linear(X, X[0])
    with pytest.raises(ShapeError, match=r"got float32\[2,4,3\]\. For a stack of matrices write fd\.numpy\.matmul\(x, W\), or map over them: fd\.vmap"):
        F.linear(X, np.ones((2, 4, 3), np.float32))
    with pytest.raises(ShapeError, match=r"got float32\[\]\."):
        F.linear(X, np.array(1, np.float32))
    with pytest.raises(ShapeError, match=r"a last axis of 4, got x float64\[0,2,2\]"):
        F.linear(np.ones((0, 2, 2)), np.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"a bias of shape \(3,\), got float 1\.0"):
        F.linear(X, np.ones((4, 3)), 1.0)


def test_the_way_out_for_a_stack_of_matrices() -> None:
    W = RNG.standard_normal((2, 4, 3))
    assert_trees_close(fd.vmap(F.linear, in_axes=(None, 0))(X, W), np.matmul(X, W), 1e-6)


# Flatten


def test_flatten_keeps_the_batch_axis() -> None:
    assert_trees_equal(nn.Flatten()(IMAGES), IMAGES.reshape(2, 60))
    assert_trees_equal(nn.Flatten(0, 1)(IMAGES), IMAGES.reshape(6, 4, 5))
    assert_trees_equal(nn.Flatten(-2)(IMAGES), IMAGES.reshape(2, 3, 20))
    assert_trees_equal(F.flatten(IMAGES[:0]), IMAGES[:0].reshape(0, 60))
    assert_trees_equal(fd.vmap(nn.Flatten(-3))(IMAGES), IMAGES.reshape(2, 60))


def test_flatten_refuses() -> None:
    with pytest.raises(ShapeError, match=r"x float32\[4\] has no axis 1, which is start_axis\. Within fd\.vmap"):
        nn.Flatten()(X[0])
    with pytest.raises(ShapeError, match=r"no axis 4, which is end_axis"):
        F.flatten(IMAGES, 1, 4)
    with pytest.raises(ShapeError, match=r"x float64\[\] has no axis 1, which is start_axis\.$"):
        F.flatten(1.0)
    with pytest.raises(RangeError, match="end_axis 1 .* comes before start_axis 2"):
        F.flatten(IMAGES, 2, 1)
    with pytest.raises(RangeError, match="Flatten: an axis is an integer, got str"):
        nn.Flatten("all")


# Dropout of channels


@pytest.mark.parametrize(("layer", "shape"), [(nn.Dropout1d(0.5), (40, 50, 6)), (nn.Dropout2d(0.5), (40, 50, 2, 3)), (nn.Dropout3d(0.5), (40, 50, 1, 2, 3))], ids=["1d", "2d", "3d"])
def test_whole_channels_are_dropped(layer: Any, shape: tuple[int, ...]) -> None:
    y = layer(np.ones(shape), key=KEY, train=True).reshape(2000, -1)
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all()
    assert abs(y[:, 0].mean() - 1) < 0.1
    example = layer(np.ones(shape[1:]), key=KEY, train=True).reshape(50, -1)  # without a batch axis
    assert (example == example[:, :1]).all()
    assert 0 < example[:, 0].mean() < 2
    x = np.ones(shape)
    assert layer(x) is x


def test_shared_axes_are_dropped_together() -> None:
    y = nn.Dropout(0.5, shared_axes=1)(np.ones((4, 7, 20)), key=KEY, train=True)
    assert (y == y[:, :1]).all()
    assert 0 < y.mean() < 2
    mask = F.dropout(np.ones((4, 1, 20)), 0.5, key=KEY, train=True)
    assert_trees_equal(y, np.broadcast_to(mask, y.shape).copy())
    with pytest.raises(np.exceptions.AxisError):
        F.dropout(X, 0.5, key=KEY, train=True, shared_axes=2)


def test_channel_dropout_needs_channels_and_a_key() -> None:
    with pytest.raises(ShapeError, match=r"Dropout2d drops whole channels, so it expects x \(N, C, H, W\) or \(C, H, W\), got float32\[5,4\]"):
        nn.Dropout2d(0.5)(X, key=KEY, train=True)
    with pytest.raises(ShapeError, match=r"Dropout1d drops whole channels, so it expects x \(N, C, T\) or \(C, T\)"):
        nn.Dropout1d(0.5)(X[0])
    with pytest.raises(KeyMissingError, match="needs a random key"):
        nn.Dropout2d(0.5)(IMAGES, train=True)
    with pytest.raises(RangeError, match="the rate is the probability to drop"):
        nn.Dropout2d(1.0)


# Residual


def test_residual_adds_its_input() -> None:
    layer = linear(4, 4)
    assert_trees_equal(nn.Residual(layer)(X), layer(X) + X)
    assert_trees_equal(nn.Residual(F.relu)(X), np.maximum(X, 0) + X)
    wide = nn.Residual(linear(4, 3), linear(4, 3, OTHER))
    assert_trees_equal(wide(X), linear(4, 3)(X) + linear(4, 3, OTHER)(X))
    assert fd.tree.paths(wide) == ["layer/W", "layer/b", "shortcut/W", "shortcut/b"]
    dropped = nn.Residual(nn.Dropout(0.5), nn.Dropout(0.5))(np.ones((40, 50)), key=KEY, train=True)
    assert set(np.unique(dropped)) == {0.0, 2.0, 4.0}  # each side has a key of its own


def test_residual_refuses() -> None:
    with pytest.raises(ShapeError, match=r"makes float32\[5,3\] of x float32\[5,4\], which cannot be added to float32\[5,4\]\. Give it a shortcut"):
        nn.Residual(linear(4, 3))(X)
    with pytest.raises(ShapeError, match=r"cannot be added to float32\[5,2\] of its shortcut"):
        nn.Residual(linear(4, 3), linear(4, 2))(X)
    with pytest.raises(ShapeError, match=r"\(at layers/0/shortcut/layers/1\)"):
        nn.Sequential(nn.Residual(F.relu, nn.Sequential(F.relu, linear(9, 3))))(X)
    with pytest.raises(StructureError, match=r"Residual takes layers and functions, got list: write nn\.Sequential"):
        nn.Residual([F.relu])
    with pytest.raises(StructureError, match=r"got the class Dropout: write Dropout\(\.\.\.\)"):
        nn.Residual(nn.Dropout)


# Bilinear and PReLU


def test_bilinear_is_its_sum() -> None:
    layer = nn.Bilinear.init(KEY, 4, 3, 2, bias_init=nn.initial.ones)
    y = RNG.standard_normal((5, 3)).astype(np.float32)
    expected = [[sum(X[n, i] * layer.W[i, j, k] * y[n, j] for i in range(4) for j in range(3)) + 1 for k in range(2)] for n in range(5)]
    np.testing.assert_allclose(layer(X, y), expected, rtol=1e-5)
    assert nn.Bilinear.init(KEY, 4, 3, 2, bias=False).b is None
    assert abs(nn.Bilinear.init(KEY, 20, 30, 10).W.std() * np.sqrt(600) - 1) < 0.05


def test_bilinear_refuses() -> None:
    with pytest.raises(ShapeError, match=r"got x float32\[5,4\], y float32\[5,4\] and W float32\[4,3,2\]"):
        nn.Bilinear.init(KEY, 4, 3, 2)(X, X)
    with pytest.raises(ShapeError, match=r"bilinear expects a bias of shape \(2,\), got float32\[4\]"):
        F.bilinear(X, X[:, :3], np.ones((4, 3, 2), np.float32), X[0])
    with pytest.raises(StructureError, match=r"bilinear expects W \(n, m, k\), got int 3: nn\.Bilinear\.init"):
        F.bilinear(X, X, 3)
    with pytest.raises(RangeError, match="Bilinear: second_size must be an integer of at least 1, got float 3.0"):
        nn.Bilinear.init(KEY, 4, 3.0, 2)  # type: ignore[arg-type]  # the mistake


def test_bilinear_of_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Bilinear.init(KEY, 4, 3, 2)
    y = RNG.standard_normal((5, 3)).astype(np.float32)
    expected = torch.nn.functional.bilinear(torch.tensor(X), torch.tensor(y), torch.tensor(layer.W).permute(2, 0, 1))
    np.testing.assert_allclose(layer(X, y), expected.numpy(), rtol=1e-4, atol=1e-6)


def test_prelu_has_one_slope_or_one_for_each_channel() -> None:
    assert_trees_equal(nn.PReLU.init(KEY)(X), np.where(X > 0, X, np.float32(0.25) * X))
    layer = nn.PReLU.init(KEY, 3).replace(slope=np.array([0.1, 0.2, 0.3], np.float32))
    for channel in range(3):
        assert_trees_equal(layer(IMAGES)[:, channel], np.where(IMAGES[:, channel] > 0, IMAGES[:, channel], layer.slope[channel] * IMAGES[:, channel]))
    assert nn.PReLU.init(KEY, 4, axis=-1, dtype=np.float16)(X).shape == X.shape
    assert_trees_equal(nn.PReLU(layer.slope)(IMAGES), layer(IMAGES))
    with pytest.raises(ShapeError, match=r"x float32\[5,4\] needs one slope, or one for each entry along axis 1; got float32\[3\]"):
        nn.PReLU.init(KEY, 3)(X)
    with pytest.raises(ShapeError, match="along axis 2"):
        F.prelu(X, X[0], axis=2)
    with pytest.raises(RangeError, match="PReLU: channels must be an integer of at least 1"):
        nn.PReLU.init(KEY, 0)


def test_the_slopes_of_a_lazy_prelu() -> None:
    assert nn.init(nn.PReLU.lazy(), KEY, IMAGES).slope.shape == (3,)
    assert nn.init(nn.Sequential(nn.PReLU.lazy(axis=-1)), KEY, X)[0].slope.shape == (4,)


def test_infinities_leave_the_gradient_of_the_slope_finite() -> None:
    x = np.array([np.inf, 1.0, -2.0])
    slope_bar, x_bar = fd.grad(lambda slope, x: fd.numpy.sum(F.prelu(x, slope)), argnums=(0, 1))(np.array(0.5), x)
    assert slope_bar == -2
    assert_trees_equal(x_bar, np.array([1.0, 1.0, 0.5]))


def test_prelu_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for slope in (np.array([0.1, -0.2, 0.3], np.float32), np.array([0.25], np.float32)):
        x, w = torch.tensor(IMAGES, requires_grad=True), torch.tensor(slope, requires_grad=True)
        y = torch.nn.functional.prelu(x, w)
        y.sum().backward()
        assert_trees_equal(F.prelu(IMAGES, slope), y.detach().numpy())
        gradients = fd.grad(lambda x, slope: fd.numpy.sum(F.prelu(x, slope)), argnums=(0, 1))(IMAGES, slope)
        assert_trees_close(gradients, (x.grad.numpy(), w.grad.numpy()), 1e-5)


# Sequential


def test_sequential_takes_layers_or_one_list() -> None:
    layers = [linear(4, 3), F.relu]
    for model in (nn.Sequential(*layers), nn.Sequential(layers), nn.Sequential(tuple(layers)), nn.Sequential(layers=layers)):
        assert_trees_equal(model(X), np.maximum(linear(4, 3)(X), 0))
    assert len(nn.Sequential(F.relu)) == 1
    assert_trees_equal(nn.Sequential(nn.Sequential(F.relu))(X), np.maximum(X, 0))
    with pytest.raises(TypeError, match="by position, or layers="):
        nn.Sequential(F.relu, layers=[F.relu])
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        nn.Sequential(F.relu, rate=0.5)


def test_sequential_is_indexed_and_sliced() -> None:
    model = nn.Sequential(linear(4, 3), F.relu, linear(3, 2), F.tanh)
    assert len(model) == 4
    assert model[0] is model.layers[0] is next(iter(model))
    assert model[np.int64(-2)] is model.layers[2]
    assert isinstance(model[:2], nn.Sequential)
    assert_trees_equal(model[2:](model[:2](X)), model(X))
    assert list(model[::2]) == [model.layers[0], model.layers[2]]
    assert model  # is a model, however many layers it has
    assert nn.Sequential()
    with pytest.raises(IndexError, match="Sequential has 4 layers, and none at 4"):
        model[4]
    with pytest.raises(TypeError, match="indices must be integers or slices"):
        model["head"]  # type: ignore[call-overload]  # the mistake


def test_sequentials_are_joined_into_new_ones() -> None:
    model, head = nn.Sequential(linear(4, 3), F.relu, linear(3, 2)), linear(3, 7)
    changed = model[:-1] + head
    assert len(model) == 3
    assert_trees_equal(changed(X), head(np.maximum(linear(4, 3)(X), 0)))
    assert (model + F.tanh).layers[-1].function is F.tanh
    assert (F.tanh + model).layers[0].function is F.tanh
    two = [F.relu, F.tanh]
    assert len(model + model) == len(two + model + two) - 1 == 6
    assert fd.tree.paths(model[1:] + head) == ["layers/1/W", "layers/1/b", "layers/2/W", "layers/2/b"]
    with pytest.raises(StructureError, match=r"got int 3.*\(at layers/3\)"):
        model + 3


# Functions as layers


def test_functions_with_the_same_options_are_alike() -> None:
    first, second = (nn.Sequential(nn.Function(F.leaky_relu, slope=0.1), functools.partial(F.softmax, axis=0)) for _ in range(2))
    assert fd.tree.flatten(first)[1] == fd.tree.flatten(second)[1]
    assert fd.tree.flatten(first)[1] != fd.tree.flatten(nn.Sequential(nn.Function(F.leaky_relu, slope=0.2), functools.partial(F.softmax, axis=0)))[1]
    assert_trees_equal(first(X), F.softmax(F.leaky_relu(X, 0.1), axis=0))
    assert repr(first) == "Sequential(layers=(Function(leaky_relu(slope=0.1)), Function(softmax(axis=0))))"
    by_place = nn.Function(functools.partial(np.add, 1.0))
    assert_trees_equal(by_place(X), X + 1)
    assert_trees_equal(nn.Function(functools.partial(F.leaky_relu, slope=0.1), slope=0.3)(X), F.leaky_relu(X, 0.3))
    assert first[0].replace(function=F.elu, options=(("alpha", 2.0),))(X)[0, 1] == F.elu(X, 2.0)[0, 1]
    assert pickle.loads(pickle.dumps(first[0])).options == (("slope", 0.1),)


# Paths of errors


def test_errors_of_other_libraries_have_their_path_in_a_note() -> None:
    inner = nn.Sequential(F.relu, lambda x: np.linalg.cholesky(x))
    with pytest.raises(ValueError, match="boom") as caught:
        nn.Sequential(F.relu, nn.Residual(nn.Sequential(lambda x: _boom())))(X)
    assert caught.value.__notes__ == ["in the layer at layers/1/layer/layers/0"]
    with pytest.raises(np.linalg.LinAlgError) as caught_too:
        nn.Sequential(inner)(X)
    assert "layers/0/layers/1" in str(caught_too.value) + "".join(getattr(caught_too.value, "__notes__", []))


def _boom() -> Any:
    raise ValueError("boom")


# The guides


def tables(*names: str) -> set[str]:
    """The names in code that stand in the tables of guides."""
    texts = [(Path(__file__).parents[2] / "docs" / "guides" / name).read_text(encoding="utf-8") for name in names]
    rows = "\n".join(line for text in texts for line in text.splitlines() if line.startswith("|"))
    return {word for code in re.findall(r"`([^`]+)`", rows) for word in re.findall(r"\w+", re.sub(r"\(.*", "", code))}


def test_the_guides_name_every_layer_initialiser_activation_and_loss() -> None:
    aliases = {name for name in nn.initial.__all__ if name.startswith(("xavier", "kaiming"))}
    assert {name for name in nn.__all__ if is_layer(getattr(nn, name))} <= tables("networks.md")
    assert set(nn.initial.__all__) - {"draw"} - aliases <= tables("networks.md")
    functions = {*activations.__all__, *losses.__all__, *classification.__all__, *distances.__all__, *ctc.__all__, "prelu"}
    assert functions - {"accuracy", "cosine_similarity"} <= tables("losses.md")
    named = {name for name in models.__all__ if is_layer(getattr(models, name))}
    assert named - {"VGG", "ResNet"} <= tables("pretrained.md", "networks.md")
