"""Convolutions: DeZero's and PyTorch's values and gradients, random calls in blocks of any size, dtypes, memory order, transforms."""

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero import numpy as fnp
from fdezero.ops import patches, windows
from fdezero.testing import assert_trees_close, assert_trees_equal
from fdezero.testing.properties import compiled_is_eager

from ..laws import functions_convolution as loops
from .dezero_reference import dezero

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def channels_last(x: np.ndarray) -> bool:
    """Whether the entries of one pixel are neighbours in memory, and pixels follow in C order."""
    return np.moveaxis(x, 1, -1).flags.c_contiguous


# Other libraries


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((1, 2), (2, 0))], ids=str)
def test_conv2d_and_its_gradients_are_dezeros(stride: Any, padding: Any) -> None:
    arrays = x, W, b = normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4)
    variables = [dezero.Variable(z.copy()) for z in arrays]
    y = dezero.functions_conv.conv2d(*variables, stride=stride, pad=padding)
    weights = normal(*y.shape)
    dezero.functions.sum(y * weights).backward()
    got, pullback = fd.vjp(lambda x, W, b: F.conv2d(x, W, b, stride, padding), x, W, b)
    assert_trees_close(got, y.data, 1e-12)
    assert_trees_close(pullback(weights), tuple(v.grad.data for v in variables), 1e-12)


@pytest.mark.parametrize(("stride", "padding", "more"), [(1, 0, 0), (2, 1, 0), (2, 1, 1)])
def test_conv_transpose2d_and_its_gradients_are_those_of_dezeros_deconv2d(stride: int, padding: int, more: int) -> None:
    arrays = x, W, b = normal(2, 3, 4, 3), normal(3, 4, 3, 3), normal(4)
    variables = [dezero.Variable(z.copy()) for z in arrays]
    size = F.conv_transpose_output_size((4, 3), 3, stride, padding, more)
    y = dezero.functions_conv.deconv2d(*variables, stride=stride, pad=padding, outsize=size)
    weights = normal(*y.shape)
    dezero.functions.sum(y * weights).backward()
    got, pullback = fd.vjp(lambda x, W, b: F.conv_transpose2d(x, W, b, stride, padding, more), x, W, b)
    assert_trees_close(got, y.data, 1e-12)
    assert_trees_close(pullback(weights), tuple(v.grad.data for v in variables), 1e-12)


@pytest.mark.parametrize("to_matrix", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [((3, 2), 2, 1), (2, 1, 0), (3, (1, 3), (2, 0))], ids=str)
def test_im2col_and_col2im_and_their_gradients_are_dezeros(kernel: Any, stride: Any, padding: Any, to_matrix: bool) -> None:
    x = normal(2, 3, 6, 5)
    variable = dezero.Variable(x.copy())
    expected = dezero.functions_conv.im2col(variable, kernel, stride, padding, to_matrix)
    weights = normal(*expected.shape)
    dezero.functions.sum(expected * weights).backward()
    columns, pullback = fd.vjp(lambda x: F.im2col(x, kernel, stride, padding, to_matrix=to_matrix), x)
    assert_trees_equal(columns, expected.data)
    assert_trees_close(pullback(weights)[0], variable.grad.data, 1e-13)
    variable = dezero.Variable(weights.copy())
    expected = dezero.functions_conv.col2im(variable, x.shape, kernel, stride, padding, to_matrix)
    dezero.functions.sum(expected * x).backward()
    images, pullback = fd.vjp(lambda y: F.col2im(y, x.shape, kernel, stride, padding, to_matrix=to_matrix), weights)
    assert_trees_close(images, expected.data, 1e-13)
    assert_trees_close(pullback(x)[0], variable.grad.data, 1e-13)


def test_sizes_are_dezeros() -> None:
    for size, kernel, stride, padding in ((6, 3, 2, 1), (28, 5, 1, 0), (7, 2, 3, 1)):
        assert F.conv_output_size(size, kernel, stride, padding) == dezero.utils.get_conv_outsize(size, kernel, stride, padding)
        assert F.conv_transpose_output_size(size, kernel, stride, padding) == dezero.utils.get_deconv_outsize(size, kernel, stride, padding)


def drawn(rng: np.random.Generator, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x and W, and options, of a random convolution."""
    def several(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.integers(low, high, rank))

    groups = int(rng.choice([1, 1, 2, 3]))
    inputs, outputs = int(rng.choice([1, 2, 9])), int(rng.integers(1, 4))
    kernel, dilation, padding = several(1, 4), several(1, 3), several(0, 3)
    space = [max(int(rng.integers(1, 7)), (k - 1) * d + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    options = {"stride": several(1, 4), "padding": padding, "dilation": dilation, "groups": groups}
    return (int(rng.integers(0, 4)), inputs * groups, *space), (outputs * groups, inputs, *kernel), options


@pytest.mark.parametrize("limit", [1 << 19, 1 << 9, 1], ids=["one block", "small blocks", "a row or an image at a time"])
def test_random_convolutions_are_those_of_loops_in_blocks_of_any_size(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "CACHE", limit)
    monkeypatch.setattr(patches, "FEWEST", min(256, limit))
    monkeypatch.setattr(windows, "MANY", min(64, limit))
    rng = np.random.default_rng(limit)
    for number in range(40):
        rank = number % 3 + 1
        shape, kernel, options = drawn(rng, rank)
        x, W = rng.standard_normal(shape), rng.standard_normal(kernel)
        if number % 2:
            x, W = (np.moveaxis(np.ascontiguousarray(np.moveaxis(z, 1, -1)), -1, 1) for z in (x, W))
        y, pullback = fd.vjp(lambda x, W, rank=rank, options=options: getattr(F, f"conv{rank}d")(x, W, **options), x, W)
        assert_trees_close(y, loops.conv(rank, x, W, **options), 1e-12)
        # The form is linear in each of x, W and t, so two inner products decide about both adjoints.
        t, other_x, other_W = (rng.standard_normal(z.shape) for z in (y, x, W))
        of_x, of_W = pullback(t)
        scale = 1 + abs(t).sum()
        assert abs((of_x * other_x).sum() - (loops.conv(rank, other_x, W, **options) * t).sum()) < 1e-12 * scale
        assert abs((of_W * other_W).sum() - (loops.conv(rank, x, other_W, **options) * t).sum()) < 1e-12 * scale


def test_convolutions_of_many_single_channels_are_those_of_loops_and_compiled_have_the_bits_of_eager() -> None:
    for outputs in (1, 2):
        x, W = normal(3, 70, 6, 5), normal(70 * outputs, 1, 3, 2)
        assert_trees_close(F.conv2d(x, W, stride=(1, 2), groups=70), loops.conv(2, x, W, stride=(1, 2), groups=70), 1e-13)
        compiled_is_eager(lambda x, W: F.conv2d(x, W, padding=1, groups=70), (x, W))


def test_random_convolutions_and_their_transposes_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    for number in range(60):
        rank = number % 3 + 1
        shape, kernel, options = drawn(rng, rank)
        name = f"conv{rank}d" if number % 2 else f"conv_transpose{rank}d"
        if name.startswith("conv_t"):
            shape = (shape[0], kernel[0], *shape[2:])
            options["output_padding"] = tuple(s - 1 for s in options["stride"])
            sizes = zip(shape[2:], kernel[2:], options["stride"], options["padding"], options["dilation"], strict=True)
            if min((n - 1) * s - 2 * p + (k - 1) * d + s for n, k, s, p, d in sizes) < 1:
                continue
        if shape[0] == 0:
            continue
        arrays = [rng.standard_normal(s) for s in (shape, kernel, (kernel[0] if number % 2 else kernel[1] * options["groups"],))]
        tensors = [torch.tensor(z, requires_grad=True) for z in arrays]
        expected = getattr(torch.nn.functional, name)(*tensors, **options)
        t = rng.standard_normal(expected.shape)
        expected.backward(torch.from_numpy(t))
        y, pullback = fd.vjp(lambda *z, name=name, options=options: getattr(F, name)(*z, **options), *arrays)
        assert_trees_close(y, expected.detach().numpy(), 1e-10)
        assert_trees_close(pullback(t), tuple(z.grad.numpy() for z in tensors), 1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch copies the input where the two ends differ
def test_same_padding_is_pytorchs_and_keeps_the_size() -> None:
    torch = pytest.importorskip("torch")
    for kernel, dilation in ((2, 1), (3, 2), (4, 1)):
        x, W = normal(2, 3, 7, 6), normal(4, 3, kernel, kernel)
        expected = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, W)), padding="same", dilation=dilation)
        y = F.conv2d(x, W, padding="same", dilation=dilation)
        assert y.shape[2:] == x.shape[2:]
        assert_trees_close(y, expected.numpy(), 1e-12)


# dtypes, sizes, memory


def test_float16_is_summed_in_float32() -> None:
    x, W = np.full((1, 4096, 2, 2), 0.5, np.float16), np.full((1, 4096, 1, 1), 0.5, np.float16)
    assert F.conv2d(x, W).dtype == np.float16
    assert (F.conv2d(x, W) == 1024).all()  # a sum in float16 stops at 512: there the next number is more than 1/4 away
    x, W = normal(2, 40, 9, 9).astype(np.float16), normal(3, 40, 3, 3).astype(np.float16)
    exact = F.conv2d(x.astype(np.float64), W.astype(np.float64), padding=1)
    y, pullback = fd.vjp(lambda x, W: F.conv2d(x, W, padding=1), x, W)
    assert (abs(y - exact) <= np.spacing(abs(y)) * 0.51 + 1e-5).all()
    t = normal(*y.shape).astype(np.float16)
    _, exactly = fd.vjp(lambda x, W: F.conv2d(x, W, padding=1), x.astype(np.float64), W.astype(np.float64))
    for got, expected in zip(pullback(t), exactly(t.astype(np.float64)), strict=True):
        assert got.dtype == np.float16
        assert (abs(got - expected) <= np.spacing(abs(got)) * 0.51 + 2e-5).all()


def test_other_dtypes_are_those_of_matmul() -> None:
    for left, right in ((np.int8, np.int8), (np.uint8, np.float32), (np.float32, np.float64), (np.bool_, np.bool_), (np.int64, np.complex64)):
        x, W = (RNG.integers(0, 100, (1, 9, 4)).astype(left), RNG.integers(0, 100, (2, 9, 3)).astype(right))
        columns = np.lib.stride_tricks.sliding_window_view(x, 3, 2).transpose(0, 2, 1, 3).reshape(2, 27)
        expected = np.matmul(columns, W.reshape(2, 27).T).T[None]
        assert_trees_close(F.conv1d(x, W), expected, 1e-6)
        assert F.conv1d(x, W).dtype == expected.dtype


def test_empty_batches_and_batches_of_one_channel_have_all_derivatives() -> None:
    for layer, shape in ((nn.Conv2d.init(fd.random.key(0), 3, 4, 3, padding=1), (0, 3, 5, 5)), (nn.ConvTranspose1d.init(fd.random.key(0), 3, 4, 2), (0, 3, 5))):
        x = np.ones(shape, np.float32)
        y, pullback = fd.vjp(lambda layer, x: layer(x), layer, x)
        assert y.shape[:2] == (0, 4)
        of_layer, of_x = pullback(np.ones_like(y))
        assert of_x.shape == x.shape
        assert not of_layer.W.any()
        assert not of_layer.b.any()


class Normalised(fd.Module):
    conv: nn.Conv2d
    norm: nn.BatchNorm

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return F.max_pool2d(F.relu(self.norm(self.conv(x), train=train)), 2)


@pytest.mark.parametrize("transform", [lambda f: f, fd.compile], ids=["eager", "compiled"])
def test_results_are_channels_last_in_memory_and_stay_so(transform: Callable[..., Any]) -> None:
    model = Normalised(nn.Conv2d.init(fd.random.key(0), 3, 8, 3, padding=1), nn.BatchNorm.init(fd.random.key(0), 8))
    x = normal(2, 3, 6, 6).astype(np.float32)
    assert channels_last(model.conv.W)
    assert channels_last(transform(F.conv2d)(x, model.conv.W))
    assert channels_last(transform(F.conv_transpose2d)(x, normal(3, 4, 2, 2)))
    for y in (
        transform(lambda model, x: model.conv(x))(model, x),
        transform(lambda model, x: F.avg_pool2d(F.tanh(model.conv(x)), 2))(model, x),
        transform(lambda model, x: model(x))(model, x),
        transform(lambda model, x: nn.step(model, x, train=True)[0])(model, x),
    ):
        assert channels_last(y)
        np.testing.assert_array_equal(y.ravel(), np.ascontiguousarray(y).ravel())  # C order in meaning
        np.testing.assert_array_equal(y.ravel(order="K"), np.moveaxis(y, 1, -1).ravel())

    def loss(model: Any, x: Any) -> Any:
        y, successor = nn.step(model, x, train=True)
        return fnp.sum(y**2), successor

    of_model, of_x = transform(fd.grad(lambda model, x: loss(model, x)[0], argnums=(0, 1)))(model, x)
    assert channels_last(of_model.conv.W)
    assert channels_last(of_x)


def test_files_are_in_c_order_and_a_loaded_network_gives_the_same_bits(tmp_path: Path) -> None:
    layer, x = nn.Conv2d.init(fd.random.key(0), 9, 8, 3), normal(2, 9, 6, 6).astype(np.float32)
    fd.save(tmp_path / "layer.npz", {"layer": layer, "y": layer(x)})
    with np.load(tmp_path / "layer.npz") as stored:
        assert stored["layer/W"].flags.c_contiguous
        np.testing.assert_array_equal(stored["layer/W"], layer.W)
        np.testing.assert_array_equal(stored["y"], layer(x))
    loaded = fd.load(tmp_path / "layer.npz", like={"layer": layer, "y": layer(x)})["layer"]
    assert channels_last(loaded.W)
    in_c_order = layer.replace(W=fd.load(tmp_path / "layer.npz")["layer/W"])
    assert in_c_order.W.flags.c_contiguous
    assert_trees_equal(in_c_order(x), layer(x), bits=True)
    assert_trees_equal(loaded(x), layer(x), bits=True)


def test_scratch_memory_is_kept_within_bounds_and_never_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_idle", [])
    W, images = normal(9, 9, 3, 3), [normal(2, 9, n, n) for n in (8, 16, 24, 32)]
    expected = [F.conv2d(x, W, padding=1) for x in images]
    found: list[list[Any]] = [[] for _ in images]

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = [F.conv2d(images[i], W, padding=1)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ys, y in zip(found, expected, strict=True):
        assert_trees_equal(ys[0], y, bits=True)
    assert patches._idle
    F.conv2d(normal(1, 64, 160, 160), normal(1, 64, 9, 9), padding=4)  # more scratch memory than is kept
    assert sum(memory.nbytes for memory in patches._idle) <= patches.KEPT


# Transforms


class Net(fd.Module):
    first: nn.Conv2d
    second: nn.Conv2d
    last: nn.Linear

    def __call__(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.avg_pool2d(F.tanh(self.second(x)), 2)
        return self.last(x.reshape(len(x), -1))


def net() -> Net:
    keys = fd.random.split(fd.random.key(3), 3)
    return Net(
        nn.Conv2d.init(keys[0], 1, 4, 3, padding=1, dtype=np.float64), nn.Conv2d.init(keys[1], 4, 6, 3, padding=1, groups=2, dtype=np.float64),
        nn.Linear.init(keys[2], 24, 3, dtype=np.float64),
    )  # fmt: skip


IMAGES, LABELS = normal(5, 1, 8, 8), np.array([0, 2, 1, 1, 0])


def loss(model: Net, x: Any, label: Any) -> Any:
    return F.softmax_cross_entropy(model(x), label)


@pytest.mark.parametrize("transform", [lambda f: f, fd.compile], ids=["eager", "compiled"])
def test_gradients_for_each_example_of_a_network_are_a_loop(transform: Callable[..., Any]) -> None:
    model = net()
    each = transform(fd.vmap(fd.grad(lambda model, x, label: loss(model, x[None], label[None])), (None, 0, 0)))
    gradients = each(model, IMAGES, LABELS)
    for i in range(len(IMAGES)):
        expected = fd.grad(loss)(model, IMAGES[i : i + 1], LABELS[i : i + 1])
        assert_trees_close(fd.tree.map(lambda g, i=i: g[i], gradients), expected, 1e-12)
    mean = fd.tree.map(lambda g: g.mean(axis=0), gradients)
    assert_trees_close(mean, fd.grad(loss)(model, IMAGES, LABELS), 1e-12)


def test_convolutions_run_in_scans_checkpoints_and_hessians() -> None:
    W = 0.2 * normal(2, 2, 3, 3)
    x = normal(1, 2, 5, 5)

    def looped(W: Any, x: Any) -> Any:
        return fd.scan(lambda h, _: (fnp.tanh(F.conv2d(h, W, padding=1)), None), x, None, length=3)[0].sum()

    def unrolled(W: Any, x: Any, keep: Callable[..., Any] = lambda f: f) -> Any:
        step = keep(lambda h: fnp.tanh(F.conv2d(h, W, padding=1)))
        return step(step(step(x))).sum()

    expected = fd.grad(unrolled, argnums=(0, 1))(W, x)
    for function in (looped, lambda W, x: unrolled(W, x, fd.checkpoint)):
        assert_trees_close(fd.grad(function, argnums=(0, 1))(W, x), expected, 1e-12)
        assert_trees_close(fd.compile(fd.grad(function, argnums=(0, 1)))(W, x), expected, 1e-12)
    direction = normal(*W.shape)
    assert_trees_close(fd.hvp(looped, (W, x), (direction, 0 * x))[0], fd.hvp(unrolled, (W, x), (direction, 0 * x))[0], 1e-11)


def test_layers_learn_their_channels_from_the_first_input() -> None:
    model = nn.Sequential([nn.Conv2d.lazy(4, 3, stride=2, padding="same"), F.relu, nn.ConvTranspose2d.lazy(2, 2, stride=[2, 2])])
    model = nn.init(model, fd.random.key(0), np.ones((1, 3, 8, 8), np.float32))
    assert model.layers[0].W.shape == (4, 3, 3, 3)
    assert model.layers[2].W.shape == (4, 2, 2, 2)
    assert model(np.ones((1, 3, 8, 8), np.float32)).shape == (1, 2, 8, 8)


def test_initial_kernels_have_dezeros_variance_in_groups_as_well() -> None:
    for layer, entries in (
        (nn.Conv2d.init(fd.random.key(0), 64, 96, 3, groups=4), 16 * 9), (nn.ConvTranspose2d.init(fd.random.key(0), 96, 64, 3, groups=4), 24 * 9),
    ):  # fmt: skip
        assert layer.W.std() == pytest.approx(math.sqrt(1 / entries), rel=0.03)
        assert not layer.b.any()
