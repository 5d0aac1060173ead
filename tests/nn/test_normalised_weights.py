"""WeightNorm and SpectralNorm: values, gradients, statistics, arrays deep in a layer, PyTorch, errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

KEY, OTHER = fd.random.split(fd.random.key(0))
RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4)).astype(np.float32)
IMAGES = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)


def linear(n: int, m: int) -> nn.Linear:
    return nn.Linear.init(KEY, n, m)


def copied(theirs: Any, W: Any, b: Any) -> Any:
    """The layer of PyTorch with these parameters."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(np.ascontiguousarray(W)))
        theirs.bias.copy_(torch.tensor(b))
    return theirs


# WeightNorm


def test_weight_norm_computes_the_same_and_learns_length_and_direction() -> None:
    layer = linear(4, 3)
    wrapped = nn.WeightNorm.init(layer)
    assert fd.tree.paths(wrapped) == ["layer/W", "layer/b", "g"]
    assert_trees_close(wrapped(X), layer(X), 1e-6)
    np.testing.assert_allclose(wrapped.g, np.linalg.norm(layer.W, axis=0), rtol=1e-6)
    longer = wrapped.replace(g=2 * wrapped.g, layer=layer.replace(W=5 * layer.W))
    np.testing.assert_allclose(longer.plain().W, 2 * layer.W, rtol=1e-5)
    gradient = fd.grad(lambda wrapped: fd.numpy.sum(wrapped(X) ** 2))(wrapped)
    np.testing.assert_allclose(np.sum(gradient.layer.W * layer.W, axis=0), 0, atol=1e-4)  # orthogonal to the direction
    opt = optim.sgd(0.01)
    trained, _ = opt.step(wrapped, gradient, opt.init(wrapped))
    assert (trained.plain().W != layer.W).all()


def test_weight_norm_of_one_array_deep_in_a_layer() -> None:
    model = nn.Sequential(linear(4, 3), nn.Dropout(0.5), {"last": linear(3, 2)}["last"])
    wrapped = nn.WeightNorm.init(model, "layers/2/W", axis=0)
    assert wrapped.g.shape == (3,)
    assert_trees_close(wrapped(X), model(X), 1e-6)
    assert_trees_close(wrapped(X, key=KEY, train=True), model(X, key=KEY, train=True), 1e-6)
    assert isinstance(wrapped.plain(), nn.Sequential)
    with pytest.raises(ShapeError, match=r"\(at layer/layers/0\)"):
        wrapped(X[:, :3])


def test_weight_norm_refuses() -> None:
    with pytest.raises(StructureError, match=r"WeightNorm: Linear has no array at 'w'; it has 'W', 'b'"):
        nn.WeightNorm.init(linear(4, 3), "w")
    with pytest.raises(StructureError, match=r"WeightNorm: Sequential has no array at 'layers/7/W'; it has 'layers/0/W'"):
        nn.WeightNorm.init(nn.Sequential(linear(4, 3)), "layers/7/W")
    with pytest.raises(StructureError, match=r"it has ('layers/./.', ){8}\.\.\.\.$"):
        nn.WeightNorm.init(nn.Sequential([linear(4, 4)] * 5), "W")
    with pytest.raises(StructureError, match=r"WeightNorm: W float32\[4,3\] has no axis 2"):
        nn.WeightNorm.init(linear(4, 3), axis=2)
    with pytest.raises(RangeError, match=r"the weights of outputs \[0, 1, 2\] are 0, so they have no direction"):
        nn.WeightNorm.init(nn.Linear.init(KEY, 4, 3, weight_init=nn.initial.zeros))


def test_weight_norm_of_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = linear(4, 3)
    theirs = copied(torch.nn.Linear(4, 3), layer.W.T, layer.b)
    theirs = torch.nn.utils.parametrizations.weight_norm(theirs)
    (theirs(torch.tensor(X)) ** 2).sum().backward()
    ours = nn.WeightNorm.init(layer)
    gradient = fd.grad(lambda layer: fd.numpy.sum(layer(X) ** 2))(ours)
    lengths, directions = theirs.parametrizations.weight.original0, theirs.parametrizations.weight.original1
    assert_trees_close((ours.g, ours.layer.W), (lengths.detach().numpy()[:, 0], directions.detach().numpy().T), 1e-6)
    assert_trees_close((gradient.g, gradient.layer.W), (lengths.grad.numpy()[:, 0], directions.grad.numpy().T), 1e-5)


def test_weights_are_normalised_along_the_axis_of_outputs() -> None:
    conv, back = nn.Conv2d.init(KEY, 3, 5, 2), nn.ConvTranspose2d.init(KEY, 3, 5, 2)
    for layer, wrapped in ((conv, nn.WeightNorm.init(conv)), (back, nn.WeightNorm.init(nn.Sequential(back), "layers/0/W"))):
        assert wrapped.g.shape == (5,)
        assert_trees_close(wrapped(IMAGES), layer(IMAGES), 1e-5)
        assert nn.SpectralNorm.init(KEY, layer).u.shape == (5,)


def test_normalised_convolutions_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for layer, theirs in ((nn.Conv2d.init(KEY, 3, 5, 2), torch.nn.Conv2d(3, 5, 2)), (nn.ConvTranspose2d.init(KEY, 3, 5, 2), torch.nn.ConvTranspose2d(3, 5, 2))):
        wrapped = torch.nn.utils.parametrizations.spectral_norm(copied(theirs, layer.W, layer.b))
        vectors = wrapped.parametrizations.weight[0]
        ours = nn.SpectralNorm.init(KEY, layer)
        vectors._v.copy_(torch.tensor(ours.v))
        y, _ = nn.step(ours, IMAGES, train=True)
        assert_trees_close(y, wrapped(torch.tensor(IMAGES)).detach().numpy(), 1e-4)


class Scale(nn.Stateful):
    """A layer with a weight and a statistic."""

    W: Any
    calls: Any = nn.statistic()

    def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        return x * self.W[:, 0], self.replace(calls=self.calls + 1) if train else self


def test_a_wrapped_layer_is_seen_by_capture_summary_and_step() -> None:
    model = nn.Sequential(nn.WeightNorm.init(linear(4, 3)), nn.SpectralNorm.init(KEY, nn.Sequential(F.tanh, linear(3, 2)), "layers/1/W"))
    y, outputs = nn.capture(model, X, paths=("layers/0/layer", "layers/1/layer/layers/1"))
    assert_trees_equal(outputs["layers/0/layer"], model[0](X))
    assert_trees_equal(outputs["layers/1/layer/layers/1"], y)
    rows = {row.path: row.output for row in nn.summary(model, X).rows}
    assert rows["layers/1/layer"] == rows["layers/1/layer/layers/1"] == "float32[5,2]"
    scale = Scale(np.full((4, 1), 3.0, np.float32), np.zeros(()))
    inside = nn.WeightNorm.init(nn.Sequential(scale, linear(4, 3)), "layers/1/W")
    assert nn.step(inside, X)[1].layer[0].calls == 1
    y, successor = nn.step(nn.WeightNorm.init(scale, axis=1), X)
    assert_trees_close(y, 3 * X, 1e-6)
    assert successor.layer.calls == 1


# SpectralNorm


def test_spectral_norm_has_the_greatest_singular_value_one() -> None:
    layer = linear(6, 4)
    wrapped = nn.SpectralNorm.init(OTHER, layer)
    assert fd.tree.paths(wrapped) == ["layer/W", "layer/b", "u", "v"]
    x = RNG.standard_normal((3, 6)).astype(np.float32)
    for _ in range(20):
        _, wrapped = nn.step(wrapped, x, train=True)
    greatest = np.linalg.svd(layer.W, compute_uv=False)[0]
    assert np.linalg.svd(wrapped.plain().W, compute_uv=False)[0] == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(wrapped(x), x @ (layer.W / greatest) + layer.b, rtol=1e-4, atol=1e-5)
    assert [leaf is None for leaf in (fd.tree.trainable(wrapped).u, fd.tree.trainable(wrapped).v)] == [True, True]


def test_derivatives_of_a_spectral_norm_in_inference() -> None:
    wrapped = nn.SpectralNorm.init(OTHER, nn.Linear.init(KEY, 4, 3, dtype=np.float64))
    check_grads(lambda wrapped, x: wrapped(x), (wrapped, X.astype(np.float64)), order=2)


def test_spectral_norm_of_a_kernel_and_of_one_array_deep_in_a_layer() -> None:
    class Kernel(fd.Module):
        W: Any

        def __call__(self, x: Any) -> Any:
            return fd.numpy.einsum("oikl,ni->no", self.W, x)

    wrapped = nn.SpectralNorm.init(KEY, Kernel(RNG.standard_normal((5, 4, 3, 2))), iterations=100)
    assert wrapped.u.shape == (5,)
    assert wrapped.v.shape == (24,)
    _, wrapped = nn.step(wrapped, X, train=True)
    assert np.linalg.norm(wrapped.plain().W.reshape(5, -1), 2) == pytest.approx(1, rel=1e-5)
    model = nn.Sequential(nn.Sequential(linear(4, 3), F.relu), nn.SpectralNorm.init(KEY, nn.Sequential(linear(3, 2)), "layers/0/W"))
    _, trained = nn.step(model, X, key=KEY, train=True)
    assert (trained[1].u != model[1].u).any()
    assert trained[0] is not None
    with pytest.raises(StructureError, match=r"nn\.step"):
        model(X, key=KEY, train=True)
    dropping = nn.SpectralNorm.init(KEY, nn.Sequential(linear(4, 3), nn.Dropout(0.5)), "layers/0/W")
    y, successor = nn.step(dropping, X, key=KEY, train=True)
    assert_trees_equal(y, successor.plain()(X, key=KEY, train=True))
    assert (y == 0).any()


def test_spectral_norm_refuses() -> None:
    with pytest.raises(StructureError, match=r"SpectralNorm: Linear has no array at 'w'; it has 'W', 'b'"):
        nn.SpectralNorm.init(KEY, linear(4, 3), "w")
    with pytest.raises(RangeError, match="SpectralNorm: iterations must be an integer of at least 1, got int 0"):
        nn.SpectralNorm.init(KEY, linear(4, 3), iterations=0)
    with pytest.raises(KeyMissingError, match="init draws numbers, so nn.init needs a key"):
        nn.init(nn.SpectralNorm.init(KEY, nn.Linear.lazy(3)), None, X)


def test_spectral_norm_of_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = linear(4, 3)
    theirs = copied(torch.nn.Linear(4, 3), layer.W.T, layer.b)
    theirs = torch.nn.utils.parametrizations.spectral_norm(theirs)
    vectors = theirs.parametrizations.weight[0]
    v = np.array([0.6, -0.8, 0.0, 0.0], np.float32)
    vectors._v.copy_(torch.tensor(v))
    ours = nn.SpectralNorm.init(KEY, layer).replace(v=v)
    (theirs(torch.tensor(X)) ** 2).sum().backward()

    def loss(model: Any) -> Any:
        y, successor = nn.step(model, X, train=True)
        return fd.numpy.sum(y**2), successor

    (value, successor), gradient = fd.value_and_grad(loss, has_aux=True)(ours)
    assert_trees_close((successor.u, successor.v), (vectors._u.numpy(), vectors._v.numpy()), 1e-5)
    assert_trees_close(gradient.layer.W, theirs.parametrizations.weight.original.grad.numpy().T, 1e-4)
    theirs.eval()
    assert_trees_close(successor(X), theirs(torch.tensor(X)).detach().numpy(), 1e-5)
    assert value > 0


# Sizes from the first input


def test_wrappers_of_lazy_layers() -> None:
    model = nn.Sequential(nn.WeightNorm.init(nn.Linear.lazy(3)), F.relu, nn.SpectralNorm.init(KEY, nn.Linear.lazy(2, bias=False), iterations=2))
    made = nn.init(model, KEY, X)
    assert isinstance(made[0], nn.WeightNorm)
    assert made[0].layer.W.shape == (4, 3)
    assert made[2].layer.W.shape == (3, 2)
    assert made[2].iterations == 2
    assert made(X).shape == (5, 2)
