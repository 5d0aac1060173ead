"""What the examples on images compute, against sums, loops and closed forms."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import MissingExtraError
from fdezero.examples import gan, grad_cam, style_transfer, vae

from .few_images import digits


def test_the_bound_of_a_vae_is_an_integral_over_the_plane_and_below_the_log_probability() -> None:
    model, (images, _) = vae.VAE.init(fd.random.key(0), 8), digits("test", 500)
    x = images[:1].reshape(1, 784)
    mean, log_variance = (np.float64(part[0]) for part in model.encode(x))
    side = np.linspace(-6, 6, 81)
    z = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)

    def log_normal(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return -0.5 * ((z - mean) ** 2 / variance + np.log(2 * np.pi * variance)).sum(-1)

    logits = np.float64(model.decode(z.astype(np.float32)))
    log_likelihood = (x * logits - np.logaddexp(0, logits)).sum(-1)
    log_joint, log_q = log_likelihood + log_normal(np.zeros(2), np.ones(2)), log_normal(mean, np.exp(log_variance))
    cell = (side[1] - side[0]) ** 2
    expected = (np.exp(log_q) * (log_joint - log_q)).sum() * cell
    keys = fd.random.split(fd.random.key(1), 1000)
    bounds = fd.vmap(lambda key: vae.elbo(model, x, key))(keys)
    assert np.mean(bounds, dtype=np.float64) == pytest.approx(expected, abs=4 * float(np.std(bounds)) / math.sqrt(1000) + 1e-3)
    largest = log_joint.max()
    assert expected < largest + np.log(np.exp(log_joint - largest).sum() * cell)


def test_the_judge_of_a_gan_counts_digits() -> None:
    """A network that reads the label from the pixel that is lit."""
    model = fd.nn.MLP([fd.nn.Linear(np.eye(784, 10, dtype=np.float32) * 20, np.zeros(10, np.float32))])
    images = np.zeros((40, 1, 28, 28), np.float32)
    flat = images.reshape(40, 784)
    flat[np.arange(40), np.arange(40) % 10] = 1
    assert gan.judge(model, images) == pytest.approx((1.0, 10.0))
    assert gan.judge(model, images[[0, 1] * 20]) == pytest.approx((1.0, 2.0))
    assert gan.judge(model, np.zeros_like(images)) == pytest.approx((0.0, 1.0))


def test_the_networks_of_a_gan_keep_to_sizes_and_range() -> None:
    generator, discriminator = gan.make_generator(fd.random.key(0), 2), gan.make_discriminator(fd.random.key(1), 2)
    made = generator(fd.random.normal(fd.random.key(2), (3, gan.NOISE)))
    assert made.shape == (3, 1, 28, 28)
    assert 0 <= made.min() < made.max() <= 1
    assert discriminator(made).shape == (3, 1)


def test_heat_is_the_closed_form_of_a_linear_head_on_means() -> None:
    """The logits are linear in the means of the maps, so the gradient of a class is its column of the head."""
    model = grad_cam.Network.init(fd.random.key(0), 2)
    x = fd.random.normal(fd.random.key(1), (3, 1, grad_cam.SIDE, grad_cam.SIDE))
    classes, heat = grad_cam.explained(model, x)
    features = model.convs(x)
    assert features.shape == (3, 4, 14, 14)
    for n in range(3):
        assert classes[n] == np.argmax(model(x)[n])
        weighed = sum(model.head.W[k, classes[n]] / 14**2 * features[n, k] for k in range(4))
        np.testing.assert_allclose(heat[n], np.maximum(weighed, 0), rtol=1e-4, atol=1e-8)


def test_hidden_digits_are_where_the_places_say() -> None:
    images, _ = digits("train", 500)
    canvas, places = grad_cam.hidden_digits(images[:20], seed=0)
    for image, digit, (y, x) in zip(canvas, images, places, strict=False):
        assert (image[0, y : y + 28, x : x + 28] >= digit[0]).all()
    outside = np.ones((20, grad_cam.SIDE, grad_cam.SIDE))
    for part, (y, x) in zip(outside, places, strict=True):
        part[y : y + 28, x : x + 28] = 0
    assert (canvas[:, 0] * outside).sum() > 100  # the pieces that distract
    assert grad_cam.shares(1 - outside, places) == (1.0, 1.0)
    assert grad_cam.shares(outside, places) == (0.0, 0.0)
    assert grad_cam.shares(np.ones_like(outside), places)[0] == pytest.approx(0.25)


def test_weights_of_grad_cam_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(grad_cam, "mnist", lambda split, **_: digits(split, 500))
    options = ["--quick", "--images", "40", "--weights", str(tmp_path / "weights.npz")]
    grad_cam.main(options)
    first = capsys.readouterr().out.splitlines()
    grad_cam.main(options)
    second = capsys.readouterr().out.splitlines()
    assert second[1] == f"loaded {tmp_path / 'weights.npz'}"
    assert second[-3:] == first[-3:]


def test_a_gram_matrix_counts_features_that_meet() -> None:
    a = np.arange(24.0).reshape(1, 2, 3, 4)
    expected = [[np.mean([a[0, i, y, x] * a[0, j, y, x] for y in range(3) for x in range(4)]) for j in range(2)] for i in range(2)]
    np.testing.assert_allclose(style_transfer.gram(a), expected)
    assert style_transfer.distance(a, a) == 0
    assert style_transfer.distance(0 * a, a) == 1


def test_the_photographs_are_those_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    options = style_transfer.parse(["--size", "64"])
    palace, flower = (style_transfer.photograph(name, options) for name in ("china.jpg", "flower.jpg"))
    assert palace.shape == flower.shape == (1, 3, 43, 64)
    assert palace.dtype == np.float32
    assert 0 <= palace.min() < palace.max() <= 1
    assert flower[0, 0].mean() < palace[0, 0].mean()  # a dark background, and a bright sky


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[images\]'"):
        style_transfer.photograph("china.jpg", style_transfer.parse([]))


def test_a_photograph_of_ones_own(tmp_path: Path) -> None:
    if not importlib.util.find_spec("PIL"):
        pytest.skip("Pillow is not installed")
    from PIL import Image

    Image.new("L", (50, 25), 255).save(tmp_path / "white.png")
    pixels = style_transfer.photograph(tmp_path / "white.png", style_transfer.parse(["--size", "32"]))
    np.testing.assert_array_equal(pixels, np.ones((1, 3, 16, 32), np.float32))
    with pytest.raises(FileNotFoundError):
        style_transfer.photograph(tmp_path / "missing.png", style_transfer.parse([]))
