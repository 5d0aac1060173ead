"""Networks as users meet them: sizes, published numbers of parameters, values in between, frozen parts, mistakes."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn
from fdezero.errors import FdezeroError, RangeError, ShapeError, StructureError
from fdezero.nn.state import statistics_in

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)

# Trainable numbers, and thousand millions of multiply-adds for an image of 224 x 224, as torchvision's documentation gives them
PUBLISHED = {
    "VGG11": (132_863_336, 7.61), "VGG13": (133_047_848, 11.31), "VGG16": (138_357_544, 15.47), "VGG19": (143_667_240, 19.63),
    "ResNet18": (11_689_512, 1.81), "ResNet34": (21_797_672, 3.66), "ResNet50": (25_557_032, 4.09),
    "ResNet101": (44_549_160, 7.80), "ResNet152": (60_192_808, 11.51),
    "SqueezeNet 1.0": (1_248_424, 0.82), "SqueezeNet 1.1": (1_235_496, 0.35),
}  # fmt: skip


def empty(key: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An initialiser without memory: one zero that stands for all."""
    return np.broadcast_to(np.zeros((), dtype), shape)


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_parameters_and_products_are_the_published_ones(name: str) -> None:
    cls, _, version = name.partition(" ")
    model = getattr(models, cls).init(KEY, weight_init=empty, **({"version": version} if version else {}))
    held = {id(leaf) for node in nn.standing.layers_of(model) if isinstance(node.value, nn.Stateful) for leaf in statistics_in(node.value).values()}
    assert sum(leaf.size for leaf in fd.tree.leaves(model) if id(leaf) not in held) == PUBLISHED[name][0]
    products = nn.summary(model, nn.Shape((1, 3, 224, 224), np.float32)).multiply_adds
    assert round(products / 1e9, 2) == PUBLISHED[name][1]


SMALL: dict[str, Callable[..., Any]] = {
    "VGG16": lambda **options: models.VGG16.init(KEY, 5, width=2, hidden_size=8, size=64, **options),
    "ResNet18": lambda **options: models.ResNet18.init(KEY, 5, width=2, **options),
    "ResNet50": lambda **options: models.ResNet50.init(KEY, 5, width=2, **options),
    "SqueezeNet": lambda **options: models.SqueezeNet.init(KEY, 5, divide=8, **options),
}
ENDS = {"VGG16": "blocks/4", "ResNet18": "stages/3", "ResNet50": "stages/3/layers/2", "SqueezeNet": "fires/7"}


@pytest.mark.parametrize("name", SMALL)
def test_the_last_features_are_captured_and_differentiated(name: str) -> None:
    """What Grad-CAM needs: the features at a path, and the gradient of a logit with respect to them."""
    model = SMALL[name]()
    y, between = nn.capture(model, X, paths=(ENDS[name],))
    features = between[ENDS[name]]
    np.testing.assert_array_equal(y, model(X))
    np.testing.assert_array_equal(features, model.features(X))
    assert features.shape[0] == 2

    def logit(features: Any) -> Any:
        return nn.capture(model, X, replace={ENDS[name]: features})[0][0, 3]

    assert logit(features) == y[0, 3]
    cam = fd.grad(logit)(features)
    assert np.abs(cam[0]).max() > 0
    assert not cam[1].any()


def test_style_transfer_differentiates_by_the_image() -> None:
    model, target = SMALL["VGG16"](), X[::-1] * 0.5
    paths = ("blocks/0/convs/1", "blocks/2")
    _, wanted = nn.capture(model, target, paths=paths)

    def style(image: Any) -> Any:
        _, found = nn.capture(model, image, paths=paths)
        return sum(((found[path] - wanted[path]) ** 2).mean() for path in paths)

    loss, gradient = fd.value_and_grad(style)(X)
    assert loss > 0
    assert style(X - 1e-2 * gradient / np.abs(gradient).max()) < loss


def test_a_frozen_network_trains_its_head_alone() -> None:
    model = nn.freeze(SMALL["ResNet18"](), "stem", "norm", "stages/*")
    model = model.replace(head=nn.Linear.init(KEY, 16, 3))

    def loss_fn(model: Any) -> Any:
        y, successor = nn.step(model, X, train=True)
        return F.softmax_cross_entropy(y, np.array([0, 2])), successor

    (_, successor), grads = fd.value_and_grad(loss_fn, has_aux=True)(model)
    assert sorted(fd.tree.flatten_to_dict(grads)) == ["head/W", "head/b"]
    np.testing.assert_array_equal(successor.norm.mean, model.norm.mean)


@pytest.mark.parametrize("size", [33, 64, 96, 100])
def test_any_size_of_images_gives_logits(size: int) -> None:
    x = np.ones((1, 3, size, size + 7), np.float32)
    for make in SMALL.values():
        assert make()(x).shape == (1, 5)


def test_a_checkpointed_gradient_keeps_less() -> None:
    peaks, images = [], np.concatenate([X] * 6)
    for switch in (False, True):
        model = models.ResNet50.init(KEY, 5, width=4, checkpoint=switch)
        gradient = fd.grad(lambda model: nn.step(model, images)[0].sum())
        gradient(model)
        tracemalloc.start()
        gradient(model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 0.8 * peaks[0]


def test_a_path_leads_to_the_layer_that_refuses() -> None:
    for make, path in ((SMALL["VGG16"], "blocks/0/convs/0"), (SMALL["ResNet18"], "stem")):
        with pytest.raises(ShapeError, match=rf"8 channels.* \(at {path}\)$"):
            make()(np.ones((1, 8, 64, 64), np.float32))
    with pytest.raises(StructureError, match=r"nn\.step") as training:
        SMALL["ResNet18"]()(X, train=True)
    assert "BatchNorm" in str(training.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: models.VGG.init(KEY), "VGG has no depth of its own: write VGG16.init"),
        (lambda: models.ResNet.init(KEY), "ResNet has no depth of its own: write ResNet18.init"),
        (lambda: models.VGG16.init(KEY, size=31), "at least 32, because five poolings halve it; got int 31"),
        (lambda: models.ResNet50.init(KEY, form="caffe"), "'torchvision' or 'dezero', got 'caffe'"),
        (lambda: models.ResNet18.init(KEY, 0), "out_size must be an integer of at least 1, got int 0"),
        (lambda: models.SqueezeNet.init(KEY, version="2"), r"the version is '1\.0' or '1\.1', got '2'"),
        (lambda: models.SqueezeNet.init(KEY, divide=3), "divide must be 1, 2, 4, 8 or 16, got 3"),
        (lambda: models.LeNet.init(KEY, size=11), "at least 12, got int 11"),
    ],
)
def test_sizes_and_forms_that_do_not_exist_are_named(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(RangeError, match=said) as caught:
        call()
    assert isinstance(caught.value, FdezeroError)
