"""Files of DeZero, of torchvision and of fdezero give models with the same logits; other files are explained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import models
from fdezero.errors import DTypeError, FileError
from fdezero.testing import assert_trees_equal

from . import dezero_networks, torchvision_keys

safetensors = pytest.importorskip("safetensors.numpy")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 64, 64)).astype(np.float32)


def close(found: Any, expected: np.ndarray) -> None:
    """Logits agree to 1e-4 of the largest."""
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))


# --- DeZero ----------------------------------------------------------------------------------------------------------


def test_vgg16_of_dezero_has_its_logits(tmp_path: Path) -> None:
    network = dezero_networks.randomised(dezero_networks.vgg16(4, 24, 7), X)
    network.save_weights(str(tmp_path / "vgg16.npz"))
    model = models.VGG16.load(tmp_path / "vgg16.npz")
    assert (model.grid, model.head.layers[2].b.shape) == (2, (7,))
    close(model(X), dezero_networks.logits(network, X))


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_resnet_of_dezero_has_its_logits(tmp_path: Path, depth: int) -> None:
    network = dezero_networks.randomised(dezero_networks.resnet(depth, 4, 7), X)
    network.save_weights(str(tmp_path / "resnet.npz"))
    model = getattr(models, f"ResNet{depth}").load(tmp_path / "resnet.npz")
    assert (model.pool_padding, model.norm.eps) == (0, 2e-5)
    assert [[conv.stride for conv in stage.layers[0].convs] for stage in model.stages] == [[1, 1, 1]] + [[2, 1, 1]] * 3
    close(model(X), dezero_networks.logits(network, X))


def test_torchvisions_form_has_the_stride_in_the_second_convolution() -> None:
    model = models.ResNet50.init(fd.random.key(0), 7, width=4)
    assert [[conv.stride for conv in stage.layers[0].convs] for stage in model.stages] == [[1, 1, 1]] + [[1, 2, 1]] * 3
    assert (model.pool_padding, model.norm.eps, model.stem.b) == (1, 1e-5, None)


# --- torchvision -----------------------------------------------------------------------------------------------------

NETWORKS: dict[str, tuple[Any, str]] = {
    **{f"VGG{n}": (lambda t, d=d: t.VGG(d, False, 4, 24, 7), f"vgg{n}") for n, d in ((11, (1, 1, 2, 2, 2)), (13, (2, 2, 2, 2, 2)), (16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4)))},
    "VGG11 with norms": (lambda t: t.VGG((1, 1, 2, 2, 2), True, 4, 24, 7), "vgg11_bn"),
    "VGG16 with norms": (lambda t: t.VGG((2, 2, 3, 3, 3), True, 4, 24, 7), "vgg16_bn"),
    **{f"ResNet{n}": (lambda t, d=d, b=b: t.ResNet(d, b, 4, 7), f"resnet{n}") for n, d, b in (
        (18, (2, 2, 2, 2), False), (34, (3, 4, 6, 3), False), (50, (3, 4, 6, 3), True), (101, (3, 4, 23, 3), True), (152, (3, 8, 36, 3), True))},
    "SqueezeNet 1.0": (lambda t: t.SqueezeNet("1.0", 4, 7), "squeezenet1_0"),
    "SqueezeNet 1.1": (lambda t: t.SqueezeNet("1.1", 4, 7), "squeezenet1_1"),
}  # fmt: skip


def model_class(name: str) -> Any:
    return getattr(models, name.partition(" ")[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torch_have_their_logits(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    from . import torch_networks

    make, names = NETWORKS[name]
    network = torch_networks.randomised(make(torch_networks))
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    assert set(state) == set(torchvision_keys.keys(names))
    safetensors.save_file(state, tmp_path / "x.safetensors")
    with torch.no_grad():
        expected = network(torch.from_numpy(X)).numpy()
    model = model_class(name).load(tmp_path / "x.safetensors")
    close(model(X), expected)
    fd.save(tmp_path / "again.npz", model)
    assert_trees_equal(model_class(name).load(tmp_path / "again.npz")(X), model(X), bits=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_key_of_torchvision_finds_its_place(tmp_path: Path, name: str) -> None:
    """Without torch: an array of random numbers under each of torchvision's names, with the shape that it has there."""
    model = model_class(name).init(fd.random.key(0), 7, **options_of(name))
    theirs = {key: RNG.uniform(0.1, 1, shape).astype(np.float32) for key, shape in torchvision_keys.shapes(NETWORKS[name][1], 4, 24, 7).items()}
    safetensors.save_file(theirs, tmp_path / "x.safetensors")
    found = fd.io.flatten_to_dict(model_class(name).load(tmp_path / "x.safetensors"))
    assert {key: a.shape for key, a in found.items()} == {key: a.shape for key, a in fd.io.flatten_to_dict(model).items()}
    numbers = {key: array for key, array in theirs.items() if not key.endswith("num_batches_tracked")}
    unturned = [array.T if array.ndim == 2 else array for array in found.values()]
    assert sorted(a.tobytes() for a in unturned) == sorted(a.tobytes() for a in numbers.values())
    for ours, key in torchvision_keys.PLACES.get(NETWORKS[name][1], {}).items():
        np.testing.assert_array_equal(found[ours].T if found[ours].ndim == 2 else found[ours], theirs[key])


def options_of(name: str) -> dict[str, Any]:
    if name.startswith("VGG"):
        return {"width": 4, "hidden_size": 24, "norm": "norms" in name}
    return {"width": 4} if name.startswith("ResNet") else {"divide": 4, "version": name[-3:]}


def test_vgg_of_timm_has_the_linear_layers_as_convolutions(tmp_path: Path) -> None:
    shapes = torchvision_keys.shapes("vgg11", 4, 24, 7)
    theirs = {key: RNG.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    safetensors.save_file(theirs, tmp_path / "torchvision.safetensors")
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    timms = {}
    for key, array in theirs.items():
        layer, _, field = key.rpartition(".")
        size = {"classifier.0.weight": (24, 32, 7, 7), "classifier.3.weight": (24, 24, 1, 1)}.get(key, array.shape)
        timms[f"{names.get(layer, layer)}.{field}"] = array.reshape(size)
    safetensors.save_file(timms, tmp_path / "timm.safetensors")
    assert_trees_equal(models.VGG11.load(tmp_path / "timm.safetensors"), models.VGG11.load(tmp_path / "torchvision.safetensors"), bits=True)


# --- fdezero ---------------------------------------------------------------------------------------------------------

OWN = {
    "VGG": lambda: models.VGG11.init(fd.random.key(0), 5, channels=1, size=64, width=3, hidden_size=6, norm=True),
    "ResNet": lambda: models.ResNet18.init(fd.random.key(0), 5, channels=1, width=2),
    "ResNet of DeZero's form": lambda: models.ResNet50.init(fd.random.key(0), 5, width=2, form="dezero"),
    "SqueezeNet": lambda: models.SqueezeNet.init(fd.random.key(0), 5, version="1.0", divide=8),
    "LeNet": lambda: models.LeNet.init(fd.random.key(0), size=32),
    "float16": lambda: models.VGG11.init(fd.random.key(0), 5, width=2, hidden_size=4, norm=True, dtype=np.float16),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_saved_model_is_loaded_without_its_options(tmp_path: Path, name: str, ending: str) -> None:
    model = OWN[name]()
    fd.save(tmp_path / f"x.{ending}", model)
    found = type(model).load(tmp_path / f"x.{ending}")
    assert fd.tree.flatten(found)[1] == fd.tree.flatten(model)[1]
    assert_trees_equal(found, model, bits=True)


# --- other files -----------------------------------------------------------------------------------------------------


def test_another_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, {"encoder": {"W": np.ones(3)}})
    with pytest.raises(FileError, match=r"x\.npz is not a file of ResNet18: its keys \(encoder/W, \.\.\.\) are not those of fd\.save or DeZero or torchvision"):
        models.ResNet18.load(path)
    fd.save(path, models.VGG11.init(fd.random.key(0), 5, size=32, width=2, hidden_size=4))
    with pytest.raises(FileError, match=r"does not fit VGG16:\n  missing:    blocks/0/convs/1/W \(float32\[2,2,3,3\]\)"):
        models.VGG16.load(path)
    with pytest.raises(FileNotFoundError):
        models.VGG16.load(tmp_path / "none.npz")


def test_a_long_list_of_differences_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, models.ResNet18.init(fd.random.key(0), 5, width=2))
    with pytest.raises(FileError, match=r"of fd\.save, does not fit ResNet152:\n(  missing: .*\n){12}  and \d+ more$"):
        models.ResNet152.load(path)


def test_two_names_of_one_array_are_refused(tmp_path: Path) -> None:
    flat = fd.io.flatten_to_dict(models.SqueezeNet.init(fd.random.key(0), 5, divide=16))
    fd.save(tmp_path / "x.npz", flat | {"features.3.squeeze.weight": flat["fires/0/squeeze/W"]})
    with pytest.raises(FileError, match=r"unexpected: features\.3\.squeeze\.weight"):  # a file of fdezero has one name for each
        models.SqueezeNet.load(tmp_path / "x.npz")
    theirs = {key: np.zeros(shape, np.float32) for key, shape in torchvision_keys.shapes("squeezenet1_1", 4, 24, 7).items()}
    fd.save(tmp_path / "x.npz", theirs | {"stem/W": np.zeros((16, 3, 3, 3), np.float32)})
    with pytest.raises(FileError, match=r"holds the array 'stem/W' under several names"):
        models.SqueezeNet.load(tmp_path / "x.npz")


def test_a_dtype_may_be_chosen(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", models.ResNet18.init(fd.random.key(0), 5, width=2, dtype=np.float64))
    assert {leaf.dtype for leaf in fd.tree.leaves(models.ResNet18.load(tmp_path / "x.npz"))} == {np.dtype(np.float64)}
    narrow = models.ResNet18.load(tmp_path / "x.npz", dtype=np.float16)
    assert (narrow.stem.W.dtype, narrow.norm.scale.dtype, narrow.norm.mean.dtype) == (np.float16, np.float16, np.float32)
    with pytest.raises(DTypeError, match="parameters are floating numbers; got dtype=int64"):
        models.ResNet18.load(tmp_path / "x.npz", dtype=np.int64)


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    flat = fd.io.flatten_to_dict(models.LeNet.init(fd.random.key(0)))
    fd.save(path, flat | {"head/layers/1/b": np.zeros(3, np.float32)})
    with pytest.raises(FileError, match=r"different:  head/layers/1/b is float32\[84\] in the tree, float32\[3\] in the file"):
        models.LeNet.load(path)
    fd.save(path, flat | {"convs/0/W": np.zeros((), np.float32)})
    with pytest.raises(FileError, match=r"convs/0/W is float32\[6,1,5,5\] in the tree, float32\[\] in the file"):
        models.LeNet.load(path)
